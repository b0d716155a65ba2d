//! Packets above the maximum packet size are refused on their announcement.

use hookmq_codec::{Connect, Packet, Qos, ReasonCode};
use hookmq_tests::client::{Client, publish};
use hookmq_tests::scene::in_both_versions_within;

use crate::Bystanders;

const LIMITS: &str = "maximum_packet_size: 1024";

#[test]
fn an_oversized_packet_is_refused_before_it_is_sent() {
    in_both_versions_within(LIMITS, |scene| {
        let mut bystanders = Bystanders::new(scene);
        let mut client = scene.client("offender");
        // 1,025 bytes with the fixed header of three, which is all that is sent.
        client.send_raw(&[0x30, 0xFE, 0x07]);
        client.expect_disconnected(ReasonCode::PacketTooLarge);
        let mut stranger = Client::open(scene.address, scene.version);
        stranger.send_raw(&[0x10, 0xFE, 0x07]);
        stranger.expect_closed();
        bystanders.exchange();
    });
}

#[test]
fn a_packet_of_just_the_maximum_size_is_taken() {
    in_both_versions_within(LIMITS, |scene| {
        let mut client = scene.client("a");
        client.subscribe("t", Qos::AtMostOnce);
        let properties = usize::from(scene.version.is_v5());
        let payload = vec![b'x'; 1024 - 3 - 3 - properties];
        let packet = Packet::Publish(publish("t", &payload, Qos::AtMostOnce));
        assert_eq!(client.encode(&packet).len(), 1024);
        client.send(&packet);
        client.expect_message("t", &payload);
    });
}

#[test]
fn a_stranger_may_not_send_what_a_client_may() {
    in_both_versions_within("connect_packet_size: 1000", |scene| {
        let password = [b'x'; 1000];
        let connect = |length| Connect {
            username: Some("u"),
            password: Some(&password[..length]),
            ..scene.connect_packet("a")
        };
        let mut client = scene.connect(connect(900));
        client.subscribe("t", Qos::AtMostOnce);
        client.publish(publish("t", &[b'x'; 100_000], Qos::AtMostOnce));
        client.expect_message("t", &[b'x'; 100_000]);
        let mut stranger = Client::open(scene.address, scene.version);
        stranger.send(&Packet::Connect(Box::new(connect(1000))));
        stranger.expect_closed();
        client.expect_nothing();
    });
}
