//! A token bucket: a rate per second, and a second's worth at once.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// How much may come at once after a rest.
pub(super) const BURST: Duration = Duration::from_secs(1);

/// Kept as the time at which the bucket is full again, which says all.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    full_at: Instant,
}

impl Bucket {
    pub(super) fn full(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Takes a token, if there is one.
    pub(super) fn take(&mut self, per_second: NonZeroU32, now: Instant) -> bool {
        let full_at = self.full_at.max(now) + BURST / per_second.get();
        let has_one = full_at <= now + BURST;
        if has_one {
            self.full_at = full_at;
        }
        has_one
    }

    /// Whether it is as good as new.
    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_a_seconds_worth_at_once_and_then_its_rate() {
        let mut now = Instant::now();
        for rate in [1, 3, 7, 1000] {
            let rate = NonZeroU32::new(rate).unwrap();
            let mut bucket = Bucket::full(now);
            let taken = (0..5000).filter(|_| bucket.take(rate, now)).count();
            assert_eq!(taken, rate.get() as usize);
            assert!(!bucket.is_full(now));
            now += BURST / rate.get();
            assert!(bucket.take(rate, now), "one has come back");
            assert!(!bucket.take(rate, now));
            now += BURST * 100;
            assert!(bucket.is_full(now));
            let taken = (0..5000).filter(|_| bucket.take(rate, now)).count();
            assert_eq!(taken, rate.get() as usize, "a long rest gives no more than a short one");
        }
    }
}
