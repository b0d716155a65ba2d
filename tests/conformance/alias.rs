//! Topic aliases that the broker gives its clients.

use hookmq_codec::{Connect, ConnectProperties, Packet, ProtocolVersion, Qos, TopicName};
use hookmq_tests::client::{Client, publish};
use hookmq_tests::scene::Scene;

const TOPICS: [&str; 3] =
    ["a/rather/long/topic/1", "a/rather/long/topic/2", "a/rather/long/topic/3"];

fn subscriber(scene: &Scene, topic_alias_maximum: Option<u16>) -> Client {
    let properties = ConnectProperties { topic_alias_maximum, ..ConnectProperties::default() };
    let mut client = scene.connect(Connect { properties, ..scene.connect_packet("subscriber") });
    client.subscribe("#", Qos::AtLeastOnce);
    client
}

/// The topic that each PUBLISH is about, by what this connection has been told; with the number of
/// packets that carried none.
fn resolve(client: &mut Client, messages: usize, maximum: u16) -> (Vec<String>, usize) {
    let mut known = vec![None; usize::from(maximum) + 1];
    let mut without = 0;
    let topics = (0..messages).map(|_| {
        let received = client.receive_where(|it| matches!(it, Packet::Publish(_)));
        client.acknowledge(&received);
        let publish = received.publish();
        let topic = publish.topic.map(|topic| topic.as_str().to_owned());
        let Some(alias) = publish.topic_alias else { return topic.expect("a topic or an alias") };
        let place = usize::from(alias.get());
        assert!(place <= usize::from(maximum), "alias {alias} is above the maximum");
        match topic {
            Some(topic) => known[place] = Some(topic),
            None => without += 1,
        }
        known[place].clone().expect("the alias was told on this connection")
    });
    (topics.collect(), without)
}

/// `[MQTT5-3.1.2-26]` `[MQTT5-3.3.2-11]` `[MQTT5-3.3.2-8]` `[MQTT5-3.3.2-7]`
#[test]
fn the_broker_names_a_topic_once_and_uses_no_alias_above_the_maximum() {
    let scene = Scene::v5();
    let mut publisher = scene.client("publisher");
    for maximum in [1, 2, 100, u16::MAX] {
        let mut subscriber = subscriber(&scene, Some(maximum));
        let mut expected = Vec::new();
        for round in 0..20 {
            for (place, topic) in TOPICS.iter().enumerate() {
                let qos = if (round + place) % 2 == 0 { Qos::AtMostOnce } else { Qos::AtLeastOnce };
                publisher.publish(publish(topic, b"x", qos));
                expected.push((*topic).to_owned());
            }
        }
        let (topics, without) = resolve(&mut subscriber, expected.len(), maximum);
        assert_eq!(topics, expected);
        if maximum >= 100 {
            assert!(without > 0, "no topic was left out");
        }
        subscriber.disconnect();
    }
}

/// `[MQTT5-3.1.2-27]`
#[test]
fn a_client_that_takes_no_aliases_gets_none() {
    let scene = Scene::v5();
    let mut publisher = scene.client("publisher");
    for maximum in [None, Some(0)] {
        let mut subscriber = subscriber(&scene, maximum);
        for _ in 0..3 {
            publisher.publish(publish(TOPICS[0], b"x", Qos::AtMostOnce));
            let received = subscriber.receive();
            assert_eq!(received.publish().topic.map(TopicName::as_str), Some(TOPICS[0]));
            assert_eq!(received.publish().topic_alias, None);
        }
        subscriber.disconnect();
    }
}

#[test]
fn an_operator_can_turn_the_aliases_of_the_broker_off() {
    let scene = Scene::new(ProtocolVersion::V5, "outgoing_topic_aliases: 0");
    let mut subscriber = subscriber(&scene, Some(10));
    scene.client("publisher").publish(publish(TOPICS[0], b"x", Qos::AtMostOnce));
    assert_eq!(subscriber.receive().publish().topic_alias, None);
}
