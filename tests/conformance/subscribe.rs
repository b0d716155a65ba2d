//! SUBSCRIBE and UNSUBSCRIBE: what is granted, what matches, how many copies there are.

use hookmq_codec::{Packet, Publish, Qos, ReasonCode, SubscriptionOptions};
use hookmq_tests::client::{at, publish};
use hookmq_tests::scene::{Scene, in_both_versions};

/// `[MQTT5-2.2.1-6]` `[MQTT5-3.8.4-1]` `[MQTT5-3.8.4-2]` `[MQTT5-3.8.4-5]` `[MQTT5-3.8.4-6]`
/// `[MQTT5-3.8.4-7]` `[MQTT5-3.9.3-1]` `[MQTT5-3.9.3-2]` `[MQTT311-2.3.1-7]` `[MQTT311-3.8.4-1]`
/// `[MQTT311-3.8.4-2]` `[MQTT311-3.8.4-4]` `[MQTT311-3.8.4-5]` `[MQTT311-3.9.3-1]`
/// `[MQTT311-3.9.3-2]`
#[test]
fn every_filter_of_a_subscribe_gets_its_code_in_order() {
    in_both_versions(|scene| {
        let mut client = scene.client("a");
        let filters = [
            ("two", at(Qos::ExactlyOnce)),
            ("$share/group/t", at(Qos::AtLeastOnce)),
            ("none", at(Qos::AtMostOnce)),
            ("one/#", at(Qos::AtLeastOnce)),
        ];
        let granted = client.subscribe_with(&filters, None);
        assert_eq!(
            granted,
            [
                ReasonCode::GrantedQos2,
                ReasonCode::GrantedQos1,
                ReasonCode::Success,
                ReasonCode::GrantedQos1
            ]
        );
    });
}

/// `[MQTT5-3.3.2-3]` `[MQTT5-4.7.2-1]` `[MQTT5-4.7.3-4]` `[MQTT311-3.3.2-3]` `[MQTT311-4.7.2-1]`
/// `[MQTT311-4.7.3-4]`
#[test]
fn filters_match_as_the_specification_says() {
    const TOPICS: [&str; 11] =
        ["a", "a/", "/a", "a/b", "a/b/c", "A/b", "a//c", "/", "$other/a", "$own/b", "\u{e9}/b"];
    let table: [(&str, &[&str]); 12] = [
        ("#", &["a", "a/", "/a", "a/b", "a/b/c", "A/b", "a//c", "/", "\u{e9}/b"]),
        ("+", &["a"]),
        ("+/+", &["a/", "/a", "a/b", "A/b", "/", "\u{e9}/b"]),
        ("/+", &["/a", "/"]),
        ("a/#", &["a", "a/", "a/b", "a/b/c", "a//c"]),
        ("a/+", &["a/", "a/b"]),
        ("a/+/c", &["a/b/c", "a//c"]),
        ("+/b", &["a/b", "A/b", "\u{e9}/b"]),
        ("$other/#", &["$other/a"]),
        ("$own/+", &["$own/b"]),
        ("a/b", &["a/b"]),
        // The same letter, composed otherwise.
        ("e\u{301}/b", &[]),
    ];
    in_both_versions(|scene| {
        let mut publisher = scene.client("publisher");
        for (filter, expected) in table {
            let mut subscriber = scene.client("subscriber");
            subscriber.subscribe(filter, Qos::AtMostOnce);
            for topic in TOPICS {
                publisher.publish(publish(topic, b"x", Qos::AtMostOnce));
            }
            publisher.expect_nothing();
            for topic in expected {
                subscriber.expect_message(topic, b"x");
            }
            subscriber.expect_nothing();
        }
    });
}

/// `[MQTT5-2.2.1-6]` `[MQTT5-3.10.4-1]` `[MQTT5-3.10.4-2]` `[MQTT5-3.10.4-4]` `[MQTT5-3.10.4-5]`
/// `[MQTT5-3.10.4-6]` `[MQTT5-3.11.3-1]` `[MQTT5-3.11.3-2]` `[MQTT311-2.3.1-7]`
/// `[MQTT311-3.10.4-1]` `[MQTT311-3.10.4-2]` `[MQTT311-3.10.4-4]` `[MQTT311-3.10.4-5]`
/// `[MQTT311-3.10.4-6]`
#[test]
fn unsubscribing_ends_that_subscription_and_no_other() {
    in_both_versions(|scene| {
        let mut client = scene.client("a");
        client.subscribe("a/+", Qos::AtMostOnce);
        client.subscribe("b", Qos::AtMostOnce);
        // It covers the subscriptions without being one of them.
        let codes = client.unsubscribe(&["#", "a/+"]);
        if scene.version.is_v5() {
            assert_eq!(codes, [ReasonCode::NoSubscriptionExisted, ReasonCode::Success]);
        }
        client.publish(publish("a/1", b"x", Qos::AtMostOnce));
        client.publish(publish("b", b"x", Qos::AtMostOnce));
        client.expect_message("b", b"x");
        client.expect_nothing();
    });
}

/// `[MQTT5-3.10.4-3]` `[MQTT311-3.10.4-3]`
#[test]
fn unsubscribing_leaves_the_exchange_that_has_begun() {
    in_both_versions(|scene| {
        let mut publisher = scene.client("publisher");
        for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let mut client = scene.session("a");
            client.subscribe("t", qos);
            publisher.publish(publish("t", b"x", qos));
            client.expect_message("t", b"x");
            client.unsubscribe(&["t"]);
            client.vanish();
            let mut client = scene.session("a");
            let again = client.expect_message("t", b"x");
            client.acknowledge(&again);
            client.expect_nothing();
            client.disconnect();
        }
    });
}

/// `[MQTT5-3.3.4-2]` `[MQTT311-3.3.5-1]`
#[test]
fn overlapping_subscriptions_give_one_copy_of_the_highest_qos() {
    in_both_versions(|scene| {
        let mut client = scene.client("a");
        client.subscribe("a/+", Qos::AtMostOnce);
        client.subscribe("a/#", Qos::ExactlyOnce);
        client.subscribe("a/b", Qos::AtLeastOnce);
        let mut publisher = scene.client("publisher");
        publisher.publish(publish("a/b", b"x", Qos::ExactlyOnce));
        let received = client.expect_message("a/b", b"x");
        assert_eq!(received.publish().qos, Qos::ExactlyOnce);
        client.acknowledge(&received);
        client.expect_nothing();
    });
}

/// `[MQTT5-3.3.4-3]` `[MQTT5-3.3.4-4]`
#[test]
fn one_copy_carries_the_identifiers_of_all_subscriptions_that_match() {
    let scene = Scene::v5();
    let mut client = scene.client("a");
    client.subscribe_with(&[("a/+", at(Qos::AtMostOnce))], Some(1));
    client.subscribe_with(&[("a/#", at(Qos::AtMostOnce))], Some(268_435_455));
    client.subscribe_with(&[("#", at(Qos::AtMostOnce))], None);
    client.subscribe_with(&[("b", at(Qos::AtMostOnce))], Some(3));
    client.publish(publish("a/b", b"x", Qos::AtMostOnce));
    let received = client.expect_message("a/b", b"x");
    let identifiers = received.publish().properties.subscription_identifiers;
    let mut identifiers: Vec<_> = identifiers.into_iter().map(|it| it.get()).collect();
    identifiers.sort_unstable();
    assert_eq!(identifiers, [1, 268_435_455]);
    client.expect_nothing();
}

/// `[MQTT5-3.8.4-3]`
#[test]
fn the_same_filter_again_replaces_the_subscription() {
    in_both_versions(|scene| {
        let mut client = scene.client("a");
        client.subscribe("t", Qos::AtLeastOnce);
        client.subscribe("t", Qos::AtMostOnce);
        let mut publisher = scene.client("publisher");
        publisher.publish(publish("t", b"x", Qos::AtLeastOnce));
        assert_eq!(client.expect_message("t", b"x").publish().qos, Qos::AtMostOnce);
        client.expect_nothing();
        client.unsubscribe(&["t"]);
        publisher.publish(publish("t", b"x", Qos::AtLeastOnce));
        client.expect_nothing();
    });
}

/// `[MQTT5-3.8.4-4]` `[MQTT311-3.8.4-3]`
#[test]
fn replacing_a_subscription_greets_again_and_loses_nothing() {
    in_both_versions(|scene| {
        let mut client = scene.client("a");
        let mut publisher = scene.client("publisher");
        publisher.publish(Publish { retain: true, ..publish("r", b"x", Qos::AtLeastOnce) });
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce] {
            client.subscribe("r", qos);
            let greeting = client.expect_message("r", b"x");
            assert!(greeting.publish().retain);
            client.acknowledge(&greeting);
        }
        client.subscribe("t", Qos::AtLeastOnce);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                for number in 0..500u16 {
                    publisher.publish(publish("t", &number.to_be_bytes(), Qos::AtLeastOnce));
                }
            });
            for number in 0..500u16 {
                let qos = if number % 2 == 0 { Qos::ExactlyOnce } else { Qos::AtLeastOnce };
                client.subscribe("t", qos);
                let received = client.receive_where(|it| matches!(it, Packet::Publish(_)));
                assert_eq!(received.publish().payload, number.to_be_bytes());
                client.acknowledge(&received);
            }
        });
        client.expect_nothing();
    });
}

/// `[MQTT5-3.8.3-3]`
#[test]
fn no_local_keeps_a_clients_own_messages_from_it() {
    let scene = Scene::v5();
    let mut client = scene.client("a");
    let mut other = scene.client("b");
    let no_local = SubscriptionOptions { no_local: true, ..at(Qos::AtMostOnce) };
    client.subscribe_with(&[("t", no_local)], None);
    client.publish(publish("t", b"own", Qos::AtMostOnce));
    client.expect_nothing();
    other.publish(publish("t", b"other", Qos::AtMostOnce));
    other.expect_nothing();
    client.expect_message("t", b"other");
    client.expect_nothing();
}

#[test]
fn filters_above_the_limit_are_refused_and_replacing_one_is_not() {
    let scene = Scene::new(hookmq_codec::ProtocolVersion::V5, "filters_per_client: 2");
    let mut client = scene.client("a");
    client.subscribe("1", Qos::AtMostOnce);
    client.subscribe("2", Qos::AtMostOnce);
    let third = client.subscribe_with(&[("3", at(Qos::AtMostOnce))], None);
    assert_eq!(third, [ReasonCode::QuotaExceeded]);
    client.subscribe("2", Qos::AtLeastOnce);
    client.unsubscribe(&["1"]);
    client.subscribe("3", Qos::AtMostOnce);
}
