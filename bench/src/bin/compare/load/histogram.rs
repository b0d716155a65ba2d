//! Durations, counted by size: 64 classes for each power of two, so that a quantile is exact to a percent.

use std::time::Duration;

/// Values below this have a class of their own.
const FINE: u64 = 128;
/// The highest class: beyond 18 minutes.
const CLASSES: usize = class(1 << 40);

/// How often which duration was seen.
#[derive(Debug, Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    pub fn new() -> Self {
        Self { counts: vec![0; CLASSES + 1], total: 0 }
    }

    #[inline]
    pub fn record(&mut self, nanoseconds: u64) {
        self.counts[class(nanoseconds).min(CLASSES)] += 1;
        self.total += 1;
    }

    /// The duration that this share of all do not exceed; none where nothing was seen.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let rank = ((share * self.total as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let reached = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        reached.map(|class| Duration::from_nanos(middle(class)))
    }
}

/// Above [`FINE`] the seven leading bits count, and how many follow.
const fn class(value: u64) -> usize {
    if value < FINE {
        return value as usize;
    }
    let shift = FINE.leading_zeros() + 1 - value.leading_zeros();
    (shift as u64 * (FINE / 2) + (value >> shift)) as usize
}

fn middle(class: usize) -> u64 {
    let class = class as u64;
    if class < FINE {
        return class;
    }
    let shift = class / (FINE / 2) - 1;
    let leading = class - shift * (FINE / 2);
    (leading << shift) + (1 << shift) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_follow_each_other_without_a_gap() {
        let mut last = 0;
        for value in 1..100_000 {
            assert!(class(value) == last || class(value) == last + 1, "{value}");
            last = class(value);
        }
        assert!(class(u64::MAX) > CLASSES, "what is longer counts as the longest");
    }

    #[test]
    fn a_class_stands_for_its_values_to_a_percent() {
        for value in (0..63).flat_map(|bit| [1 << bit, (1 << bit) + (1 << bit) / 3]) {
            let error = middle(class(value)).abs_diff(value);
            assert!(error * 100 <= value, "{value} counts as {}", middle(class(value)));
        }
    }

    #[test]
    fn quantiles_are_ranks() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.quantile(0.5), None);
        (1..=100).for_each(|value| histogram.record(value));
        let at = |share| histogram.quantile(share).map(|it| it.as_nanos());
        assert_eq!(at(0.5), Some(50));
        assert_eq!(at(0.99), Some(99));
        assert_eq!(at(1.0), Some(100));
        assert_eq!(at(0.0), Some(1));
    }

    #[test]
    fn what_lasts_for_ever_is_counted_as_the_longest() {
        let mut histogram = Histogram::new();
        histogram.record(u64::MAX);
        assert!(histogram.quantile(0.5) >= Some(Duration::from_secs(1000)));
    }
}
