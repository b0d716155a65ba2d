//! The `limits` section: the broker's bounds under names that say their units.

use std::num::NonZeroU32;
use std::time::Duration;

use hookmq_codec::DecodeLimits;
use hookmq_core::{QueueLimits, RetainedLimits};
use serde::{Deserialize, Deserializer, de::Error};

use super::document::positive;
use crate::admission::AbuseOptions;
use crate::broker::limits::{Budgets, Limits, QueueFull, Quotas};

/// MQTT's own bound on a packet's remaining length, in bytes.
const LARGEST_PACKET: u32 = 268_435_455;

/// Room for the fixed parts of every packet, in bytes.
const SMALLEST_PACKET: u32 = 128;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a map")]
pub(super) struct LimitsDocument {
    #[serde(deserialize_with = "packet_size")]
    maximum_packet_size: u32,
    #[serde(deserialize_with = "packet_size")]
    connect_packet_size: u32,
    #[serde(deserialize_with = "positive")]
    receive_maximum: u16,
    #[serde(deserialize_with = "positive")]
    maximum_inflight: u16,
    #[serde(deserialize_with = "positive")]
    shared_inflight: u16,
    #[serde(deserialize_with = "positive")]
    queue_messages: usize,
    #[serde(deserialize_with = "positive")]
    queue_bytes: usize,
    queue_full: QueueFull,
    memory_bytes: u64,
    retained_messages: usize,
    retained_bytes: usize,
    #[serde(deserialize_with = "positive")]
    topic_levels: usize,
    topic_alias_maximum: u16,
    outgoing_topic_aliases: u16,
    #[serde(deserialize_with = "positive")]
    client_id_length: usize,
    filters_per_client: usize,
    #[serde(deserialize_with = "positive")]
    filters_per_subscribe: u32,
    user_properties: u32,
    session_expiry_maximum_s: u32,
    #[serde(deserialize_with = "positive")]
    keep_alive_maximum_s: u16,
    #[serde(deserialize_with = "positive")]
    connect_timeout_ms: u32,
    #[serde(deserialize_with = "positive")]
    write_timeout_ms: u32,
    #[serde(deserialize_with = "positive")]
    connections: u32,
    connections_per_address: u32,
    connection_rate_per_s: u32,
    connection_rate_per_address_per_s: u32,
    #[serde(deserialize_with = "positive")]
    pending_connections: u32,
    #[serde(deserialize_with = "positive")]
    tls_handshakes: u32,
    #[serde(deserialize_with = "positive")]
    pending_authentications: u32,
    #[serde(deserialize_with = "positive")]
    sessions: usize,
    emitted_hops: u8,
    emitted_messages: usize,
}

impl Default for LimitsDocument {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            maximum_packet_size: limits.maximum_packet_size,
            connect_packet_size: limits.connect_packet_size,
            receive_maximum: limits.receive_maximum,
            maximum_inflight: limits.maximum_inflight,
            shared_inflight: limits.shared_inflight,
            queue_messages: limits.queue.messages,
            queue_bytes: limits.queue.bytes,
            queue_full: limits.queue_full,
            memory_bytes: limits.memory,
            retained_messages: limits.retained.messages,
            retained_bytes: limits.retained.bytes,
            topic_levels: limits.topic_levels,
            topic_alias_maximum: limits.topic_alias_maximum,
            outgoing_topic_aliases: limits.outgoing_topic_aliases,
            client_id_length: limits.client_id_length,
            filters_per_client: limits.filters_per_client,
            filters_per_subscribe: limits.decode.filters,
            user_properties: limits.decode.user_properties,
            session_expiry_maximum_s: limits.session_expiry_maximum,
            keep_alive_maximum_s: limits.keep_alive_maximum,
            connect_timeout_ms: milliseconds(limits.connect_timeout),
            write_timeout_ms: milliseconds(limits.write_timeout),
            connections: number(limits.connections),
            connections_per_address: or_zero(limits.connections_per_address),
            connection_rate_per_s: or_zero(limits.connection_rate),
            connection_rate_per_address_per_s: or_zero(limits.connection_rate_per_address),
            pending_connections: number(limits.pending_connections),
            tls_handshakes: number(limits.tls_handshakes),
            pending_authentications: number(limits.pending_authentications),
            sessions: limits.sessions,
            emitted_hops: limits.emitted_hops,
            emitted_messages: limits.emitted_messages,
        }
    }
}

impl From<LimitsDocument> for Limits {
    fn from(document: LimitsDocument) -> Self {
        Self {
            maximum_packet_size: document.maximum_packet_size,
            connect_packet_size: document.connect_packet_size.min(document.maximum_packet_size),
            receive_maximum: document.receive_maximum,
            maximum_inflight: document.maximum_inflight,
            shared_inflight: document.shared_inflight,
            queue: QueueLimits { messages: document.queue_messages, bytes: document.queue_bytes },
            queue_full: document.queue_full,
            memory: document.memory_bytes,
            retained: RetainedLimits {
                messages: document.retained_messages,
                bytes: document.retained_bytes,
            },
            topic_levels: document.topic_levels,
            topic_alias_maximum: document.topic_alias_maximum,
            outgoing_topic_aliases: document.outgoing_topic_aliases,
            client_id_length: document.client_id_length,
            filters_per_client: document.filters_per_client,
            decode: DecodeLimits {
                filters: document.filters_per_subscribe,
                user_properties: document.user_properties,
            },
            session_expiry_maximum: document.session_expiry_maximum_s,
            keep_alive_maximum: document.keep_alive_maximum_s,
            connect_timeout: Duration::from_millis(document.connect_timeout_ms.into()),
            write_timeout: Duration::from_millis(document.write_timeout_ms.into()),
            connections: document.connections as usize,
            connections_per_address: NonZeroU32::new(document.connections_per_address),
            connection_rate: NonZeroU32::new(document.connection_rate_per_s),
            connection_rate_per_address: NonZeroU32::new(
                document.connection_rate_per_address_per_s,
            ),
            pending_connections: document.pending_connections as usize,
            tls_handshakes: document.tls_handshakes as usize,
            pending_authentications: document.pending_authentications as usize,
            sessions: document.sessions,
            emitted_hops: document.emitted_hops,
            emitted_messages: document.emitted_messages,
            budgets: Budgets::default(),
            quotas: Quotas::default(),
            abuse: AbuseOptions::default(),
        }
    }
}

fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// What is not bounded is written as 0.
fn or_zero(bound: Option<NonZeroU32>) -> u32 {
    bound.map_or(0, NonZeroU32::get)
}

fn packet_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let size = u32::deserialize(deserializer)?;
    if (SMALLEST_PACKET..=LARGEST_PACKET).contains(&size) {
        return Ok(size);
    }
    Err(D::Error::custom(format!(
        "{size} is not between {SMALLEST_PACKET} and {LARGEST_PACKET} bytes"
    )))
}
