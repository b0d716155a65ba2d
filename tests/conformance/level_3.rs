//! MQTT 3.1: clients that call the protocol `MQIsdp`, level 3, byte by byte.

use hookmq_codec::{Connect, Packet, ProtocolVersion, Publish, Qos};
use hookmq_tests::client::{Client, ack, connect_to_session, packet_id, publish, will};
use hookmq_tests::scene::Scene;

const CONNACK: [u8; 4] = [0x20, 2, 0, 0];

fn scene() -> Scene {
    Scene::new(ProtocolVersion::V31, "")
}

/// CONNECT with these flags and this payload, without keep alive.
fn connect(flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = 12 + payload.len() as u8;
    [&[0x10, length], &b"\0\x06MQIsdp\x03"[..], &[flags, 0, 0], payload].concat()
}

fn connected(scene: &Scene, flags: u8, payload: &[u8]) -> Client {
    let mut client = Client::open(scene.address, scene.version);
    client.send_raw(&connect(flags, payload));
    assert_eq!(client.receive().bytes(), CONNACK);
    client
}

/// Messages that come meanwhile are received later.
fn exchange(client: &mut Client, sent: &[u8], expected: &[u8]) {
    client.send_raw(sent);
    let answer = client.receive_where(|it| !matches!(it, Packet::Publish(_)));
    assert_eq!(answer.bytes(), expected);
}

#[test]
fn a_client_of_3_1_subscribes_and_publishes_with_every_qos() {
    let scene = scene();
    let mut subscriber = connected(&scene, 2, b"\0\x01s");
    exchange(&mut subscriber, b"\x82\x0B\0\x07\0\x01t\x02\0\x02u/\x01", b"\x90\x04\0\x07\x02\x01");
    let mut publisher = connected(&scene, 2, b"\0\x01p");
    publisher.send_raw(b"\x30\x04\0\x01t0");
    assert_eq!(subscriber.receive().bytes(), b"\x30\x04\0\x01t0");
    exchange(&mut publisher, b"\x32\x06\0\x01t\0\x011", b"\x40\x02\0\x01");
    let first = subscriber.expect_message("t", b"1");
    assert_eq!(first.bytes()[0], 0x32);
    subscriber.acknowledge(&first);
    exchange(&mut publisher, b"\x34\x06\0\x01t\0\x022", b"\x50\x02\0\x02");
    // Clients of 3.1 may repeat PUBREL with DUP set.
    exchange(&mut publisher, b"\x62\x02\0\x02", b"\x70\x02\0\x02");
    exchange(&mut publisher, b"\x6A\x02\0\x02", b"\x70\x02\0\x02");
    let second = subscriber.expect_message("t", b"2");
    assert_eq!(second.bytes()[0], 0x34);
    subscriber.acknowledge(&second);
    exchange(&mut subscriber, b"\xA2\x05\0\x08\0\x01t", b"\xB0\x02\0\x08");
    publisher.send_raw(b"\x30\x04\0\x01t3");
    exchange(&mut publisher, b"\xC0\0", b"\xD0\0");
    subscriber.expect_nothing();
    subscriber.send_raw(b"\xE0\0");
    subscriber.expect_closed();
}

#[test]
fn a_client_of_3_1_repeats_its_requests_with_dup() {
    let scene = scene();
    let mut client = connected(&scene, 2, b"\0\x01a");
    exchange(&mut client, b"\x82\x06\0\x01\0\x01t\0", b"\x90\x03\0\x01\0");
    exchange(&mut client, b"\x8A\x06\0\x01\0\x01t\0", b"\x90\x03\0\x01\0");
    exchange(&mut client, b"\x34\x06\0\x01t\0\x02x", b"\x50\x02\0\x02");
    client.expect_message("t", b"x");
    // It need not reconnect first.
    exchange(&mut client, b"\x3C\x06\0\x01t\0\x02x", b"\x50\x02\0\x02");
    exchange(&mut client, b"\xAA\x05\0\x03\0\x01t", b"\xB0\x02\0\x03");
    client.expect_nothing();
}

#[test]
fn a_client_of_3_1_gets_retained_messages_and_leaves_a_will() {
    let scene = scene();
    let mut publisher = connected(&scene, 2, b"\0\x01p");
    exchange(&mut publisher, b"\x33\x06\0\x01r\0\x01x", b"\x40\x02\0\x01");
    let mut subscriber = connected(&scene, 2, b"\0\x01s");
    exchange(&mut subscriber, b"\x82\x0A\0\x01\0\x01r\0\0\x01w\0", b"\x90\x04\0\x01\0\0");
    assert_eq!(subscriber.receive().bytes(), b"\x31\x04\0\x01rx");
    // Will flag, clean session; the will's topic and message.
    connected(&scene, 0b0000_0110, b"\0\x01m\0\x01w\0\x04gone").vanish();
    assert_eq!(subscriber.receive().bytes(), b"\x30\x07\0\x01wgone");
}

#[test]
fn a_client_of_3_1_resumes_its_session() {
    let scene = scene();
    let mut client = connected(&scene, 0, b"\0\x01s");
    client.subscribe("t", Qos::ExactlyOnce);
    client.disconnect();
    let mut publisher = connected(&scene, 2, b"\0\x01p");
    publisher.publish(publish("t", b"1", Qos::AtLeastOnce));
    publisher.publish(publish("t", b"2", Qos::ExactlyOnce));
    // The byte that says in 3.1.1 that a session is present is reserved here, and 0.
    let mut client = connected(&scene, 0, b"\0\x01s");
    client.expect_message("t", b"1");
    let second = client.expect_message("t", b"2").publish().packet_id.unwrap();
    client.send(&Packet::PubRec(ack(second)));
    client.receive().acknowledges(second);
    client.vanish();
    let mut client = connected(&scene, 0, b"\0\x01s");
    assert!(client.expect_message("t", b"1").publish().dup);
    client.receive().acknowledges(second);
    client.send(&Packet::PubComp(ack(second)));
    client.vanish();
    connected(&scene, 2, b"\0\x01s").expect_nothing();
}

#[test]
fn client_ids_of_3_1_may_be_longer_than_23_bytes_but_not_empty() {
    let scene = scene();
    let long = [&[0, 200], &[b'x'; 200][..]].concat();
    let mut client = Client::open(scene.address, scene.version);
    let body = connect(2, b"")[2..].to_vec();
    let length = (body.len() + long.len()) as u32;
    client
        .send_raw(&[&[0x10, length as u8 | 0x80, (length >> 7) as u8], &body[..], &long].concat());
    assert_eq!(client.receive().bytes(), CONNACK);
    for flags in [0, 2] {
        let mut nameless = Client::open(scene.address, scene.version);
        nameless.send_raw(&connect(flags, b"\0\0"));
        assert_eq!(nameless.receive().bytes(), [0x20, 2, 0, 2]);
        nameless.expect_closed();
    }
}

#[test]
fn a_connect_of_3_1_may_end_before_the_user_name_that_its_flags_announce() {
    let scene = scene();
    connected(&scene, 0b1100_0010, b"\0\x01a").expect_nothing();
}

/// MQTT 3.1 has no code for a refused subscription, and demands a SUBACK that grants.
#[test]
fn a_refused_subscription_of_3_1_is_granted_in_words_only() {
    let rule = r#"fn connect(client) { next(#{}) } fn publish(client, message) { pass() }
        fn authorize(client, access) {
            if access.action == "subscribe" { deny("nothing to be seen") } else { abstain() }
        }"#;
    let scene = Scene::with_rule(ProtocolVersion::V31, rule);
    let mut client = connected(&scene, 2, b"\0\x01a");
    exchange(&mut client, b"\x82\x06\0\x01\0\x01t\x02", b"\x90\x03\0\x01\0");
    client.publish(publish("t", b"x", Qos::AtLeastOnce));
    client.expect_nothing();
}

#[test]
fn clients_of_all_versions_exchange_messages() {
    let scene = scene();
    let versions = [ProtocolVersion::V31, ProtocolVersion::V311, ProtocolVersion::V5];
    for version in versions {
        for other in versions {
            let session = connect_to_session(version, "subscriber", 60);
            let mut subscriber = scene.connect(session);
            subscriber.subscribe("t", Qos::AtLeastOnce);
            let will = Some(will("t", b"gone"));
            let connect = Connect { will, ..hookmq_tests::client::connect(other, "publisher") };
            let mut publisher = scene.connect(connect);
            let message = publish("t", b"x", Qos::AtLeastOnce);
            publisher.publish(Publish { packet_id: Some(packet_id(9)), ..message });
            let received = subscriber.expect_message("t", b"x");
            subscriber.acknowledge(&received);
            publisher.vanish();
            let received = subscriber.expect_message("t", b"gone");
            subscriber.acknowledge(&received);
            subscriber.disconnect();
        }
    }
}
