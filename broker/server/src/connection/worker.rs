//! How busy the worker thread is that polls a connection.

use std::cell::Cell;

thread_local! {
    static TURNS: Cell<u32> = const { Cell::new(0) };
}

/// Turns without a rest from which on a worker counts as busy.
const BUSY: u32 = 16;

/// Counts a turn, and says whether the worker has taken many since it last had nothing to do.
pub fn is_busy() -> bool {
    TURNS.with(|turns| {
        let taken = turns.get().saturating_add(1);
        turns.set(taken);
        taken > BUSY
    })
}

/// To be called when a worker thread has nothing to do and goes to sleep.
pub fn rest() {
    TURNS.with(|turns| turns.set(0));
}
