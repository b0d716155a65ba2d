//! The broker's own clock, which does not jump.

use std::time::Instant;

/// The time of tokio's clock, by which timers run: the system's, and in a simulation the simulation's.
#[inline]
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
