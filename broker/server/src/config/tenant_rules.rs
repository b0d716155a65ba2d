//! The section `tenant_rules`: bounds of the rules that tenants own.

use hookmq_script::RuleLimits;
use serde::Deserialize;

use super::check::Check;
use super::document::positive;
use super::error::KeyPath;
use crate::programs::TenantRulesOptions;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a map")]
pub(super) struct TenantRulesDocument {
    #[serde(deserialize_with = "positive")]
    rules_per_tenant: usize,
    #[serde(deserialize_with = "positive")]
    rule_bytes: usize,
    #[serde(deserialize_with = "positive")]
    rules: usize,
    #[serde(deserialize_with = "positive")]
    pushes_per_minute: u32,
    #[serde(deserialize_with = "positive")]
    kept_bytes: usize,
    #[serde(deserialize_with = "positive")]
    instances: u32,
}

impl Default for TenantRulesDocument {
    fn default() -> Self {
        let TenantRulesOptions {
            rules_per_tenant,
            rule_bytes,
            rules,
            pushes_per_minute,
            kept_bytes,
            instances,
        } = TenantRulesOptions::default();
        Self { rules_per_tenant, rule_bytes, rules, pushes_per_minute, kept_bytes, instances }
    }
}

/// Rules of one tenant: each of a topic is asked for every message on it.
const MOST_PER_TENANT: usize = 1000;

pub(super) fn check(check: &mut Check, document: &TenantRulesDocument) -> TenantRulesOptions {
    let section = KeyPath::root("tenant_rules");
    let longest = RuleLimits::default().source_size;
    let bounds = [
        ("rule_bytes", document.rule_bytes, longest),
        ("rules_per_tenant", document.rules_per_tenant, MOST_PER_TENANT),
    ];
    for (key, value, most) in bounds {
        if value > most {
            check.problem(&section.key(key), format!("it must not be more than {most}"));
        }
    }
    TenantRulesOptions {
        rules_per_tenant: document.rules_per_tenant,
        rule_bytes: document.rule_bytes,
        rules: document.rules,
        pushes_per_minute: document.pushes_per_minute,
        kept_bytes: document.kept_bytes,
        instances: document.instances,
    }
}
