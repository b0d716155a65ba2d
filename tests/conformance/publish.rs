//! PUBLISH: acknowledged by its QoS, delivered by the subscription's, in order.

use hookmq_codec::{Packet, Publish, Qos, ReasonCode};
use hookmq_tests::client::{Client, ack, packet_id, publish};
use hookmq_tests::scene::in_both_versions;

const ALL: [Qos; 3] = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];

fn send(client: &mut Client, id: u16, publish: Publish<'_>) {
    client.send(&Packet::Publish(Publish { packet_id: Some(packet_id(id)), ..publish }));
}

/// `[MQTT5-2.2.1-2]` `[MQTT5-3.8.4-8]` `[MQTT5-4.3.1-1]` `[MQTT5-4.3.2-2]` `[MQTT5-4.3.3-2]`
/// `[MQTT5-3.3.1-2]` `[MQTT311-2.3.1-5]` `[MQTT311-3.8.4-6]` `[MQTT311-4.3.1-1]`
/// `[MQTT311-3.3.1-2]`
#[test]
fn a_message_is_delivered_with_the_lower_qos_of_publisher_and_subscriber() {
    in_both_versions(|scene| {
        let mut publisher = scene.client("publisher");
        for subscribed in ALL {
            let mut subscriber = scene.client("subscriber");
            subscriber.subscribe("t", subscribed);
            for published in ALL {
                publisher.publish(publish("t", b"hello", published));
                let received = subscriber.expect_message("t", b"hello");
                let delivered = received.publish();
                assert_eq!(delivered.qos, published.min(subscribed));
                assert_eq!(delivered.packet_id.is_some(), delivered.qos > Qos::AtMostOnce);
                assert!(!delivered.dup && !delivered.retain);
                subscriber.acknowledge(&received);
            }
            subscriber.expect_nothing();
        }
    });
}

/// `[MQTT5-3.3.4-1]` `[MQTT5-2.2.1-5]` `[MQTT5-4.3.2-4]` `[MQTT5-4.3.3-8]` `[MQTT5-4.3.3-11]`
/// `[MQTT311-3.3.4-1]` `[MQTT311-2.3.1-6]`
#[test]
fn a_message_is_acknowledged_as_its_qos_demands() {
    in_both_versions(|scene| {
        let mut client = scene.client("publisher");
        client.publish(publish("t", b"0", Qos::AtMostOnce));
        client.expect_nothing();
        send(&mut client, 65_535, publish("t", b"1", Qos::AtLeastOnce));
        let answer = client.receive();
        assert!(matches!(answer.packet(), Packet::PubAck(_)));
        answer.acknowledges(packet_id(65_535));
        send(&mut client, 300, publish("t", b"2", Qos::ExactlyOnce));
        let answer = client.receive();
        assert!(matches!(answer.packet(), Packet::PubRec(_)));
        answer.acknowledges(packet_id(300));
        client.send(&Packet::PubRel(ack(packet_id(300))));
        let answer = client.receive();
        assert!(matches!(answer.packet(), Packet::PubComp(_)));
        answer.acknowledges(packet_id(300));
        client.expect_nothing();
    });
}

/// `[MQTT5-4.6.0-5]` `[MQTT5-4.6.0-6]` `[MQTT311-4.6.0-5]` `[MQTT311-4.6.0-6]`
#[test]
fn messages_of_one_client_keep_their_order() {
    in_both_versions(|scene| {
        for qos in ALL {
            let mut subscriber = scene.client("subscriber");
            subscriber.subscribe("t", qos);
            let mut publisher = scene.client("publisher");
            let mut bytes = Vec::new();
            for number in 1..=500u16 {
                let payload = number.to_be_bytes();
                let mut message = publish("t", &payload, qos);
                message.packet_id = (qos > Qos::AtMostOnce).then(|| packet_id(number));
                bytes.extend(publisher.encode(&Packet::Publish(message)));
            }
            publisher.send_raw(&bytes);
            for number in 1..=500u16 {
                let received = subscriber.receive_where(|it| matches!(it, Packet::Publish(_)));
                assert_eq!(received.publish().payload, number.to_be_bytes());
                subscriber.acknowledge(&received);
            }
        }
    });
}

/// Whoever else gets them, and whether or not they are retained.
#[test]
fn messages_of_one_client_keep_their_order_across_topics() {
    in_both_versions(|scene| {
        let mut subscriber = scene.client("subscriber");
        subscriber.subscribe("#", Qos::AtMostOnce);
        let mut other = scene.client("other");
        other.subscribe("both/#", Qos::AtMostOnce);
        let mut member = scene.client("member");
        member.subscribe("$share/group/shared/#", Qos::AtMostOnce);
        let mut publisher = scene.client("publisher");
        let topics = ["one/a", "one/b", "both", "one/a", "shared", "one/b", "retained", "both/c"];
        let mut bytes = Vec::new();
        let sent: Vec<_> = (0..400u16).zip(topics.iter().cycle()).collect();
        for (number, topic) in &sent {
            let payload = number.to_be_bytes();
            let message = publish(topic, &payload, Qos::AtMostOnce);
            let message = Publish { retain: **topic == "retained", ..message };
            bytes.extend(publisher.encode(&Packet::Publish(message)));
        }
        publisher.send_raw(&bytes);
        for (number, topic) in &sent {
            subscriber.expect_message(topic, &number.to_be_bytes());
        }
        for (number, topic) in sent.iter().filter(|(_, topic)| topic.starts_with("both")) {
            other.expect_message(topic, &number.to_be_bytes());
        }
    });
}

/// `[MQTT311-4.6.0-3]`
#[test]
fn acknowledgements_leave_in_the_order_of_the_messages() {
    in_both_versions(|scene| {
        let mut subscriber = scene.session("kept");
        subscriber.subscribe("durable", Qos::ExactlyOnce);
        let mut client = scene.client("publisher");
        // Some of them have to be stored first, and some have not.
        for (id, topic) in [(5, "durable"), (3, "nobody"), (9, "durable"), (1, "nobody")] {
            send(&mut client, id, publish(topic, b"x", Qos::ExactlyOnce));
        }
        for id in [5, 3, 9, 1] {
            let answer = client.receive();
            assert!(matches!(answer.packet(), Packet::PubRec(_)));
            answer.acknowledges(packet_id(id));
        }
        for id in [9, 1, 5, 3] {
            client.send(&Packet::PubRel(ack(packet_id(id))));
        }
        for id in [9, 1, 5, 3] {
            let answer = client.receive();
            assert!(matches!(answer.packet(), Packet::PubComp(_)));
            answer.acknowledges(packet_id(id));
        }
    });
}

/// `[MQTT5-3.3.1-3]` `[MQTT311-3.3.1-3]`
#[test]
fn the_publishers_dup_is_not_passed_on() {
    in_both_versions(|scene| {
        let mut subscriber = scene.client("subscriber");
        subscriber.subscribe("t", Qos::AtLeastOnce);
        let mut publisher = scene.client("publisher");
        publisher.publish(Publish { dup: true, ..publish("t", b"x", Qos::AtLeastOnce) });
        assert!(!subscriber.expect_message("t", b"x").publish().dup);
    });
}

/// `[MQTT5-4.3.2-5]` `[MQTT311-4.3.2-2]`
#[test]
fn a_packet_id_is_free_again_after_puback() {
    in_both_versions(|scene| {
        let mut subscriber = scene.client("subscriber");
        subscriber.subscribe("t", Qos::AtMostOnce);
        let mut publisher = scene.client("publisher");
        for dup in [false, true] {
            let message = publish("t", b"x", Qos::AtLeastOnce);
            publisher.publish(Publish { dup, packet_id: Some(packet_id(1)), ..message });
            subscriber.expect_message("t", b"x");
        }
    });
}

/// `[MQTT5-4.7.3-3]` `[MQTT311-4.7.3-3]`
#[test]
fn a_topic_of_65_535_bytes_is_a_topic() {
    in_both_versions(|scene| {
        let longest = "x".repeat(65_535);
        let mut client = scene.client("a");
        client.subscribe(&longest, Qos::AtMostOnce);
        client.publish(publish(&longest, b"x", Qos::AtMostOnce));
        client.expect_message(&longest, b"x");
    });
}

#[test]
fn an_empty_and_a_large_payload_arrive() {
    in_both_versions(|scene| {
        let mut subscriber = scene.client("subscriber");
        subscriber.subscribe("t", Qos::AtLeastOnce);
        let mut publisher = scene.client("publisher");
        let large: Vec<u8> = (0..1_000_000u32).map(|number| (number % 251) as u8).collect();
        for payload in [&[][..], &large] {
            publisher.publish(publish("t", payload, Qos::AtLeastOnce));
            let received = subscriber.expect_message("t", payload);
            subscriber.acknowledge(&received);
        }
    });
}

#[test]
fn releasing_an_unknown_message_is_answered_and_told() {
    in_both_versions(|scene| {
        let mut client = scene.client("a");
        client.send(&Packet::PubRel(ack(packet_id(7))));
        let expected = match scene.version.is_v5() {
            true => ReasonCode::PacketIdentifierNotFound,
            false => ReasonCode::Success,
        };
        assert_eq!(client.receive().acknowledges(packet_id(7)), expected);
    });
}

#[test]
fn acknowledgements_of_what_was_never_sent_do_no_harm() {
    in_both_versions(|scene| {
        let mut client = scene.client("a");
        client.send(&Packet::PubAck(ack(packet_id(7))));
        client.send(&Packet::PubComp(ack(packet_id(7))));
        client.expect_nothing();
    });
}
