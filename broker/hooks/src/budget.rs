//! What one tenant's steps may use in a second.

use std::num::NonZeroU32;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Bounds per second; none where there is no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TenantRates {
    /// Calls of plugins and rules.
    pub calls: Option<NonZeroU32>,
    /// Milliseconds that plugins and rules run, on all workers together.
    pub busy_ms: Option<NonZeroU32>,
    /// Messages that plugins and rules make.
    pub emitted: Option<NonZeroU32>,
}

/// The account of one tenant, shared by its clients. A second begins with the first use after the one
/// before is over.
#[derive(Debug)]
pub struct TenantBudget {
    /// Whether there is any bound.
    limited: AtomicBool,
    /// 0: no bound.
    most_calls: AtomicU32,
    most_busy_ms: AtomicU32,
    most_emitted: AtomicU32,
    /// The first use; there are clients where there is no clock.
    begun: OnceLock<Instant>,
    /// Microseconds from `begun` to the present second's beginning.
    second: AtomicU64,
    calls: AtomicU32,
    busy_us: AtomicU64,
    emitted: AtomicU32,
    throttled: AtomicU64,
}

impl Default for TenantBudget {
    fn default() -> Self {
        Self::new(TenantRates::default())
    }
}

impl TenantBudget {
    pub fn new(rates: TenantRates) -> Self {
        let budget = Self {
            limited: AtomicBool::new(false),
            most_calls: AtomicU32::new(0),
            most_busy_ms: AtomicU32::new(0),
            most_emitted: AtomicU32::new(0),
            begun: OnceLock::new(),
            second: AtomicU64::new(0),
            calls: AtomicU32::new(0),
            busy_us: AtomicU64::new(0),
            emitted: AtomicU32::new(0),
            throttled: AtomicU64::new(0),
        };
        budget.set_rates(rates);
        budget
    }

    /// Counts from now on, in the second that has begun, too.
    pub fn set_rates(&self, rates: TenantRates) {
        let or_zero = |bound: Option<NonZeroU32>| bound.map_or(0, NonZeroU32::get);
        self.most_calls.store(or_zero(rates.calls), Relaxed);
        self.most_busy_ms.store(or_zero(rates.busy_ms), Relaxed);
        self.most_emitted.store(or_zero(rates.emitted), Relaxed);
        self.limited.store(rates != TenantRates::default(), Relaxed);
    }

    /// Whether one more call may be made now.
    #[inline]
    pub fn admits_call(&self, now: Instant) -> bool {
        !self.limited.load(Relaxed) || self.admits_counted(now)
    }

    fn admits_counted(&self, now: Instant) -> bool {
        self.turn(now);
        let calls = self.calls.fetch_add(1, Relaxed);
        let bound = |most: &AtomicU32| NonZeroU32::new(most.load(Relaxed));
        let too_many = bound(&self.most_calls).is_some_and(|most| calls >= most.get());
        let too_long = bound(&self.most_busy_ms)
            .is_some_and(|most| self.busy_us.load(Relaxed) >= u64::from(most.get()) * 1000);
        if too_many || too_long {
            self.throttled.fetch_add(1, Relaxed);
        }
        !(too_many || too_long)
    }

    /// Adds the time of a call.
    #[inline]
    pub fn charge(&self, took: Duration) {
        if self.most_busy_ms.load(Relaxed) > 0 {
            let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            self.busy_us.fetch_add(microseconds, Relaxed);
        }
    }

    /// Whether so many messages more may be made now.
    #[inline]
    pub fn admits_emitted(&self, count: usize, now: Instant) -> bool {
        let most = NonZeroU32::new(self.most_emitted.load(Relaxed));
        let Some(most) = most.filter(|_| count > 0) else { return true };
        self.turn(now);
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let before = self.emitted.fetch_add(count, Relaxed);
        let admits = before.saturating_add(count) <= most.get();
        if !admits {
            self.emitted.fetch_sub(count, Relaxed);
            self.throttled.fetch_add(1, Relaxed);
        }
        admits
    }

    /// Answers that were not asked for, or not carried out, because a bound was reached.
    pub fn throttled(&self) -> u64 {
        self.throttled.load(Relaxed)
    }

    /// Begins a new second where the present one is over.
    fn turn(&self, now: Instant) {
        let now = now.saturating_duration_since(*self.begun.get_or_init(|| now)).as_micros();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        let second = self.second.load(Relaxed);
        if now >= second + 1_000_000
            && self.second.compare_exchange(second, now, Relaxed, Relaxed).is_ok()
        {
            self.calls.store(0, Relaxed);
            self.busy_us.store(0, Relaxed);
            self.emitted.store(0, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(calls: u32, busy_ms: u32, emitted: u32) -> TenantBudget {
        TenantBudget::new(TenantRates {
            calls: NonZeroU32::new(calls),
            busy_ms: NonZeroU32::new(busy_ms),
            emitted: NonZeroU32::new(emitted),
        })
    }

    #[test]
    fn calls_are_bounded_in_each_second() {
        let (budget, begun) = (budget(3, 0, 0), Instant::now());
        for second in 0..3 {
            let now = begun + Duration::from_secs(second);
            let admitted = (0..5).filter(|_| budget.admits_call(now)).count();
            assert_eq!(admitted, 3);
        }
        assert_eq!(budget.throttled(), 6);
    }

    #[test]
    fn time_is_bounded_in_each_second() {
        let budget = budget(0, 10, 0);
        let now = Instant::now();
        assert!(budget.admits_call(now));
        budget.charge(Duration::from_millis(10));
        assert!(!budget.admits_call(now));
        assert!(budget.admits_call(now + Duration::from_secs(1)));
    }

    #[test]
    fn messages_are_made_all_or_none() {
        let budget = budget(0, 0, 5);
        let now = Instant::now();
        assert!(budget.admits_emitted(3, now));
        assert!(!budget.admits_emitted(3, now));
        assert!(budget.admits_emitted(2, now));
        assert!(budget.admits_emitted(0, now));
        assert!(budget.admits_emitted(5, now + Duration::from_secs(1)));
    }

    #[test]
    fn changed_rates_count_from_the_next_call_on() {
        let (budget, now) = (budget(1, 0, 0), Instant::now());
        assert!(budget.admits_call(now) && !budget.admits_call(now));
        budget.set_rates(TenantRates { calls: NonZeroU32::new(4), ..TenantRates::default() });
        // Those that were refused have been counted, too.
        assert!(budget.admits_call(now) && budget.admits_call(now) && !budget.admits_call(now));
        budget.set_rates(TenantRates::default());
        assert!((0..100).all(|_| budget.admits_call(now)));
    }

    #[test]
    fn without_bounds_everything_is_admitted() {
        let budget = TenantBudget::default();
        let now = Instant::now();
        assert!((0..1000).all(|_| budget.admits_call(now) && budget.admits_emitted(1000, now)));
    }
}
