//! Delivery guarantees over lost connections: at least once, exactly once, in order.

use hookmq_codec::{Packet, Publish, Qos, ReasonCode};
use hookmq_tests::client::{Client, ack, packet_id, publish};
use hookmq_tests::scene::{Scene, in_both_versions};

/// A message of QoS 2 under id 1, up to its PUBREC.
fn publish_until_pubrec(client: &mut Client, payload: &[u8], dup: bool) {
    let packet_id = Some(packet_id(1));
    let message = Publish { dup, packet_id, ..publish("t", payload, Qos::ExactlyOnce) };
    client.send(&Packet::Publish(message));
    expect_pubrec(client);
}

fn expect_pubrec(client: &mut Client) {
    let answer = client.receive();
    assert!(matches!(answer.packet(), Packet::PubRec(_)));
    assert_eq!(answer.acknowledges(packet_id(1)), ReasonCode::Success);
}

fn release(client: &mut Client) -> ReasonCode {
    client.send(&Packet::PubRel(ack(packet_id(1))));
    client.receive_where(|it| matches!(it, Packet::PubComp(_))).acknowledges(packet_id(1))
}

fn subscriber(scene: &Scene, qos: Qos) -> Client {
    let mut subscriber = scene.session("subscriber");
    subscriber.subscribe("t", qos);
    subscriber
}

/// `[MQTT5-3.3.1-1]` `[MQTT5-3.1.2-5]` `[MQTT5-4.4.0-1]` `[MQTT311-3.3.1-1]` `[MQTT311-4.4.0-1]`
/// `[MQTT311-4.6.0-1]`
#[test]
fn what_was_not_acknowledged_is_sent_again_with_dup_and_the_same_id_in_order() {
    in_both_versions(|scene| {
        let mut client = subscriber(scene, Qos::ExactlyOnce);
        let mut publisher = scene.client("publisher");
        publisher.publish(publish("t", b"1", Qos::AtLeastOnce));
        publisher.publish(publish("t", b"2", Qos::ExactlyOnce));
        publisher.publish(publish("t", b"3", Qos::AtLeastOnce));
        publisher.publish(publish("t", b"4", Qos::AtLeastOnce));
        let sent = [b"1", b"2", b"3", b"4"].map(|payload| client.expect_message("t", payload));
        client.acknowledge(&sent[2]);
        client.expect_nothing();
        client.vanish();
        for _ in 0..2 {
            let mut client = scene.session("subscriber");
            for place in [0, 1, 3] {
                let before = sent[place].publish();
                let again = client.expect_message("t", before.payload);
                let again = again.publish();
                assert!(again.dup && !before.dup);
                assert_eq!((again.packet_id, again.qos), (before.packet_id, before.qos));
            }
            client.expect_nothing();
            client.vanish();
        }
    });
}

/// `[MQTT5-3.1.2-23]` `[MQTT5-4.5.0-1]` `[MQTT311-3.1.2-5]` `[MQTT311-4.5.0-1]`
#[test]
fn a_client_that_is_away_finds_its_messages_of_qos_1_and_2() {
    in_both_versions(|scene| {
        subscriber(scene, Qos::ExactlyOnce).disconnect();
        let mut publisher = scene.client("publisher");
        publisher.publish(publish("t", b"0", Qos::AtMostOnce));
        publisher.publish(publish("t", b"1", Qos::AtLeastOnce));
        publisher.publish(publish("t", b"2", Qos::ExactlyOnce));
        let mut client = scene.session("subscriber");
        for payload in [b"1", b"2"] {
            let received = client.expect_message("t", payload);
            assert!(!received.publish().dup, "it is the first time");
            client.acknowledge(&received);
        }
        client.expect_nothing();
    });
}

/// `[MQTT5-4.3.3-10]` `[MQTT5-4.3.3-11]` `[MQTT5-4.3.3-12]` `[MQTT311-4.3.3-2]`
#[test]
fn a_publisher_of_qos_2_may_lose_its_connection_at_every_step() {
    in_both_versions(|scene| {
        let mut witness = scene.client("witness");
        witness.subscribe("t", Qos::AtMostOnce);
        let mut publisher = scene.session("publisher");
        publish_until_pubrec(&mut publisher, b"once", false);
        publish_until_pubrec(&mut publisher, b"once", true);
        publisher.vanish();
        let mut publisher = scene.session("publisher");
        publish_until_pubrec(&mut publisher, b"once", true);
        publisher.vanish();
        let mut publisher = scene.session("publisher");
        assert_eq!(release(&mut publisher), ReasonCode::Success);
        publisher.vanish();
        // PUBCOMP was lost: the client releases again.
        let mut publisher = scene.session("publisher");
        release(&mut publisher);
        publish_until_pubrec(&mut publisher, b"another", false);
        witness.expect_message("t", b"once");
        witness.expect_message("t", b"another");
        witness.expect_nothing();
    });
}

/// `[MQTT5-4.3.3-4]` `[MQTT5-4.3.3-5]` `[MQTT5-4.3.3-6]` `[MQTT5-4.4.0-1]` `[MQTT311-4.3.3-1]`
/// `[MQTT311-4.4.0-1]`
#[test]
fn a_subscriber_of_qos_2_may_lose_its_connection_at_every_step() {
    in_both_versions(|scene| {
        let client = subscriber(scene, Qos::ExactlyOnce);
        scene.client("publisher").publish(publish("t", b"x", Qos::ExactlyOnce));
        client.vanish();
        let mut client = scene.session("subscriber");
        let received = client.expect_message("t", b"x");
        let id = received.publish().packet_id.unwrap();
        client.send(&Packet::PubRec(ack(id)));
        client.receive_where(|it| matches!(it, Packet::PubRel(_))).acknowledges(id);
        client.vanish();
        // It was released: from here on only PUBREL comes, until PUBCOMP.
        for _ in 0..2 {
            let mut client = scene.session("subscriber");
            let release = client.receive();
            assert!(matches!(release.packet(), Packet::PubRel(_)));
            release.acknowledges(id);
            client.expect_nothing();
            client.vanish();
        }
        let mut client = scene.session("subscriber");
        client.receive().acknowledges(id);
        client.send(&Packet::PubComp(ack(id)));
        client.expect_nothing();
        client.vanish();
        scene.session("subscriber").expect_nothing();
    });
}

/// `[MQTT5-4.4.0-2]`
#[test]
fn what_the_client_refused_is_not_sent_again() {
    let scene = Scene::v5();
    let mut client = subscriber(&scene, Qos::ExactlyOnce);
    let mut publisher = scene.client("publisher");
    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
        publisher.publish(publish("t", b"x", qos));
        let received = client.expect_message("t", b"x");
        let mut refusal = ack(received.publish().packet_id.unwrap());
        refusal.reason_code = ReasonCode::NotAuthorized;
        client.send(&match qos {
            Qos::ExactlyOnce => Packet::PubRec(refusal),
            _ => Packet::PubAck(refusal),
        });
    }
    client.expect_nothing();
    client.vanish();
    scene.session("subscriber").expect_nothing();
}

/// `[MQTT5-2.2.1-4]` `[MQTT5-4.3.2-1]` `[MQTT5-4.3.3-1]` `[MQTT311-2.3.1-1]` `[MQTT311-2.3.1-4]`
#[test]
fn messages_in_flight_have_ids_of_their_own() {
    in_both_versions(|scene| {
        let mut client = subscriber(scene, Qos::ExactlyOnce);
        let mut publisher = scene.client("publisher");
        let mut ids = std::collections::HashSet::new();
        for round in 0..50u8 {
            let qos = if round % 2 == 0 { Qos::AtLeastOnce } else { Qos::ExactlyOnce };
            publisher.publish(publish("t", &[round], qos));
            let received = client.expect_message("t", &[round]);
            assert!(ids.insert(received.publish().packet_id.unwrap()), "in use");
        }
    });
}
