//! Flow control: how much may be unacknowledged, in both directions.

use std::num::NonZeroU16;

use hookmq_codec::{Ack, Connect, Packet, ProtocolVersion, Publish, Qos, ReasonCode};
use hookmq_tests::client::{Client, ack, connect_to_session, packet_id, publish};
use hookmq_tests::scene::{Scene, in_both_versions_within};

fn with_receive_maximum(scene: &Scene, receive_maximum: u16) -> Connect<'static> {
    let mut connect = connect_to_session(scene.version, "subscriber", 3600);
    connect.properties.receive_maximum = NonZeroU16::new(receive_maximum);
    connect
}

fn publish_five(scene: &Scene, qos: Qos) {
    let mut publisher = scene.client("publisher");
    for payload in [b"1", b"2", b"3", b"4", b"5"] {
        publisher.publish(publish("t", payload, qos));
    }
    publisher.disconnect();
}

fn expect_window_of_two(subscriber: &mut Client) {
    let first = subscriber.expect_message("t", b"1");
    let second = subscriber.expect_message("t", b"2");
    subscriber.expect_nothing();
    subscriber.acknowledge(&second);
    let third = subscriber.expect_message("t", b"3");
    subscriber.expect_nothing();
    subscriber.acknowledge(&first);
    subscriber.acknowledge(&third);
    subscriber.expect_message("t", b"4");
    subscriber.expect_message("t", b"5");
}

/// `[MQTT5-3.3.4-9]` `[MQTT5-3.3.4-10]` `[MQTT5-4.9.0-1]` `[MQTT5-4.9.0-2]` `[MQTT5-4.9.0-3]`
#[test]
fn a_client_is_sent_no_more_than_its_receive_maximum() {
    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let scene = Scene::v5();
        let mut subscriber = scene.connect(with_receive_maximum(&scene, 2));
        subscriber.subscribe("t", qos);
        publish_five(&scene, qos);
        expect_window_of_two(&mut subscriber);
    }
}

#[test]
fn the_brokers_own_window_holds_where_the_client_sets_none() {
    in_both_versions_within("maximum_inflight: 2", |scene| {
        let mut subscriber = scene.client("subscriber");
        subscriber.subscribe("t", Qos::AtLeastOnce);
        publish_five(scene, Qos::AtLeastOnce);
        expect_window_of_two(&mut subscriber);
    });
}

/// `[MQTT5-3.3.4-9]` `[MQTT5-4.4.0-1]`
#[test]
fn a_resumed_session_keeps_to_the_receive_maximum_of_the_new_connection() {
    let scene = Scene::v5();
    let mut subscriber = scene.connect(with_receive_maximum(&scene, 10));
    subscriber.subscribe("t", Qos::AtLeastOnce);
    publish_five(&scene, Qos::AtLeastOnce);
    subscriber.expect_message("t", b"1");
    subscriber.vanish();
    let mut subscriber = scene.connect(with_receive_maximum(&scene, 2));
    expect_window_of_two(&mut subscriber);
}

/// A refusing PUBREC ends the exchange, and gives the place in the window back.
#[test]
fn a_refused_message_makes_room_in_the_window() {
    let scene = Scene::v5();
    let mut subscriber = scene.connect(with_receive_maximum(&scene, 1));
    subscriber.subscribe("t", Qos::ExactlyOnce);
    publish_five(&scene, Qos::ExactlyOnce);
    let first = subscriber.expect_message("t", b"1");
    subscriber.expect_nothing();
    let id = first.publish().packet_id.unwrap();
    let refusal = Ack { reason_code: ReasonCode::QuotaExceeded, ..ack(id) };
    subscriber.send(&Packet::PubRec(refusal));
    subscriber.expect_message("t", b"2");
    subscriber.expect_nothing();
}

fn send_qos_2(client: &mut Client, id: u16) {
    let message =
        Publish { packet_id: Some(packet_id(id)), ..publish("t", b"x", Qos::ExactlyOnce) };
    client.send(&Packet::Publish(message));
}

/// `[MQTT5-3.3.4-7]`
#[test]
fn a_client_that_exceeds_our_receive_maximum_is_disconnected() {
    let scene = Scene::new(ProtocolVersion::V5, "receive_maximum: 4");
    let mut client = scene.client("a");
    // It counts what is not released, not what was ever sent.
    for id in 1..=20 {
        send_qos_2(&mut client, id);
        client.receive().acknowledges(packet_id(id));
        client.send(&Packet::PubRel(ack(packet_id(id))));
        client.receive().acknowledges(packet_id(id));
    }
    for id in 1..=4 {
        send_qos_2(&mut client, id);
        client.receive().acknowledges(packet_id(id));
    }
    // One that is sent again is no fifth.
    send_qos_2(&mut client, 4);
    client.receive().acknowledges(packet_id(4));
    send_qos_2(&mut client, 5);
    client.expect_disconnected(ReasonCode::ReceiveMaximumExceeded);
}
