//! Rights that are taken away from clients that are connected, away, or in the middle of something.

use hookmq_codec::{
    Connect, ConnectProperties, Packet, ProtocolVersion, Publish, Qos, ReasonCode, TopicName, Will,
};
use hookmq_tests::client::{Client, Received, at, connect, connect_to_session, publish, will};
use hookmq_tests::company::{Company, Engine};
use hookmq_tests::wait::wait_until;
use serde_json::{Value, json};

const VERSIONS: [ProtocolVersion; 2] = [ProtocolVersion::V311, ProtocolVersion::V5];

const TELL: &str = "permissions: {on_revocation: unsubscribe}\n";

/// Plays a scenario on SQLite with both versions, and on Postgres with 5.0.
fn on_each(sections: &str, permissions: &[(&str, &str)], play: impl Fn(&Company)) {
    for (engine, version) in [
        (Engine::Sqlite, VERSIONS[0]),
        (Engine::Sqlite, VERSIONS[1]),
        (Engine::Postgres, VERSIONS[1]),
    ] {
        play(&Company::start(engine, version, sections, permissions));
    }
}

/// The next packet, which must tell that the subscription is over.
#[track_caller]
fn expect_revoked(client: &mut Client, filter: &str) {
    let received = client.receive();
    let publish = received.publish();
    assert_eq!(publish.topic.map(TopicName::as_str), Some("$SYS/session/revoked"));
    let told: Value = serde_json::from_slice(publish.payload).expect("JSON");
    assert_eq!(told, json!({"filter": filter, "reason": "not authorized"}));
}

fn send(company: &Company, messages: &[(&str, &[u8])]) {
    let mut writer = company.client("writer", "writer");
    for (topic, payload) in messages {
        writer.publish(publish(topic, payload, Qos::AtLeastOnce));
    }
    writer.disconnect();
}

fn retain(company: &Company, topic: &str) {
    let mut writer = company.client("writer", "writer");
    writer.publish(Publish { retain: true, ..publish(topic, b"retained", Qos::AtLeastOnce) });
    writer.disconnect();
}

fn payload(received: &Received) -> Vec<u8> {
    received.publish().payload.to_vec()
}

#[test]
fn who_loses_a_subscription_is_disconnected_and_gets_no_more() {
    on_each("", &[("subscribe", "a/#"), ("subscribe", "b/#")], |company| {
        let mut reader = company.client("reader", "r");
        let mut other = company.client("other", "o");
        for client in [&mut reader, &mut other] {
            client.subscribe("a/#", Qos::AtLeastOnce);
        }
        company.revoke("reader", "subscribe", "a/#");
        reader.expect_disconnected(ReasonCode::NotAuthorized);
        send(company, &[("a/1", b"secret")]);
        other.expect_message("a/1", b"secret");
        let mut reader = company.client("reader", "r");
        let granted = reader.subscribe_with(&[("a/#", at(Qos::AtMostOnce))], None);
        assert_eq!(granted, [company.refusal()]);
        reader.subscribe("b/#", Qos::AtMostOnce);
        assert_eq!(company.broker.admin().metric("subscriptions_revoked_total"), 1);
    });
}

#[test]
fn who_is_only_told_keeps_the_rest_and_may_subscribe_again_when_the_right_is_back() {
    on_each(TELL, &[("subscribe", "a/#"), ("subscribe", "b/#")], |company| {
        retain(company, "a/retained");
        let mut reader = company.client("reader", "r");
        for filter in ["a/#", "b/#"] {
            reader.subscribe(filter, Qos::AtLeastOnce);
        }
        let received = reader.expect_message("a/retained", b"retained");
        reader.acknowledge(&received);
        company.revoke("reader", "subscribe", "a/#");
        expect_revoked(&mut reader, "a/#");
        send(company, &[("a/1", b"secret"), ("b/1", b"open")]);
        let received = reader.expect_message("b/1", b"open");
        reader.acknowledge(&received);
        let granted = reader.subscribe_with(&[("a/#", at(Qos::AtMostOnce))], None);
        assert_eq!(granted, [company.refusal()]);
        reader.expect_nothing();
        company.allow("reader", "subscribe", "a/#");
        wait_until("the right is back", || {
            let granted = reader.subscribe_with(&[("a/#", at(Qos::AtMostOnce))], None);
            (granted == [ReasonCode::Success]).then_some(())
        });
        reader.expect_message("a/retained", b"retained");
    });
}

#[test]
fn a_denial_that_wants_the_client_gone_disconnects_it_whatever_is_configured() {
    on_each(TELL, &[("subscribe", "a/#")], |company| {
        let mut reader = company.client("reader", "r");
        reader.subscribe("a/b", Qos::AtLeastOnce);
        company.execute(
            "INSERT INTO permissions
                (tenant, subject_kind, subject, action, filter, effect, on_denial)
            VALUES ('acme', 'role', 'staff', 'subscribe', 'a/b', 'deny', 'disconnect')",
        );
        reader.expect_disconnected(ReasonCode::NotAuthorized);
    });
}

/// The client has one message, unacknowledged, and more wait behind it.
#[test]
fn what_waits_and_what_would_be_sent_again_is_withheld() {
    let sections = format!("{TELL}limits: {{maximum_inflight: 1}}\n");
    on_each(&sections, &[("subscribe", "a/#"), ("subscribe", "b/#")], |company| {
        let (mut reader, _) = company.session("reader", "r");
        for filter in ["a/#", "b/#"] {
            reader.subscribe(filter, Qos::AtLeastOnce);
        }
        send(company, &[("a/1", b"1"), ("a/2", b"2"), ("b/3", b"3"), ("a/4", b"4")]);
        reader.expect_message("a/1", b"1");
        company.revoke("reader", "subscribe", "a/#");
        expect_revoked(&mut reader, "a/#");
        reader.vanish();
        let (mut reader, connack) = company.session("reader", "r");
        assert!(connack.session_present());
        let received = reader.expect_message("b/3", b"3");
        reader.acknowledge(&received);
        reader.expect_nothing();
        assert_eq!(company.broker.admin().metric("messages_withheld_total"), 3);
    });
}

#[test]
fn an_acknowledgement_that_comes_after_the_revocation_is_taken() {
    let sections = format!("{TELL}limits: {{maximum_inflight: 2}}\n");
    on_each(&sections, &[("subscribe", "a/#"), ("subscribe", "b/#")], |company| {
        let (mut reader, _) = company.session("reader", "r");
        for filter in ["a/#", "b/#"] {
            reader.subscribe(filter, Qos::ExactlyOnce);
        }
        let mut writer = company.client("writer", "w");
        writer.publish(publish("a/1", b"1", Qos::AtLeastOnce));
        writer.publish(publish("a/2", b"2", Qos::ExactlyOnce));
        let held = [reader.expect_message("a/1", b"1"), reader.expect_message("a/2", b"2")];
        company.revoke("reader", "subscribe", "a/#");
        expect_revoked(&mut reader, "a/#");
        for received in &held {
            reader.acknowledge(received);
        }
        for number in [b"3", b"4", b"5"] {
            writer.publish(publish("b", number, Qos::ExactlyOnce));
            let received = reader.expect_message("b", number);
            reader.acknowledge(&received);
        }
    });
}

#[test]
fn a_session_is_judged_when_its_client_comes_back() {
    for sections in [TELL, ""] {
        on_each(sections, &[("subscribe", "a/#"), ("subscribe", "b/#")], |company| {
            let (mut reader, _) = company.session("reader", "r");
            for filter in ["a/#", "b/#", "$share/group/a/#"] {
                reader.subscribe(filter, Qos::AtLeastOnce);
            }
            reader.disconnect();
            send(company, &[("a/1", b"before"), ("b/1", b"before")]);
            company.revoke("reader", "subscribe", "a/#");
            company.wait_until_subscribing("reader", "a/#", false);
            send(company, &[("a/2", b"after"), ("b/2", b"after")]);
            retain(company, "a/retained");
            let (mut reader, connack) = company.session("reader", "r");
            assert!(connack.session_present());
            if sections.is_empty() {
                reader.expect_disconnected(ReasonCode::NotAuthorized);
                reader = company.session("reader", "r").0;
            } else {
                let mut told: Vec<_> = (0..2).map(|_| payload(&reader.receive())).collect();
                told.sort();
                let lost = |filter: &str| {
                    json!({"filter": filter, "reason": "not authorized"}).to_string().into_bytes()
                };
                assert_eq!(told, [lost("$share/group/a/#"), lost("a/#")]);
            }
            for (topic, payload) in [("b/1", b"before" as &[u8]), ("b/2", b"after")] {
                let received = reader.expect_message(topic, payload);
                reader.acknowledge(&received);
            }
            reader.expect_nothing();
        });
    }
}

#[test]
fn what_a_member_of_a_group_may_not_have_any_more_goes_to_another() {
    on_each(TELL, &[("subscribe", "a/#")], |company| {
        let (mut reader, _) = company.session("reader", "r");
        reader.subscribe("$share/group/a/#", Qos::AtLeastOnce);
        send(company, &[("a/1", b"1")]);
        reader.expect_message("a/1", b"1");
        let mut other = company.client("other", "o");
        other.subscribe("$share/group/a/#", Qos::AtLeastOnce);
        company.revoke("reader", "subscribe", "a/#");
        expect_revoked(&mut reader, "$share/group/a/#");
        let received = other.expect_message("a/1", b"1");
        other.acknowledge(&received);
        for _ in 0..5 {
            send(company, &[("a/2", b"2")]);
            let received = other.expect_message("a/2", b"2");
            other.acknowledge(&received);
        }
        reader.vanish();
        company.session("reader", "r").0.expect_nothing();
    });
}

#[test]
fn a_principal_that_is_disabled_is_disconnected_and_its_will_is_not_published() {
    on_each("", &[("subscribe", "a/#"), ("publish", "a/#")], |company| {
        let mut other = company.client("other", "o");
        other.subscribe("a/#", Qos::AtLeastOnce);
        let mortal = connect(company.version, "mortal");
        let (mut mortal, _) =
            company.connect("reader", Connect { will: Some(will("a/x", b"")), ..mortal });
        company.execute("UPDATE principals SET enabled = false WHERE username = 'reader'");
        mortal.expect_disconnected(ReasonCode::NotAuthorized);
        company.broker.wait_for_log("client dismissed");
        other.expect_nothing();
    });
}

#[test]
fn a_will_whose_right_is_revoked_after_connect_is_not_published() {
    on_each("", &[("subscribe", "a/#"), ("publish", "a/#")], |company| {
        let mut other = company.client("other", "o");
        other.subscribe("a/#", Qos::AtLeastOnce);
        let mortal = |id| {
            let connect = connect(company.version, id);
            let will = Some(will("a/x", b"gone"));
            company.connect("reader", Connect { will, ..connect }).0
        };
        mortal("permitted").vanish();
        let received = other.expect_message("a/x", b"gone");
        other.acknowledge(&received);
        let mut late = mortal("late");
        // What the broker remembers of the topic from now on ends with the right.
        late.publish(publish("a/x", b"", Qos::AtLeastOnce));
        let received = other.expect_message("a/x", b"");
        other.acknowledge(&received);
        company.revoke("reader", "publish", "a/#");
        wait_until("the right is gone", || {
            let log = company.broker.log();
            late.publish(publish("a/x", b"", Qos::AtMostOnce));
            log.contains("access denied").then_some(())
        });
        late.vanish();
        other.send(&Packet::PingReq);
        // What was published before the right was gone.
        loop {
            let received = other.receive();
            match received.packet() {
                Packet::Publish(publish) => assert_eq!(publish.payload, b"", "the will"),
                Packet::PingResp => break,
                other => panic!("{other:?}"),
            }
        }
        other.expect_nothing();
    });
}

/// It waits for its client, which comes back only to begin anew.
#[test]
fn a_will_that_waits_is_judged_by_the_rights_of_its_moment() {
    let permissions = [("subscribe", "a/#"), ("publish", "a/#")];
    let company = Company::start(Engine::Sqlite, VERSIONS[1], TELL, &permissions);
    let mut other = company.client("other", "o");
    other.subscribe("a/#", Qos::AtLeastOnce);
    let leave_a_will = || {
        let connect = connect_to_session(VERSIONS[1], "mortal", 600);
        let will = Some(Will { delay_interval: 600, ..will("a/x", b"gone") });
        company.connect("reader", Connect { will, ..connect }).0.vanish();
    };
    leave_a_will();
    company.client("reader", "mortal").disconnect();
    let received = other.expect_message("a/x", b"gone");
    other.acknowledge(&received);
    leave_a_will();
    other.expect_nothing();
    company.execute("DELETE FROM permissions WHERE subject = 'reader'");
    company.wait_until_subscribing("reader", "a/#", false);
    company.client("reader", "mortal").disconnect();
    let line = "client_id=\"mortal\" username=\"reader\" action=Publish";
    company.broker.wait_for_log(line);
    other.expect_nothing();
}

#[test]
fn a_subscription_is_lowered_to_the_qos_that_is_left() {
    on_each(TELL, &[("subscribe", "a/#")], |company| {
        let mut reader = company.client("reader", "r");
        for filter in ["a/#", "$share/group/a/#"] {
            reader.subscribe(filter, Qos::ExactlyOnce);
        }
        company.execute("UPDATE permissions SET max_qos = 0 WHERE subject = 'reader'");
        let mut witness = company.client("reader", "witness");
        wait_until("the change is in force", || {
            let granted = witness.subscribe_with(&[("a/#", at(Qos::AtLeastOnce))], None);
            (granted == [ReasonCode::Success]).then_some(())
        });
        send(company, &[("a/1", b"1")]);
        for _ in 0..2 {
            let received = reader.expect_message("a/1", b"1");
            assert_eq!(received.publish().qos, Qos::AtMostOnce);
        }
    });
}

/// Known clients go on for a while; then nobody can say what they may be sent.
#[test]
fn without_the_database_for_too_long_subscribers_are_sent_away_and_their_sessions_stay() {
    let sections = "database: {url: \"$URL\", keep_known_ms: 500, timeout_ms: 500}\n";
    let permissions = [("subscribe", "a/#")];
    let company = Company::start(Engine::Postgres, VERSIONS[1], sections, &permissions);
    let (mut reader, _) = company.session("reader", "r");
    reader.subscribe("a/#", Qos::AtLeastOnce);
    company.tables.postgres().stop().expect("stop Postgres");
    reader.expect_disconnected(ReasonCode::ServerBusy);
    let (_, answer) = Client::attempt(company.address("reader"), connect(VERSIONS[1], "stranger"));
    let Packet::ConnAck(connack) = answer.packet() else { panic!("not CONNACK") };
    assert_eq!(connack.reason_code, ReasonCode::ServerUnavailable);
    company.tables.postgres().resume().expect("start Postgres");
    company.wait_until_ready();
    send(&company, &[("a/1", b"kept")]);
    let (mut reader, connack) = company.session("reader", "r");
    assert!(connack.session_present());
    reader.expect_message("a/1", b"kept");
}

/// A client that does not read at all is judged nevertheless.
#[test]
fn a_client_that_takes_nothing_is_sent_nothing_after_the_revocation() {
    let company = Company::start(Engine::Sqlite, VERSIONS[1], TELL, &[("subscribe", "a/#")]);
    let properties =
        ConnectProperties { receive_maximum: std::num::NonZeroU16::new(1), ..Default::default() };
    let connect = connect(VERSIONS[1], "r");
    let (mut reader, _) = company.connect("reader", Connect { properties, ..connect });
    reader.subscribe("a/#", Qos::AtLeastOnce);
    let messages: Vec<_> = (0..100).map(|_| ("a/1", b"x" as &[u8])).collect();
    send(&company, &messages);
    let first = reader.expect_message("a/1", b"x");
    company.revoke("reader", "subscribe", "a/#");
    let withheld = || company.broker.admin().metric("messages_withheld_total");
    wait_until("the rest is withheld", || (withheld() >= 99).then_some(()));
    expect_revoked(&mut reader, "a/#");
    reader.acknowledge(&first);
    reader.expect_nothing();
}
