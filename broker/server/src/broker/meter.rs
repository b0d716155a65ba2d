//! What a tenant uses of its quota: places, rates, and what waits for its sessions.

mod queued;
mod rate;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hookmq_access::Quota;
use parking_lot::RwLock;

use self::rate::Rate;
use super::memory::Memory;
use super::metrics::{Counter, TenantTraffic};
use super::tenant::Tenant;
pub use queued::QueuedBytes;

/// What one tenant may use, and does.
#[derive(Debug, Default)]
pub struct Meter {
    quota: RwLock<Quota>,
    disabled: AtomicBool,
    connections: AtomicUsize,
    connects: Rate,
    /// From its clients.
    pub incoming: Flow,
    /// To its clients.
    pub outgoing: Flow,
    pub queued: Arc<QueuedBytes>,
    reached: [Counter; Bound::ALL.len()],
    /// Of connections that are gone.
    pub gone: TenantTraffic,
}

/// A bound of a quota that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    Connections,
    ConnectsPerSecond,
    /// A connection was not read from for a while.
    Incoming,
    /// A connection was sent nothing for a while.
    Outgoing,
    Sessions,
    Subscriptions,
    Retained,
    QueuedBytes,
}

/// Messages and bytes per second, one way.
#[derive(Debug, Default)]
pub struct Flow {
    bounded: AtomicBool,
    messages: Rate,
    bytes: Rate,
}

/// What may pass in one turn of a connection. Below 0 where the last packet was larger than what was
/// left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    messages: i32,
    bytes: i32,
}

/// A client's place among the connections of its tenant, free again when it is dropped.
pub struct Place(Arc<Tenant>);

/// How long a connection that is held back waits before it looks again: so that thousands do not look
/// all the time, and each notices a changed quota within a second.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
const PAUSE_PER_CONNECTION: Duration = Duration::from_micros(100);

impl Bound {
    pub const ALL: [Self; 8] = [
        Self::Connections,
        Self::ConnectsPerSecond,
        Self::Incoming,
        Self::Outgoing,
        Self::Sessions,
        Self::Subscriptions,
        Self::Retained,
        Self::QueuedBytes,
    ];

    /// As metrics name it.
    pub fn key(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::ConnectsPerSecond => "connects_per_s",
            Self::Incoming => "in",
            Self::Outgoing => "out",
            Self::Sessions => "sessions",
            Self::Subscriptions => "subscriptions",
            Self::Retained => "retained",
            Self::QueuedBytes => "queued_bytes",
        }
    }
}

impl Meter {
    pub(super) fn new(memory: Arc<Memory>) -> Self {
        let queued = Arc::new(QueuedBytes::new(memory));
        Self { queued, ..Self::default() }
    }

    pub fn quota(&self) -> Quota {
        *self.quota.read()
    }

    /// Puts a quota in force; says whether it is another one.
    pub(super) fn set(&self, quota: Quota) -> bool {
        let changed = std::mem::replace(&mut *self.quota.write(), quota) != quota;
        if changed {
            self.connects.set(quota.connects_per_s);
            self.incoming.set(quota.messages_in_per_s, quota.bytes_in_per_s);
            self.outgoing.set(quota.messages_out_per_s, quota.bytes_out_per_s);
            self.queued.bound(quota.queued_bytes);
        }
        changed
    }

    pub fn is_disabled(&self) -> bool {
        self.disabled.load(Relaxed)
    }

    pub(super) fn set_disabled(&self, disabled: bool) {
        self.disabled.store(disabled, Relaxed);
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }

    /// Notes that a bound was reached.
    pub fn note(&self, bound: Bound) {
        self.reached[bound as usize].add(1);
    }

    /// How often a bound was reached.
    pub fn reached(&self, bound: Bound) -> u64 {
        match bound {
            Bound::QueuedBytes => self.queued.refused.value(),
            bound => self.reached[bound as usize].value(),
        }
    }

    /// When a connection that `flow` holds back looks again.
    pub fn again_at(&self, flow: &Flow, now: Instant) -> Instant {
        let crowd = u32::try_from(self.connections()).unwrap_or(u32::MAX);
        let pause = PAUSE_PER_CONNECTION.saturating_mul(crowd).max(SHORTEST_PAUSE);
        let credit = flow.messages.wait(now).max(flow.bytes.wait(now));
        now + pause.max(credit).min(LONGEST_PAUSE)
    }
}

impl Flow {
    fn set(&self, messages: Option<u64>, bytes: Option<u64>) {
        self.messages.set(messages);
        self.bytes.set(bytes);
        self.bounded.store(self.messages.is_bounded() || self.bytes.is_bounded(), Relaxed);
    }

    #[inline]
    pub fn is_bounded(&self) -> bool {
        self.bounded.load(Relaxed)
    }

    /// What may pass now. Nothing is reserved: workers that pass something at the same time may pass
    /// one turn's worth too much each, which is paid off before anything else passes.
    #[inline]
    pub fn allowance(&self, now: impl FnOnce() -> Instant) -> Allowance {
        match self.is_bounded() {
            false => Allowance::UNBOUNDED,
            true => {
                let now = now();
                let least = |credit: u64| i32::try_from(credit).unwrap_or(i32::MAX);
                Allowance {
                    messages: least(self.messages.credit(now)),
                    bytes: least(self.bytes.credit(now)),
                }
            }
        }
    }

    /// Pays for what has passed of `given`, of which `left` is left.
    #[inline]
    pub fn settle(&self, given: Allowance, left: Allowance, now: impl FnOnce() -> Instant) {
        if self.is_bounded() && given != left {
            let now = now();
            self.messages.charge(u64::from(given.messages.abs_diff(left.messages)), now);
            self.bytes.charge(u64::from(given.bytes.abs_diff(left.bytes)), now);
        }
    }
}

impl Allowance {
    /// So much that no turn comes near its end.
    pub const UNBOUNDED: Self = Self { messages: i32::MAX, bytes: i32::MAX };

    #[inline]
    pub fn is_spent(&self) -> bool {
        self.messages <= 0 || self.bytes <= 0
    }

    #[inline]
    pub fn spend(&mut self, messages: i32, bytes: usize) {
        self.messages = self.messages.saturating_sub(messages);
        // A packet has at most 256 MiB.
        self.bytes = self.bytes.saturating_sub(bytes as i32);
    }
}

impl Place {
    /// A place for one client more, or the bound that does not let it in. `takes_over`: it takes the
    /// place of a connection of its own.
    pub(super) fn take(
        tenant: &Arc<Tenant>,
        takes_over: bool,
        now: Instant,
    ) -> Result<Self, Bound> {
        let meter = &tenant.meter;
        let before = meter.connections.fetch_add(1, Relaxed);
        // From here on it is given back.
        let place = Self(tenant.clone());
        let most = meter.quota().connections.unwrap_or(u64::MAX);
        let bound = if before as u64 >= most && !takes_over {
            Bound::Connections
        } else if !meter.connects.take(now) {
            Bound::ConnectsPerSecond
        } else {
            return Ok(place);
        };
        meter.note(bound);
        Err(bound)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({:?})", self.0.name)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.meter.connections.fetch_sub(1, Relaxed);
    }
}
