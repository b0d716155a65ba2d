//! The call that runs on this thread: its deadline, what it has emitted, how much it has logged.
//!
//! Rhai hands no state of the caller to a progress callback, and a call never leaves its thread, so
//! this state belongs to the thread.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use hookmq_hooks::Emission;
use rhai::{Dynamic, EvalAltResult, Position};

use crate::fault::{Fallible, too_large};

/// Microseconds since any fixed instant, never going back.
pub type Clock = fn() -> u64;

/// Microseconds that count between two looks at the clock. What is longer than the work in between
/// can be, the operating system took: a rule does not fail because its thread had to wait.
const LONGEST_STRETCH: u64 = 2_000;

thread_local! {
    static CALL: Call = const { Call::new() };
}

struct Call {
    clock: Cell<Clock>,
    /// Microseconds that the call may still take.
    left: Cell<u64>,
    /// When the clock was last read. Short calls end before it ever is, which keeps them fast.
    last: Cell<Option<u64>>,
    emitted: RefCell<Vec<Emission>>,
    log_lines: Cell<usize>,
    expectations: Cell<usize>,
}

impl Call {
    const fn new() -> Self {
        Self {
            clock: Cell::new(stopped_clock),
            left: Cell::new(0),
            last: Cell::new(None),
            emitted: RefCell::new(Vec::new()),
            log_lines: Cell::new(0),
            expectations: Cell::new(0),
        }
    }

    fn is_overdue(&self) -> bool {
        let now = self.clock.get()();
        let since = now.saturating_sub(self.last.replace(Some(now)).unwrap_or(now));
        match self.left.get().checked_sub(since.min(LONGEST_STRETCH)) {
            Some(left) => {
                self.left.set(left);
                false
            }
            None => true,
        }
    }
}

/// Starts the account of a new call.
pub(crate) fn begin(clock: Clock, allowed: Duration) {
    CALL.with(|call| {
        call.clock.set(clock);
        call.left.set(u64::try_from(allowed.as_micros()).unwrap_or(u64::MAX));
        call.last.set(None);
        call.emitted.borrow_mut().clear();
        call.log_lines.set(0);
        call.expectations.set(0);
    });
}

/// Asked by the engine after each operation; looks at the clock at every sixteenth.
#[inline]
pub(crate) fn progress(operations: u64) -> Option<Dynamic> {
    (operations.is_multiple_of(16) && CALL.with(Call::is_overdue)).then_some(Dynamic::UNIT)
}

/// Looks at the clock, for functions of ours whose work grows with their argument.
pub(crate) fn check_deadline() -> Fallible<()> {
    match CALL.with(Call::is_overdue) {
        true => Err(EvalAltResult::ErrorTerminated(Dynamic::UNIT, Position::NONE).into()),
        false => Ok(()),
    }
}

/// Keeps `emission` for the answer of the call.
pub(crate) fn emit(emission: Emission, most: usize, most_bytes: usize) -> Fallible<()> {
    CALL.with(|call| {
        let mut emitted = call.emitted.borrow_mut();
        let size = |it: &Emission| it.topic.len() + it.payload.len();
        let total = emitted.iter().map(size).sum::<usize>() + size(&emission);
        if emitted.len() >= most || total > most_bytes {
            return Err(too_large("what one call emits"));
        }
        emitted.push(emission);
        Ok(())
    })
}

/// What the call has emitted since `begin` or since this was last asked.
pub(crate) fn take_emitted() -> Vec<Emission> {
    CALL.with(|call| call.emitted.take())
}

/// Whether the call may log one more line.
pub(crate) fn may_log(most: usize) -> bool {
    CALL.with(|call| {
        let lines = call.log_lines.get();
        call.log_lines.set(lines.saturating_add(1));
        lines < most
    })
}

/// Notes that a test has expected something.
pub(crate) fn count_expectation() {
    CALL.with(|call| call.expectations.set(call.expectations.get() + 1));
}

pub(crate) fn expectations() -> usize {
    CALL.with(|call| call.expectations.get())
}

/// For targets without a clock, where the host ends a call that takes too long.
fn stopped_clock() -> u64 {
    0
}

#[cfg(not(target_family = "wasm"))]
pub(crate) fn monotonic_clock() -> u64 {
    use std::sync::OnceLock;
    use std::time::Instant;

    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_micros()).unwrap_or(u64::MAX)
}

#[cfg(target_family = "wasm")]
pub(crate) use stopped_clock as monotonic_clock;
