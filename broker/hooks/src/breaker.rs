//! A circuit breaker for each tenant of a step: one that fails again and again is left alone for a while.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// When a breaker opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerOptions {
    /// So many failures within `window` open it.
    pub failures: u32,
    /// So do a few of them that took so long together.
    pub failing_time: Duration,
    pub window: Duration,
    /// How long it is open at first; each failure of the call that tries again doubles it.
    pub backoff: Duration,
    pub longest_backoff: Duration,
}

impl Default for BreakerOptions {
    fn default() -> Self {
        Self {
            failures: 20,
            failing_time: Duration::from_millis(100),
            window: Duration::from_secs(10),
            backoff: Duration::from_secs(1),
            longest_backoff: Duration::from_secs(60),
        }
    }
}

/// Less may be a machine that stood still for a moment.
const FEW_FAILURES: u32 = 3;

/// A change that operators want to know of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerChange {
    /// The step is not asked for the tenant until the time is over.
    Opened(Duration),
    /// The step answers again.
    Closed,
}

/// The breakers of one version at one step, by tenant. One tenant's failures are not another's, so that
/// nobody can turn a step off for others.
#[derive(Debug, Default)]
pub struct Breakers {
    options: BreakerOptions,
    /// Tenants with failures that still count; mostly 0, and then nothing is looked up.
    troubled: AtomicUsize,
    tenants: Mutex<HashMap<Arc<str>, Trouble>>,
}

#[derive(Debug)]
struct Trouble {
    failures: u32,
    /// How long they took together.
    time: Duration,
    /// When the first of them was.
    since: Instant,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    until: Instant,
    backoff: Duration,
    /// A call has been let through to see whether it is over.
    trying: bool,
}

impl Breakers {
    pub fn new(options: BreakerOptions) -> Self {
        Self { options, ..Self::default() }
    }

    /// Whether the step may be asked for the tenant.
    #[inline]
    pub fn admits(&self, tenant: &str, now: Instant) -> bool {
        self.troubled.load(Ordering::Relaxed) == 0 || self.admits_troubled(tenant, now)
    }

    #[cold]
    fn admits_troubled(&self, tenant: &str, now: Instant) -> bool {
        let mut tenants = self.tenants.lock();
        let Some(open) = tenants.get_mut(tenant).and_then(|trouble| trouble.open.as_mut()) else {
            return true;
        };
        if now < open.until {
            return false;
        }
        // Who tries may never tell how it went; after as long again another one tries.
        (open.until, open.trying) = (now + open.backoff, true);
        true
    }

    /// Whether failures for the tenant still count: the next call, too, may take all that it is given.
    #[inline]
    pub fn suspects(&self, tenant: &str) -> bool {
        self.troubled.load(Ordering::Relaxed) != 0 && self.tenants.lock().contains_key(tenant)
    }

    /// Takes account of a call that was admitted, and ended `now` after it `took` so long.
    #[inline]
    pub fn record(
        &self,
        tenant: &str,
        failed: bool,
        took: Duration,
        now: Instant,
    ) -> Option<BreakerChange> {
        match failed {
            true => self.record_failure(tenant, took, now),
            false if self.troubled.load(Ordering::Relaxed) == 0 => None,
            false => self.record_success(tenant, now),
        }
    }

    #[cold]
    fn record_success(&self, tenant: &str, now: Instant) -> Option<BreakerChange> {
        let mut tenants = self.tenants.lock();
        let trouble = tenants.get(tenant)?;
        let closes = trouble.open.as_ref().is_some_and(|open| open.trying);
        let over = trouble.open.is_none() && now >= trouble.since + self.options.window;
        if closes || over {
            tenants.remove(tenant);
            self.troubled.store(tenants.len(), Ordering::Relaxed);
        }
        closes.then_some(BreakerChange::Closed)
    }

    #[cold]
    fn record_failure(&self, tenant: &str, took: Duration, now: Instant) -> Option<BreakerChange> {
        let options = &self.options;
        let mut tenants = self.tenants.lock();
        if !tenants.contains_key(tenant) {
            let trouble = Trouble { failures: 0, time: Duration::ZERO, since: now, open: None };
            tenants.insert(tenant.into(), trouble);
            self.troubled.store(tenants.len(), Ordering::Relaxed);
        }
        let trouble = tenants.get_mut(tenant)?;
        if let Some(open) = &mut trouble.open {
            // Calls that were under way when it opened say nothing new.
            if !open.trying {
                return None;
            }
            open.backoff = (open.backoff * 2).min(options.longest_backoff);
            (open.until, open.trying) = (now + open.backoff, false);
            return Some(BreakerChange::Opened(open.backoff));
        }
        if now >= trouble.since + options.window {
            *trouble = Trouble { failures: 0, time: Duration::ZERO, since: now, open: None };
        }
        trouble.failures += 1;
        trouble.time += took;
        let costly = trouble.failures >= FEW_FAILURES && trouble.time >= options.failing_time;
        if trouble.failures < options.failures && !costly {
            return None;
        }
        let backoff = options.backoff;
        trouble.open = Some(Open { until: now + backoff, backoff, trying: false });
        Some(BreakerChange::Opened(backoff))
    }

    /// The tenants whose breaker is open.
    pub fn open(&self) -> Vec<Arc<str>> {
        let tenants = self.tenants.lock();
        let open = tenants.iter().filter(|(_, trouble)| trouble.open.is_some());
        let mut open: Vec<_> = open.map(|(tenant, _)| tenant.clone()).collect();
        open.sort();
        open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const INSTANT: Duration = Duration::ZERO;

    fn breakers() -> Breakers {
        Breakers::new(BreakerOptions {
            failures: 4,
            failing_time: SECOND,
            window: 10 * SECOND,
            backoff: SECOND,
            longest_backoff: 3 * SECOND,
        })
    }

    #[test]
    fn so_many_failures_in_a_window_open_it_for_this_tenant_alone() {
        let (breakers, now) = (breakers(), Instant::now());
        for _ in 0..3 {
            assert_eq!(breakers.record("a", true, INSTANT, now), None);
        }
        // The window is over, and with it the count.
        assert_eq!(breakers.record("a", true, INSTANT, now + 10 * SECOND), None);
        assert_eq!(breakers.record("a", false, INSTANT, now + 11 * SECOND), None);
        for _ in 0..2 {
            assert_eq!(breakers.record("a", true, INSTANT, now + 12 * SECOND), None);
        }
        let opened = breakers.record("a", true, INSTANT, now + 13 * SECOND);
        assert_eq!(opened, Some(BreakerChange::Opened(SECOND)));
        assert!(!breakers.admits("a", now + 13 * SECOND));
        assert!(breakers.admits("b", now + 13 * SECOND));
        assert_eq!(breakers.open(), [Arc::from("a")]);
    }

    #[test]
    fn a_few_that_took_long_open_it_as_well() {
        let (breakers, now) = (breakers(), Instant::now());
        for tenant in ["a", "b"] {
            assert!(!breakers.suspects(tenant));
            assert_eq!(breakers.record(tenant, true, 2 * SECOND, now), None);
            assert!(breakers.suspects(tenant), "it may take as long again");
            assert_eq!(breakers.record(tenant, true, INSTANT, now), None);
        }
        let opened = Some(BreakerChange::Opened(SECOND));
        assert_eq!(breakers.record("a", true, INSTANT, now), opened);
        // The time that they took is forgotten with them.
        for _ in 0..3 {
            assert_eq!(breakers.record("b", true, INSTANT, now + 10 * SECOND), None);
        }
    }

    #[test]
    fn one_call_tries_again_and_decides() {
        let (breakers, mut now) = (breakers(), Instant::now());
        for _ in 0..4 {
            breakers.record("a", true, INSTANT, now);
        }
        for backoff in [2, 3, 3] {
            now += 10 * SECOND;
            assert!(breakers.admits("a", now));
            assert!(!breakers.admits("a", now), "one at a time");
            let opened = Some(BreakerChange::Opened(backoff * SECOND));
            assert_eq!(breakers.record("a", true, INSTANT, now), opened);
            assert!(!breakers.admits("a", now + (backoff - 1) * SECOND));
        }
        now += 10 * SECOND;
        assert!(breakers.admits("a", now));
        assert_eq!(breakers.record("a", false, INSTANT, now), Some(BreakerChange::Closed));
        assert!(breakers.admits("a", now) && breakers.open().is_empty());
    }

    #[test]
    fn a_call_that_tries_and_never_tells_keeps_the_next_from_trying_no_longer_than_the_backoff() {
        let (breakers, now) = (breakers(), Instant::now());
        for _ in 0..4 {
            breakers.record("a", true, INSTANT, now);
        }
        assert!(breakers.admits("a", now + SECOND) && !breakers.admits("a", now + SECOND));
        assert!(breakers.admits("a", now + 2 * SECOND));
        assert_eq!(
            breakers.record("a", false, INSTANT, now + 2 * SECOND),
            Some(BreakerChange::Closed)
        );
    }

    #[test]
    fn what_was_under_way_when_it_opened_changes_nothing() {
        let (breakers, now) = (breakers(), Instant::now());
        for _ in 0..4 {
            breakers.record("a", true, INSTANT, now);
        }
        assert_eq!(breakers.record("a", true, INSTANT, now), None);
        assert_eq!(breakers.record("a", false, INSTANT, now), None);
        assert!(!breakers.admits("a", now));
    }

    #[test]
    fn trouble_that_is_over_is_forgotten() {
        let (breakers, now) = (breakers(), Instant::now());
        breakers.record("a", true, INSTANT, now);
        breakers.record("a", false, INSTANT, now + 10 * SECOND);
        assert_eq!(breakers.troubled.load(Ordering::Relaxed), 0);
    }
}
