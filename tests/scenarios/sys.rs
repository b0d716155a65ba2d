//! The `$SYS` topics, as a monitoring client sees them.

use std::collections::HashMap;

use hookmq_codec::{Connect, Packet, ProtocolVersion, Qos, ReasonCode, TopicName};
use hookmq_tests::client::{Client, publish, will};
use hookmq_tests::guarded::connack_of;
use hookmq_tests::scene::Scene;

const SECTIONS: &str = "sys: {interval_s: 1}";

/// The figures that are known, waiting for the next until `enough` of them are.
fn figures(client: &mut Client, enough: impl Fn(&HashMap<String, String>) -> bool) {
    let mut known = HashMap::new();
    while !enough(&known) {
        let received = client.receive_where(|it| matches!(it, Packet::Publish(_)));
        let publish = received.publish();
        let topic = publish.topic.map(TopicName::as_str).expect("a topic").to_owned();
        known.insert(topic, String::from_utf8(publish.payload.to_vec()).expect("a text"));
    }
}

#[test]
fn figures_follow_what_happens() {
    let scene = Scene::with_sections(ProtocolVersion::V5, SECTIONS);
    let mut monitor = scene.client("monitor");
    monitor.subscribe("$SYS/#", Qos::AtMostOnce);
    let is = |known: &HashMap<String, String>, topic: &str, value: &str| {
        known.get(&format!("$SYS/broker/{topic}")).is_some_and(|it| it == value)
    };
    figures(&mut monitor, |known| is(known, "clients/connected", "1"));
    let mut other = scene.client("other");
    other.subscribe("a/+", Qos::AtMostOnce);
    for _ in 0..3 {
        let mut retained = publish("a/b", b"12345", Qos::AtLeastOnce);
        retained.retain = true;
        other.publish(retained);
    }
    let mut again = scene.client("monitor 2");
    again.subscribe("$SYS/#", Qos::AtMostOnce);
    figures(&mut again, |known| {
        is(known, "clients/connected", "3")
            && is(known, "clients/maximum", "3")
            && is(known, "publish/messages/received", "3")
            && is(known, "publish/bytes/received", "15")
            && is(known, "subscriptions/count", "3")
            && known.get("$SYS/broker/version").is_some_and(|it| it.starts_with("HookMQ"))
            && known.get("$SYS/broker/uptime").is_some_and(|it| it.ends_with(" seconds"))
            && known.get("$SYS/broker/load/publish/received/1min").is_some_and(|it| it != "0.00")
    });
}

#[test]
fn the_brokers_topics_are_not_for_others() {
    let scene = Scene::with_sections(ProtocolVersion::V5, SECTIONS);
    let mut monitor = scene.client("monitor");
    monitor.subscribe("$SYS/broker/version", Qos::AtMostOnce);
    monitor.receive();
    let mut everything = scene.client("everything");
    everything.subscribe("#", Qos::AtMostOnce);
    everything.subscribe("+/broker/version", Qos::AtMostOnce);
    everything.expect_nothing();
    let mut forger = scene.client("forger");
    for topic in ["$SYS/broker/version", "$SYS/x", "$SYS"] {
        let refused = forger.publish(publish(topic, b"forged", Qos::AtLeastOnce));
        assert_eq!(refused, ReasonCode::NotAuthorized, "{topic}");
        let mortal =
            Connect { will: Some(will(topic, b"forged")), ..scene.connect_packet("mortal") };
        let (_, answer) = Client::attempt(scene.address, mortal);
        assert_eq!(connack_of(&answer).reason_code, ReasonCode::NotAuthorized, "a will on {topic}");
    }
    monitor.expect_nothing();
}

#[test]
fn without_an_interval_there_are_none() {
    let scene = Scene::with_sections(ProtocolVersion::V5, "sys: {interval_s: 0}");
    let mut monitor = scene.client("monitor");
    monitor.subscribe("$SYS/#", Qos::AtMostOnce);
    monitor.expect_nothing();
}

#[test]
fn a_shared_subscription_gets_them_as_well() {
    let scene = Scene::with_sections(ProtocolVersion::V5, SECTIONS);
    let mut monitor = scene.client("monitor");
    monitor.subscribe("$share/monitors/$SYS/broker/uptime", Qos::AtMostOnce);
    figures(&mut monitor, |known| known.contains_key("$SYS/broker/uptime"));
}
