//! CONNACK: the terms on which the connection goes on, or why it does not.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::time::Duration;

use hookmq_codec::{
    ConnAck, ConnAckProperties, Connect, Packet, PacketType, ProtocolVersion, ReasonCode,
};
use hookmq_core::NEVER_EXPIRES;
use hookmq_hooks::Client;
use hookmq_store::Change;

use super::Refusal;
use crate::broker::Broker;
use crate::broker::publisher::Will;
use crate::broker::sessions::OpenedSession;
use crate::broker::tenant::Tenant;
use crate::connection::driver::{Start, Terms};

/// Settles what the client and the broker may expect of each other, and words CONNACK.
pub(super) async fn settle(
    broker: &Broker,
    connect: &Connect<'_>,
    tenant: Arc<Tenant>,
    client: Arc<Client>,
    mut opened: OpenedSession,
    will: Option<Box<Will>>,
) -> Start {
    let limits = &broker.limits;
    let asked = &connect.properties;
    let expiry_interval = expiry_interval(connect, limits.session_expiry_maximum);
    let receive_maximum = asked.receive_maximum.map_or(u16::MAX, NonZeroU16::get);
    opened.session.expiry_interval = expiry_interval;
    // Before version 5 a client cannot be told, and so is held to the protocol's own bound.
    let own_maximum = if connect.version.is_v5() { limits.receive_maximum } else { u16::MAX };
    opened.session.incoming.handle_connected(own_maximum);
    opened.session.outgoing.handle_connected(receive_maximum.min(limits.maximum_inflight));
    opened.handle.set_durable(opened.session.outlives_connection());
    let keep_alive = keep_alive(connect, limits.keep_alive_maximum);
    let properties = ConnAckProperties {
        session_expiry_interval: (asked.session_expiry_interval.unwrap_or(0) != expiry_interval)
            .then_some(expiry_interval),
        receive_maximum: NonZeroU16::new(limits.receive_maximum),
        maximum_packet_size: NonZeroU32::new(limits.maximum_packet_size),
        topic_alias_maximum: Some(limits.topic_alias_maximum),
        assigned_client_identifier: connect.client_id.is_empty().then_some(&*client.client_id),
        server_keep_alive: (keep_alive != connect.keep_alive).then_some(keep_alive),
        shared_subscription_available: Some(false),
        ..ConnAckProperties::default()
    };
    // The flag came with 3.1.1; before, its byte is reserved.
    let session_present = opened.present && connect.version != ProtocolVersion::V31;
    let connack = ConnAck { session_present, reason_code: ReasonCode::Success, properties };
    let mut first_bytes = Vec::new();
    encode(connack, connect.version, &mut first_bytes);
    if opened.session.outlives_connection() {
        let session = opened.handle.key.clone();
        let username = client.username.clone();
        let opened = Change::SessionOpened { session, username, expiry_interval };
        broker.durable(broker.store.append(vec![opened])).await;
    }
    let terms = Terms {
        version: connect.version,
        // A client is lost when one and a half times the interval is over [MQTT-3.1.2-24].
        silence: Duration::from_millis(u64::from(keep_alive) * 1500),
        maximum_packet_size: asked.maximum_packet_size.map_or(u32::MAX, NonZeroU32::get),
        session_expiry_interval: asked.session_expiry_interval.unwrap_or(0),
    };
    Start { terms, tenant, client, opened, will, first_bytes }
}

/// CONNACK for a client that is not let in.
pub(super) fn refusal(version: ProtocolVersion, refusal: &Refusal) -> Vec<u8> {
    // Hooks choose codes, too; one that CONNACK cannot carry must not leave, and none may let in.
    let asked = refusal.reason_code;
    let can_refuse = asked.is_failure() && asked.is_allowed_in(PacketType::ConnAck);
    let connack = ConnAck {
        session_present: false,
        reason_code: if can_refuse { asked } else { ReasonCode::NotAuthorized },
        properties: ConnAckProperties::default(),
    };
    let mut out = Vec::new();
    encode(connack, version, &mut out);
    out
}

fn encode(connack: ConnAck<'_>, version: ProtocolVersion, out: &mut Vec<u8>) {
    Packet::ConnAck(Box::new(connack))
        .encode(version, out)
        .expect("a CONNACK of bounded strings is far below the maximum packet length");
}

/// Seconds that the session outlives the connection. A session of 3.1.1 that is not clean is kept for
/// as long as any may be.
fn expiry_interval(connect: &Connect<'_>, maximum: u32) -> u32 {
    let asked = match (connect.version.is_v5(), connect.clean_start) {
        (true, _) => connect.properties.session_expiry_interval.unwrap_or(0),
        (false, true) => 0,
        (false, false) => NEVER_EXPIRES,
    };
    asked.min(maximum)
}

/// Seconds; only version 5 can be told of a change.
fn keep_alive(connect: &Connect<'_>, maximum: u16) -> u16 {
    match (connect.version.is_v5(), connect.keep_alive) {
        (true, 0) if maximum < u16::MAX => maximum,
        (true, asked) => asked.min(maximum),
        (false, asked) => asked,
    }
}
