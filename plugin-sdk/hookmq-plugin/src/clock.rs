//! Time. Needs the capability `clock`.

use std::time::Duration;

/// Milliseconds since 1970, UTC. May jump where the operator sets the machine's clock.
pub fn now() -> u64 {
    crate::host::clock::now()
}

/// Microseconds since a moment of the broker's choice. Never goes back.
pub fn monotonic() -> u64 {
    crate::host::clock::monotonic()
}

/// [`monotonic`] as a `Duration`, for what is measured rather than kept.
pub fn elapsed() -> Duration {
    Duration::from_micros(monotonic())
}
