//! Topics that no message may have: in PUBLISH, in wills, as response topics.

use hookmq_codec::{Qos, ReasonCode};
use hookmq_tests::client::{self, Client};
use hookmq_tests::scene::{
    Scene, in_both_versions, in_both_versions_with_rule, in_both_versions_within,
};

use crate::wire::{packet, publish, section, sized};
use crate::{Bystanders, expect_refused};

/// Each with what a client of 5.0 is told.
const FORBIDDEN: &[(&[u8], ReasonCode)] = &[
    (b"#", ReasonCode::TopicNameInvalid),
    (b"+", ReasonCode::TopicNameInvalid),
    (b"a/#", ReasonCode::TopicNameInvalid),
    (b"a/+/b", ReasonCode::TopicNameInvalid),
    (b"a/b#", ReasonCode::TopicNameInvalid),
    (b"a/long/topic/with/a+", ReasonCode::TopicNameInvalid),
    (b"$share/g/t", ReasonCode::TopicNameInvalid),
    (b"$share/", ReasonCode::TopicNameInvalid),
    (b"$share/g/#", ReasonCode::TopicNameInvalid),
    (b"", ReasonCode::ProtocolError),
];

/// Gets whatever is routed, retained messages included.
fn expect_nothing_routed(scene: &Scene, witness: &mut Client) {
    witness.expect_nothing();
    let mut late = scene.client("late");
    for filter in ["#", "+/#", "/#"] {
        late.subscribe(filter, Qos::AtMostOnce);
    }
    late.expect_nothing();
    late.disconnect();
}

fn witness(scene: &Scene) -> Client {
    let mut witness = scene.client("witness");
    for filter in ["#", "t"] {
        witness.subscribe(filter, Qos::AtMostOnce);
    }
    witness
}

/// `[MQTT5-3.3.2-2]`, `[MQTT5-4.7.3-1]`, `[MQTT311-3.3.2-2]`, `[MQTT311-4.7.3-1]`
#[test]
fn a_message_on_a_topic_that_is_none_is_routed_to_nobody() {
    in_both_versions(|scene| {
        let mut bystanders = Bystanders::new(scene);
        let mut witness = witness(scene);
        for &(topic, told) in FORBIDDEN {
            let topic_name = String::from_utf8_lossy(topic).into_owned();
            eprintln!("{topic_name:?}");
            // QoS 0, retained, and QoS 1.
            let sound = publish(scene.version.is_v5(), topic, b"x");
            let retained = [&[0x31], &sound[1..]].concat();
            let properties: &[u8] = if scene.version.is_v5() { &[0] } else { &[] };
            let qos_1 = packet(0x32, &[&sized(topic)[..], b"\0\x07", properties, b"x"].concat());
            // Before 5.0 there are no aliases, and an empty topic is no topic.
            for bytes in [sound, retained, qos_1] {
                let mut client = scene.client("offender");
                client.send_raw(&bytes);
                client.expect_disconnected(told);
            }
        }
        expect_nothing_routed(scene, &mut witness);
        drop(witness);
        bystanders.exchange();
    });
}

/// `[MQTT5-4.7.3-1]`, `[MQTT311-4.7.3-1]`
#[test]
fn a_will_on_a_topic_that_is_none_is_refused_with_its_client() {
    in_both_versions_within("topic_levels: 6", |scene| {
        let mut witness = witness(scene);
        let version_5 = scene.version.is_v5();
        let no_properties: &[u8] = if version_5 { b"\0" } else { b"" };
        let level = if version_5 { 5 } else { 4 };
        let connect = |flags: u8, topic: &[u8]| {
            let head = [b"\0\x04MQTT", &[level, flags, 0, 0][..], no_properties].concat();
            packet(
                0x10,
                &[head, sized(b"c"), no_properties.into(), sized(topic), sized(b"x")].concat(),
            )
        };
        let too_deep = (&b"a/b/c/d/e/f/g"[..], ReasonCode::TopicNameInvalid);
        for (topic, _) in FORBIDDEN.iter().copied().chain([too_deep]) {
            eprintln!("{:?}", String::from_utf8_lossy(topic));
            for flags in [0x06, 0x26] {
                let mut stranger = Client::open(scene.address, scene.version);
                stranger.send_raw(&connect(flags, topic));
                expect_refused(&mut stranger);
            }
        }
        let mut client = Client::open(scene.address, scene.version);
        client.send_raw(&connect(0x06, b"a/b/c/d/e/f"));
        assert!(!client.receive().session_present());
        client.vanish();
        witness.expect_message("a/b/c/d/e/f", b"x");
        expect_nothing_routed(scene, &mut witness);
    });
}

/// `[MQTT5-3.3.2-14]`
#[test]
fn a_response_topic_with_a_wildcard_ends_the_connection_and_the_message_with_it() {
    let scene = Scene::v5();
    let mut bystanders = Bystanders::new(&scene);
    let mut witness = witness(&scene);
    for topic in [&b"#"[..], b"a/+", b"a/b#", b""] {
        let properties = section(&[&[0x08], &sized(topic)[..]].concat());
        let mut client = scene.client("offender");
        client.send_raw(&packet(0x30, &[b"\0\x01t", &properties[..], b"x"].concat()));
        client.expect_disconnected(ReasonCode::ProtocolError);
    }
    expect_nothing_routed(&scene, &mut witness);
    drop(witness);
    bystanders.exchange();
}

/// `[MQTT5-4.7.2-1]`, `[MQTT311-4.7.2-1]`
#[test]
fn a_leading_wildcard_yields_nothing_of_the_broker_s_own_topics() {
    in_both_versions(|scene| {
        let mut curious = scene.client("curious");
        for filter in ["#", "+/#", "+/broker", "+/broker/#"] {
            curious.subscribe(filter, Qos::AtMostOnce);
        }
        let mut client = scene.client("sender");
        for topic in [&b"$internal/broker"[..], b"$/broker"] {
            client.send_raw(&publish(scene.version.is_v5(), topic, b"secret"));
            let retained = publish(scene.version.is_v5(), topic, b"secret");
            client.send_raw(&[&[0x31], &retained[1..]].concat());
        }
        client.expect_nothing();
        curious.expect_nothing();
        let mut late = scene.client("late");
        late.subscribe("#", Qos::AtMostOnce);
        late.subscribe("+/broker", Qos::AtMostOnce);
        late.expect_nothing();
        // Where everybody may do everything, who asks for them by name gets them.
        late.subscribe("$internal/#", Qos::AtMostOnce);
        late.expect_message("$internal/broker", b"secret");
    });
}

/// Publishes on the topic that the payload is, and as if it had been published there.
const FORGER: &str = r#"
fn connect(client) { next() }
fn authorize(client, access) { abstain() }
fn publish(client, message) {
    if message.topic == "emit" { emit(message.text, "forged"); }
    if message.topic == "move" { message.topic = message.text; message.retain = true; }
    pass()
}
"#;

#[test]
fn steps_make_no_topics_that_clients_may_not_make() {
    in_both_versions_with_rule(FORGER, |scene| {
        let mut witness = scene.client("witness");
        for filter in ["#", "$SYS/forged"] {
            witness.subscribe(filter, Qos::AtMostOnce);
        }
        let mut client = scene.client("sender");
        let deep = ["d"; 5000].join("/");
        for topic in [&*deep, "$share/g/t", "$SYS/forged"] {
            client.publish(client::publish("move", topic.as_bytes(), Qos::AtMostOnce));
            client.expect_nothing();
            client.publish(client::publish("emit", topic.as_bytes(), Qos::AtMostOnce));
            witness.expect_message("emit", topic.as_bytes());
        }
        for how in ["move", "emit"] {
            client.publish(client::publish(how, b"sound", Qos::AtMostOnce));
        }
        witness.expect_message("sound", b"sound");
        witness.expect_message("emit", b"sound");
        witness.expect_message("sound", b"forged");
        witness.expect_nothing();
    });
}
