//! Acknowledgements step by step: what ends an exchange, what does not, and in which order they leave.

use hookmq_codec::{Connect, Packet, ProtocolVersion, Publish, PublishProperties, Qos, ReasonCode};
use hookmq_tests::client::{Client, Received, ack, connect_to_session, packet_id, publish};
use hookmq_tests::scene::{Scene, in_both_versions, in_both_versions_within};

/// An id that the broker, which gives them out in turn, has not come to.
const UNUSED: u16 = 60_000;

fn release(client: &mut Client) -> Received {
    client.receive_where(|it| matches!(it, Packet::PubRel(_)))
}

/// A session that waits for the acknowledgement of `1`, while `2` waits behind the window.
fn before_the_window(scene: &Scene, qos: Qos) -> (Client, Received) {
    let mut client = scene.client("subscriber");
    client.subscribe("t", qos);
    let mut publisher = scene.client("publisher");
    publisher.publish(publish("t", b"1", qos));
    publisher.publish(publish("t", b"2", qos));
    let first = client.expect_message("t", b"1");
    client.expect_nothing();
    (client, first)
}

/// `[MQTT5-4.3.2-3]` `[MQTT311-4.3.2-1]`
#[test]
fn only_the_matching_puback_ends_an_exchange_of_qos_1() {
    in_both_versions_within("maximum_inflight: 1", |scene| {
        let (mut client, first) = before_the_window(scene, Qos::AtLeastOnce);
        client.send(&Packet::PubAck(ack(packet_id(UNUSED))));
        client.send(&Packet::PubComp(ack(first.publish().packet_id.unwrap())));
        client.expect_nothing();
        client.acknowledge(&first);
        client.expect_message("t", b"2");
    });
}

/// `[MQTT5-3.6.2-1]` `[MQTT5-4.3.3-3]` `[MQTT5-4.3.3-4]` `[MQTT5-4.3.3-5]` `[MQTT311-4.3.3-1]`
#[test]
fn only_the_matching_pubrec_and_pubcomp_end_an_exchange_of_qos_2() {
    in_both_versions_within("maximum_inflight: 1", |scene| {
        let (mut client, first) = before_the_window(scene, Qos::ExactlyOnce);
        let (id, unused) = (first.publish().packet_id.unwrap(), packet_id(UNUSED));
        client.send(&Packet::PubRec(ack(unused)));
        let unknown = match scene.version.is_v5() {
            true => ReasonCode::PacketIdentifierNotFound,
            false => ReasonCode::Success,
        };
        assert_eq!(release(&mut client).acknowledges(unused), unknown);
        client.send(&Packet::PubAck(ack(id)));
        client.send(&Packet::PubComp(ack(id)));
        client.expect_nothing();
        client.send(&Packet::PubRec(ack(id)));
        assert_eq!(release(&mut client).acknowledges(id), ReasonCode::Success);
        client.send(&Packet::PubComp(ack(unused)));
        client.expect_nothing();
        client.send(&Packet::PubComp(ack(id)));
        client.expect_message("t", b"2");
    });
}

/// `[MQTT311-4.6.0-4]`
#[test]
fn pubrels_leave_in_the_order_of_the_pubrecs() {
    in_both_versions(|scene| {
        let mut client = scene.client("subscriber");
        client.subscribe("t", Qos::ExactlyOnce);
        let mut publisher = scene.client("publisher");
        let ids = [b"0", b"1", b"2", b"3"].map(|payload| {
            publisher.publish(publish("t", payload, Qos::ExactlyOnce));
            client.expect_message("t", payload).publish().packet_id.unwrap()
        });
        let order = [2, 0, 3, 1].map(|place: usize| ids[place]);
        let pubrecs = order.map(|id| client.encode(&Packet::PubRec(ack(id))));
        client.send_raw(&pubrecs.concat());
        for id in order {
            release(&mut client).acknowledges(id);
        }
    });
}

/// `[MQTT311-4.6.0-2]`
#[test]
fn pubacks_leave_in_the_order_of_the_messages() {
    in_both_versions(|scene| {
        scene.session("kept").subscribe("durable", Qos::AtLeastOnce);
        let mut client = scene.client("publisher");
        // Some of them have to be stored first, and some have not.
        let sent = [(5, "durable"), (3, "nobody"), (9, "durable"), (1, "nobody")];
        let messages = sent.map(|(id, topic)| {
            let message = publish(topic, b"x", Qos::AtLeastOnce);
            client.encode(&Packet::Publish(Publish { packet_id: Some(packet_id(id)), ..message }))
        });
        client.send_raw(&messages.concat());
        for (id, _) in sent {
            client.receive().acknowledges(packet_id(id));
        }
    });
}

/// Ids are given out in turn. The one that is in use is not given out again: what would get it waits.
///
/// `[MQTT5-2.2.1-4]` `[MQTT311-2.3.1-4]`
#[test]
fn a_packet_id_of_the_broker_is_used_again_only_when_its_exchange_is_over() {
    in_both_versions(|scene| {
        let mut client = scene.client("subscriber");
        client.subscribe("t", Qos::AtLeastOnce);
        let mut publisher = scene.client("publisher");
        publisher.publish(publish("t", b"kept", Qos::AtLeastOnce));
        let kept = client.expect_message("t", b"kept");
        let id = kept.publish().packet_id;
        let messages: Vec<u8> = (1..=217)
            .map(|id| Publish {
                packet_id: Some(packet_id(id)),
                ..publish("t", b"x", Qos::AtLeastOnce)
            })
            .flat_map(|message| publisher.encode(&Packet::Publish(message)))
            .collect();
        // All ids but one: 302 times 217 is 65,534.
        for _ in 0..302 {
            publisher.send_raw(&messages);
            for _ in 0..217 {
                publisher.receive();
                let received = client.expect_message("t", b"x");
                assert_ne!(received.publish().packet_id, id);
                client.acknowledge(&received);
            }
        }
        publisher.publish(publish("t", b"next", Qos::AtLeastOnce));
        client.expect_nothing();
        client.acknowledge(&kept);
        assert_eq!(client.expect_message("t", b"next").publish().packet_id, id);
    });
}

fn expiring<'a>(payload: &'a [u8]) -> Publish<'a> {
    let properties =
        PublishProperties { message_expiry_interval: Some(1), ..PublishProperties::default() };
    Publish { properties, ..publish("t", payload, Qos::ExactlyOnce) }
}

/// `[MQTT5-4.3.3-7]`
#[test]
fn a_message_of_qos_2_that_was_sent_does_not_expire() {
    let scene = Scene::v5();
    let mut client = scene.session("subscriber");
    client.subscribe("t", Qos::ExactlyOnce);
    scene.client("publisher").publish(expiring(b"x"));
    client.expect_message("t", b"x");
    client.vanish();
    crate::pass_seconds(&scene, 2);
    let mut client = scene.session("subscriber");
    let again = client.expect_message("t", b"x");
    assert!(again.publish().dup);
    client.acknowledge(&again);
}

/// `[MQTT5-4.3.3-13]`
#[test]
fn an_exchange_of_qos_2_is_finished_though_the_message_has_expired() {
    let scene = Scene::v5();
    let mut client = scene.session("publisher");
    let packet_id = packet_id(1);
    let message = Publish { packet_id: Some(packet_id), ..expiring(b"x") };
    client.send(&Packet::Publish(message.clone()));
    assert!(!client.receive().acknowledges(packet_id).is_failure());
    crate::pass_seconds(&scene, 2);
    client.send(&Packet::Publish(Publish { dup: true, ..message }));
    assert!(!client.receive().acknowledges(packet_id).is_failure());
    client.send(&Packet::PubRel(ack(packet_id)));
    assert_eq!(client.receive().acknowledges(packet_id), ReasonCode::Success);
}

/// `[MQTT5-4.4.0-1]` `[MQTT5-3.1.2-4]` `[MQTT311-3.1.2-6]`
#[test]
fn a_clean_start_is_sent_nothing_again() {
    in_both_versions(|scene| {
        let mut client = scene.session("subscriber");
        client.subscribe("t", Qos::ExactlyOnce);
        let mut publisher = scene.client("publisher");
        publisher.publish(publish("t", b"unacknowledged", Qos::AtLeastOnce));
        publisher.publish(publish("t", b"released", Qos::ExactlyOnce));
        client.expect_message("t", b"unacknowledged");
        let released = client.expect_message("t", b"released").publish().packet_id.unwrap();
        client.send(&Packet::PubRec(ack(released)));
        release(&mut client).acknowledges(released);
        client.vanish();
        scene.client("subscriber").expect_nothing();
    });
}

/// `[MQTT5-4.1.0-1]` `[MQTT311-4.1.0-2]`
#[test]
fn a_session_lasts_as_long_as_its_connection_whatever_its_expiry_interval() {
    for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
        let scene = Scene::new(version, "");
        // In 3.1.1 a clean session, which has no other life than the connection's.
        let connect = match version.is_v5() {
            true => connect_to_session(version, "a", 1),
            false => Connect { clean_start: true, ..scene.connect_packet("a") },
        };
        let mut client = scene.connect(connect);
        client.subscribe("t", Qos::ExactlyOnce);
        let mut publisher = scene.client("publisher");
        publisher.publish(publish("t", b"before", Qos::ExactlyOnce));
        let before = client.expect_message("t", b"before");
        crate::pass_seconds(&scene, 2);
        publisher.publish(publish("t", b"behind", Qos::ExactlyOnce));
        client.expect_message("t", b"behind");
        client.acknowledge(&before);
        client.expect_nothing();
    }
}

/// `[MQTT5-2.2.1-2]` `[MQTT5-2.2.2-1]` `[MQTT5-3.3.2-1]` `[MQTT311-2.3.1-5]` `[MQTT311-3.3.2-1]`
#[test]
fn packets_without_properties_are_these_bytes() {
    in_both_versions(|scene| {
        let mut client = scene.client("a");
        let (subscribe, suback): (&[u8], &[u8]) = match scene.version.is_v5() {
            true => (b"\x82\x07\0\x01\0\0\x01t\0", b"\x90\x04\0\x01\0\0"),
            false => (b"\x82\x06\0\x01\0\x01t\0", b"\x90\x03\0\x01\0"),
        };
        client.send_raw(subscribe);
        assert_eq!(client.receive().bytes(), suback);
        client.publish(publish("t", b"x", Qos::AtMostOnce));
        let expected: &[u8] =
            if scene.version.is_v5() { b"\x30\x05\0\x01t\0x" } else { b"\x30\x04\0\x01tx" };
        assert_eq!(client.receive().bytes(), expected);
        let (unsubscribe, unsuback): (&[u8], &[u8]) = match scene.version.is_v5() {
            true => (b"\xA2\x06\0\x02\0\0\x01t", b"\xB0\x04\0\x02\0\0"),
            false => (b"\xA2\x05\0\x02\0\x01t", b"\xB0\x02\0\x02"),
        };
        client.send_raw(unsubscribe);
        assert_eq!(client.receive().bytes(), unsuback);
    });
}

/// `[MQTT5-3.14.2-1]` `[MQTT5-3.7.2-1]`
#[test]
fn acknowledgements_with_codes_of_other_packets_end_the_connection() {
    let scene = Scene::v5();
    for (packet_type, code) in [
        (0x40, ReasonCode::PacketIdentifierNotFound),
        (0x50, ReasonCode::GrantedQos1),
        (0x62, ReasonCode::QuotaExceeded),
        (0x70, ReasonCode::NoMatchingSubscribers),
    ] {
        let mut client = scene.client("offender");
        client.send_raw(&[packet_type, 3, 0, 1, code as u8]);
        client.expect_disconnected(ReasonCode::ProtocolError);
    }
    let mut client = scene.client("releases what it never sent");
    client.send(&Packet::PubRel(ack(packet_id(1))));
    let told = client.receive().acknowledges(packet_id(1));
    assert_eq!(told, ReasonCode::PacketIdentifierNotFound);
}
