//! When a connection is to be looked after although nothing happens.

use std::pin::Pin;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::time::Sleep;

/// The moment of a wall-clock time, in milliseconds since 1970; what is past is now.
pub(super) fn from_now(milliseconds: u64) -> Instant {
    let moment = UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds));
    let left = moment.and_then(|moment| moment.duration_since(SystemTime::now()).ok());
    // Longer than any connection lasts.
    let longest = Duration::from_secs(100 * 365 * 24 * 3600);
    Instant::now() + left.unwrap_or_default().min(longest)
}

/// A timer that is set anew only when it has gone off or must go off sooner.
pub(super) struct Timer {
    pub(super) at: Instant,
    pub(super) sleep: Pin<Box<Sleep>>,
}

impl Timer {
    pub(super) fn new(at: Instant) -> Self {
        Self { at, sleep: Box::pin(tokio::time::sleep_until(at.into())) }
    }

    pub(super) fn reset(&mut self, at: Instant) {
        self.at = at;
        self.sleep.as_mut().reset(at.into());
    }
}
