//! In place of `clock.rs`. The model has no time: it is always now.

use std::sync::OnceLock;
use std::time::Instant;

pub(crate) fn now() -> Instant {
    static NOW: OnceLock<Instant> = OnceLock::new();
    *NOW.get_or_init(Instant::now)
}
