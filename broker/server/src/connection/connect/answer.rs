//! CONNACK: the terms on which the connection goes on, or why it does not.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hookmq_codec::{
    ConnAck, ConnAckProperties, Connect, Packet, PacketType, ProtocolVersion, Qos, ReasonCode,
    UserPropertiesBuf,
};
use hookmq_core::{CommitSequence, NEVER_EXPIRES};
use hookmq_hooks::{Client, Secret};
use hookmq_store::{Change, Durability, NewRecord, NewWill, Opening};

use super::Refusal;
use crate::broker::Broker;
use crate::broker::publisher::Will;
use crate::broker::sessions::OpenedSession;
use crate::broker::tenant::Tenant;
use crate::connection::driver::{Authentication, Start, Terms};
use crate::connection::exchange::sent;

/// A user property of CONNECT that asks what acknowledgements stand for, and of CONNACK that says it.
const DURABILITY: &str = "durability";

/// Settles what the client and the broker may expect of each other, and words CONNACK.
pub(super) async fn settle(
    broker: &Broker,
    connect: &Connect<'_>,
    tenant: Arc<Tenant>,
    client: Arc<Client>,
    mut opened: OpenedSession,
    will: Option<Box<Will>>,
    last_word: &Secret,
) -> Start {
    let (limits, protocol) = (&broker.limits, &broker.protocol);
    let asked = &connect.properties;
    let own_limits = client.limits;
    let longest = own_limits.session_expiry_maximum.unwrap_or(u32::MAX);
    let expiry_interval = expiry_interval(connect, limits.session_expiry_maximum.min(longest));
    let receive_maximum = asked.receive_maximum.map_or(u16::MAX, NonZeroU16::get);
    opened.session.expiry_interval = expiry_interval;
    let own_maximum = own_limits.receive_maximum.map_or(u16::MAX, NonZeroU16::get);
    let own_maximum = own_maximum.min(limits.receive_maximum);
    // Before version 5 a client cannot be told, and so is held to the protocol's own bound.
    let unacknowledged = if connect.version.is_v5() { own_maximum } else { u16::MAX };
    opened.session.incoming.handle_connected(unacknowledged);
    opened.session.outgoing.handle_connected(receive_maximum.min(limits.maximum_inflight));
    // What waits in the store is delivered from there, though the session may end this time.
    opened.handle.set_durable(opened.session.outlives_connection() || opened.present);
    let keep_alive = keep_alive(connect, limits.keep_alive_maximum);
    let wants_response = asked.request_response_information == Some(true);
    let response_information = protocol.response_information.as_ref().filter(|_| wants_response);
    let response_information = response_information.and_then(|it| it.for_client(&client));
    let durability = broker.protocol.promise.to(&client);
    let wants_durability = asked.user_properties.iter().any(|(name, _)| name == DURABILITY);
    let told = wants_durability.then(|| (DURABILITY, durability.name()));
    let told = UserPropertiesBuf::try_from_pairs(told).unwrap_or_default();
    let properties = ConnAckProperties {
        user_properties: told.as_user_properties(),
        session_expiry_interval: (asked.session_expiry_interval.unwrap_or(0) != expiry_interval)
            .then_some(expiry_interval),
        receive_maximum: NonZeroU16::new(own_maximum),
        maximum_packet_size: NonZeroU32::new(limits.maximum_packet_size),
        topic_alias_maximum: Some(limits.topic_alias_maximum),
        assigned_client_identifier: connect.client_id.is_empty().then_some(&*client.client_id),
        server_keep_alive: (keep_alive != connect.keep_alive).then_some(keep_alive),
        // Named and not carried through, it would have been refused [MQTT-4.12.0-5] [MQTT-4.12.0-6].
        authentication_method: asked.authentication_method,
        authentication_data: sent(last_word),
        maximum_qos: Some(protocol.maximum_qos).filter(|qos| *qos < Qos::ExactlyOnce),
        retain_available: unavailable(protocol.retain_available),
        wildcard_subscription_available: unavailable(protocol.wildcard_subscriptions),
        shared_subscription_available: unavailable(protocol.shared_subscriptions),
        subscription_identifiers_available: unavailable(protocol.subscription_identifiers),
        response_information: response_information.as_deref(),
        ..ConnAckProperties::default()
    };
    // The flag came with 3.1.1; before, its byte is reserved.
    let session_present = opened.present && connect.version != ProtocolVersion::V31;
    let connack = ConnAck { session_present, reason_code: ReasonCode::Success, properties };
    let mut first_bytes = Vec::new();
    Packet::ConnAck(Box::new(connack))
        .encode(connect.version, &mut first_bytes)
        .expect("each string of it has come in a packet or is checked to fit one");
    let commit = store_opening(broker, &client, &opened, will.as_deref());
    if durability != Durability::Memory {
        broker.durable(commit).await;
    }
    let terms = Terms {
        version: connect.version,
        // A client is lost when one and a half times the interval is over [MQTT-3.1.2-24].
        silence: Duration::from_millis(u64::from(keep_alive) * 1500),
        maximum_packet_size: asked.maximum_packet_size.map_or(u32::MAX, NonZeroU32::get),
        session_expiry_interval: asked.session_expiry_interval.unwrap_or(0),
        topic_alias_maximum: asked
            .topic_alias_maximum
            .unwrap_or(0)
            .min(limits.outgoing_topic_aliases),
        problem_information: asked.request_problem_information.unwrap_or(true),
        durability,
    };
    let authentication = Authentication::of(connect);
    Start { terms, tenant, client, opened, will, authentication, first_bytes }
}

/// Stores what a connection begins with, where anything of it is to outlive the connection; gives the
/// commit that CONNACK waits for.
fn store_opening(
    broker: &Broker,
    client: &Client,
    OpenedSession { handle, session, present, .. }: &OpenedSession,
    will: Option<&Will>,
) -> CommitSequence {
    if !session.outlives_connection() && !present && will.is_none() {
        return CommitSequence::NONE;
    }
    let mut changes = vec![Change::SessionOpened {
        session: handle.key.clone(),
        username: client.username.clone(),
        expiry_interval: session.expiry_interval,
        epoch: handle.epoch.load(Ordering::Acquire),
        opening: if *present { Opening::Resumed } else { Opening::Clean },
    }];
    changes.extend(will.map(|will| {
        will.message.set_stored(broker.store.next_id().0);
        let will = NewWill {
            record: NewRecord::of(will.message.clone()),
            delay: will.delay.as_secs() as u32,
            expiry_interval: will.expiry_interval,
        };
        Change::WillSet { session: handle.key.clone(), will }
    }));
    handle.set_stored();
    broker.store.append(changes)
}

/// CONNACK for a client that is not let in.
///
/// It says why where the reason is the protocol's or a limit's; what a step thinks of the client is for
/// the log. What the client would not take for its length is left out `[MQTT-3.2.2-19]`.
pub(super) fn refusal(terms: &RefusalTerms<'_>, refusal: &Refusal) -> Vec<u8> {
    // Hooks choose codes, too; one that CONNACK cannot carry must not leave, and none may let in.
    let asked = refusal.reason_code;
    let can_refuse = asked.is_failure() && asked.is_allowed_in(PacketType::ConnAck);
    let reason_code = if can_refuse { asked } else { ReasonCode::NotAuthorized };
    let refers = matches!(reason_code, ReasonCode::UseAnotherServer | ReasonCode::ServerMoved);
    let full = ConnAckProperties {
        reason_string: Some(&*refusal.reason).filter(|_| refusal.step.is_none()),
        server_reference: terms.server_reference.filter(|_| refers),
        ..ConnAckProperties::default()
    };
    let mut out = Vec::new();
    for properties in [full, ConnAckProperties::default()] {
        out.clear();
        let connack = ConnAck { session_present: false, reason_code, properties };
        let encoded = Packet::ConnAck(Box::new(connack)).encode(terms.version, &mut out);
        if encoded.is_ok() && out.len() <= terms.maximum_packet_size as usize {
            break;
        }
    }
    out
}

/// What the wording of a refusal depends on.
pub(super) struct RefusalTerms<'a> {
    pub version: ProtocolVersion,
    /// Bytes.
    pub maximum_packet_size: u32,
    pub server_reference: Option<&'a str>,
}

/// CONNACK names what is not available; what it does not name is.
fn unavailable(available: bool) -> Option<bool> {
    (!available).then_some(false)
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
