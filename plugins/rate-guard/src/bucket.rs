//! Token buckets by the monotonic clock.

use std::collections::HashMap;

/// Buckets of one instance, of 24 bytes each. At the bound those that are full again go, as a full
/// bucket is like none; then the half that was used longest ago.
const MAX_BUCKETS: usize = 16_384;

/// How much may pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    pub per_second: f64,
    /// What may pass at once after a pause; at least 1.
    pub burst: f64,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    /// Microseconds of the monotonic clock.
    at: u64,
    full_at: u64,
}

impl Bucket {
    fn full(rate: Rate, now: u64) -> Self {
        Self { tokens: rate.burst, at: now, full_at: now }
    }

    /// Whether there was a token to take.
    fn take(&mut self, rate: Rate, now: u64) -> bool {
        let seconds = now.saturating_sub(self.at) as f64 / 1e6;
        self.tokens = (self.tokens + seconds * rate.per_second).min(rate.burst);
        self.at = now.max(self.at);
        let took = self.tokens >= 1.0;
        if took {
            self.tokens -= 1.0;
        }
        let missing = (rate.burst - self.tokens) / rate.per_second;
        self.full_at = self.at.saturating_add((missing * 1e6) as u64);
        took
    }
}

/// The buckets of all clients, by a hash of whom and what they bound: as many bytes for a long client
/// id as for a short one.
#[derive(Debug, Default)]
pub struct Buckets(HashMap<u64, Bucket>);

impl Buckets {
    /// Whether one more may pass now.
    pub fn take(&mut self, key: u64, rate: Rate, now: u64) -> bool {
        if self.0.len() >= MAX_BUCKETS && !self.0.contains_key(&key) {
            self.make_room(now);
        }
        self.0.entry(key).or_insert_with(|| Bucket::full(rate, now)).take(rate, now)
    }

    fn make_room(&mut self, now: u64) {
        self.0.retain(|_, bucket| bucket.full_at > now);
        if self.0.len() < MAX_BUCKETS {
            return;
        }
        let mut times: Vec<u64> = self.0.values().map(|bucket| bucket.at).collect();
        let half = times.len() / 2;
        let (_, median, _) = times.select_nth_unstable(half);
        let median = *median;
        self.0.retain(|_, bucket| bucket.at > median);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 2.0, burst: 3.0 };
    const SECOND: u64 = 1_000_000;

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let mut buckets = Buckets::default();
        let passed =
            |buckets: &mut Buckets, now| (0..10).filter(|_| buckets.take(1, RATE, now)).count();
        assert_eq!(passed(&mut buckets, 0), 3);
        assert_eq!(passed(&mut buckets, SECOND), 2);
        assert_eq!(passed(&mut buckets, SECOND + SECOND / 4), 0);
        assert_eq!(passed(&mut buckets, SECOND + SECOND / 2), 1);
        assert_eq!(passed(&mut buckets, 1000 * SECOND), 3, "no more than a burst is saved up");
        assert_eq!(passed(&mut buckets, 0), 0, "a clock that goes back gives nothing");
        assert_eq!(passed(&mut buckets, u64::MAX), 3);
    }

    #[test]
    fn buckets_are_bounded_and_the_busy_ones_stay() {
        let mut buckets = Buckets::default();
        for key in 0..MAX_BUCKETS as u64 {
            assert!(buckets.take(key, RATE, key));
        }
        let last = MAX_BUCKETS as u64 - 1;
        while buckets.take(last, RATE, last) {}
        assert!(buckets.take(u64::MAX, RATE, last));
        assert!(buckets.0.len() <= MAX_BUCKETS / 2 + 1);
        assert!(!buckets.take(last, RATE, last), "its burst was not given back");
        for key in 0..MAX_BUCKETS as u64 {
            buckets.take(key, RATE, 100 * SECOND);
        }
        assert!(buckets.0.len() <= MAX_BUCKETS, "buckets that are full again make room");
    }

    #[test]
    fn buckets_with_the_same_time_make_room_for_each_other() {
        let mut buckets = Buckets::default();
        for key in 0..3 * MAX_BUCKETS as u64 {
            assert!(buckets.take(key, RATE, 7));
            assert!(buckets.0.len() <= MAX_BUCKETS);
        }
    }
}
