//! Topic aliases that are none, and those of a connection before.

use hookmq_codec::{ProtocolVersion, Qos, ReasonCode};
use hookmq_tests::client::{Client, connect_to_session};
use hookmq_tests::scene::Scene;

use crate::Bystanders;
use crate::wire::{packet, section, sized};

/// A PUBLISH of QoS 0 with this alias, and without a topic where that is empty.
fn aliased(topic: &[u8], alias: u16, payload: &[u8]) -> Vec<u8> {
    let [high, low] = alias.to_be_bytes();
    packet(0x30, &[&sized(topic)[..], &section(&[0x23, high, low]), payload].concat())
}

#[test]
fn an_alias_that_cannot_be_ends_the_connection_and_nothing_is_routed() {
    let scene = Scene::new(ProtocolVersion::V5, "topic_alias_maximum: 5");
    let mut bystanders = Bystanders::new(&scene);
    let mut witness = scene.client("witness");
    witness.subscribe("#", Qos::AtMostOnce);
    for (what, topic, alias, reason_code) in [
        ("alias 0", &b"t"[..], 0, ReasonCode::TopicAliasInvalid),
        ("alias 0 without a topic", b"", 0, ReasonCode::TopicAliasInvalid),
        ("one above the maximum", b"t", 6, ReasonCode::TopicAliasInvalid),
        ("the highest", b"t", 65_535, ReasonCode::TopicAliasInvalid),
        ("one above the maximum without a topic", b"", 6, ReasonCode::TopicAliasInvalid),
        ("one that is not set", b"", 5, ReasonCode::ProtocolError),
        ("for a wildcard", b"a/#", 1, ReasonCode::TopicNameInvalid),
        ("for a shared subscription", b"$share/g/t", 1, ReasonCode::TopicNameInvalid),
    ] {
        eprintln!("{what}");
        let mut client = scene.client("offender");
        client.send_raw(&aliased(topic, alias, b"x"));
        client.expect_disconnected(reason_code);
    }
    witness.expect_nothing();
    let mut client = scene.client("modest");
    client.send_raw(&[aliased(b"t", 5, b"1"), aliased(b"", 5, b"2")].concat());
    witness.expect_message("t", b"1");
    witness.expect_message("t", b"2");
    drop(witness);
    bystanders.exchange();
}

/// `[MQTT5-3.3.2-7]`
#[test]
fn an_alias_ends_with_its_connection_even_where_the_session_is_taken_over() {
    let scene = Scene::v5();
    let mut witness = scene.client("witness");
    witness.subscribe("#", Qos::AtMostOnce);
    let mut first = scene.session("twice");
    first.send_raw(&aliased(b"secret", 1, b"1"));
    witness.expect_message("secret", b"1");
    let session = connect_to_session(scene.version, "twice", 3600);
    let (mut second, answer) = Client::connect(scene.address, session);
    assert!(answer.session_present());
    first.expect_disconnected(ReasonCode::SessionTakenOver);
    second.send_raw(&aliased(b"", 1, b"2"));
    second.expect_disconnected(ReasonCode::ProtocolError);
    let mut other = scene.client("other");
    other.send_raw(&aliased(b"", 1, b"3"));
    other.expect_disconnected(ReasonCode::ProtocolError);
    witness.expect_nothing();
}
