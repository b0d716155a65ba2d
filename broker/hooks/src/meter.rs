//! What one version of a program has done at its step: answers, failures, time.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::{Answer, FailureKind, Places, StepFailure, VerdictKind};

/// Upper bounds of the histogram's buckets but the last, in microseconds.
pub const BUCKETS: [u64; 14] =
    [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 5_000, 10_000, 50_000, 250_000];

/// The account of one version at one step. It outlives pipelines, as long as the version is in force.
#[derive(Debug, Default)]
pub struct Meter(Places<Counts>);

#[derive(Debug, Default)]
struct Counts {
    verdicts: [AtomicU64; VerdictKind::ALL.len()],
    failures: [AtomicU64; FailureKind::ALL.len()],
    nanoseconds: AtomicU64,
    buckets: [AtomicU64; BUCKETS.len() + 1],
}

impl Meter {
    /// Counts an answer, or that there was none.
    #[inline]
    pub fn count<T: Answer>(&self, answer: &Result<T, StepFailure>) {
        let counts = self.0.own();
        match answer {
            Ok(answer) => counts.verdicts[answer.kind() as usize].fetch_add(1, Relaxed),
            Err(failure) => counts.failures[failure.kind as usize].fetch_add(1, Relaxed),
        };
    }

    /// Adds the time of a call. A call never waits, so that this is processor time on a machine that is
    /// not overloaded; connect steps that make requests do wait.
    #[inline]
    pub fn time(&self, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let counts = self.0.own();
        counts.nanoseconds.fetch_add(nanoseconds, Relaxed);
        let bucket = BUCKETS.iter().position(|&bound| nanoseconds <= bound * 1000);
        counts.buckets[bucket.unwrap_or(BUCKETS.len())].fetch_add(1, Relaxed);
    }

    pub fn verdicts(&self, kind: VerdictKind) -> u64 {
        self.sum(|counts| &counts.verdicts[kind as usize])
    }

    pub fn failures(&self, kind: FailureKind) -> u64 {
        self.sum(|counts| &counts.failures[kind as usize])
    }

    pub fn all_failures(&self) -> u64 {
        (0..FailureKind::ALL.len()).map(|kind| self.sum(|counts| &counts.failures[kind])).sum()
    }

    /// Answers and failures.
    pub fn calls(&self) -> u64 {
        let kinds = 0..VerdictKind::ALL.len();
        let answers: u64 = kinds.map(|kind| self.sum(|counts| &counts.verdicts[kind])).sum();
        answers + self.all_failures()
    }

    pub fn busy(&self) -> Duration {
        Duration::from_nanos(self.sum(|counts| &counts.nanoseconds))
    }

    /// Calls by how long they took, in the order of [`BUCKETS`] with those beyond at the end. Builtins
    /// are not timed.
    pub fn histogram(&self) -> [u64; BUCKETS.len() + 1] {
        std::array::from_fn(|bucket| self.sum(|counts| &counts.buckets[bucket]))
    }

    fn sum(&self, of: impl Fn(&Counts) -> &AtomicU64) -> u64 {
        self.0.iter().map(|counts| of(counts).load(Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DeliverVerdict;

    #[test]
    fn calls_are_counted_by_what_they_came_to_and_how_long_they_took() {
        let meter = Meter::default();
        meter.count(&Ok(DeliverVerdict::Pass));
        meter.count(&Ok(DeliverVerdict::Drop));
        meter.count(&Ok(DeliverVerdict::Drop));
        let failure = StepFailure::new(FailureKind::Timeout, "too long");
        meter.count::<DeliverVerdict>(&Err(failure));
        assert_eq!((meter.calls(), meter.all_failures()), (4, 1));
        assert_eq!(meter.verdicts(VerdictKind::Drop), 2);
        assert_eq!(meter.failures(FailureKind::Timeout), 1);
        for microseconds in [0, 1, 3, 400_000] {
            meter.time(Duration::from_micros(microseconds));
        }
        let histogram = meter.histogram();
        assert_eq!((histogram[0], histogram[2], histogram[BUCKETS.len()]), (2, 1, 1));
        assert_eq!(meter.busy(), Duration::from_micros(400_004));
    }
}
