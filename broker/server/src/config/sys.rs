//! The `sys` section: the broker's figures as `$SYS` topics.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::broker::sys::SysOptions;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a map")]
pub(super) struct SysDocument {
    /// 0: never.
    interval_s: u32,
    tenants: Vec<Arc<str>>,
}

impl Default for SysDocument {
    fn default() -> Self {
        Self { interval_s: 10, tenants: vec!["default".into()] }
    }
}

impl From<SysDocument> for Option<SysOptions> {
    fn from(document: SysDocument) -> Self {
        let SysDocument { interval_s, tenants } = document;
        let wanted = interval_s > 0 && !tenants.is_empty();
        wanted.then(|| SysOptions { interval: Duration::from_secs(interval_s.into()), tenants })
    }
}
