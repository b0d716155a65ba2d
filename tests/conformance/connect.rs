//! CONNECT, CONNACK and keep alive.

use std::time::{Duration, Instant};

use hookmq_codec::{ConnAck, Connect, ConnectProperties, Packet, ProtocolVersion, Qos, ReasonCode};
use hookmq_tests::client::{Client, Received, connect_to_session, publish};
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

/// `[MQTT5-3.1.3-6]` `[MQTT5-3.1.3-7]` `[MQTT5-3.2.2-16]`
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

/// `[MQTT311-3.1.3-6]` `[MQTT311-3.1.3-7]` `[MQTT311-3.1.3-8]` `[MQTT311-3.2.2-5]`
#[test]
fn an_empty_client_id_needs_a_clean_session_in_3_1_1() {
    let scene = Scene::v311();
    let mut others = [scene.client(""), scene.client("")];
    let kept = Connect { clean_start: false, ..scene.connect_packet("") };
    let (mut client, answer) = Client::attempt(scene.address, kept);
    assert_eq!(answer.bytes(), [0x20, 2, 0, 2]);
    client.expect_closed();
    // Neither has taken the other's session over: their ids differ.
    others.iter_mut().for_each(Client::expect_nothing);
}

/// `[MQTT5-3.1.3-5]` `[MQTT311-3.1.3-5]`
#[test]
fn client_ids_of_letters_and_digits_are_accepted() {
    in_both_versions(|scene| {
        scene.client("0");
        scene.client("abcdefghijklmnopqrstuvw");
        scene.client("ABCDEFGHIJKLMNOPQRSTUVW");
    });
}

/// `[MQTT5-3.1.2-1]` `[MQTT5-3.1.2-2]` `[MQTT311-3.1.2-1]` `[MQTT311-3.1.2-2]`
#[test]
fn an_unknown_protocol_is_refused() {
    let scene = Scene::v311();
    for bytes in [(b"MQTT", 3), (b"MQTT", 6), (b"MQTX", 4), (b"MQTX", 5)]
        .map(|(name, level)| raw_connect(name, level, 2))
    {
        let mut client = Client::open(scene.address, ProtocolVersion::V311);
        client.send_raw(&bytes);
        assert_eq!(client.receive().bytes(), [0x20, 2, 0, 1]);
        client.expect_closed();
    }
}

/// `[MQTT5-3.1.2-3]` `[MQTT5-3.1.2-11]` `[MQTT5-3.1.2-12]` `[MQTT5-3.1.2-13]` `[MQTT5-3.1.4-1]`
/// `[MQTT311-3.1.2-3]` `[MQTT311-3.1.2-13]` `[MQTT311-3.1.2-14]` `[MQTT311-3.1.2-15]`
/// `[MQTT311-3.1.4-1]` `[MQTT311-3.2.2-6]`
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

/// `[MQTT5-3.1.0-2]` `[MQTT5-3.2.0-2]` `[MQTT5-3.14.2-2]` `[MQTT5-3.14.4-1]` `[MQTT5-3.14.4-2]`
/// `[MQTT311-3.1.0-2]`
#[test]
fn a_second_connect_ends_the_connection() {
    in_both_versions(|scene| {
        let mut client = scene.client("twice");
        client.send(&Packet::Connect(Box::new(scene.connect_packet("twice"))));
        client.expect_disconnected(ReasonCode::ProtocolError);
        let mut client = scene.client("another protocol");
        client.send_raw(&raw_connect(b"MQTT", 6, 2));
        client.expect_disconnected(ReasonCode::ProtocolError);
    });
}

/// `[MQTT5-3.1.0-1]` `[MQTT5-3.14.0-1]` `[MQTT311-3.1.0-1]`
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

/// `[MQTT5-3.1.4-6]` `[MQTT311-3.1.4-5]`
#[test]
fn what_follows_a_refused_connect_is_not_looked_at() {
    in_both_versions_within("client_id_length: 23", |scene| {
        let mut witness = scene.client("witness");
        witness.subscribe("#", Qos::AtMostOnce);
        let mut refused = Client::open(scene.address, scene.version);
        let long = "x".repeat(24);
        let connect = Packet::Connect(Box::new(scene.connect_packet(&long)));
        let message = Packet::Publish(publish("t", b"x", Qos::AtMostOnce));
        refused.send_raw(&[refused.encode(&connect), refused.encode(&message)].concat());
        assert_eq!(connack(&refused.receive()).reason_code, ReasonCode::ClientIdentifierNotValid);
        refused.expect_closed();
        witness.expect_nothing();
    });
}

/// `[MQTT5-3.2.0-1]` `[MQTT5-3.2.0-2]` `[MQTT311-3.1.4-4]` `[MQTT311-3.2.0-1]`
#[test]
fn connack_comes_once_and_before_all_that_waits() {
    in_both_versions(|scene| {
        let mut client = scene.session("a");
        client.subscribe("t", Qos::AtLeastOnce);
        client.vanish();
        scene.client("publisher").publish(publish("t", b"waits", Qos::AtLeastOnce));
        let mut client = Client::open(scene.address, scene.version);
        let connect = connect_to_session(scene.version, "a", 3600);
        let connect = client.encode(&Packet::Connect(Box::new(connect)));
        client.send_raw(&[&connect[..], &[0xC0, 0]].concat());
        assert_eq!(connack(&client.receive()).reason_code, ReasonCode::Success);
        let behind = [client.receive(), client.receive()];
        assert!(behind.iter().any(|it| it.packet() == Packet::PingResp));
        assert!(behind.iter().any(|it| matches!(it.packet(), Packet::Publish(_))));
        client.expect_nothing();
    });
}

/// `[MQTT5-3.1.4-2]` `[MQTT5-3.2.2-7]` `[MQTT5-4.12.0-1]`
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

/// `[MQTT5-3.1.4-5]` `[MQTT5-3.2.2-1]` `[MQTT5-4.12.0-6]`
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
    assert_eq!(properties.response_information, None);
    assert_eq!(properties.authentication_method, None);
    assert_eq!(answer.bytes()[2], 0, "the connect acknowledge flags");
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

/// `[MQTT5-3.1.2-22]` `[MQTT5-3.2.2-22]` `[MQTT311-3.1.2-24]`
#[test]
fn a_client_that_breaks_its_keep_alive_is_lost_and_one_without_stays() {
    in_both_versions(|scene| {
        let mut patient = scene.client("patient");
        let before = Instant::now();
        let connect = Connect { keep_alive: 1, ..scene.connect_packet("silent") };
        let (mut silent, answer) = Client::connect(scene.address, connect);
        assert_eq!(connack(&answer).properties.server_keep_alive, None);
        silent.expect_disconnected(ReasonCode::KeepAliveTimeout);
        assert!(before.elapsed() >= Duration::from_millis(1500), "not before 1.5 times its time");
        patient.expect_nothing();
    });
}

/// `[MQTT5-3.12.4-1]` `[MQTT311-3.12.4-1]`
#[test]
fn a_ping_is_answered() {
    in_both_versions(|scene| {
        let mut client = scene.client("a");
        client.send(&Packet::PingReq);
        assert_eq!(client.receive().packet(), Packet::PingResp);
    });
}
