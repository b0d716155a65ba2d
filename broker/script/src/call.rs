//! The call that runs on this thread: its deadline, what it has emitted, what it has used of the host.
//!
//! Rhai hands no state of the caller to a progress callback, and a call never leaves its thread, so
//! this state belongs to the thread.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use hookmq_hooks::Emission;
use rhai::{Dynamic, EvalAltResult, Position};

use crate::fault::{Fallible, fault, too_large};
use crate::host::RuleHost;
use crate::test_kit::pretence::Pretence;

/// Microseconds since any fixed instant, never going back.
pub type Clock = fn() -> u64;

/// Microseconds that count between two looks at the clock. What is longer than the work in between
/// can be, the operating system took: a rule does not fail because its thread had to wait.
const LONGEST_STRETCH: u64 = 2_000;

thread_local! {
    static CALL: Call = const { Call::new() };
}

/// On whose behalf a call runs, which says what it gets of the host.
pub(crate) enum Setting {
    /// Constants are worked out before there is anybody.
    Constants,
    /// The tenant of a client; empty where none is known yet.
    Tenant(Arc<str>),
    /// A test, with a host of its own.
    Test(Pretence),
}

struct Call {
    setting: RefCell<Setting>,
    /// Milliseconds since 1970, once the call has asked.
    now: Cell<Option<u64>>,
    host_calls: Cell<usize>,
    compilations: Cell<usize>,
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
            setting: RefCell::new(Setting::Constants),
            now: Cell::new(None),
            host_calls: Cell::new(0),
            compilations: Cell::new(0),
            clock: Cell::new(stopped_clock),
            left: Cell::new(0),
            last: Cell::new(None),
            emitted: RefCell::new(Vec::new()),
            log_lines: Cell::new(0),
            expectations: Cell::new(0),
        }
    }

    fn begin(&self, clock: Clock, allowed: Duration) {
        self.now.set(None);
        self.host_calls.set(0);
        self.compilations.set(0);
        self.clock.set(clock);
        self.left.set(u64::try_from(allowed.as_micros()).unwrap_or(u64::MAX));
        self.last.set(None);
        self.emitted.borrow_mut().clear();
        self.log_lines.set(0);
        self.expectations.set(0);
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

/// Starts the account of a new call for a client of this tenant.
pub(crate) fn begin_for(tenant: &Arc<str>, clock: Clock, allowed: Duration) {
    CALL.with(|call| {
        // Mostly it is the tenant of the call before: then nothing is written that other threads have.
        let is_same = match &*call.setting.borrow() {
            Setting::Tenant(present) => Arc::ptr_eq(present, tenant),
            Setting::Constants | Setting::Test(_) => false,
        };
        if !is_same {
            call.setting.replace(Setting::Tenant(tenant.clone()));
        }
        call.begin(clock, allowed);
    });
}

/// Starts the account of a new call.
pub(crate) fn begin(clock: Clock, allowed: Duration, setting: Setting) {
    CALL.with(|call| {
        call.setting.replace(setting);
        call.begin(clock, allowed);
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

/// Whether the call may log one more line: what a test says, or a constant, is nobody's affair.
pub(crate) fn may_log(most: usize) -> bool {
    CALL.with(|call| {
        if !matches!(*call.setting.borrow(), Setting::Tenant(_)) {
            return false;
        }
        let lines = call.log_lines.get();
        call.log_lines.set(lines.saturating_add(1));
        lines < most
    })
}

/// Milliseconds since 1970, the same throughout a call.
pub(crate) fn now(host: Option<&dyn RuleHost>) -> Fallible<u64> {
    CALL.with(|call| match &*call.setting.borrow() {
        Setting::Constants => Err(no_host_in_constants()),
        Setting::Test(pretence) => Ok(pretence.now()),
        Setting::Tenant(_) => match (call.now.get(), host) {
            (Some(now), _) => Ok(now),
            (None, Some(host)) => {
                let now = host.now();
                call.now.set(Some(now));
                Ok(now)
            }
            (None, None) => Err(no_host()),
        },
    })
}

/// Lets `ask` use the host for a tenant, or what a test has in its place; at most so often.
pub(crate) fn with_host<R>(
    host: Option<&dyn RuleHost>,
    most: usize,
    ask: impl FnOnce(&dyn RuleHost, &str) -> R,
) -> Fallible<R> {
    CALL.with(|call| {
        let calls = call.host_calls.get();
        if calls >= most {
            return Err(too_large("what one call asks of the store and the figures"));
        }
        call.host_calls.set(calls + 1);
        match (&*call.setting.borrow(), host) {
            (Setting::Constants, _) => Err(no_host_in_constants()),
            (Setting::Test(pretence), _) => Ok(ask(pretence, "")),
            (Setting::Tenant(tenant), Some(host)) => Ok(ask(host, tenant)),
            (Setting::Tenant(_), None) => Err(no_host()),
        }
    })
}

fn no_host_in_constants() -> Box<EvalAltResult> {
    fault("a constant cannot depend on the time or on what is kept")
}

fn no_host() -> Box<EvalAltResult> {
    fault("there is no clock and no store here")
}

pub(crate) fn is_test() -> bool {
    CALL.with(|call| matches!(&*call.setting.borrow(), Setting::Test(_)))
}

/// Lets a test change what it has in place of the host.
pub(crate) fn with_pretence<R>(change: impl FnOnce(&Pretence) -> R) -> Fallible<R> {
    CALL.with(|call| match &*call.setting.borrow() {
        Setting::Test(pretence) => Ok(change(pretence)),
        _ => Err(fault("only a test can do this")),
    })
}

/// Counts a regular expression that is compiled during the call.
pub(crate) fn count_compilation(most: usize) -> Fallible<()> {
    CALL.with(|call| {
        call.compilations.set(call.compilations.get() + 1);
        match call.compilations.get() > most {
            true => Err(too_large("patterns that one call compiles")),
            false => Ok(()),
        }
    })
}

/// Notes that a test has expected something.
pub(crate) fn count_expectation() {
    CALL.with(|call| call.expectations.set(call.expectations.get() + 1));
}

pub(crate) fn expectations() -> usize {
    CALL.with(|call| call.expectations.get())
}

fn stopped_clock() -> u64 {
    0
}
