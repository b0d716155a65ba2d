//! Sessions: present or not, kept, taken over, ended.

use hookmq_codec::{Connect, ConnectProperties, Packet, PublishProperties, Qos, ReasonCode, Will};
use hookmq_tests::client::{Client, connect_to_session, publish, will};
use hookmq_tests::scene::{Scene, in_both_versions};

fn session_present(scene: &Scene, connect: Connect<'_>) -> bool {
    let (client, answer) = Client::connect(scene.address, connect);
    client.disconnect();
    answer.session_present()
}

/// `[MQTT5-3.1.2-4]` `[MQTT5-3.1.2-6]` `[MQTT5-3.1.4-4]` `[MQTT5-3.2.2-2]` `[MQTT5-3.2.2-3]`
/// `[MQTT311-3.1.2-6]` `[MQTT311-3.1.4-3]` `[MQTT311-3.2.2-1]` `[MQTT311-3.2.2-2]`
/// `[MQTT311-3.2.2-3]`
#[test]
fn a_session_is_present_when_it_was_kept_and_not_ended_since() {
    in_both_versions(|scene| {
        let kept = || connect_to_session(scene.version, "a", 3600);
        assert!(!session_present(scene, kept()));
        assert!(session_present(scene, kept()));
        assert!(!session_present(scene, scene.connect_packet("a")));
        assert!(!session_present(scene, kept()), "a clean session leaves nothing behind");
        assert!(!session_present(scene, connect_to_session(scene.version, "b", 3600)));
    });
}

/// `[MQTT5-3.1.2-4]` `[MQTT311-3.1.2-6]`
#[test]
fn a_clean_start_discards_subscriptions_and_messages() {
    in_both_versions(|scene| {
        let mut client = scene.session("a");
        client.subscribe("t", Qos::AtLeastOnce);
        client.disconnect();
        let mut publisher = scene.client("publisher");
        publisher.publish(publish("t", b"waits", Qos::AtLeastOnce));
        let mut client = scene.client("a");
        client.expect_nothing();
        publisher.publish(publish("t", b"comes later", Qos::AtLeastOnce));
        client.expect_nothing();
    });
}

/// `[MQTT5-3.1.2-5]` `[MQTT311-3.1.2-4]` `[MQTT311-4.1.0-1]`
#[test]
fn a_resumed_session_has_its_subscriptions() {
    in_both_versions(|scene| {
        let mut client = scene.session("a");
        client.subscribe("t/+", Qos::AtLeastOnce);
        client.subscribe("gone", Qos::AtLeastOnce);
        client.unsubscribe(&["gone"]);
        client.vanish();
        let mut client = scene.session("a");
        let mut publisher = scene.client("publisher");
        publisher.publish(publish("gone", b"x", Qos::AtLeastOnce));
        publisher.publish(publish("t/1", b"x", Qos::AtLeastOnce));
        let received = client.expect_message("t/1", b"x");
        assert_eq!(received.publish().qos, Qos::AtLeastOnce);
    });
}

/// `[MQTT5-4.1.0-2]`
#[test]
fn without_an_expiry_interval_a_session_ends_with_its_connection() {
    let scene = Scene::v5();
    let resumed = || Connect { clean_start: false, ..scene.connect_packet("a") };
    assert!(!session_present(&scene, resumed()));
    assert!(!session_present(&scene, resumed()));
}

/// `[MQTT5-3.1.3-2]` `[MQTT5-3.1.4-3]` `[MQTT311-3.1.3-2]` `[MQTT311-3.1.4-2]`
#[test]
fn a_second_connection_of_a_client_takes_the_session_over() {
    in_both_versions(|scene| {
        let mut first = scene.session("a");
        first.subscribe("t", Qos::AtLeastOnce);
        let mut publisher = scene.client("publisher");
        publisher.publish(publish("t", b"unacknowledged", Qos::AtLeastOnce));
        first.expect_message("t", b"unacknowledged");
        let (mut second, answer) =
            Client::connect(scene.address, connect_to_session(scene.version, "a", 3600));
        assert!(answer.session_present());
        first.expect_disconnected(ReasonCode::SessionTakenOver);
        assert!(second.expect_message("t", b"unacknowledged").publish().dup);
        publisher.publish(publish("t", b"new", Qos::AtLeastOnce));
        second.expect_message("t", b"new");
        let mut third = scene.client("a");
        second.expect_disconnected(ReasonCode::SessionTakenOver);
        publisher.publish(publish("t", b"to nobody", Qos::AtLeastOnce));
        third.expect_nothing();
    });
}

#[test]
fn a_client_id_that_many_fight_for_ends_with_one_of_them() {
    in_both_versions(|scene| {
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| {
                    for round in 0..25 {
                        let mut connect = connect_to_session(scene.version, "a", 3600);
                        connect.clean_start = round % 3 == 0;
                        let mut client = Client::open(scene.address, scene.version);
                        client.send(&Packet::Connect(Box::new(connect)));
                        // Admitted or told that another was quicker; never left without an answer.
                        assert!(matches!(client.receive().packet(), Packet::ConnAck(_)));
                    }
                });
            }
        });
        let mut last = scene.session("a");
        last.subscribe("t", Qos::AtLeastOnce);
        scene.client("publisher").publish(publish("t", b"x", Qos::AtLeastOnce));
        last.expect_message("t", b"x");
        last.expect_nothing();
    });
}

/// `[MQTT5-4.1.0-2]` `[MQTT5-3.1.2-8]`
#[test]
fn a_session_is_gone_when_its_expiry_interval_is_over() {
    let scene = Scene::v5();
    let mut witness = scene.client("witness");
    witness.subscribe("will", Qos::AtMostOnce);
    // The will is published when its delay is over or when the session ends: here it tells of the end.
    let will = Will { delay_interval: 3600, ..will("will", b"the session ended") };
    let connect = Connect { will: Some(will), ..connect_to_session(scene.version, "a", 1) };
    let mut client = scene.connect(connect);
    client.subscribe("t", Qos::AtLeastOnce);
    client.vanish();
    witness.expect_message("will", b"the session ended");
    scene.client("publisher").publish(publish("t", b"x", Qos::AtLeastOnce));
    let resumed = connect_to_session(scene.version, "a", 1);
    let (mut client, answer) = Client::connect(scene.address, resumed);
    assert!(!answer.session_present());
    client.expect_nothing();
}

#[test]
fn disconnect_can_change_the_expiry_interval() {
    let scene = Scene::v5();
    scene.session("a").disconnect_with(ReasonCode::Success, Some(0));
    assert!(!session_present(&scene, connect_to_session(scene.version, "a", 1)));
    let mut client = scene.connect(connect_to_session(scene.version, "b", 1));
    client.subscribe("t", Qos::AtLeastOnce);
    client.disconnect_with(ReasonCode::Success, Some(3600));
    crate::pass_seconds(&scene, 2);
    assert!(session_present(&scene, connect_to_session(scene.version, "b", 1)));
}

#[test]
fn disconnect_cannot_raise_the_expiry_interval_from_zero() {
    let scene = Scene::v5();
    let mut client = scene.client("a");
    client.send(&Packet::Disconnect(hookmq_codec::Disconnect {
        reason_code: ReasonCode::Success,
        properties: hookmq_codec::DisconnectProperties {
            session_expiry_interval: Some(10),
            ..Default::default()
        },
    }));
    client.expect_disconnected(ReasonCode::ProtocolError);
    let resumed = Connect { clean_start: false, ..scene.connect_packet("a") };
    assert!(!session_present(&scene, resumed));
}

#[test]
fn an_expiry_interval_above_the_maximum_is_lowered_and_told() {
    let scene = Scene::new(hookmq_codec::ProtocolVersion::V5, "session_expiry_maximum_s: 60");
    for (asked, told) in [(u32::MAX, Some(60)), (61, Some(60)), (60, None)] {
        let properties =
            ConnectProperties { session_expiry_interval: Some(asked), ..Default::default() };
        let connect = Connect { properties, ..scene.connect_packet("a") };
        let (_client, answer) = Client::connect(scene.address, connect);
        let Packet::ConnAck(connack) = answer.packet() else { panic!("not CONNACK") };
        assert_eq!(connack.properties.session_expiry_interval, told, "{asked}");
    }
}

/// `[MQTT5-3.3.2-5]` `[MQTT5-3.3.2-6]`
#[test]
fn what_expires_while_the_client_is_away_is_not_delivered_and_the_rest_ages() {
    let scene = Scene::v5();
    let mut client = scene.session("a");
    client.subscribe("t", Qos::AtLeastOnce);
    client.disconnect();
    let mut publisher = scene.client("publisher");
    for (payload, seconds) in [(b"short", 1), (b"long.", 3600)] {
        let mut message = publish("t", payload, Qos::AtLeastOnce);
        message.properties = PublishProperties {
            message_expiry_interval: Some(seconds),
            ..PublishProperties::default()
        };
        publisher.publish(message);
    }
    crate::pass_seconds(&scene, 2);
    let mut client = scene.session("a");
    let received = client.expect_message("t", b"long.");
    let left = received.publish().properties.message_expiry_interval.unwrap();
    assert!((3500..=3598).contains(&left), "{left}");
    client.expect_nothing();
}

/// `[MQTT311-3.14.4-1]` `[MQTT311-3.14.4-2]`
#[test]
fn what_follows_disconnect_is_not_looked_at() {
    in_both_versions(|scene| {
        let mut witness = scene.client("witness");
        witness.subscribe("t", Qos::AtMostOnce);
        let mut client = scene.client("a");
        let mut bytes = client.encode(&Packet::Publish(publish("t", b"before", Qos::AtMostOnce)));
        bytes.extend([0xE0, 0]);
        bytes.extend(client.encode(&Packet::Publish(publish("t", b"behind", Qos::AtMostOnce))));
        client.send_raw(&bytes);
        client.expect_closed();
        witness.expect_message("t", b"before");
        witness.expect_nothing();
    });
}
