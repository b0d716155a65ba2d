//! Time on disk: the wall clock, which may jump, beside the broker's own, which does not.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct UnixMillis(pub u64);

/// One moment on both clocks, to translate between them. All arithmetic stops at the clocks' ends.
#[derive(Debug, Clone, Copy)]
pub struct WallClock {
    pub instant: Instant,
    pub unix: UnixMillis,
}

/// What is asked in place of the system's clocks, where something is.
static SIMULATED: OnceLock<fn() -> WallClock> = OnceLock::new();

/// Has `clock` be asked for the time from now on, in the whole process and for good: for simulations.
/// The first who says so is heeded.
pub fn simulate_clock(clock: fn() -> WallClock) {
    SIMULATED.get_or_init(|| clock);
}

impl WallClock {
    pub fn now() -> Self {
        match SIMULATED.get() {
            Some(clock) => clock(),
            None => Self { instant: Instant::now(), unix: UnixMillis::now() },
        }
    }

    pub fn unix(&self, at: Instant) -> UnixMillis {
        match at.checked_duration_since(self.instant) {
            Some(ahead) => self.unix.after(ahead),
            None => UnixMillis(self.unix.0.saturating_sub(millis(self.instant - at))),
        }
    }

    /// When something ends that was to last from `began` until `ends`, both as a clock showed them
    /// that may have been set since. It lasts no longer from now on than it was to last at all.
    pub fn instant(&self, began: UnixMillis, ends: UnixMillis) -> Option<Instant> {
        self.instant.checked_add(ends.left(began, self.unix))
    }
}

impl UnixMillis {
    /// The time by the wall clock as it stood when the process first asked, and by its own clock since:
    /// while it runs, nothing lasts longer or shorter because a clock is set.
    pub fn now() -> Self {
        static FIRST: OnceLock<WallClock> = OnceLock::new();
        if let Some(clock) = SIMULATED.get() {
            return clock().unix;
        }
        let first = FIRST.get_or_init(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            WallClock { instant: Instant::now(), unix: Self(millis(since)) }
        });
        first.unix(Instant::now())
    }

    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }

    /// What is left at `now` of the time from `began` to this end: nothing when it is past, and all of
    /// it when the clock says that it has not begun, for then the clock was set back.
    pub fn left(self, began: Self, now: Self) -> Duration {
        let whole = self.0.saturating_sub(began.0);
        Duration::from_millis(self.0.saturating_sub(now.0).min(whole))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_clock_that_was_set_back_prolongs_nothing_beyond_its_whole_time() {
        let began = UnixMillis(10_000_000);
        let ends = began.after(HOUR);
        assert_eq!(ends.left(began, began.after(HOUR / 4)), HOUR * 3 / 4);
        assert_eq!(ends.left(began, UnixMillis(0)), HOUR);
        assert_eq!(ends.left(began, ends.after(HOUR)), Duration::ZERO);
    }

    #[test]
    fn instants_and_the_wall_clock_translate_into_each_other_and_clamp() {
        let clock = WallClock { instant: Instant::now(), unix: UnixMillis(5_000) };
        let later = clock.instant + Duration::from_secs(2);
        assert_eq!(clock.unix(later), UnixMillis(7_000));
        assert_eq!(clock.instant(UnixMillis(5_000), UnixMillis(7_000)), Some(later));
        let long_ago = clock.instant.checked_sub(HOUR);
        assert!(long_ago.is_none_or(|it| clock.unix(it) == UnixMillis(0)));
        assert_eq!(UnixMillis(u64::MAX).after(HOUR), UnixMillis(u64::MAX));
    }
}
