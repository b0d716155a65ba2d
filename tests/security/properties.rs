//! More properties than a packet should have, and lengths that promise them.

use hookmq_codec::{Packet, Qos, ReasonCode};
use hookmq_tests::client::Client;
use hookmq_tests::scene::Scene;

use crate::wire::{integer, packet, section, sized};
use crate::{Bystanders, MIB};

const LIMITS: &str = "user_properties: 100";

fn user_properties(count: usize) -> Vec<u8> {
    section(&b"\x26\0\x01n\0\x01v".repeat(count))
}

/// A packet of each type that may come at any time, with so many user properties.
fn packets(count: usize) -> [(&'static str, Vec<u8>); 5] {
    let properties = user_properties(count);
    let with = |before: &[u8], behind: &[u8]| [before, &properties, behind].concat();
    [
        ("PUBLISH", packet(0x30, &with(b"\0\x01t", b"x"))),
        ("PUBACK", packet(0x40, &with(b"\0\x07\0", b""))),
        ("PUBREL", packet(0x62, &with(b"\0\x07\0", b""))),
        ("SUBSCRIBE", packet(0x82, &with(b"\0\x01", b"\0\x01t\0"))),
        ("UNSUBSCRIBE", packet(0xA2, &with(b"\0\x01", b"\0\x01t"))),
    ]
}

#[test]
fn so_many_user_properties_are_taken_and_one_more_is_not() {
    let scene = Scene::new(hookmq_codec::ProtocolVersion::V5, LIMITS);
    let mut bystanders = Bystanders::new(&scene);
    let mut client = scene.client("modest");
    for (name, packet) in packets(100) {
        eprintln!("{name}");
        client.send_raw(&packet);
        client.send(&Packet::PingReq);
        client.receive_where(|packet| *packet == Packet::PingResp);
    }
    let mut witness = scene.client("witness");
    witness.subscribe("t", Qos::AtMostOnce);
    for (name, packet) in packets(101) {
        eprintln!("{name}");
        let mut client = scene.client("offender");
        client.send_raw(&packet);
        client.expect_disconnected(ReasonCode::QuotaExceeded);
    }
    witness.expect_nothing();
    bystanders.exchange();
}

#[test]
fn a_connect_or_will_of_too_many_user_properties_is_refused_with_the_reason() {
    let scene = Scene::new(hookmq_codec::ProtocolVersion::V5, LIMITS);
    let head = |flags: u8| [b"\0\x04MQTT\x05", &[flags][..], b"\0\0"].concat();
    let of_connect = |count| [head(0x02), user_properties(count), sized(b"c")].concat();
    let of_will = |count| {
        let will = [user_properties(count), sized(b"w"), sized(b"x")].concat();
        [&head(0x06)[..], b"\0", &sized(b"c"), &will].concat()
    };
    for (taken, refused) in [(of_connect(100), of_connect(101)), (of_will(100), of_will(101))] {
        for (body, expected) in [(taken, ReasonCode::Success), (refused, ReasonCode::QuotaExceeded)]
        {
            let mut client = Client::open(scene.address, scene.version);
            client.send_raw(&packet(0x10, &body));
            let answer = client.receive();
            let Packet::ConnAck(connack) = answer.packet() else { panic!("not CONNACK") };
            assert_eq!(connack.reason_code, expected);
        }
    }
}

#[test]
fn ten_thousand_user_properties_cost_nothing_that_stays() {
    let scene = Scene::v5();
    let mut bystanders = Bystanders::new(&scene);
    bystanders.exchange();
    let before = scene.broker.resident_bytes();
    for _ in 0..50 {
        for (_, packet) in packets(10_000) {
            let mut client = scene.client("offender");
            client.try_send_raw(&packet);
            client.expect_disconnected(ReasonCode::QuotaExceeded);
        }
    }
    bystanders.exchange();
    let grown = scene.broker.resident_bytes().saturating_sub(before);
    assert!(grown < 16 * MIB, "250 packets cost {grown} bytes");
}

/// A packet of 256 MB is refused when its length is there; properties as long as that are none,
/// as soon as the packet around them is.
#[test]
fn what_is_announced_as_256_megabytes_is_refused_at_once() {
    let scene = Scene::v5();
    let mut bystanders = Bystanders::new(&scene);
    let before = scene.broker.resident_bytes();
    let largest = integer(268_435_455);
    for first_byte in [0x30, 0x40, 0x82, 0xA2, 0xE0, 0xF0] {
        let mut client = scene.client("offender");
        client.send_raw(&[&[first_byte], &largest[..]].concat());
        client.expect_disconnected(ReasonCode::PacketTooLarge);
    }
    let mut stranger = Client::open(scene.address, scene.version);
    stranger.send_raw(&[&[0x10], &largest[..]].concat());
    stranger.expect_closed();
    for (first_byte, before) in [(0x30, &b"\0\x01t"[..]), (0x82, b"\0\x01"), (0xA2, b"\0\x01")] {
        let mut client = scene.client("offender");
        client.send_raw(&packet(first_byte, &[before, &largest[..], b"rest"].concat()));
        client.expect_disconnected(ReasonCode::MalformedPacket);
    }
    bystanders.exchange();
    let grown = scene.broker.resident_bytes().saturating_sub(before);
    assert!(grown < 8 * MIB, "announcements cost {grown} bytes");
}
