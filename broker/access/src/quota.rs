//! What tenants may use at most, and which are disabled.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU32;
use std::sync::Arc;

use hookmq_hooks::TenantRates;
use serde::{Deserialize, Serialize};

/// Tenants with a quota, or disabled, that are held; the tables may know any number of others.
pub const MAX_TENANTS: usize = 100_000;

/// Bounds of one tenant; none where only the broker's own counts. The columns of the table `quotas`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a map")]
pub struct Quota {
    pub connections: Option<u64>,
    pub connects_per_s: Option<u64>,
    pub messages_in_per_s: Option<u64>,
    pub bytes_in_per_s: Option<u64>,
    pub messages_out_per_s: Option<u64>,
    pub bytes_out_per_s: Option<u64>,
    pub sessions: Option<u64>,
    pub subscriptions: Option<u64>,
    pub retained_messages: Option<u64>,
    pub retained_bytes: Option<u64>,
    pub queued_bytes: Option<u64>,
    pub hook_calls_per_s: Option<u64>,
    pub hook_busy_ms_per_s: Option<u64>,
    pub hook_emitted_per_s: Option<u64>,
}

/// What the tables say of tenants beyond their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tenancy {
    quotas: HashMap<Arc<str>, Quota>,
    disabled: HashSet<Arc<str>>,
}

impl Quota {
    const MOST: u64 = 1_000_000_000_000_000;
    const FASTEST: u64 = 1_000_000_000_000;

    /// Every bound with its name.
    pub fn bounds(&self) -> [(&'static str, Option<u64>); 14] {
        [
            ("connections", self.connections),
            ("connects_per_s", self.connects_per_s),
            ("messages_in_per_s", self.messages_in_per_s),
            ("bytes_in_per_s", self.bytes_in_per_s),
            ("messages_out_per_s", self.messages_out_per_s),
            ("bytes_out_per_s", self.bytes_out_per_s),
            ("sessions", self.sessions),
            ("subscriptions", self.subscriptions),
            ("retained_messages", self.retained_messages),
            ("retained_bytes", self.retained_bytes),
            ("queued_bytes", self.queued_bytes),
            ("hook_calls_per_s", self.hook_calls_per_s),
            ("hook_busy_ms_per_s", self.hook_busy_ms_per_s),
            ("hook_emitted_per_s", self.hook_emitted_per_s),
        ]
    }

    /// The bound that the table would not take, and what is wrong with it.
    pub fn problem(&self) -> Option<(&'static str, String)> {
        self.bounds().into_iter().find_map(|(name, bound)| {
            let (least, most) = match name {
                _ if name.starts_with("hook_") => (1, u64::from(u32::MAX)),
                _ if name.ends_with("_per_s") => (1, Self::FASTEST),
                _ => (0, Self::MOST),
            };
            let fits = bound.is_none_or(|bound| (least..=most).contains(&bound));
            (!fits).then(|| (name, format!("{name} is between {least} and {most}")))
        })
    }

    /// What its plugins and rules may use; none where it does not speak of them.
    pub fn hook_rates(&self) -> Option<TenantRates> {
        let rate = |bound: Option<u64>| {
            bound.and_then(|it| NonZeroU32::new(u32::try_from(it).unwrap_or(u32::MAX)))
        };
        let rates = TenantRates {
            calls: rate(self.hook_calls_per_s),
            busy_ms: rate(self.hook_busy_ms_per_s),
            emitted: rate(self.hook_emitted_per_s),
        };
        (rates != TenantRates::default()).then_some(rates)
    }
}

impl Tenancy {
    pub(crate) fn insert(&mut self, tenant: Arc<str>, enabled: bool, quota: Option<Quota>) {
        if !enabled {
            self.disabled.insert(tenant.clone());
        }
        if let Some(quota) = quota {
            self.quotas.insert(tenant, quota);
        }
    }

    /// The quota that stands in the table.
    pub fn quota(&self, tenant: &str) -> Option<&Quota> {
        self.quotas.get(tenant)
    }

    pub fn is_disabled(&self, tenant: &str) -> bool {
        self.disabled.contains(tenant)
    }
}
