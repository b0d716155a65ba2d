//! What can be decoded can be encoded, and decodes to the same value again.

#![no_main]

use hookmq_codec::{
    OutgoingPublish, Packet, ProtocolVersion, Publish, TopicName, decode, decode_forwarded, frame,
};
use libfuzzer_sys::fuzz_target;

const VERSIONS: [ProtocolVersion; 3] =
    [ProtocolVersion::V31, ProtocolVersion::V311, ProtocolVersion::V5];

fuzz_target!(|bytes: &[u8]| {
    let Ok(Some(frame)) = frame(bytes, 1 << 20) else { return };
    for version in VERSIONS {
        let Ok(packet) = decode(frame, version) else { continue };
        let mut again = Vec::new();
        packet.encode(version, &mut again).expect("what was decoded fits its packet");
        assert_eq!(packet.encoded_length(version), Ok(again.len()));
        assert_eq!(read(&again, version), packet);
        if let Packet::Publish(publish) = &packet {
            forward(publish, version);
        }
    }
});

/// The way of a message through the server: its parts are put together again.
fn forward(publish: &Publish<'_>, version: ProtocolVersion) {
    let Some(topic) = publish.topic else { return };
    let text = std::str::from_utf8(topic.as_str().as_bytes()).expect("a topic is UTF-8");
    assert_eq!(TopicName::new(text), Ok(topic));
    let mut forwarded = Vec::new();
    publish.properties.encode_forwarded(&mut forwarded);
    assert_eq!(forwarded.len(), publish.properties.forwarded_length());
    decode_forwarded(&forwarded).expect("what was encoded can be decoded");
    let outgoing = OutgoingPublish {
        topic,
        payload: publish.payload,
        dup: publish.dup,
        qos: publish.qos,
        retain: publish.retain,
        packet_id: publish.packet_id,
        message_expiry_interval: publish.properties.message_expiry_interval,
        topic_alias: publish.topic_alias,
        omit_topic: false,
        subscription_identifiers: &publish.properties.subscription_identifiers,
        forwarded_properties: &forwarded,
    };
    let mut bytes = Vec::new();
    outgoing.encode(version, &mut bytes);
    assert_eq!(bytes.len(), outgoing.encoded_length(version));
    assert_eq!(read(&bytes, version), Packet::Publish(publish.clone()));
}

fn read(bytes: &[u8], version: ProtocolVersion) -> Packet<'_> {
    let frame = frame(bytes, u32::MAX).ok().flatten().expect("an encoded packet is whole");
    assert_eq!(frame.length, bytes.len());
    decode(frame, version).expect("what was encoded can be decoded")
}
