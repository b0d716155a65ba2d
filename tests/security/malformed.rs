//! Packets that are none: the connection ends with the right reason, and nobody else notices.

use hookmq_codec::ReasonCode::{
    self, MalformedPacket, ProtocolError, TopicFilterInvalid, TopicNameInvalid,
};
use hookmq_tests::scene::{Scene, in_both_versions};

use crate::Bystanders;

/// What is wrong, the first byte, the body before and behind the properties, what a client of 5.0 is
/// told. PUBLISH, SUBSCRIBE and UNSUBSCRIBE of 5.0 get an empty property section.
type Case = (&'static str, u8, &'static [u8], &'static [u8], ReasonCode);

const CASES: &[Case] = &[
    ("# in a topic name", 0x30, b"\0\x01#", b"x", TopicNameInvalid),
    ("+ in a topic name", 0x30, b"\0\x03a/+", b"x", TopicNameInvalid),
    ("NUL in a topic name", 0x30, b"\0\x03a\0b", b"x", MalformedPacket),
    ("a topic name in Latin-1", 0x30, b"\0\x02a\xE9", b"x", MalformedPacket),
    ("a surrogate", 0x30, b"\0\x03\xED\xA0\x80", b"x", MalformedPacket),
    ("an overlong slash", 0x30, b"\0\x02\xC0\xAF", b"x", MalformedPacket),
    ("an empty topic name", 0x30, b"\0\0", b"x", ProtocolError),
    ("packet id 0 in PUBLISH", 0x32, b"\0\x01t\0\0", b"x", ProtocolError),
    ("QoS 3", 0x36, b"\0\x01t\0\x01", b"x", MalformedPacket),
    ("DUP with QoS 0", 0x38, b"\0\x01t", b"x", MalformedPacket),
    ("a topic name longer than the packet", 0x30, b"\0\xFFt", b"", MalformedPacket),
    ("an empty PUBLISH", 0x30, b"", b"", MalformedPacket),
    ("PUBREL without its flags", 0x60, b"\0\x01", b"", MalformedPacket),
    ("SUBSCRIBE without its flags", 0x80, b"\0\x01", b"\0\x01t\0", MalformedPacket),
    ("UNSUBSCRIBE without its flags", 0xA0, b"\0\x01", b"\0\x01t", MalformedPacket),
    ("PINGREQ with a flag", 0xC1, b"", b"", MalformedPacket),
    ("DISCONNECT with a flag", 0xE1, b"", b"", MalformedPacket),
    ("packet type 0", 0x00, b"", b"", MalformedPacket),
    ("PINGREQ with a body", 0xC0, b"x", b"", MalformedPacket),
    ("a PUBACK of one byte", 0x40, b"\0", b"", MalformedPacket),
    ("PUBACK of packet id 0", 0x40, b"\0\0", b"", ProtocolError),
    ("SUBSCRIBE without a filter", 0x82, b"\0\x01", b"", ProtocolError),
    ("packet id 0 in SUBSCRIBE", 0x82, b"\0\0", b"\0\x01t\0", ProtocolError),
    ("reserved options", 0x82, b"\0\x01", b"\0\x01t\xC0", MalformedPacket),
    ("a subscription of QoS 3", 0x82, b"\0\x01", b"\0\x01t\x03", ProtocolError),
    ("a filter without options", 0x82, b"\0\x01", b"\0\x01t", MalformedPacket),
    ("a misplaced #", 0x82, b"\0\x01", b"\0\x02a#\0", TopicFilterInvalid),
    ("# before the end", 0x82, b"\0\x01", b"\0\x03#/a\0", TopicFilterInvalid),
    ("a misplaced +", 0x82, b"\0\x01", b"\0\x03a+b\0", TopicFilterInvalid),
    ("an empty share name", 0x82, b"\0\x01", b"\0\x09$share//t\0", TopicFilterInvalid),
    ("an empty filter", 0x82, b"\0\x01", b"\0\0\0", TopicFilterInvalid),
    ("NUL in a filter", 0x82, b"\0\x01", b"\0\x01\0\0", MalformedPacket),
    ("UNSUBSCRIBE without a filter", 0xA2, b"\0\x01", b"", ProtocolError),
    ("PINGRESP, which only servers send", 0xD0, b"", b"", ProtocolError),
];

/// What only 5.0 can get wrong: the whole packet, and the reason.
const CASES_OF_V5: &[(&str, &[u8], ReasonCode)] = &[
    ("an unknown property", b"\x30\x06\0\x01t\x02\x7F\0", MalformedPacket),
    ("a property of another packet", b"\x30\x09\0\x01t\x05\x11\0\0\0\0", MalformedPacket),
    ("a property twice", b"\x30\x08\0\x01t\x04\x01\0\x01\0", ProtocolError),
    ("a property with an impossible value", b"\x30\x06\0\x01t\x02\x01\x02", ProtocolError),
    (
        "a user property with NUL in its name",
        b"\x30\x0C\0\x01t\x07\x26\0\x01\0\0\x01b\0",
        MalformedPacket,
    ),
    ("a user property in Latin-1", b"\x30\x0C\0\x01t\x07\x26\0\x01a\0\x01\xE9\0", MalformedPacket),
    ("a response topic in Latin-1", b"\x30\x08\0\x01t\x04\x08\0\x01\xE9", MalformedPacket),
    ("a content type in Latin-1", b"\x30\x08\0\x01t\x04\x03\0\x01\xE9", MalformedPacket),
    ("properties longer than the packet", b"\x30\x04\0\x01t\x7F", MalformedPacket),
    ("no local on a shared subscription", b"\x82\x10\0\x01\0\0\x0A$share/g/t\x04", ProtocolError),
    ("subscription identifier 0", b"\x82\x09\0\x01\x02\x0B\0\0\x01t\0", ProtocolError),
    ("an unknown reason code", b"\x40\x03\0\x01\x7E", MalformedPacket),
    ("AUTH without an exchange", b"\xF0\x00", ProtocolError),
    ("CONNACK, which only servers send", b"\x20\x03\0\0\0", ProtocolError),
];

fn packet(version_5: bool, first_byte: u8, before: &[u8], behind: &[u8]) -> Vec<u8> {
    let has_properties = matches!(first_byte >> 4, 3 | 8 | 10) && !before.is_empty();
    let properties: &[u8] = if version_5 && has_properties { &[0] } else { &[] };
    let body = [before, properties, behind].concat();
    [&[first_byte, body.len() as u8], &body[..]].concat()
}

/// `[MQTT5-1.5.4-1]` `[MQTT5-1.5.4-2]` `[MQTT5-2.1.3-1]` `[MQTT5-2.2.1-3]` `[MQTT5-3.3.1-2]`
/// `[MQTT5-3.3.1-4]` `[MQTT5-3.3.2-1]` `[MQTT5-3.3.2-2]` `[MQTT5-3.6.1-1]` `[MQTT5-3.8.1-1]`
/// `[MQTT5-3.8.3-1]` `[MQTT5-3.8.3-2]` `[MQTT5-3.8.3-5]` `[MQTT5-3.10.1-1]` `[MQTT5-3.10.3-2]`
/// `[MQTT5-3.14.1-1]` `[MQTT5-4.7.0-1]` `[MQTT5-4.7.1-1]` `[MQTT5-4.7.1-2]` `[MQTT5-4.7.3-1]`
/// `[MQTT5-4.7.3-2]` `[MQTT5-4.8.2-1]` `[MQTT5-4.13.1-1]` `[MQTT5-4.13.2-1]` `[MQTT311-1.5.3-1]`
/// `[MQTT311-1.5.3-2]` `[MQTT311-2.2.2-1]` `[MQTT311-2.2.2-2]` `[MQTT311-2.3.1-1]`
/// `[MQTT311-3.3.1-2]` `[MQTT311-3.3.1-4]` `[MQTT311-3.3.2-1]` `[MQTT311-3.3.2-2]`
/// `[MQTT311-3.6.1-1]` `[MQTT311-3.8.1-1]` `[MQTT311-3.8.3-1]` `[MQTT311-3.8.3-3]`
/// `[MQTT311-3.8.3-4]` `[MQTT311-3.10.1-1]` `[MQTT311-3.10.3-2]` `[MQTT311-3.14.1-1]`
/// `[MQTT311-4.7.1-1]` `[MQTT311-4.7.1-2]` `[MQTT311-4.7.1-3]` `[MQTT311-4.7.3-1]`
/// `[MQTT311-4.7.3-2]` `[MQTT311-4.8.0-1]`
#[test]
fn a_malformed_packet_ends_its_connection_and_disturbs_no_other() {
    in_both_versions(|scene| {
        let mut bystanders = Bystanders::new(scene);
        for &(what, first_byte, before, behind, reason_code) in CASES {
            eprintln!("{what}");
            let mut client = scene.client("offender");
            client.send_raw(&packet(scene.version.is_v5(), first_byte, before, behind));
            client.expect_disconnected(reason_code);
            bystanders.exchange();
        }
        assert!(scene.broker.is_running());
    });
}

/// `[MQTT5-1.5.7-1]` `[MQTT5-3.3.2-13]` `[MQTT5-3.3.2-19]` `[MQTT5-3.8.3-4]`
#[test]
fn a_packet_that_only_5_0_can_get_wrong_ends_its_connection() {
    let scene = Scene::v5();
    let mut bystanders = Bystanders::new(&scene);
    for &(what, bytes, reason_code) in CASES_OF_V5 {
        eprintln!("{what}");
        let mut client = scene.client("offender");
        client.send_raw(bytes);
        client.expect_disconnected(reason_code);
        bystanders.exchange();
    }
}

/// `[MQTT5-1.5.5-1]`
#[test]
fn a_malformed_length_ends_the_connection() {
    in_both_versions(|scene| {
        for bytes in [&b"\x30\x80\x80\x80\x80\x01"[..], b"\x30\xFF\xFF\xFF\xFF", b"\xC0\x80\x00"] {
            let mut client = scene.client("offender");
            client.send_raw(bytes);
            client.expect_disconnected(MalformedPacket);
        }
    });
}

/// `[MQTT5-1.5.4-3]` `[MQTT311-1.5.3-3]`
#[test]
fn a_byte_order_mark_is_part_of_the_topic() {
    in_both_versions(|scene| {
        let mut client = scene.client("a");
        client.subscribe("t", hookmq_codec::Qos::AtMostOnce);
        client.subscribe("\u{feff}t", hookmq_codec::Qos::AtMostOnce);
        let at_most_once = hookmq_codec::Qos::AtMostOnce;
        client.publish(hookmq_tests::client::publish("\u{feff}t", b"x", at_most_once));
        client.expect_message("\u{feff}t", b"x");
        client.expect_nothing();
    });
}
