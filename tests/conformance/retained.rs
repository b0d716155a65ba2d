//! Retained messages: kept, replaced, removed, and sent to whom.

use hookmq_codec::{
    Packet, Publish, PublishProperties, Qos, ReasonCode, RetainHandling, SubscriptionOptions,
};
use hookmq_tests::client::{at, packet_id, publish};
use hookmq_tests::scene::{Scene, in_both_versions, in_both_versions_within};

fn retained<'a>(topic: &'a str, payload: &'a [u8]) -> Publish<'a> {
    Publish { retain: true, ..publish(topic, payload, Qos::AtLeastOnce) }
}

/// `[MQTT5-3.3.1-5]` `[MQTT5-3.3.1-8]` `[MQTT5-3.3.1-9]` `[MQTT311-3.1.2-7]` `[MQTT311-3.3.1-5]`
/// `[MQTT311-3.3.1-6]` `[MQTT311-3.3.1-8]` `[MQTT311-3.3.1-12]`
#[test]
fn the_last_retained_message_of_each_topic_greets_new_subscribers() {
    in_both_versions(|scene| {
        let mut publisher = scene.client("publisher");
        publisher.publish(retained("t/1", b"old"));
        publisher.publish(retained("t/1", b"new"));
        publisher.publish(retained("t/2", b"other"));
        publisher.publish(publish("t/1", b"not retained", Qos::AtLeastOnce));
        publisher.disconnect();
        let mut subscriber = scene.client("subscriber");
        subscriber.subscribe("t/+", Qos::AtLeastOnce);
        let mut payloads = Vec::new();
        for _ in 0..2 {
            let received = subscriber.receive();
            let message = received.publish();
            assert!(message.retain);
            assert_eq!(message.qos, Qos::AtLeastOnce);
            payloads.push(message.payload.to_vec());
            subscriber.acknowledge(&received);
        }
        payloads.sort();
        assert_eq!(payloads, [&b"new"[..], b"other"]);
        subscriber.expect_nothing();
    });
}

/// `[MQTT5-3.3.1-6]` `[MQTT5-3.3.1-7]` `[MQTT311-3.3.1-10]` `[MQTT311-3.3.1-11]`
#[test]
fn an_empty_payload_removes_the_retained_message() {
    in_both_versions(|scene| {
        let mut publisher = scene.client("publisher");
        let mut established = scene.client("established");
        established.subscribe("t", Qos::AtMostOnce);
        publisher.publish(retained("t", b"x"));
        publisher.publish(retained("t", b""));
        established.expect_message("t", b"x");
        established.expect_message("t", b"");
        let mut subscriber = scene.client("subscriber");
        subscriber.subscribe("t", Qos::AtMostOnce);
        subscriber.expect_nothing();
    });
}

/// `[MQTT5-3.3.1-5]` `[MQTT311-3.3.1-7]`
#[test]
fn a_retained_message_of_qos_0_replaces_the_one_before() {
    in_both_versions(|scene| {
        let mut client = scene.client("a");
        client.publish(retained("t", b"old"));
        client.publish(Publish { qos: Qos::AtMostOnce, ..retained("t", b"new") });
        client.subscribe("t", Qos::AtLeastOnce);
        let received = client.expect_message("t", b"new");
        assert_eq!(received.publish().qos, Qos::AtMostOnce);
        client.expect_nothing();
    });
}

/// `[MQTT5-3.3.1-12]` `[MQTT311-3.3.1-9]`
#[test]
fn established_subscribers_see_no_retain_flag() {
    in_both_versions(|scene| {
        let mut subscriber = scene.client("subscriber");
        subscriber.subscribe("t", Qos::AtMostOnce);
        let mut publisher = scene.client("publisher");
        publisher.publish(retained("t", b"x"));
        assert!(!subscriber.expect_message("t", b"x").publish().retain);
        subscriber.expect_nothing();
    });
}

/// `[MQTT5-3.3.1-13]`
#[test]
fn retain_as_published_keeps_the_flag() {
    let scene = Scene::v5();
    let mut subscriber = scene.client("subscriber");
    let options = SubscriptionOptions { retain_as_published: true, ..at(Qos::AtMostOnce) };
    subscriber.subscribe_with(&[("t", options)], None);
    let mut publisher = scene.client("publisher");
    publisher.publish(retained("t", b"retained"));
    publisher.publish(publish("t", b"plain", Qos::AtLeastOnce));
    assert!(subscriber.expect_message("t", b"retained").publish().retain);
    assert!(!subscriber.expect_message("t", b"plain").publish().retain);
}

/// `[MQTT5-3.3.1-9]` `[MQTT5-3.3.1-10]` `[MQTT5-3.3.1-11]`
#[test]
fn retain_handling_says_when_a_subscription_is_greeted() {
    let scene = Scene::v5();
    let mut client = scene.client("a");
    client.publish(retained("t", b"x"));
    let mut subscribe = |retain_handling| {
        let options = SubscriptionOptions { retain_handling, ..at(Qos::AtMostOnce) };
        client.subscribe_with(&[("t", options)], Some(5));
        // A greeting comes in the turn of the SUBACK or before the answer to the second ping.
        for _ in 0..2 {
            client.send(&Packet::PingReq);
            client.receive_where(|it| *it == Packet::PingResp);
        }
        let mut greetings = 0;
        while let Some(greeting) = client.passed_over() {
            assert_eq!(greeting.publish().properties.subscription_identifiers.len(), 1);
            greetings += 1;
        }
        greetings
    };
    assert_eq!(subscribe(RetainHandling::DoNotSend), 0);
    assert_eq!(subscribe(RetainHandling::SendIfNew), 0, "it is not new");
    assert_eq!(subscribe(RetainHandling::Send), 1);
    assert_eq!(subscribe(RetainHandling::Send), 1);
    client.unsubscribe(&["t"]);
    let options =
        SubscriptionOptions { retain_handling: RetainHandling::SendIfNew, ..at(Qos::AtMostOnce) };
    client.subscribe_with(&[("t", options)], None);
    client.expect_message("t", b"x");
}

#[test]
fn a_client_with_more_retained_messages_than_its_window_gets_them_all() {
    in_both_versions(|scene| {
        let mut publisher = scene.client("publisher");
        for number in 0..1500 {
            publisher.publish(retained(&format!("t/{number}"), b"x"));
        }
        let mut subscriber = scene.client("subscriber");
        subscriber.subscribe("t/#", Qos::AtLeastOnce);
        for _ in 0..1500 {
            let received = subscriber.receive();
            subscriber.acknowledge(&received);
        }
        subscriber.expect_nothing();
    });
}

/// Before 5.0 nobody can be told that a message was refused: the connection ends instead.
///
/// `[MQTT311-4.8.0-2]`
#[test]
fn a_full_retained_store_refuses_new_topics_and_still_replaces() {
    in_both_versions_within("retained_messages: 1", |scene| {
        let mut client = scene.client("a");
        client.publish(retained("t/1", b"old"));
        if scene.version.is_v5() {
            assert_eq!(client.publish(retained("t/2", b"x")), ReasonCode::QuotaExceeded);
        } else {
            let packet_id = Some(packet_id(9));
            client.send(&Packet::Publish(Publish { packet_id, ..retained("t/2", b"x") }));
            client.expect_closed();
            client = scene.client("a");
        }
        client.publish(retained("t/1", b"new"));
        client.subscribe("t/#", Qos::AtMostOnce);
        client.expect_message("t/1", b"new");
        client.expect_nothing();
    });
}

/// `[MQTT5-3.3.2-5]`
#[test]
fn an_expired_retained_message_greets_nobody() {
    let scene = Scene::v5();
    let mut client = scene.client("a");
    let properties =
        PublishProperties { message_expiry_interval: Some(1), ..PublishProperties::default() };
    client.publish(Publish { properties, ..retained("t", b"x") });
    hookmq_tests::wait::wait_until("the message expires", || {
        client.subscribe_with(&[("t", at(Qos::AtMostOnce))], None);
        for _ in 0..2 {
            client.send(&Packet::PingReq);
            client.receive_where(|it| *it == Packet::PingResp);
        }
        client.passed_over().is_none().then_some(())
    });
}
