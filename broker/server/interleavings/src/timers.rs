//! In place of the broker's timers: what is set, and is due when a test says so.

use std::sync::Weak;
use std::time::Instant;

use super::session_handle::SessionHandle;
use super::sync::Mutex;

/// As the broker's.
#[derive(Debug)]
pub struct Event {
    pub session: Weak<SessionHandle>,
    pub epoch: u32,
    pub ends_session: bool,
}

#[derive(Debug, Default)]
pub struct Timers(Mutex<Vec<Event>>);

impl Timers {
    pub fn at(&self, _at: Instant, event: Event) {
        self.0.lock().push(event);
    }

    pub(super) fn take(&self) -> Vec<Event> {
        std::mem::take(&mut *self.0.lock())
    }
}
