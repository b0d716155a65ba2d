//! Wills: published when a client is lost, and only then.

use hookmq_codec::{Connect, Packet, PublishProperties, Qos, ReasonCode, UserPropertiesBuf, Will};
use hookmq_tests::client::{Client, connect_to_session, will};
use hookmq_tests::scene::{Scene, in_both_versions};

fn witness(scene: &Scene) -> Client {
    let mut witness = scene.client("witness");
    witness.subscribe("will/#", Qos::ExactlyOnce);
    witness
}

fn mortal<'a>(scene: &Scene, will: Will<'a>) -> Connect<'a> {
    Connect { will: Some(will), ..scene.connect_packet("mortal") }
}

/// `[MQTT5-3.1.2-7]` `[MQTT5-3.1.2-8]` `[MQTT5-3.1.2-14]` `[MQTT311-3.1.2-8]` `[MQTT311-3.1.2-16]`
#[test]
fn the_will_is_published_when_the_socket_is_lost() {
    in_both_versions(|scene| {
        let mut witness = witness(scene);
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let client = scene.connect(mortal(scene, Will { qos, ..will("will/1", b"gone") }));
            witness.expect_nothing();
            client.vanish();
            let received = witness.expect_message("will/1", b"gone");
            assert_eq!((received.publish().qos, received.publish().retain), (qos, false));
            witness.acknowledge(&received);
        }
        let mut late = scene.client("late");
        late.subscribe("will/#", Qos::AtMostOnce);
        late.expect_nothing();
    });
}

/// `[MQTT5-3.14.4-3]` `[MQTT311-3.1.2-12]` `[MQTT311-3.14.4-3]`
#[test]
fn disconnect_discards_the_will() {
    in_both_versions(|scene| {
        let mut witness = witness(scene);
        scene.connect(mortal(scene, will("will/1", b"gone"))).disconnect();
        scene.client("without").vanish();
        witness.expect_nothing();
    });
}

/// `[MQTT5-3.1.2-10]` `[MQTT311-3.1.2-10]`
#[test]
fn a_will_is_no_longer_part_of_the_session_once_it_was_published_or_discarded() {
    in_both_versions(|scene| {
        let mut witness = witness(scene);
        let with_will = || Connect {
            will: Some(will("will/1", b"gone")),
            ..connect_to_session(scene.version, "a", 3600)
        };
        scene.connect(with_will()).vanish();
        witness.expect_message("will/1", b"gone");
        scene.session("a").vanish();
        scene.connect(with_will()).disconnect();
        scene.session("a").vanish();
        witness.expect_nothing();
    });
}

#[test]
fn disconnect_with_will_publishes_it() {
    let scene = Scene::v5();
    let mut witness = witness(&scene);
    let client = scene.connect(mortal(&scene, will("will/1", b"gone")));
    client.disconnect_with(ReasonCode::DisconnectWithWill, None);
    witness.expect_message("will/1", b"gone");
}

/// `[MQTT5-3.1.2-8]` `[MQTT311-3.1.2-8]`
#[test]
fn the_will_is_published_when_the_client_breaks_the_protocol_or_falls_silent() {
    in_both_versions(|scene| {
        let mut witness = witness(scene);
        let mut client = scene.connect(mortal(scene, will("will/1", b"violation")));
        client.send(&Packet::Connect(Box::new(scene.connect_packet("mortal"))));
        client.expect_disconnected(ReasonCode::ProtocolError);
        witness.expect_message("will/1", b"violation");
        let silent = mortal(scene, will("will/1", b"silence"));
        let mut client = scene.connect(Connect { keep_alive: 1, ..silent });
        client.expect_disconnected(ReasonCode::KeepAliveTimeout);
        witness.expect_message("will/1", b"silence");
    });
}

/// `[MQTT5-3.1.2-8]`
#[test]
fn a_connection_that_is_taken_over_leaves_its_will() {
    in_both_versions(|scene| {
        let mut witness = witness(scene);
        let _first = scene.connect(mortal(scene, will("will/1", b"first")));
        let _second = scene.connect(mortal(scene, will("will/1", b"second")));
        witness.expect_message("will/1", b"first");
        witness.expect_nothing();
    });
}

/// `[MQTT5-3.1.2-15]` `[MQTT311-3.1.2-17]`
#[test]
fn a_retained_will_is_retained() {
    in_both_versions(|scene| {
        let retained = Will { retain: true, ..will("will/1", b"gone") };
        scene.connect(mortal(scene, retained)).vanish();
        assert!(witness(scene).expect_message("will/1", b"gone").publish().retain);
    });
}

/// `[MQTT5-3.1.3-10]`
#[test]
fn the_wills_properties_are_forwarded() {
    let scene = Scene::v5();
    let mut witness = witness(&scene);
    let pairs = [("b", "1"), ("a", "2"), ("b", "3")];
    let user_properties = UserPropertiesBuf::try_from_pairs(pairs).unwrap();
    let properties = PublishProperties {
        payload_format_indicator: Some(true),
        content_type: Some("text/plain"),
        response_topic: Some("answers"),
        correlation_data: Some(b"42"),
        message_expiry_interval: Some(3600),
        user_properties: user_properties.as_user_properties(),
        ..PublishProperties::default()
    };
    let last = Will { properties: properties.clone(), ..will("will/1", b"gone") };
    scene.connect(mortal(&scene, last)).vanish();
    let received = witness.expect_message("will/1", b"gone");
    let mut delivered = received.publish().properties;
    let left = delivered.message_expiry_interval.unwrap();
    assert!((3500..=3600).contains(&left), "{left}");
    delivered.message_expiry_interval = properties.message_expiry_interval;
    assert_eq!(delivered, properties);
}

fn delayed<'a>(scene: &Scene, client_id: &'a str, payload: &'a [u8], seconds: u32) -> Connect<'a> {
    let will = Will { delay_interval: seconds, ..will("will/1", payload) };
    Connect { will: Some(will), ..connect_to_session(scene.version, client_id, 3600) }
}

/// `[MQTT5-3.1.2-8]` `[MQTT5-3.1.3-9]`
#[test]
fn a_delayed_will_is_cancelled_by_coming_back_in_time_and_published_after_it() {
    let scene = Scene::v5();
    let mut witness = witness(&scene);
    scene.connect(delayed(&scene, "returns", b"has returned", 1)).vanish();
    let _returned = scene.session("returns");
    scene.connect(delayed(&scene, "stays away", b"stayed away", 1)).vanish();
    witness.expect_nothing();
    witness.expect_message("will/1", b"stayed away");
    witness.expect_nothing();
}

/// `[MQTT5-3.1.2-8]`
#[test]
fn a_clean_start_ends_the_session_and_so_publishes_a_delayed_will() {
    let scene = Scene::v5();
    let mut witness = witness(&scene);
    scene.connect(delayed(&scene, "a", b"ended", 3600)).vanish();
    witness.expect_nothing();
    scene.client("a");
    witness.expect_message("will/1", b"ended");
}

/// `[MQTT5-3.1.2-8]`
#[test]
fn a_delayed_will_of_a_session_that_ends_by_take_over_is_published() {
    let scene = Scene::v5();
    let mut witness = witness(&scene);
    let last = Will { delay_interval: 3600, ..will("will/1", b"ended") };
    let _first = scene.connect(mortal(&scene, last));
    // The old session has no expiry interval, so there is nothing to resume.
    let resumed = Connect { clean_start: false, ..scene.connect_packet("mortal") };
    let (_second, answer) = Client::connect(scene.address, resumed);
    assert!(!answer.session_present());
    witness.expect_message("will/1", b"ended");
}

/// `[MQTT5-3.1.3-9]`
#[test]
fn taking_a_session_over_cancels_its_delayed_will() {
    let scene = Scene::v5();
    let mut witness = witness(&scene);
    let _first = scene.connect(delayed(&scene, "a", b"lives on", 1));
    let (_second, answer) =
        Client::connect(scene.address, connect_to_session(scene.version, "a", 3600));
    assert!(answer.session_present());
    crate::pass_seconds(&scene, 2);
    witness.expect_nothing();
}

#[test]
fn a_disconnect_that_tells_of_a_failure_publishes_it() {
    let scene = Scene::v5();
    let mut witness = witness(&scene);
    for reason_code in [ReasonCode::UnspecifiedError, ReasonCode::QuotaExceeded] {
        let client = scene.connect(mortal(&scene, will("will/1", b"gone")));
        client.disconnect_with(reason_code, None);
        witness.expect_message("will/1", b"gone");
    }
}
