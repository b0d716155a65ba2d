//! One running guest: its store, its limits, and what its failures mean.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hookmq_hooks::{Emission, FailureKind, Hook, ProgramName, Services, StepFailure};
use wasmtime::{ResourceLimiter, Store, Trap, UpdateDeadline};

use crate::contract::Plugin;
use crate::guest_log::{GuestLog, cut};
use crate::http::Http;
use crate::pool::Slot;
use crate::{Grants, Limits};

/// The engine's clock for deadlines.
pub(crate) const TICK: Duration = Duration::from_millis(10);

const MAX_TABLE_ELEMENTS: usize = 10_000;
pub(crate) const MAX_REASON_BYTES: usize = 1 << 10;
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

    /// Starts the account of the next call.
    pub(crate) fn arm(&mut self, hook: Hook) {
        self.store.data_mut().hook = Some(hook);
        arm(&mut self.store);
    }
}

/// A store whose guest may use no more than `limits`, its clock started.
pub(crate) fn new_store(
    engine: &wasmtime::Engine,
    own: Arc<Own>,
    tenant: Arc<str>,
) -> Store<GuestState> {
    let limits = own.limits;
    let half_time_ticks = (limits.time / 2).as_nanos().div_ceil(TICK.as_nanos());
    let half_time_ticks = half_time_ticks.clamp(1, u128::from(u32::MAX)) as u64;
    let state =
        GuestState { own, half_time_ticks, memory: 0, tenant, hook: None, call: Call::default() };
    let mut store = Store::new(engine, state);
    store.epoch_deadline_callback(|mut store| Ok(store.data_mut().at_deadline()));
    store.limiter(|state| state);
    store.set_hostcall_fuel(limits.output_bytes);
    arm(&mut store);
    store
}

/// Lets the guest run for half of its time; then [`GuestState::at_deadline`] looks at it.
fn arm(store: &mut Store<GuestState>) {
    let state = store.data_mut();
    state.call = Call::default();
    let ticks = state.half_time_ticks;
    store.set_epoch_deadline(ticks);
}

/// What all instances of one plugin version have in common.
pub(crate) struct Own {
    /// What it keeps and counts stands under this.
    pub(crate) name: ProgramName,
    /// The tenant that owns it; empty where it is the operator's.
    pub(crate) home: Arc<str>,
    pub(crate) limits: Limits,
    /// What it asks for, which is granted.
    pub(crate) grants: Grants,
    pub(crate) log: GuestLog,
    pub(crate) services: Arc<Services>,
    pub(crate) http: Arc<Http>,
    /// Linear memory of all instances, in bytes.
    pub(crate) memory: AtomicU64,
}

/// What the host keeps beside a guest.
pub(crate) struct GuestState {
    pub(crate) own: Arc<Own>,
    half_time_ticks: u64,
    /// This instance's part of [`Own::memory`].
    memory: u64,
    pub(crate) tenant: Arc<str>,
    /// None while it is configured.
    pub(crate) hook: Option<Hook>,
    pub(crate) call: Call,
}

/// The account of one call.
#[derive(Default)]
pub(crate) struct Call {
    /// What it has emitted so far.
    pub(crate) emitted: Vec<Emission>,
    pub(crate) emitted_bytes: usize,
    /// The last error line: a panic's message, most likely.
    pub(crate) last_error: Option<String>,
    pub(crate) log_lines: u32,
    pub(crate) figures: u32,
    pub(crate) kv_calls: u32,
    pub(crate) requests: u32,
    /// When its requests must be over; none before the first.
    pub(crate) requests_end: Option<Instant>,
    /// The thread's processor time when half of the call's wall time was over.
    half_time: Option<Duration>,
}

impl GuestState {
    /// What the call that has just ended has emitted.
    pub(crate) fn take_emitted(&mut self) -> Vec<Emission> {
        std::mem::take(&mut self.call.emitted)
    }

    /// Ends a call whose second half has taken its share of processor time. Wall time alone would
    /// punish guests for a machine so busy that their thread was not running.
    fn at_deadline(&mut self) -> UpdateDeadline {
        let Some(now) = thread_time() else { return UpdateDeadline::Interrupt };
        let Some(half_time) = self.call.half_time else {
            self.call.half_time = Some(now);
            return UpdateDeadline::Continue(1);
        };
        if now.saturating_sub(half_time) >= self.own.limits.time / 2 {
            UpdateDeadline::Interrupt
        } else {
            UpdateDeadline::Continue(1)
        }
    }
}

/// The processor time that the current thread has used; none where the system does not tell.
#[allow(unsafe_code)]
fn thread_time() -> Option<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one timespec, and `time` is one.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    let time = Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32);
    (result == 0).then_some(time)
}

/// A guest wanted more than its limit.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct LimitExceeded(String);

impl Drop for GuestState {
    fn drop(&mut self) {
        self.own.memory.fetch_sub(self.memory, Ordering::Relaxed);
    }
}

impl ResourceLimiter for GuestState {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let limit = self.own.limits.memory_bytes;
        if desired > limit {
            let message = format!("it wants {desired} bytes of memory; its limit is {limit}");
            return Err(LimitExceeded(message).into());
        }
        let more = desired.saturating_sub(current) as u64;
        self.memory += more;
        self.own.memory.fetch_add(more, Ordering::Relaxed);
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

/// Why a call ended without an answer.
pub(crate) fn failure(error: &wasmtime::Error, state: &GuestState) -> StepFailure {
    // Without the backtrace around it, whose names are the guest's and whose lines are many.
    let reason = error.root_cause().to_string();
    let reason = cut(&reason, MAX_REASON_BYTES);
    if error.downcast_ref::<LimitExceeded>().is_some() {
        return StepFailure::new(FailureKind::Limit, reason);
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => {
            let limit = state.own.limits.time.as_millis();
            StepFailure::new(FailureKind::Timeout, format!("it ran for longer than {limit} ms"))
        }
        Some(Trap::StackOverflow) => StepFailure::new(FailureKind::Limit, reason),
        Some(_) => StepFailure::new(
            FailureKind::Error,
            match &state.call.last_error {
                Some(line) => format!("{reason}: {line}"),
                None => reason.to_owned(),
            },
        ),
        None if reason.contains(OUTPUT_BUDGET_EXHAUSTED) => {
            let limit = state.own.limits.output_bytes;
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
