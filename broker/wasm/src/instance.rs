//! One running guest: its store, its limits, and what its failures mean.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hookmq_hooks::{FailureKind, StepFailure};
use tracing::Level;
use wasmtime::{ResourceLimiter, Store, Trap};

use crate::Limits;
use crate::contract::{Plugin, clock, log, types};
use crate::guest_log::{GuestLog, cut};
use crate::pool::Slot;

/// The engine's clock for deadlines.
pub(crate) const TICK: Duration = Duration::from_millis(10);

const MAX_TABLE_ELEMENTS: usize = 10_000;
const MAX_REASON_BYTES: usize = 1 << 10;
/// What wasmtime says when an answer is larger than the store's budget; the type is private to it.
const OUTPUT_BUDGET_EXHAUSTED: &str = "fuel allocated for hostcalls has been exhausted";

/// A guest that has been instantiated and configured.
pub(crate) struct Instance {
    pub(crate) store: Store<GuestState>,
    pub(crate) guest: Plugin,
    pub(crate) calls: u32,
    /// Given back after the store is gone.
    _slot: Slot,
}

impl Instance {
    pub(crate) fn new(store: Store<GuestState>, guest: Plugin, slot: Slot) -> Self {
        Self { store, guest, calls: 0, _slot: slot }
    }

    /// Starts the clock of the next call.
    pub(crate) fn arm(&mut self) {
        arm(&mut self.store);
    }
}

/// A store whose guest may use no more than `limits`, its clock started.
pub(crate) fn new_store(
    engine: &wasmtime::Engine,
    limits: Limits,
    log: Arc<GuestLog>,
    tenant: Arc<str>,
) -> Store<GuestState> {
    let state = GuestState { limits, log, tenant, last_error: None };
    let mut store = Store::new(engine, state);
    store.limiter(|state| state);
    store.set_hostcall_fuel(limits.output_bytes);
    arm(&mut store);
    store
}

fn arm(store: &mut Store<GuestState>) {
    // The running tick is partly over, so one more makes the time at least what was promised.
    let ticks = store.data().limits.time.as_nanos().div_ceil(TICK.as_nanos()) + 1;
    store.set_epoch_deadline(ticks.try_into().unwrap_or(u64::MAX >> 1));
    store.data_mut().last_error = None;
}

/// What the host keeps beside a guest.
pub(crate) struct GuestState {
    limits: Limits,
    log: Arc<GuestLog>,
    tenant: Arc<str>,
    /// The last error line of this call: a panic's message, most likely.
    last_error: Option<String>,
}

/// A guest wanted more than its limit.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct LimitExceeded(String);

impl ResourceLimiter for GuestState {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let limit = self.limits.memory_bytes;
        if desired > limit {
            let message = format!("it wants {desired} bytes of memory; its limit is {limit}");
            return Err(LimitExceeded(message).into());
        }
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired > MAX_TABLE_ELEMENTS {
            let message =
                format!("it wants {desired} table elements; the limit is {MAX_TABLE_ELEMENTS}");
            return Err(LimitExceeded(message).into());
        }
        Ok(true)
    }
}

impl types::Host for GuestState {}

impl log::Host for GuestState {
    fn write(&mut self, level: log::Level, line: String) {
        let level = match level {
            log::Level::Trace => Level::TRACE,
            log::Level::Debug => Level::DEBUG,
            log::Level::Info => Level::INFO,
            log::Level::Warn => Level::WARN,
            log::Level::Error => Level::ERROR,
        };
        if level == Level::ERROR {
            self.last_error = Some(cut(&line, MAX_REASON_BYTES).to_owned());
        }
        self.log.write(&self.tenant, level, &line);
    }
}

impl clock::Host for GuestState {
    fn now(&mut self) -> u64 {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        since_1970.as_millis().try_into().unwrap_or(u64::MAX)
    }
}

/// Why a call ended without an answer.
pub(crate) fn failure(error: &wasmtime::Error, state: &GuestState) -> StepFailure {
    let reason = format!("{error:#}");
    let reason = cut(&reason, MAX_REASON_BYTES);
    if error.downcast_ref::<LimitExceeded>().is_some() {
        return StepFailure::new(FailureKind::Limit, reason);
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => {
            let limit = state.limits.time.as_millis();
            StepFailure::new(FailureKind::Timeout, format!("it ran for longer than {limit} ms"))
        }
        Some(Trap::StackOverflow) => StepFailure::new(FailureKind::Limit, reason),
        Some(_) => StepFailure::new(
            FailureKind::Error,
            match &state.last_error {
                Some(line) => format!("{reason}: {line}"),
                None => reason.to_owned(),
            },
        ),
        None if reason.contains(OUTPUT_BUDGET_EXHAUSTED) => {
            let limit = state.limits.output_bytes;
            let message = format!("its output is larger than the limit of {limit} bytes");
            StepFailure::new(FailureKind::Limit, message)
        }
        None => StepFailure::new(FailureKind::BadOutput, reason),
    }
}

/// A failure that the guest itself reported.
pub(crate) fn reported(reason: &str) -> StepFailure {
    StepFailure::new(FailureKind::Error, cut(reason, MAX_REASON_BYTES))
}
