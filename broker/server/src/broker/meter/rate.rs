//! A rate per second that many connections share: they look at the credit, pass something, and pay.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

const SECOND: u64 = 1_000_000_000;

/// From here on, time is counted in nanoseconds.
static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A rate, and a second's worth at once after a rest. Who finds credit may take more than there is, and
/// nobody passes anything until that is paid off.
#[derive(Debug, Default)]
pub(super) struct Rate {
    /// 0: no bound.
    per_second: AtomicU64,
    /// When all credit is back, which says all.
    full_at: AtomicU64,
}

impl Rate {
    /// A changed rate begins with all its credit.
    pub(super) fn set(&self, per_second: Option<u64>) {
        let per_second = per_second.unwrap_or(0);
        if self.per_second.swap(per_second, Relaxed) != per_second {
            self.full_at.store(0, Relaxed);
        }
    }

    pub(super) fn is_bounded(&self) -> bool {
        self.per_second.load(Relaxed) > 0
    }

    /// How much may pass now.
    pub(super) fn credit(&self, now: Instant) -> u64 {
        let per_second = self.per_second.load(Relaxed);
        if per_second == 0 {
            return u64::MAX;
        }
        let used = self.full_at.load(Relaxed).saturating_sub(since_beginning(now));
        let credit = u128::from(SECOND.saturating_sub(used)) * u128::from(per_second);
        u64::try_from(credit / u128::from(SECOND)).unwrap_or(u64::MAX)
    }

    /// Pays for what has passed.
    pub(super) fn charge(&self, count: u64, now: Instant) {
        let per_second = self.per_second.load(Relaxed);
        if per_second > 0 && count > 0 {
            let (now, cost) = (since_beginning(now), cost(count, per_second));
            let pay = |full_at: u64| Some(full_at.max(now).saturating_add(cost));
            // It always has an answer, so it does not fail.
            let _ = self.full_at.fetch_update(Relaxed, Relaxed, pay);
        }
    }

    /// Passes one, if there is credit for it.
    pub(super) fn take(&self, now: Instant) -> bool {
        let per_second = self.per_second.load(Relaxed);
        if per_second == 0 {
            return true;
        }
        let (now, cost) = (since_beginning(now), cost(1, per_second));
        let pay = |full_at: u64| {
            let full_at = full_at.max(now).saturating_add(cost);
            (full_at <= now.saturating_add(SECOND)).then_some(full_at)
        };
        self.full_at.fetch_update(Relaxed, Relaxed, pay).is_ok()
    }

    /// How long it takes until there is credit for one.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        let per_second = self.per_second.load(Relaxed);
        if per_second == 0 {
            return Duration::ZERO;
        }
        let full_at = self.full_at.load(Relaxed).saturating_add(cost(1, per_second));
        Duration::from_nanos(full_at.saturating_sub(SECOND + since_beginning(now)))
    }
}

/// Nanoseconds in which the credit for `count` comes back.
fn cost(count: u64, per_second: u64) -> u64 {
    let cost = u128::from(count) * u128::from(SECOND) / u128::from(per_second);
    u64::try_from(cost).unwrap_or(u64::MAX)
}

fn since_beginning(now: Instant) -> u64 {
    let since = now.saturating_duration_since(*BEGINNING).as_nanos();
    u64::try_from(since).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_second: u64) -> (Rate, Instant) {
        let rate = Rate::default();
        rate.set(Some(per_second));
        (rate, *BEGINNING + Duration::from_secs(5))
    }

    #[test]
    fn a_seconds_worth_passes_at_once_and_then_the_rate() {
        for per_second in [1, 3, 7, 1000, 7001] {
            let (rate, mut now) = rate(per_second);
            assert_eq!((0..10_000).filter(|_| rate.take(now)).count() as u64, per_second);
            assert_eq!(rate.credit(now), 0);
            now += rate.wait(now);
            assert!(rate.take(now) && !rate.take(now), "{per_second}");
            now += Duration::from_secs(100);
            assert_eq!(rate.credit(now), per_second, "a long rest gives no more than a short one");
        }
    }

    #[test]
    fn what_was_taken_beyond_the_credit_is_paid_off_first() {
        let (rate, now) = rate(100);
        rate.charge(350, now);
        assert_eq!(rate.credit(now + Duration::from_millis(2500)), 0);
        assert_eq!(rate.credit(now + Duration::from_secs(3)), 50);
        rate.set(Some(1000));
        assert_eq!(rate.credit(now), 1000, "a new rate knows no old debts");
        rate.set(None);
        assert_eq!(rate.credit(now), u64::MAX);
    }

    #[test]
    fn no_number_is_too_great() {
        let (rate, now) = rate(1_000_000_000_000);
        assert_eq!(rate.credit(now), 1_000_000_000_000);
        rate.charge(u64::MAX, now);
        assert_eq!(rate.credit(now), 0);
        rate.charge(u64::MAX, now);
        assert!(!rate.take(now));
    }
}
