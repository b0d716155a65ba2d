//! What the broker lends to rules: its clocks, and their part of what programs share.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hookmq_hooks::{Keeper, KeyValueError, ProgramKind, Services};
use hookmq_script::{Owner, RuleHost};

/// The services of this broker, as rules see them.
pub struct Lent(Arc<Services>);

impl Lent {
    pub fn new(services: Arc<Services>) -> Self {
        Self(services)
    }
}

/// Microseconds since the first look at it.
pub fn monotonic_clock() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_micros()).unwrap_or(u64::MAX)
}

impl RuleHost for Lent {
    fn now(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn value(&self, owner: Owner<'_>, key: &str) -> Option<Vec<u8>> {
        self.0.key_value.get(owner.tenant, keeper(owner), key, Instant::now())
    }

    fn keep(
        &self,
        owner: Owner<'_>,
        key: &str,
        value: Vec<u8>,
        lifetime: Option<Duration>,
    ) -> Result<(), KeyValueError> {
        let now = Instant::now();
        self.0.key_value.set(owner.tenant, keeper(owner), key, value, lifetime, now)
    }

    fn forget(&self, owner: Owner<'_>, key: &str) {
        self.0.key_value.delete(owner.tenant, keeper(owner), key);
    }

    fn increase(
        &self,
        owner: Owner<'_>,
        key: &str,
        by: i64,
        lifetime: Option<Duration>,
    ) -> Result<i64, KeyValueError> {
        let now = Instant::now();
        self.0.key_value.increase(owner.tenant, keeper(owner), key, by, lifetime, now)
    }

    fn count(&self, owner: Owner<'_>, figure: &str, by: u64) {
        self.0.metrics.count(owner.rule, figure, owner.tenant, by);
    }

    fn set(&self, owner: Owner<'_>, figure: &str, value: f64) {
        self.0.metrics.set(owner.rule, figure, owner.tenant, value);
    }
}

fn keeper(owner: Owner<'_>) -> Keeper<'_> {
    Keeper { kind: ProgramKind::Rule, name: owner.rule }
}
