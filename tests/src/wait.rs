//! Waiting for what must happen, for as long as a busy machine may need.

use std::time::{Duration, Instant};

/// Far more than anything here takes; only a failing test waits this long.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// How often a condition is looked at that cannot wake anybody.
const INTERVAL: Duration = Duration::from_millis(10);

/// Asks until there is an answer.
///
/// # Panics
/// At the deadline, naming `what` did not happen.
pub fn wait_until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "did not happen in {DEADLINE:?}: {what}");
        std::thread::sleep(INTERVAL);
    }
}
