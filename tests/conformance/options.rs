//! Parts of the protocol that an operator has turned off: what clients are told, and what they may not.

use hookmq_codec::{
    Connect, ConnectProperties, Packet, ProtocolVersion, PublishProperties, Qos, ReasonCode, Will,
};
use hookmq_tests::client::{Client, at, connect, publish, will};
use hookmq_tests::scene::Scene;

fn scenes(sections: &str, scenario: impl Fn(&Scene)) {
    for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
        eprintln!("MQTT {}:", version.name());
        scenario(&Scene::with_sections(version, sections));
    }
}

fn refused(scene: &Scene, connect: Connect<'_>) -> ReasonCode {
    let (mut client, answer) = Client::attempt(scene.address, connect);
    let Packet::ConnAck(connack) = answer.packet() else {
        panic!("not CONNACK: {:?}", answer.packet())
    };
    client.expect_closed();
    connack.reason_code
}

/// 3.1.1 has few codes.
fn code(scene: &Scene, v5: ReasonCode, v311: ReasonCode) -> ReasonCode {
    if scene.version.is_v5() { v5 } else { v311 }
}

/// `[MQTT5-3.2.2-9]` `[MQTT5-3.2.2-10]` `[MQTT5-3.2.2-12]`
#[test]
fn a_maximum_qos_is_told_and_kept() {
    scenes("protocol: {maximum_qos: 1}", |scene| {
        let (mut client, connack) = Client::connect(scene.address, scene.connect_packet("a"));
        if let Packet::ConnAck(connack) = connack.packet()
            && scene.version.is_v5()
        {
            assert_eq!(connack.properties.maximum_qos, Some(Qos::AtLeastOnce));
        }
        let filters = [("a", at(Qos::ExactlyOnce)), ("b", at(Qos::AtMostOnce))];
        let granted = client.subscribe_with(&filters, None);
        assert_eq!(granted, [ReasonCode::GrantedQos1, ReasonCode::Success]);
        client.publish(publish("a", b"1", Qos::AtLeastOnce));
        let mut above = publish("a", b"2", Qos::ExactlyOnce);
        above.packet_id = Some(hookmq_tests::client::packet_id(9));
        client.receive_where(|it| matches!(it, Packet::Publish(_)));
        client.send(&Packet::Publish(above));
        client.expect_disconnected(ReasonCode::QosNotSupported);
        let will = Will { qos: Qos::ExactlyOnce, ..will("a", b"gone") };
        let connect = Connect { will: Some(will), ..scene.connect_packet("b") };
        let expected = code(scene, ReasonCode::QosNotSupported, ReasonCode::ServerUnavailable);
        assert_eq!(refused(scene, connect), expected);
    });
}

/// `[MQTT5-3.2.2-13]`
#[test]
fn without_retained_messages_a_retained_publish_and_will_are_refused() {
    scenes("protocol: {retain_available: false}", |scene| {
        let (mut client, connack) = Client::connect(scene.address, scene.connect_packet("a"));
        if let Packet::ConnAck(connack) = connack.packet()
            && scene.version.is_v5()
        {
            assert_eq!(connack.properties.retain_available, Some(false));
        }
        let mut retained = publish("a", b"1", Qos::AtMostOnce);
        retained.retain = true;
        client.send(&Packet::Publish(retained));
        client.expect_disconnected(ReasonCode::RetainNotSupported);
        let will = Will { retain: true, ..will("a", b"gone") };
        let connect = Connect { will: Some(will), ..scene.connect_packet("b") };
        let expected = code(scene, ReasonCode::RetainNotSupported, ReasonCode::ServerUnavailable);
        assert_eq!(refused(scene, connect), expected);
    });
}

/// `[MQTT311-3.8.3-2]`
#[test]
fn kinds_of_subscriptions_that_are_not_available_are_refused() {
    let sections = "protocol: {wildcard_subscriptions: false, shared_subscriptions: false}";
    scenes(sections, |scene| {
        let (mut client, connack) = Client::connect(scene.address, scene.connect_packet("a"));
        if let Packet::ConnAck(connack) = connack.packet()
            && scene.version.is_v5()
        {
            let properties = connack.properties;
            assert_eq!(properties.wildcard_subscription_available, Some(false));
            assert_eq!(properties.shared_subscription_available, Some(false));
        }
        let filters = ["a/+", "#", "$share/g/a", "a"].map(|filter| (filter, at(Qos::AtMostOnce)));
        let unspecified = ReasonCode::UnspecifiedError;
        let wildcard = code(scene, ReasonCode::WildcardSubscriptionsNotSupported, unspecified);
        let shared = code(scene, ReasonCode::SharedSubscriptionsNotSupported, unspecified);
        let expected = [wildcard, wildcard, shared, ReasonCode::Success];
        assert_eq!(client.subscribe_with(&filters, None), expected);
        scene.client("publisher").publish(publish("a/b", b"1", Qos::AtMostOnce));
        client.expect_nothing();
    });
}

#[test]
fn subscription_identifiers_that_are_not_available_end_the_connection() {
    let sections = "protocol: {subscription_identifiers: false}";
    let scene = Scene::with_sections(ProtocolVersion::V5, sections);
    let (mut client, connack) = Client::connect(scene.address, scene.connect_packet("a"));
    let Packet::ConnAck(connack) = connack.packet() else { unreachable!("it was admitted") };
    assert_eq!(connack.properties.subscription_identifiers_available, Some(false));
    client.subscribe("a", Qos::AtMostOnce);
    client.send_subscribe(&[("b", at(Qos::AtMostOnce))], Some(1));
    client.expect_disconnected(ReasonCode::SubscriptionIdentifiersNotSupported);
}

#[test]
fn a_payload_that_is_not_what_its_sender_says_is_refused_where_that_is_checked() {
    let declared = |payload: &'static [u8], qos| {
        let mut message = publish("a", payload, qos);
        message.properties =
            PublishProperties { payload_format_indicator: Some(true), ..Default::default() };
        message
    };
    let sections = "protocol: {check_payload_format: true}";
    let scene = Scene::with_sections(ProtocolVersion::V5, sections);
    let mut subscriber = scene.client("subscriber");
    subscriber.subscribe("a", Qos::AtMostOnce);
    let mut client = scene.client("a");
    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let refused = client.publish(declared(b"\xFF", qos));
        assert_eq!(refused, ReasonCode::PayloadFormatInvalid);
    }
    client.publish(declared(b"\xFF", Qos::AtMostOnce));
    assert_eq!(client.publish(declared(b"text", Qos::AtLeastOnce)), ReasonCode::Success);
    subscriber.expect_message("a", b"text");
    subscriber.expect_nothing();
    let properties = declared(b"", Qos::AtMostOnce).properties;
    let will = Will { properties, ..will("a", b"\xFF") };
    let refusal = refused(&scene, Connect { will: Some(will), ..connect(scene.version, "b") });
    assert_eq!(refusal, ReasonCode::PayloadFormatInvalid);

    let lenient = Scene::v5();
    let accepted = lenient.client("a").publish(declared(b"\xFF", Qos::AtLeastOnce));
    assert_eq!(accepted, ReasonCode::NoMatchingSubscribers);
}

/// `[MQTT5-3.1.2-28]`
#[test]
fn response_information_is_given_to_those_who_ask() {
    let sections = "protocol: {response_information: \"replies/{client_id}/\"}";
    let scene = Scene::with_sections(ProtocolVersion::V5, sections);
    let information = |client_id: &str, asked: Option<bool>| {
        let properties =
            ConnectProperties { request_response_information: asked, ..Default::default() };
        let connect = Connect { properties, ..scene.connect_packet(client_id) };
        let (_client, connack) = Client::connect(scene.address, connect);
        let Packet::ConnAck(connack) = connack.packet() else { unreachable!("it was admitted") };
        connack.properties.response_information.map(str::to_owned)
    };
    assert_eq!(information("a", Some(true)), Some("replies/a/".into()));
    assert_eq!(information("a", Some(false)), None);
    assert_eq!(information("a", None), None);
    assert_eq!(information("a/+", Some(true)), None, "it would name topics of others");
}

#[test]
fn clients_of_a_broker_that_stops_are_sent_to_another_if_there_is_one() {
    let sections = "protocol: {server_reference: \"other.example:8883\"}";
    let mut scene = Scene::with_sections(ProtocolVersion::V5, sections);
    let mut client = scene.client("a");
    assert!(scene.broker.terminate().success());
    let received = client.receive();
    let Packet::Disconnect(disconnect) = received.packet() else { panic!("not DISCONNECT") };
    assert_eq!(disconnect.reason_code, ReasonCode::UseAnotherServer);
    assert_eq!(disconnect.properties.server_reference, Some("other.example:8883"));
}
