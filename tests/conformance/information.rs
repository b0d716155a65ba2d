//! Reason strings: who gets one, and that none makes a packet too large for its client.

use std::num::NonZeroU32;

use hookmq_codec::{Connect, ConnectProperties, Packet, ProtocolVersion, Qos, ReasonCode};
use hookmq_tests::client::{Client, at, publish};
use hookmq_tests::scene::Scene;

/// A broker without room for a retained message, where one filter is one too many.
fn scene() -> Scene {
    Scene::new(
        ProtocolVersion::V5,
        "retained_messages: 0\nfilters_per_client: 0\nclient_id_length: 20",
    )
}

fn client(scene: &Scene, maximum: u32, problem_information: Option<bool>) -> Client {
    scene.connect(Connect {
        properties: properties(maximum, problem_information),
        ..scene.connect_packet("a")
    })
}

fn properties(maximum: u32, problem_information: Option<bool>) -> ConnectProperties<'static> {
    ConnectProperties {
        maximum_packet_size: NonZeroU32::new(maximum),
        request_problem_information: problem_information,
        ..ConnectProperties::default()
    }
}

/// The reason strings of a refusing PUBACK, PUBREC and SUBACK.
fn acknowledgements(client: &mut Client, maximum: u32) -> [Option<String>; 3] {
    let mut retained = publish("t", b"x", Qos::AtLeastOnce);
    retained.retain = true;
    let mut texts = [const { None }; 3];
    for (place, qos) in [Qos::AtLeastOnce, Qos::ExactlyOnce].into_iter().enumerate() {
        let packet_id = Some(hookmq_tests::client::packet_id(100));
        let mut publish = retained.clone();
        (publish.qos, publish.packet_id) = (qos, packet_id);
        client.send(&Packet::Publish(publish));
        let received = client.receive();
        assert!(received.bytes().len() <= maximum as usize);
        let (Packet::PubAck(ack) | Packet::PubRec(ack)) = received.packet() else {
            panic!("no acknowledgement: {:?}", received.packet());
        };
        assert_eq!(ack.reason_code, ReasonCode::QuotaExceeded);
        texts[place] = ack.properties.reason_string.map(str::to_owned);
    }
    client.send_subscribe(&[("t", at(Qos::AtMostOnce))], None);
    let received = client.receive();
    assert!(received.bytes().len() <= maximum as usize);
    let Packet::SubAck(suback) = received.packet() else { panic!("not SUBACK") };
    assert_eq!(suback.reason_codes, [ReasonCode::QuotaExceeded]);
    texts[2] = suback.properties.reason_string.map(str::to_owned);
    texts
}

/// `[MQTT5-3.1.2-29]`
#[test]
fn acknowledgements_explain_themselves_to_those_who_want_it() {
    let scene = scene();
    for (asked, explained) in [(None, true), (Some(true), true), (Some(false), false)] {
        let mut client = client(&scene, 1000, asked);
        let texts = acknowledgements(&mut client, 1000);
        assert!(texts.iter().all(|text| text.is_some() == explained), "{asked:?}: {texts:?}");
    }
}

/// `[MQTT5-3.4.2-2]` `[MQTT5-3.4.2-3]` `[MQTT5-3.5.2-2]` `[MQTT5-3.5.2-3]` `[MQTT5-3.9.2-1]`
/// `[MQTT5-3.9.2-2]`
#[test]
fn what_would_make_an_acknowledgement_too_large_is_left_out() {
    let scene = scene();
    for maximum in 24..90 {
        let mut client = client(&scene, maximum, Some(true));
        assert_eq!(acknowledgements(&mut client, maximum), [const { None }; 3]);
    }
    // As many codes as fit beside nothing else.
    let mut client = client(&scene, 200, Some(true));
    let filters: Vec<String> = (0..150).map(|number| format!("t/{number}")).collect();
    let filters: Vec<_> = filters.iter().map(|it| (&**it, at(Qos::AtMostOnce))).collect();
    assert_eq!(client.subscribe_with(&filters, None), [ReasonCode::QuotaExceeded; 150]);
}

/// `[MQTT5-3.6.2-2]` `[MQTT5-3.6.2-3]` `[MQTT5-3.7.2-2]` `[MQTT5-3.7.2-3]` `[MQTT5-3.11.2-1]`
/// `[MQTT5-3.11.2-2]`
#[test]
fn answers_about_unknown_things_fit_the_smallest_client() {
    use hookmq_tests::client::{ack, packet_id};
    let scene = scene();
    let mut client = client(&scene, 24, Some(true));
    client.send(&Packet::PubRec(ack(packet_id(5))));
    let received = client.receive();
    assert_eq!(received.acknowledges(packet_id(5)), ReasonCode::PacketIdentifierNotFound);
    assert!(received.bytes().len() <= 24);
    client.send(&Packet::PubRel(ack(packet_id(6))));
    let received = client.receive();
    assert_eq!(received.acknowledges(packet_id(6)), ReasonCode::PacketIdentifierNotFound);
    assert!(received.bytes().len() <= 24);
    assert_eq!(client.unsubscribe(&["t"]), [ReasonCode::NoSubscriptionExisted]);
}

/// `[MQTT5-3.14.2-3]` `[MQTT5-3.14.2-4]`
#[test]
fn a_disconnect_says_why_where_there_is_room() {
    let scene = scene();
    for (maximum, explained) in [(1000, true), (24, false)] {
        let mut client = client(&scene, maximum, Some(false));
        // A second CONNECT.
        let connect = Packet::Connect(Box::new(scene.connect_packet("a")));
        client.send(&connect);
        let received = client.receive();
        let Packet::Disconnect(disconnect) = received.packet() else { panic!("not DISCONNECT") };
        assert_eq!(disconnect.reason_code, ReasonCode::ProtocolError);
        assert_eq!(disconnect.properties.reason_string.is_some(), explained);
        assert!(received.bytes().len() <= maximum as usize);
        client.expect_closed();
    }
}

/// `[MQTT5-3.2.2-19]` `[MQTT5-3.2.2-20]`
#[test]
fn a_refusing_connack_says_why_where_there_is_room() {
    let scene = scene();
    for (maximum, explained) in [(1000, true), (8, false)] {
        let connect = Connect {
            properties: properties(maximum, Some(true)),
            ..scene.connect_packet("an identifier that is too long")
        };
        let (mut client, received) = Client::attempt(scene.address, connect);
        let Packet::ConnAck(connack) = received.packet() else { panic!("not CONNACK") };
        assert_eq!(connack.reason_code, ReasonCode::ClientIdentifierNotValid);
        assert_eq!(connack.properties.reason_string.is_some(), explained);
        assert!(received.bytes().len() <= maximum as usize);
        client.expect_closed();
    }
}
