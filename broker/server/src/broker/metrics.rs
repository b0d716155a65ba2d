//! Counters of the broker as a whole.

mod traffic;

use std::sync::atomic::{AtomicU64, Ordering};

pub use self::traffic::{TenantTraffic, Traffic, TrafficCounters};
use crate::admission::Bound;
use crate::tls::Fault;

/// A number that only grows, or with `sub` a level.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub fn sub(&self, count: u64) {
        self.0.fetch_sub(count, Ordering::Relaxed);
    }

    /// Raises the number to `least`, if it is below.
    pub fn raise(&self, least: u64) {
        self.0.fetch_max(least, Ordering::Relaxed);
    }

    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the broker counts. Connections add what they did after each turn, not after each message.
#[derive(Debug, Default)]
pub struct Metrics {
    pub traffic: TrafficCounters,
    pub connections: Counter,
    /// The most there were at a time.
    pub connections_maximum: Counter,
    pub connections_accepted: Counter,
    pub connections_refused: Counter,
    /// Refused or disconnected because of a ban.
    pub connects_banned: Counter,
    /// Refused for a while: too many failed authentications, or connections.
    pub connects_held_back: Counter,
    /// Sockets that were opened, whatever became of them.
    pub sockets_accepted: Counter,
    /// Sessions that ended because their clients did not come back in time.
    pub sessions_expired: Counter,
    /// Closed at a bound before they were clients; each is counted as refused, too.
    pub connections_shed: [Counter; Bound::ALL.len()],
    /// Not queued because the subscriber's bound was reached.
    pub messages_overflowed: Counter,
    /// Messages that were refused because a queue was full.
    pub publishes_refused: Counter,
    /// Refused by authorize.
    pub publishes_denied: Counter,
    /// Dropped by publish or deliver hooks, by verdict or by failure.
    pub messages_dropped_by_hooks: Counter,
    /// Their clients have lost the right to them.
    pub subscriptions_revoked: Counter,
    /// Not sent because the client has lost, or does not have, the right to receive them.
    pub messages_withheld: Counter,
    pub messages_emitted: Counter,
    /// Not emitted: the hop limit or the number of messages was reached.
    pub emissions_stopped: Counter,
    pub step_failures: Counter,
    pub breakers_opened: Counter,
    pub tls_reloads_applied: Counter,
    pub tls_reloads_refused: Counter,
    /// Clients that were disconnected because their certificates are no longer good.
    pub certificates_ended: [Counter; Fault::ALL.len()],
}

impl Metrics {
    /// Counts a connection that was closed at `bound`.
    pub fn shed(&self, bound: Bound) {
        self.connections_refused.add(1);
        self.connections_shed[bound as usize].add(1);
    }

    /// Messages that were accepted and did not reach a subscriber.
    pub fn messages_dropped(&self) -> u64 {
        self.messages_overflowed.value()
            + self.messages_dropped_by_hooks.value()
            + self.messages_withheld.value()
    }
}
