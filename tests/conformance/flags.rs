//! Flags of the fixed header: a packet with others than its type demands is the last that is looked at.

use hookmq_codec::{Packet, Qos, ReasonCode};
use hookmq_tests::client::{Client, publish};
use hookmq_tests::scene::in_both_versions;

/// The types that a client sends behind CONNECT, their flags, and a body for 3.1.1 and 5.0.
const TYPES: [(u8, u8, &[u8], &[u8]); 9] = [
    (4, 0, b"\0\x01", b"\0\x01"),
    (5, 0, b"\0\x01", b"\0\x01"),
    (6, 0b0010, b"\0\x01", b"\0\x01"),
    (7, 0, b"\0\x01", b"\0\x01"),
    (8, 0b0010, b"\0\x01\0\x01t\0", b"\0\x01\0\0\x01t\0"),
    (10, 0b0010, b"\0\x01\0\x01t", b"\0\x01\0\0\x01t"),
    (12, 0, b"", b""),
    (14, 0, b"", b""),
    (15, 0, b"", b"\x19\x04\x15\0\x01m"),
];

fn packet(packet_type: u8, flags: u8, body: &[u8]) -> Vec<u8> {
    [&[packet_type << 4 | flags, body.len() as u8], body].concat()
}

/// `[MQTT5-2.1.3-1]` `[MQTT5-3.6.1-1]` `[MQTT5-3.8.1-1]` `[MQTT5-3.10.1-1]` `[MQTT5-3.14.1-1]`
/// `[MQTT5-3.15.1-1]` `[MQTT311-2.2.2-1]` `[MQTT311-2.2.2-2]` `[MQTT311-3.6.1-1]`
/// `[MQTT311-3.8.1-1]` `[MQTT311-3.10.1-1]` `[MQTT311-3.14.1-1]`
#[test]
fn a_packet_with_wrong_flags_ends_the_connection_and_nothing_behind_it_is_done() {
    in_both_versions(|scene| {
        let mut witness = scene.client("witness");
        witness.subscribe("#", Qos::AtMostOnce);
        for (packet_type, right, body_of_3, body_of_5) in TYPES {
            let body = if scene.version.is_v5() { body_of_5 } else { body_of_3 };
            for flags in (0..16).filter(|flags| *flags != right) {
                let mut client = scene.client("offender");
                let behind = Packet::Publish(publish("smuggled", b"x", Qos::AtMostOnce));
                let behind = client.encode(&behind);
                client.send_raw(&[packet(packet_type, flags, body), behind].concat());
                client.expect_disconnected(ReasonCode::MalformedPacket);
            }
        }
        witness.expect_nothing();
    });
}

/// `[MQTT5-2.1.3-1]` `[MQTT311-2.2.2-1]` `[MQTT311-2.2.2-2]`
#[test]
fn a_connect_with_flags_is_closed_without_a_word() {
    in_both_versions(|scene| {
        for flags in 1..16 {
            let mut client = Client::open(scene.address, scene.version);
            let connect = Packet::Connect(Box::new(scene.connect_packet("a")));
            let mut bytes = client.encode(&connect);
            bytes[0] |= flags;
            client.send_raw(&bytes);
            client.expect_closed();
        }
    });
}
