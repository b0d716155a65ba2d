//! What only 5.0 has: properties that travel with a message, topic aliases, packet sizes.

use std::num::{NonZeroU16, NonZeroU32};

use hookmq_codec::{
    Packet, ProtocolVersion, Publish, PublishProperties, Qos, ReasonCode, UserPropertiesBuf,
};
use hookmq_tests::client::{Client, connect, connect_to_session, publish};
use hookmq_tests::scene::Scene;

/// `[MQTT5-3.3.2-4]` `[MQTT5-3.3.2-15]` `[MQTT5-3.3.2-16]` `[MQTT5-3.3.2-17]` `[MQTT5-3.3.2-18]`
/// `[MQTT5-3.3.2-20]`
#[test]
fn properties_are_forwarded_unaltered() {
    let scene = Scene::v5();
    let mut subscriber = scene.client("subscriber");
    subscriber.subscribe("t", Qos::ExactlyOnce);
    let mut publisher = scene.client("publisher");
    let pairs = [("z", "1"), ("a", ""), ("", "2"), ("z", "1"), ("\u{feff}", "\u{1f980}")];
    let user_properties = UserPropertiesBuf::try_from_pairs(pairs).unwrap();
    let all = PublishProperties {
        payload_format_indicator: Some(false),
        content_type: Some("application/cbor"),
        response_topic: Some("answers/\u{e9}"),
        correlation_data: Some(&[0, 255, 1]),
        user_properties: user_properties.as_user_properties(),
        ..PublishProperties::default()
    };
    for properties in [all, PublishProperties::default()] {
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            publisher
                .publish(Publish { properties: properties.clone(), ..publish("t", b"x", qos) });
            let received = subscriber.expect_message("t", b"x");
            let delivered = received.publish().properties;
            assert_eq!(delivered, properties);
            assert!(delivered.user_properties.iter().eq(properties.user_properties.iter()));
            subscriber.acknowledge(&received);
        }
    }
}

#[test]
fn a_3_1_1_subscriber_gets_the_message_without_its_properties() {
    let scene = Scene::v5();
    let mut old = scene.connect(connect(ProtocolVersion::V311, "old"));
    old.subscribe("t", Qos::AtMostOnce);
    let mut publisher = scene.client("publisher");
    let properties =
        PublishProperties { content_type: Some("text/plain"), ..PublishProperties::default() };
    publisher.publish(Publish { properties, ..publish("t", b"x", Qos::AtMostOnce) });
    old.expect_message("t", b"x");
}

#[test]
fn the_message_expiry_interval_is_forwarded() {
    let scene = Scene::v5();
    let mut client = scene.client("a");
    client.subscribe("t", Qos::AtMostOnce);
    for seconds in [3600, u32::MAX] {
        let mut message = publish("t", b"x", Qos::AtMostOnce);
        message.properties.message_expiry_interval = Some(seconds);
        client.publish(message);
        let received = client.expect_message("t", b"x");
        let left = received.publish().properties.message_expiry_interval.unwrap();
        assert!((seconds - 60..=seconds).contains(&left), "{left}");
    }
}

/// `topic` and `alias` as they are given.
fn aliased(topic: Option<&'static str>, alias: u16) -> Packet<'static> {
    let message = publish(topic.unwrap_or("none"), b"x", Qos::AtMostOnce);
    Packet::Publish(Publish {
        topic: topic.and(message.topic),
        topic_alias: NonZeroU16::new(alias),
        ..message
    })
}

/// `[MQTT5-3.3.2-12]` `[MQTT5-3.1.2-27]`
#[test]
fn a_topic_alias_stands_for_the_topic_that_it_was_set_to_last() {
    let scene = Scene::v5();
    let mut subscriber = scene.client("subscriber");
    subscriber.subscribe("#", Qos::AtMostOnce);
    let mut publisher = scene.client("publisher");
    for (topic, alias, expected) in [
        (Some("one"), 1, "one"),
        (Some("sixteen"), 16, "sixteen"),
        (None, 1, "one"),
        (None, 16, "sixteen"),
        (Some("other"), 1, "other"),
        (None, 1, "other"),
    ] {
        publisher.send(&aliased(topic, alias));
        let received = subscriber.expect_message(expected, b"x");
        assert_eq!(received.publish().topic_alias, None);
    }
}

/// `[MQTT5-3.3.2-7]` `[MQTT5-3.3.2-8]` `[MQTT5-3.3.2-9]`
#[test]
fn topic_aliases_that_stand_for_nothing_end_the_connection() {
    let scene = Scene::v5();
    let mut first = scene.session("a");
    first.send(&aliased(Some("t"), 1));
    first.disconnect();
    let mut again = scene.session("a");
    again.send(&aliased(None, 1));
    again.expect_disconnected(ReasonCode::ProtocolError);
    let mut above = scene.client("a");
    above.send(&aliased(Some("t"), 17));
    above.expect_disconnected(ReasonCode::TopicAliasInvalid);
    let mut zero = scene.client("a");
    zero.send_raw(&[0x30, 8, 0, 1, b't', 3, 0x23, 0, 0, b'x']);
    zero.expect_disconnected(ReasonCode::TopicAliasInvalid);
    let mut neither = scene.client("a");
    neither.send_raw(&[0x30, 4, 0, 0, 0, b'x']);
    neither.expect_disconnected(ReasonCode::ProtocolError);
}

fn small(client_id: &str) -> hookmq_codec::Connect<'_> {
    let mut connect = connect_to_session(ProtocolVersion::V5, client_id, 3600);
    connect.properties.maximum_packet_size = NonZeroU32::new(100);
    connect
}

/// `[MQTT5-3.1.2-24]` `[MQTT5-3.1.2-25]`
#[test]
fn a_client_is_sent_no_packet_above_its_maximum() {
    let scene = Scene::v5();
    let mut small = scene.connect(small("small"));
    small.subscribe("t", Qos::AtLeastOnce);
    let mut large = scene.client("large");
    large.subscribe("t", Qos::AtLeastOnce);
    let mut publisher = scene.client("publisher");
    for qos in [Qos::AtMostOnce, Qos::AtLeastOnce] {
        // Fixed header, topic, packet id and the length of no properties.
        let fitting = vec![b'x'; 100 - 2 - 3 - 2 * (qos as usize) - 1];
        let beyond = vec![b'x'; fitting.len() + 1];
        publisher.publish(publish("t", &beyond, qos));
        publisher.publish(publish("t", &fitting, qos));
        large.expect_message("t", &beyond);
        large.expect_message("t", &fitting);
        let received = small.expect_message("t", &fitting);
        assert_eq!(received.bytes().len(), 100);
        small.acknowledge(&received);
        small.expect_nothing();
    }
}

/// `[MQTT5-3.1.2-24]` `[MQTT5-3.1.2-25]`
#[test]
fn a_resumed_session_keeps_to_the_packet_size_of_the_new_connection() {
    let scene = Scene::v5();
    let mut client = scene.session("a");
    client.subscribe("t", Qos::AtLeastOnce);
    let mut publisher = scene.client("publisher");
    publisher.publish(publish("t", &[b'x'; 200], Qos::AtLeastOnce));
    publisher.publish(publish("t", b"small", Qos::AtLeastOnce));
    client.vanish();
    let (mut client, _) = Client::connect(scene.address, small("a"));
    client.expect_message("t", b"small");
    client.expect_nothing();
}

/// `[MQTT5-3.1.2-24]`
#[test]
fn a_client_that_does_not_take_an_answer_is_not_sent_it() {
    let scene = Scene::v5();
    let mut connect = small("a");
    connect.properties.maximum_packet_size = NonZeroU32::new(5);
    let mut client = Client::open(scene.address, scene.version);
    client.send(&Packet::Connect(Box::new(connect)));
    client.expect_closed();
    let mut client = scene.connect(small("b"));
    let mut subscribe = b"\x82\x8F\x03\0\x01\0".to_vec();
    subscribe.extend(b"\0\x01t\0".repeat(99));
    client.send_raw(&subscribe);
    client.expect_disconnected(ReasonCode::PacketTooLarge);
}

/// `[MQTT5-3.3.4-6]` `[MQTT5-3.3.2-14]`
#[test]
fn properties_that_a_client_must_not_send_end_the_connection() {
    let scene = Scene::v5();
    let mut identifies = scene.client("a");
    let mut message = publish("t", b"x", Qos::AtMostOnce);
    message.properties.subscription_identifiers = vec![NonZeroU32::MIN];
    identifies.send(&Packet::Publish(message));
    identifies.expect_disconnected(ReasonCode::ProtocolError);
    let mut wildcard = scene.client("a");
    wildcard.send_raw(&[0x30, 8, 0, 1, b't', 4, 0x08, 0, 1, b'#']);
    wildcard.expect_disconnected(ReasonCode::ProtocolError);
}
