//! The broker that a test stands in for.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::rc::Rc;
use std::time::Duration;

use super::manifest::Manifest;
use crate::emit::Emission;
use crate::http::{Error as HttpError, Request, Response};
use crate::log::Level;

/// What the clock shows until a test sets it: an hour in November 2023.
const START_MS: u64 = 1_700_000_000_000;

/// How much one call, or one tenant, may ask of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub kv_key_bytes: usize,
    pub kv_value_bytes: usize,
    /// Values of one tenant.
    pub kv_values: usize,
    pub kv_calls: usize,
    pub emitted_messages: usize,
    pub http_requests: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            kv_key_bytes: 256,
            kv_value_bytes: 64 << 10,
            kv_values: 10_000,
            kv_calls: 64,
            emitted_messages: 16,
            http_requests: 8,
        }
    }
}

/// The calls that a plugin makes end here, on the thread of the test.
///
/// ```
/// use std::time::Duration;
/// use hookmq_plugin::{clock, log, test::Host};
///
/// let host = Host::new();
/// let before = clock::now();
/// host.advance(Duration::from_secs(1));
/// log::info!("{} ms", clock::now() - before);
/// assert_eq!(host.lines(), ["1000 ms"]);
/// ```
///
/// Outside of a [`Harness`](super::Harness) everything is granted.
#[derive(Debug)]
pub struct Host {
    /// Bound to its thread.
    _thread: PhantomData<*const ()>,
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Host {
    /// Forgets what the thread's host has recorded and been told.
    pub fn new() -> Self {
        STATE.set(State::default());
        Self { _thread: PhantomData }
    }

    /// The lines of the log, oldest first.
    pub fn lines(&self) -> Vec<String> {
        with(|state| state.log.iter().map(|(_, line)| line.clone()).collect())
    }

    /// The lines of the log with their levels, oldest first.
    pub fn log(&self) -> Vec<(Level, String)> {
        with(|state| state.log.clone())
    }

    /// From now on calls are explained.
    pub fn explain(&self) {
        with(|state| state.notes = Some(Vec::new()));
    }

    /// What calls have told of their answers, oldest first, since [`explain`](Self::explain) was
    /// called: what about, and the text.
    pub fn notes(&self) -> Vec<(String, String)> {
        with(|state| state.notes.clone().unwrap_or_default())
    }

    /// What has been counted under this name; 0 where nothing has.
    pub fn counted(&self, name: &str) -> u64 {
        with(|state| state.counters.get(name).copied().unwrap_or_default())
    }

    /// What the gauge of this name was set to last.
    pub fn gauge(&self, name: &str) -> Option<f64> {
        with(|state| state.gauges.get(name).copied())
    }

    /// The emissions of all calls that have ended well, oldest first.
    pub fn emitted(&self) -> Vec<Emission> {
        with(|state| state.emitted.clone())
    }

    /// Forgets and gives the emissions so far.
    pub fn take_emitted(&self) -> Vec<Emission> {
        with(|state| std::mem::take(&mut state.emitted))
    }

    /// What is kept for a tenant, by key; the tenant is empty before a step has named one.
    pub fn kept(&self, tenant: &str) -> BTreeMap<String, Vec<u8>> {
        with(|state| {
            let alive = |kept: &&Kept| kept.is_alive(state.monotonic);
            let of_tenant = state.kv.get(tenant).into_iter().flatten();
            of_tenant
                .filter(|(_, kept)| alive(kept))
                .map(|(key, kept)| (key.clone(), kept.value.clone()))
                .collect()
        })
    }

    /// Forgets all that is kept, as a broker does that is started anew.
    pub fn forget(&self) {
        with(|state| state.kv.clear());
    }

    /// Sets the wall clock, in milliseconds since 1970.
    pub fn set_now(&self, now: u64) {
        with(|state| state.now = now);
    }

    /// Lets time go by, on both clocks.
    pub fn advance(&self, time: Duration) {
        with(|state| {
            state.now += u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            state.monotonic += time;
        });
    }

    /// Says how requests to this url are answered, from now on.
    pub fn respond(&self, url: &str, answer: Result<Response, HttpError>) {
        with(|state| state.responses.insert(url.to_owned(), answer));
    }

    /// The requests that were granted, oldest first.
    pub fn requests(&self) -> Vec<Request> {
        with(|state| state.requests.clone())
    }

    /// Keeps a secret for the plugin.
    pub fn set_secret(&self, name: &str, value: impl Into<Vec<u8>>) {
        with(|state| state.secrets.insert(name.to_owned(), value.into()));
    }

    pub fn set_bounds(&self, bounds: Bounds) {
        with(|state| state.bounds = bounds);
    }
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

pub(super) fn with<R>(act: impl FnOnce(&mut State) -> R) -> R {
    STATE.with_borrow_mut(act)
}

pub(super) struct State {
    /// None outside of a [`Harness`](super::Harness).
    pub call: Option<Call>,
    pub bounds: Bounds,
    pub log: Vec<(Level, String)>,
    /// None where nobody is told.
    pub notes: Option<Vec<(String, String)>>,
    pub counters: BTreeMap<String, u64>,
    pub gauges: BTreeMap<String, f64>,
    pub emitted: Vec<Emission>,
    pub kv: BTreeMap<String, BTreeMap<String, Kept>>,
    pub now: u64,
    pub monotonic: Duration,
    pub responses: BTreeMap<String, Result<Response, HttpError>>,
    pub requests: Vec<Request>,
    pub secrets: BTreeMap<String, Vec<u8>>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            call: None,
            bounds: Bounds::default(),
            log: Vec::new(),
            notes: None,
            counters: BTreeMap::new(),
            gauges: BTreeMap::new(),
            emitted: Vec::new(),
            kv: BTreeMap::new(),
            now: START_MS,
            monotonic: Duration::from_secs(1),
            responses: BTreeMap::new(),
            requests: Vec::new(),
            secrets: BTreeMap::new(),
        }
    }
}

/// The call that is under way, and what it has used.
pub(super) struct Call {
    pub hook: &'static str,
    pub tenant: String,
    pub manifest: Rc<Manifest>,
    pub emitted: Vec<Emission>,
    pub kv_calls: usize,
    pub http_requests: usize,
}

/// One value of the store.
pub(super) struct Kept {
    pub value: Vec<u8>,
    /// On the monotonic clock.
    pub forgotten_at: Option<Duration>,
}

impl Kept {
    pub fn is_alive(&self, now: Duration) -> bool {
        self.forgotten_at.is_none_or(|at| now < at)
    }
}
