//! What a session is due from another tenant by a grant.

use hookmq_codec::{ProtocolVersion, Publish, Qos, ReasonCode, TopicName};
use hookmq_tests::client::{connect_to_session, publish, will};
use hookmq_tests::company::Engine;
use hookmq_tests::estate::Estate;

fn in_both_versions(scenario: impl Fn(&mut Estate)) {
    for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
        eprintln!("MQTT {}:", version.name());
        scenario(&mut Estate::start(Engine::Sqlite, version));
    }
}

#[test]
fn what_came_from_another_tenant_survives_and_so_does_the_subscription() {
    in_both_versions(|estate| {
        estate.grant("acme", &[], &["#"]);
        let mut device = estate.client("acme", "d");
        device.publish(Publish { retain: true, ..publish("kept", b"x", Qos::AtLeastOnce) });
        let mut service = estate.session("service", "s");
        service.subscribe("$tenant/acme/#", Qos::ExactlyOnce);
        service.expect_message("$tenant/acme/kept", b"x");
        service.disconnect();
        device.publish(publish("before/1", b"x", Qos::AtLeastOnce));
        device.publish(publish("before/2", b"x", Qos::ExactlyOnce));
        estate.crash();
        let mut device = estate.client("acme", "d");
        device.publish(publish("after/1", b"x", Qos::AtLeastOnce));
        device.publish(publish("after/2", b"x", Qos::ExactlyOnce));
        let mut service = estate.session("service", "s");
        let mut topics: Vec<String> = Vec::new();
        while topics.len() < 5 {
            let received = service.receive();
            topics.push(received.publish().topic.unwrap().as_str().to_owned());
            service.acknowledge(&received);
        }
        topics.sort_unstable();
        let expected = ["after/1", "after/2", "before/1", "before/2", "kept"];
        assert_eq!(topics, expected.map(|topic| format!("$tenant/acme/{topic}")));
        service.expect_nothing();
        // What was acknowledged last is durable before the next session is.
        estate.session("service", "flush").disconnect();
        estate.crash();
        let mut service = estate.session("service", "s");
        service.expect_nothing();
        let mut device = estate.client("acme", "d");
        estate.pass((&mut device, "still"), (&mut service, "$tenant/acme/still"));
    });
}

#[test]
fn a_subscription_whose_grant_is_gone_is_not_restored() {
    in_both_versions(|estate| {
        let id = estate.grant("acme", &[], &["#"]);
        let mut service = estate.session("service", "s");
        service.subscribe("$tenant/acme/#", Qos::AtLeastOnce);
        service.disconnect();
        let mut device = estate.client("acme", "d");
        device.publish(publish("a", b"queued", Qos::AtLeastOnce));
        estate.withdraw("acme", id);
        estate.crash();
        let mut device = estate.client("acme", "d");
        device.publish(publish("a", b"after", Qos::AtLeastOnce));
        let mut service = estate.session("service", "s");
        service.expect_disconnected(ReasonCode::NotAuthorized);
        estate.session("service", "s").expect_nothing();
        estate.crash();
        estate.session("service", "s").expect_nothing();
    });
}

/// Whether the client may still publish it nobody can say before the grants have been read; at home it has
/// no place.
#[test]
fn a_will_for_another_tenant_that_is_due_at_the_start_waits_for_the_grants() {
    in_both_versions(|estate| {
        estate.grant("acme", &["lost"], &["lost", "revoked"]);
        let revoked = estate.grant("acme", &["revoked"], &[]);
        let mut listener = estate.session("service", "listener");
        let mut device = estate.session("acme", "device");
        for topic in ["lost", "revoked"] {
            listener.subscribe(&format!("$tenant/acme/{topic}"), Qos::AtLeastOnce);
            device.subscribe(topic, Qos::AtLeastOnce);
        }
        let leave = |(client_id, expiry, topic)| {
            let mut connect = connect_to_session(estate.version, client_id, expiry);
            connect.will = Some(will(topic, client_id.as_bytes()));
            estate.connect("service", connect)
        };
        let _lost = [
            ("kept", 3600, "$tenant/acme/lost"),
            ("over", 0, "$tenant/acme/lost"),
            ("stray", 3600, "$tenant/acme/revoked"),
        ]
        .map(leave);
        estate.withdraw("acme", revoked);
        estate.crash();
        for (principal, client_id, topic) in
            [("service", "listener", "$tenant/acme/lost"), ("acme", "device", "lost")]
        {
            let mut client = estate.session(principal, client_id);
            let mut wills = [(); 2].map(|()| {
                let received = client.receive();
                client.acknowledge(&received);
                let publish = received.publish();
                assert_eq!(publish.topic.map(TopicName::as_str), Some(topic));
                publish.payload.to_vec()
            });
            wills.sort_unstable();
            assert_eq!(wills, [b"kept", b"over"]);
            client.expect_nothing();
        }
        // What was acknowledged last is durable before the next session is.
        estate.session("service", "flush").disconnect();
        estate.crash();
        for (principal, client_id) in [("service", "listener"), ("acme", "device")] {
            estate.session(principal, client_id).expect_nothing();
        }
    });
}
