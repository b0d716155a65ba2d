//! What is encoded decodes to the same value, and no bytes bring the decoder down.

#![allow(clippy::unwrap_used)]

mod generate;

use std::num::NonZeroU16;

use hookmq_codec::{
    Frame, OutgoingPublish, Packet, ProtocolVersion, Publish, PublishProperties, Qos, TopicName,
    decode, decode_connect, decode_forwarded, frame, needed,
};
use proptest::collection::vec;
use proptest::prelude::*;

const VERSIONS: [ProtocolVersion; 3] =
    [ProtocolVersion::V31, ProtocolVersion::V311, ProtocolVersion::V5];

fn encode(packet: &Packet<'_>, version: ProtocolVersion) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(version, &mut bytes).unwrap();
    bytes
}

fn whole(bytes: &[u8]) -> Frame<'_> {
    frame(bytes, u32::MAX).unwrap().unwrap()
}

/// Whatever can be read can be written, and reads as the same again.
fn check_any_bytes(bytes: &[u8]) {
    let Ok(Some(frame)) = frame(bytes, u32::MAX) else {
        return;
    };
    assert_eq!(needed(bytes), Some(frame.length));
    let _ = decode_connect(frame);
    for version in VERSIONS {
        if let Ok(packet) = decode(frame, version) {
            if let Packet::Publish(Publish { topic: Some(topic), .. }) = &packet {
                let text = std::str::from_utf8(topic.as_str().as_bytes()).unwrap();
                assert_eq!(TopicName::new(text), Ok(*topic));
            }
            let again = encode(&packet, version);
            assert_eq!(decode(whole(&again), version), Ok(packet), "{bytes:02x?}");
        }
    }
}

proptest! {
    #[test]
    fn every_packet_survives_the_wire((version, packet) in generate::versioned_packet()) {
        let bytes = encode(&packet, version);
        let frame = whole(&bytes);
        prop_assert_eq!(frame.length, bytes.len());
        prop_assert_eq!(packet.encoded_length(version), Ok(bytes.len()));
        let decoded = decode(frame, version).unwrap();
        prop_assert_eq!(&decoded, &packet);
        prop_assert_eq!(encode(&decoded, version), bytes);
    }

    #[test]
    fn packets_follow_each_other_without_a_gap(
        packets in vec(generate::versioned_packet(), 1..5),
    ) {
        let mut stream = Vec::new();
        for (version, packet) in &packets {
            packet.encode(*version, &mut stream).unwrap();
        }
        let mut rest = stream.as_slice();
        for (version, packet) in &packets {
            let frame = whole(rest);
            prop_assert_eq!(&decode(frame, *version).unwrap(), packet);
            rest = &rest[frame.length..];
        }
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn a_cut_packet_asks_for_the_rest((version, packet) in generate::versioned_packet()) {
        let bytes = encode(&packet, version);
        let frame_of_all = whole(&bytes);
        for end in 0..bytes.len() {
            prop_assert_eq!(frame(&bytes[..end], u32::MAX), Ok(None));
        }
        for end in 0..frame_of_all.body.len() {
            let mut cut = vec![frame_of_all.first_byte];
            cut.extend(remaining_length(end));
            cut.extend(&frame_of_all.body[..end]);
            check_any_bytes(&cut);
        }
    }

    #[test]
    fn a_damaged_packet_is_refused_or_read(
        (version, packet) in generate::versioned_packet(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = encode(&packet, version);
        for (index, byte) in damage {
            *index.get_mut(&mut bytes) = byte;
        }
        check_any_bytes(&bytes);
    }

    #[test]
    fn random_bytes_are_refused_or_read(bytes in vec(any::<u8>(), 0..200)) {
        check_any_bytes(&bytes);
        let mut framed = vec![bytes.first().copied().unwrap_or_default()];
        framed.extend(remaining_length(bytes.len()));
        framed.extend(&bytes);
        check_any_bytes(&framed);
        let _ = decode_forwarded(&bytes);
    }

    #[test]
    fn forwarded_properties_come_back_without_the_others(
        properties in generate::publish_properties(),
    ) {
        let mut bytes = Vec::new();
        properties.encode_forwarded(&mut bytes);
        prop_assert_eq!(bytes.len(), properties.forwarded_length());
        let expected = PublishProperties {
            message_expiry_interval: None,
            subscription_identifiers: Vec::new(),
            ..properties
        };
        prop_assert_eq!(decode_forwarded(&bytes), Ok(expected));
    }

    #[test]
    fn an_outgoing_publish_reads_as_what_it_was_put_together_from(
        version in generate::version(),
        publish in generate::publish(ProtocolVersion::V5),
        known_topic in generate::topic(),
        packet_id in any::<NonZeroU16>(),
    ) {
        let mut forwarded_properties = Vec::new();
        publish.properties.encode_forwarded(&mut forwarded_properties);
        let outgoing = OutgoingPublish {
            topic: publish.topic.unwrap_or(known_topic),
            payload: publish.payload,
            dup: publish.dup,
            qos: publish.qos,
            retain: publish.retain,
            packet_id: Some(packet_id).filter(|_| publish.qos != Qos::AtMostOnce),
            message_expiry_interval: publish.properties.message_expiry_interval,
            topic_alias: publish.topic_alias,
            omit_topic: publish.topic.is_none(),
            subscription_identifiers: &publish.properties.subscription_identifiers,
            forwarded_properties: &forwarded_properties,
        };
        let expected = match version {
            ProtocolVersion::V5 => Publish { packet_id: outgoing.packet_id, ..publish.clone() },
            _ => Publish {
                packet_id: outgoing.packet_id,
                topic: Some(outgoing.topic),
                topic_alias: None,
                properties: PublishProperties::default(),
                ..publish.clone()
            },
        };
        let mut bytes = Vec::new();
        outgoing.encode(version, &mut bytes);
        prop_assert_eq!(bytes.len(), outgoing.encoded_length(version));
        prop_assert_eq!(decode(whole(&bytes), version), Ok(Packet::Publish(expected)));
    }
}

/// `length` as a remaining length, written without the codec.
fn remaining_length(mut length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (length % 128) as u8;
        length /= 128;
        bytes.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            return bytes;
        }
    }
}
