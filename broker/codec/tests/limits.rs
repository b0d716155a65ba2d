//! What the protocol has no bytes for is refused before a byte is written.

#![allow(clippy::unwrap_used)]

use std::num::{NonZeroU16, NonZeroU32};

use hookmq_codec::{
    Ack, AckKind, AckProperties, Auth, AuthProperties, ConnAck, ConnAckProperties, Disconnect,
    DisconnectProperties, EncodeError, LONGEST_PACKET, OutgoingPublish, Packet, ProtocolVersion,
    Publish, PublishProperties, Qos, ReasonCode, TopicName,
};

fn publish(payload: &[u8]) -> Publish<'_> {
    Publish {
        dup: false,
        qos: Qos::AtMostOnce,
        retain: false,
        topic: Some(TopicName::new("t").unwrap()),
        packet_id: None,
        topic_alias: None,
        properties: PublishProperties::default(),
        payload,
    }
}

fn refused(packet: &Packet<'_>, version: ProtocolVersion) -> EncodeError {
    let mut out = b"before".to_vec();
    let error = packet.encode(version, &mut out).unwrap_err();
    assert_eq!(out, b"before");
    assert_eq!(packet.encoded_length(version), Err(error));
    error
}

#[test]
fn a_packet_ends_at_the_longest_remaining_length() {
    let payload = vec![0; 268_435_455 - 3];
    let mut largest = publish(&payload);
    assert_eq!(largest.encoded_length(ProtocolVersion::V311), Ok(LONGEST_PACKET));
    largest.topic = Some(TopicName::new("tt").unwrap());
    let larger = Packet::Publish(largest);
    assert_eq!(refused(&larger, ProtocolVersion::V311), EncodeError::PacketTooLarge);
}

#[test]
fn an_outgoing_publish_that_is_too_long_is_not_written() {
    let payload = vec![0; 268_435_455 - 2];
    let outgoing = OutgoingPublish {
        topic: TopicName::new("t").unwrap(),
        payload: &payload,
        dup: false,
        qos: Qos::AtMostOnce,
        retain: false,
        packet_id: None,
        message_expiry_interval: None,
        topic_alias: None,
        omit_topic: false,
        subscription_identifiers: &[],
        forwarded_properties: &[],
    };
    assert_eq!(outgoing.encoded_length(ProtocolVersion::V311), LONGEST_PACKET + 1);
    let mut out = Vec::new();
    outgoing.encode(ProtocolVersion::V311, &mut out);
    assert!(out.is_empty());
}

#[test]
fn a_string_ends_at_65535_bytes() {
    let text = "x".repeat(65_536);
    let with = |content_type| {
        let mut publish = publish(b"");
        publish.properties.content_type = Some(content_type);
        Packet::Publish(publish)
    };
    assert_eq!(refused(&with(&text), ProtocolVersion::V5), EncodeError::StringTooLong);
    let mut out = Vec::new();
    assert_eq!(with(&text[1..]).encode(ProtocolVersion::V5, &mut out), Ok(()));
}

#[test]
fn an_identifier_of_a_subscription_ends_at_the_longest_integer() {
    let mut too_large = publish(b"");
    too_large.properties.subscription_identifiers = vec![NonZeroU32::new(268_435_456).unwrap()];
    let error = refused(&Packet::Publish(too_large), ProtocolVersion::V5);
    assert_eq!(error, EncodeError::PacketTooLarge);
}

#[test]
fn a_packet_identifier_goes_with_acknowledged_messages_only() {
    let mut with = publish(b"");
    with.packet_id = NonZeroU16::new(1);
    let mut without = publish(b"");
    without.qos = Qos::AtLeastOnce;
    for publish in [with, without] {
        let packet = Packet::Publish(publish);
        assert_eq!(refused(&packet, ProtocolVersion::V311), EncodeError::PacketId);
    }
}

/// `[MQTT311-3.3.1-2]`
#[test]
fn dup_is_never_written_with_qos_0() {
    let repeated = Publish { dup: true, ..publish(b"") };
    let mut out = Vec::new();
    repeated.encode(ProtocolVersion::V311, &mut out).unwrap();
    assert_eq!(out, [0x30, 3, 0, 1, b't']);
}

#[test]
fn older_versions_have_neither_auth_nor_aliases() {
    let mut alias = publish(b"");
    alias.topic = None;
    alias.topic_alias = NonZeroU16::new(1);
    let auth = Auth { reason_code: ReasonCode::Success, properties: AuthProperties::default() };
    for packet in [Packet::Publish(alias), Packet::Auth(auth)] {
        assert_eq!(refused(&packet, ProtocolVersion::V311), EncodeError::NotInThisVersion);
        assert!(packet.encoded_length(ProtocolVersion::V5).is_ok());
    }
}

#[test]
fn older_versions_lose_what_they_cannot_say() {
    let reason_string = Some("why");
    let properties = AckProperties { reason_string, ..AckProperties::default() };
    let ack = Ack {
        packet_id: NonZeroU16::new(0x0102).unwrap(),
        reason_code: ReasonCode::QuotaExceeded,
        properties,
    };
    let conn_ack = ConnAck {
        session_present: false,
        reason_code: ReasonCode::Banned,
        properties: ConnAckProperties { reason_string, ..ConnAckProperties::default() },
    };
    let disconnect = Disconnect {
        reason_code: ReasonCode::SessionTakenOver,
        properties: DisconnectProperties::default(),
    };
    let mut out = Vec::new();
    ack.encode(AckKind::PubRec, ProtocolVersion::V311, &mut out).unwrap();
    conn_ack.encode(ProtocolVersion::V31, &mut out).unwrap();
    disconnect.encode(ProtocolVersion::V311, &mut out).unwrap();
    assert_eq!(out, [0x50, 2, 1, 2, 0x20, 2, 0, 5, 0xE0, 0]);
}
