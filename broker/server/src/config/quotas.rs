//! The `quotas` section: what each tenant may use that no table speaks of.

use std::collections::BTreeMap;
use std::sync::Arc;

use hookmq_access::Quota;
use serde::Deserialize;

use super::check::Check;
use super::error::KeyPath;
use crate::broker::limits::Quotas;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default, expecting = "a map")]
pub(super) struct QuotasDocument {
    default: Quota,
    tenants: BTreeMap<Arc<str>, Quota>,
}

pub(super) fn check(check: &mut Check, document: QuotasDocument) -> Quotas {
    let section = KeyPath::root("quotas");
    let mut look_at = |path: &KeyPath, quota: &Quota| {
        if let Some((bound, problem)) = quota.problem() {
            check.problem(&path.key(bound), problem);
        }
    };
    look_at(&section.key("default"), &document.default);
    for (name, quota) in &document.tenants {
        look_at(&section.key("tenants").key(name), quota);
    }
    Quotas { others: document.default, tenants: document.tenants }
}
