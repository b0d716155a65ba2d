//! The bounds that the broker keeps, each with its default.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use hookmq_access::Quota;
use hookmq_codec::{DecodeLimits, TopicName};
use hookmq_core::{QueueLimits, RetainedLimits};
use hookmq_hooks::TenantRates;
use serde::Deserialize;

use crate::admission::AbuseOptions;

/// What becomes of a message that a session is guaranteed and has no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueueFull {
    /// The session does not get it, and the publisher is not told.
    #[default]
    DropNewest,
    /// The session does not get what has waited longest.
    DropOldest,
    /// Nobody gets it: the publisher is told with 0x97, or before version 5 disconnected.
    Refuse,
}

/// Every bound of the protocol engine. What happens at one stands where it is checked.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes, fixed header included.
    pub maximum_packet_size: u32,
    /// As `maximum_packet_size`, of what comes before CONNACK, from whoever it may be.
    pub connect_packet_size: u32,
    /// Unacknowledged QoS 1 and 2 messages that a client may have sent.
    pub receive_maximum: u16,
    /// Unacknowledged messages on their way to a client, whatever it allows.
    pub maximum_inflight: u16,
    /// Unacknowledged messages from which on a client leaves those of shared subscriptions to others.
    pub shared_inflight: u16,
    /// What waits for one session, or for one shared subscription.
    pub queue: QueueLimits,
    pub queue_full: QueueFull,
    /// Bytes that the process may have in memory before queues are kept short; 0: most of what there is.
    pub memory: u64,
    /// Of one tenant.
    pub retained: RetainedLimits,
    pub topic_levels: usize,
    pub topic_alias_maximum: u16,
    /// Aliases that the broker gives a client, if that takes as many.
    pub outgoing_topic_aliases: u16,
    pub client_id_length: usize,
    pub filters_per_client: usize,
    /// Of one packet.
    pub decode: DecodeLimits,
    /// Seconds.
    pub session_expiry_maximum: u32,
    /// Seconds; what a client asks for beyond it is lowered.
    pub keep_alive_maximum: u16,
    /// From accept to CONNACK, over all that lies between.
    pub connect_timeout: Duration,
    /// How long a client may leave what it is sent in the socket's buffer.
    pub write_timeout: Duration,
    pub connections: usize,
    /// Open connections; of IPv6, a network of 64 bits is one address.
    pub connections_per_address: Option<NonZeroU32>,
    /// New connections per second, and as many at once.
    pub connection_rate: Option<NonZeroU32>,
    /// As `connection_rate`, of one address.
    pub connection_rate_per_address: Option<NonZeroU32>,
    /// Connections between accept and CONNACK.
    pub pending_connections: usize,
    /// A crowd of new clients leaves room for those that are connected.
    pub tls_handshakes: usize,
    /// Clients whose connect hooks run.
    pub pending_authentications: usize,
    /// Of one tenant, connected or waiting for their clients.
    pub sessions: usize,
    /// How often a message that a hook made may make another.
    pub emitted_hops: u8,
    /// Messages that hooks may make of one PUBLISH, all hops together.
    pub emitted_messages: usize,
    pub budgets: Budgets,
    pub quotas: Quotas,
    pub abuse: AbuseOptions,
}

/// What the plugins and rules of each tenant may use in a second.
#[derive(Debug, Clone, Default)]
pub struct Budgets {
    pub tenants: BTreeMap<Arc<str>, TenantRates>,
    /// Of every other tenant.
    pub others: TenantRates,
}

impl Budgets {
    pub fn of(&self, tenant: &str) -> TenantRates {
        self.tenants.get(tenant).copied().unwrap_or(self.others)
    }
}

/// What each tenant may use that no table speaks of.
#[derive(Debug, Clone, Default)]
pub struct Quotas {
    pub tenants: BTreeMap<Arc<str>, Quota>,
    /// Of every other tenant.
    pub others: Quota,
}

impl Quotas {
    pub fn of(&self, tenant: &str) -> &Quota {
        self.tenants.get(tenant).unwrap_or(&self.others)
    }
}

impl Limits {
    /// Whether a message, or a will, may be on `topic`: it has no more levels than allowed, and does
    /// not look like a shared subscription, which no filter could match.
    #[inline]
    pub fn allows_topic(&self, topic: TopicName<'_>) -> bool {
        let topic = topic.as_str();
        let separators = topic.bytes().filter(|&byte| byte == b'/').count();
        separators < self.topic_levels && !topic.starts_with("$share/")
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            maximum_packet_size: 1 << 20,
            connect_packet_size: 64 << 10,
            receive_maximum: 1024,
            maximum_inflight: 1024,
            shared_inflight: 100,
            queue: QueueLimits { messages: 100_000, bytes: 64 << 20 },
            queue_full: QueueFull::default(),
            memory: 0,
            retained: RetainedLimits { messages: 1_000_000, bytes: 256 << 20 },
            topic_levels: 64,
            topic_alias_maximum: 16,
            outgoing_topic_aliases: 32,
            write_timeout: Duration::from_secs(30),
            client_id_length: 256,
            filters_per_client: 10_000,
            decode: DecodeLimits { filters: 1000, user_properties: 1000 },
            session_expiry_maximum: 7 * 24 * 3600,
            keep_alive_maximum: u16::MAX,
            connect_timeout: Duration::from_secs(5),
            connections: 100_000,
            connections_per_address: None,
            connection_rate: None,
            connection_rate_per_address: None,
            pending_connections: 16_384,
            tls_handshakes: 4096,
            pending_authentications: 1024,
            sessions: 1_000_000,
            emitted_hops: 4,
            emitted_messages: 256,
            budgets: Budgets::default(),
            quotas: Quotas::default(),
            abuse: AbuseOptions::default(),
        }
    }
}
