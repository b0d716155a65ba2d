//! CONNECT, CONNACK and keep alive.

use std::time::{Duration, Instant};

use hookmq_codec::{ConnAck, Connect, ConnectProperties, Packet, ProtocolVersion, Qos, ReasonCode};
use hookmq_tests::client::{Client, Received, publish};
use hookmq_tests::scene::{Scene, in_both_versions, in_both_versions_within};

fn connack(received: &Received) -> Box<ConnAck<'_>> {
    match received.packet() {
        Packet::ConnAck(connack) => connack,
        other => panic!("not CONNACK: {other:?}"),
    }
}

/// CONNECT with this protocol name, level and flags, and the client id `x`.
fn raw_connect(name: &[u8; 4], level: u8, flags: u8) -> Vec<u8> {
    let mut body = vec![0, 4];
    body.extend_from_slice(name);
    body.extend_from_slice(&[level, flags, 0, 0]);
    if level == 5 {
        body.push(0);
    }
    body.extend_from_slice(&[0, 1, b'x']);
    [&[0x10, body.len() as u8], &body[..]].concat()
}

/// `[MQTT-3.1.3-6]` `[MQTT-3.1.3-7]` `[MQTT-3.2.2-16]`
#[test]
fn a_client_without_an_id_is_given_one_of_its_own() {
    let scene = Scene::v5();
    let (first, first_answer) = Client::connect(scene.address, scene.connect_packet(""));
    let (_second, second_answer) = Client::connect(scene.address, scene.connect_packet(""));
    let ids = [&first_answer, &second_answer]
        .map(|answer| connack(answer).properties.assigned_client_identifier.unwrap());
    assert_ne!(ids[0], ids[1]);
    let mut first = first;
    let _successor = scene.client(ids[0]);
    first.expect_disconnected(ReasonCode::SessionTakenOver);
}

/// 3.1.1: `[MQTT-3.1.3-6]` `[MQTT-3.1.3-8]` `[MQTT-3.2.2-4]` `[MQTT-3.2.2-5]`
#[test]
fn an_empty_client_id_needs_a_clean_session_in_3_1_1() {
    let scene = Scene::v311();
    scene.client("");
    let kept = Connect { clean_start: false, ..scene.connect_packet("") };
    let (mut client, answer) = Client::attempt(scene.address, kept);
    assert_eq!(answer.bytes(), [0x20, 2, 0, 2]);
    client.expect_closed();
}

/// `[MQTT-3.1.3-5]`
#[test]
fn client_ids_of_letters_and_digits_are_accepted() {
    in_both_versions(|scene| {
        scene.client("0");
        scene.client("abcdefghijklmnopqrstuvw");
        scene.client("ABCDEFGHIJKLMNOPQRSTUVW");
    });
}

/// 3.1.1: `[MQTT-3.1.2-2]`; 5.0: `[MQTT-3.1.2-1]` `[MQTT-3.1.2-2]` `[MQTT-3.2.2-7]`
#[test]
fn an_unknown_protocol_is_refused() {
    let scene = Scene::v311();
    for bytes in
        [raw_connect(b"MQTT", 3, 2), raw_connect(b"MQTT", 6, 2), raw_connect(b"MQTX", 4, 2)]
    {
        let mut client = Client::open(scene.address, ProtocolVersion::V311);
        client.send_raw(&bytes);
        assert_eq!(client.receive().bytes(), [0x20, 2, 0, 1]);
        client.expect_closed();
    }
}

/// `[MQTT-3.1.2-3]` `[MQTT-3.1.4-1]`
#[test]
fn connect_flags_that_make_no_sense_close_the_connection() {
    in_both_versions(|scene| {
        let level = if scene.version.is_v5() { 5 } else { 4 };
        // The reserved bit; will QoS 3; will QoS and will retain without a will.
        for flags in [0b0000_0011, 0b0001_1110, 0b0000_1010, 0b0010_0010] {
            let mut client = Client::open(scene.address, scene.version);
            client.send_raw(&raw_connect(b"MQTT", level, flags));
            client.expect_closed();
        }
        let mut client = Client::open(scene.address, scene.version);
        client.send_raw(&raw_connect(b"MQTT", level, 0b0000_0010));
        assert!(!client.receive().session_present());
    });
}

/// `[MQTT-3.1.0-2]`
#[test]
fn a_second_connect_ends_the_connection() {
    in_both_versions(|scene| {
        let mut client = scene.client("twice");
        client.send(&Packet::Connect(Box::new(scene.connect_packet("twice"))));
        client.expect_disconnected(ReasonCode::ProtocolError);
    });
}

/// `[MQTT-3.1.0-1]` `[MQTT-3.14.0-1]`
#[test]
fn a_connection_that_does_not_begin_with_connect_is_closed_without_a_word() {
    in_both_versions(|scene| {
        for packet in [Packet::PingReq, Packet::Publish(publish("t", b"x", Qos::AtMostOnce))] {
            let mut client = Client::open(scene.address, scene.version);
            client.send(&packet);
            client.expect_closed();
        }
    });
}

/// `[MQTT-3.1.4-6]`; 3.1.1: `[MQTT-3.1.4-5]`
#[test]
fn what_follows_a_refused_connect_is_not_looked_at() {
    let scene = Scene::v311();
    let mut witness = scene.client("witness");
    witness.subscribe("#", Qos::AtMostOnce);
    let mut refused = Client::open(scene.address, scene.version);
    let connect = Connect { clean_start: false, ..scene.connect_packet("") };
    let mut bytes = refused.encode(&Packet::Connect(Box::new(connect)));
    bytes.extend(refused.encode(&Packet::Publish(publish("t", b"x", Qos::AtMostOnce))));
    refused.send_raw(&bytes);
    assert_eq!(refused.receive().bytes(), [0x20, 2, 0, 2]);
    refused.expect_closed();
    witness.expect_nothing();
}

/// `[MQTT-4.12.0-1]`
#[test]
fn an_authentication_method_that_is_not_known_is_refused() {
    let scene = Scene::v5();
    let properties = ConnectProperties {
        authentication_method: Some("SCRAM-SHA-1"),
        ..ConnectProperties::default()
    };
    let connect = Connect { properties, ..scene.connect_packet("scram") };
    let (mut client, answer) = Client::attempt(scene.address, connect);
    assert_eq!(connack(&answer).reason_code, ReasonCode::BadAuthenticationMethod);
    client.expect_closed();
}

/// `[MQTT-3.2.0-1]` `[MQTT-3.2.2-1]`
#[test]
fn connack_says_what_the_broker_takes() {
    let limits = "receive_maximum: 7\nmaximum_packet_size: 2048\ntopic_alias_maximum: 3";
    let scene = Scene::new(ProtocolVersion::V5, limits);
    let (_client, answer) = Client::connect(scene.address, scene.connect_packet("a"));
    let properties = connack(&answer).properties;
    assert_eq!(properties.receive_maximum.map(|it| it.get()), Some(7));
    assert_eq!(properties.maximum_packet_size.map(|it| it.get()), Some(2048));
    assert_eq!(properties.topic_alias_maximum, Some(3));
    assert_eq!(properties.shared_subscription_available, None, "what is not named is available");
    assert_eq!(properties.assigned_client_identifier, None);
    assert_eq!(properties.response_information, None, "[MQTT-3.1.2-28]");
    assert_eq!(properties.authentication_method, None, "[MQTT-4.12.0-6]");
}

#[test]
fn a_keep_alive_above_the_maximum_is_lowered_and_told() {
    let scene = Scene::new(ProtocolVersion::V5, "keep_alive_maximum_s: 60");
    for (asked, told) in [(0, Some(60)), (61, Some(60)), (60, None), (1, None)] {
        let connect = Connect { keep_alive: asked, ..scene.connect_packet("a") };
        let (_client, answer) = Client::connect(scene.address, connect);
        assert_eq!(connack(&answer).properties.server_keep_alive, told, "{asked}");
    }
}

#[test]
fn who_says_nothing_after_accept_is_closed_in_time() {
    in_both_versions_within("connect_timeout_ms: 300", |scene| {
        let mut connected = scene.client("connected");
        let mut silent = Client::open(scene.address, scene.version);
        let mut hesitant = Client::open(scene.address, scene.version);
        hesitant.send_raw(&[0x10, 20, 0]);
        silent.expect_closed();
        hesitant.expect_closed();
        connected.expect_nothing();
    });
}

/// `[MQTT-3.1.2-22]`; 3.1.1: `[MQTT-3.1.2-24]`
#[test]
fn a_client_that_breaks_its_keep_alive_is_lost_and_one_without_stays() {
    in_both_versions(|scene| {
        let mut patient = scene.client("patient");
        let before = Instant::now();
        let mut silent = scene.connect(Connect { keep_alive: 1, ..scene.connect_packet("silent") });
        silent.expect_disconnected(ReasonCode::KeepAliveTimeout);
        assert!(before.elapsed() >= Duration::from_millis(1500), "not before 1.5 times its time");
        patient.expect_nothing();
    });
}

/// `[MQTT-3.12.4-1]`
#[test]
fn a_ping_is_answered() {
    in_both_versions(|scene| {
        let mut client = scene.client("a");
        client.send(&Packet::PingReq);
        assert_eq!(client.receive().packet(), Packet::PingResp);
    });
}
