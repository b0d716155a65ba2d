//! Bounds that the configuration sets: what happens at each.

use hookmq_codec::{Packet, Qos, ReasonCode};
use hookmq_tests::client::{Client, at, publish};
use hookmq_tests::scene::in_both_versions_within;
use hookmq_tests::wait::wait_until;

#[test]
fn more_connections_than_allowed_are_closed_and_a_place_that_is_left_is_given_again() {
    in_both_versions_within("connections: 2", |scene| {
        let mut first = scene.client("first");
        let second = scene.client("second");
        let mut third = Client::open(scene.address, scene.version);
        third.expect_closed();
        first.expect_nothing();
        second.disconnect();
        // The place is free when the broker has forgotten the client, which is after it has closed.
        wait_until("a place is free", || {
            let mut client = Client::open(scene.address, scene.version);
            let connect = Packet::Connect(Box::new(scene.connect_packet("third")));
            client.try_send_raw(&client.encode(&connect));
            client.try_receive().map(|connack| assert!(!connack.session_present()))
        });
    });
}

#[test]
fn the_queue_of_a_client_that_is_away_keeps_the_oldest_messages_up_to_its_bound() {
    in_both_versions_within("queue_messages: 100", |scene| {
        let mut client = scene.session("away");
        client.subscribe("t", Qos::AtLeastOnce);
        client.disconnect();
        let mut publisher = scene.client("publisher");
        for number in 0..150u8 {
            publisher.publish(publish("t", &[number], Qos::AtLeastOnce));
        }
        let mut client = scene.session("away");
        for number in 0..100 {
            let received = client.expect_message("t", &[number]);
            client.acknowledge(&received);
        }
        client.expect_nothing();
    });
}

#[test]
fn topics_and_filters_of_too_many_levels_are_refused() {
    in_both_versions_within("topic_levels: 3", |scene| {
        let mut client = scene.client("a");
        client.subscribe("a/+/c", Qos::AtMostOnce);
        let refusal = match scene.version.is_v5() {
            true => ReasonCode::TopicFilterInvalid,
            false => ReasonCode::UnspecifiedError,
        };
        assert_eq!(client.subscribe_with(&[("a/b/c/#", at(Qos::AtMostOnce))], None), [refusal]);
        client.publish(publish("a/b/c", b"x", Qos::AtMostOnce));
        client.expect_message("a/b/c", b"x");
        client.publish(publish("a/b/c/d", b"x", Qos::AtMostOnce));
        client.expect_disconnected(ReasonCode::TopicNameInvalid);
    });
}

/// `[MQTT5-3.1.3-8]` `[MQTT5-3.1.4-2]` `[MQTT311-3.1.3-9]` `[MQTT311-3.2.2-5]`
#[test]
fn a_client_id_above_its_bound_is_refused() {
    in_both_versions_within("client_id_length: 23", |scene| {
        scene.client(&"x".repeat(23));
        let long = "x".repeat(24);
        let (mut client, answer) = Client::attempt(scene.address, scene.connect_packet(&long));
        let Packet::ConnAck(connack) = answer.packet() else { panic!("not CONNACK") };
        assert_eq!(connack.reason_code, ReasonCode::ClientIdentifierNotValid);
        client.expect_closed();
    });
}
