//! Deliveries that are authorized one by one.

use hookmq_codec::{Packet, ProtocolVersion, Publish, Qos};
use hookmq_tests::client::{Client, Received, connect_to_session, publish};
use hookmq_tests::company::{Company, Engine};
use hookmq_tests::wait::wait_until;

const VERSIONS: [ProtocolVersion; 2] = [ProtocolVersion::V311, ProtocolVersion::V5];

const SECRET: &str =
    "INSERT INTO permissions (tenant, subject_kind, subject, action, filter, effect)
    VALUES ('acme', 'principal', 'reader', 'receive', '#', 'allow'),
        ('acme', 'principal', 'reader', 'receive', 'a/secret', 'deny');";

fn send(writer: &mut Client, topics: &[&str]) {
    for topic in topics {
        writer.publish(publish(topic, b"x", Qos::AtLeastOnce));
    }
}

#[track_caller]
fn expect_only(client: &mut Client, topic: &str) {
    let received = client.expect_message(topic, b"x");
    client.acknowledge(&received);
    client.expect_nothing();
}

/// Waits until the denial of `a/secret` is in force for this client, which is sent nothing else.
fn wait_until_withheld(company: &Company, reader: &mut Client, writer: &mut Client) {
    let withheld = || company.broker.admin().metric("messages_withheld_total");
    let before = withheld();
    wait_until("the denial is in force", || {
        send(writer, &["a/secret"]);
        (withheld() > before).then_some(())
    });
    drain(reader);
}

/// Takes what the client has been sent. A ping may be answered before what came with it.
fn drain(client: &mut Client) {
    let mut silent = 0;
    while silent < 2 {
        match next_message(client) {
            Some(received) => client.acknowledge(&received),
            None => silent += 1,
        }
    }
}

fn next_message(client: &mut Client) -> Option<Received> {
    client.send(&Packet::PingReq);
    let received = client.receive();
    match received.packet() {
        Packet::PingResp => None,
        _ => {
            client.receive_where(|it| matches!(it, Packet::PingResp));
            Some(received)
        }
    }
}

#[test]
fn a_row_about_receiving_is_in_force_for_subscriptions_that_exist() {
    for (engine, version) in [(Engine::Sqlite, VERSIONS[0]), (Engine::Postgres, VERSIONS[1])] {
        let company = Company::start(engine, version, "", &[("subscribe", "a/#")]);
        let mut writer = company.client("writer", "w");
        let (mut reader, _) = company.session("reader", "r");
        let mut other = company.client("other", "o");
        for client in [&mut reader, &mut other] {
            client.subscribe("a/#", Qos::AtLeastOnce);
        }
        send(&mut writer, &["a/secret"]);
        expect_only(&mut reader, "a/secret");
        expect_only(&mut other, "a/secret");
        company.execute(SECRET);
        wait_until_withheld(&company, &mut reader, &mut writer);
        send(&mut writer, &["a/secret", "a/open"]);
        expect_only(&mut reader, "a/open");
        // Queued, and retained.
        reader.disconnect();
        let retained = publish("a/secret", b"x", Qos::AtLeastOnce);
        writer.publish(Publish { retain: true, ..retained });
        send(&mut writer, &["a/open"]);
        let (mut reader, connack) = company.session("reader", "r");
        assert!(connack.session_present());
        expect_only(&mut reader, "a/open");
        reader.subscribe("a/secret", Qos::AtLeastOnce);
        reader.expect_nothing();
        company.execute("DELETE FROM permissions WHERE action = 'receive'");
        wait_until("the right is back", || {
            reader.unsubscribe(&["a/secret"]);
            reader.subscribe("a/secret", Qos::AtMostOnce);
            next_message(&mut reader).map(drop)
        });
    }
}

#[test]
fn what_was_sent_and_is_denied_by_now_is_not_sent_again() {
    for version in VERSIONS {
        let company = Company::start(Engine::Sqlite, version, "", &[("subscribe", "a/#")]);
        let mut writer = company.client("writer", "w");
        let (mut reader, _) = company.session("reader", "r");
        reader.subscribe("a/#", Qos::AtLeastOnce);
        send(&mut writer, &["a/secret", "a/open"]);
        for topic in ["a/secret", "a/open"] {
            reader.expect_message(topic, b"x");
        }
        company.execute(SECRET);
        let mut witness = company.client("reader", "witness");
        witness.subscribe("a/secret", Qos::AtMostOnce);
        wait_until_withheld(&company, &mut witness, &mut writer);
        reader.vanish();
        let (mut reader, _) = company.session("reader", "r");
        let again = reader.expect_message("a/open", b"x");
        assert!(again.publish().dup);
        reader.acknowledge(&again);
        reader.expect_nothing();
    }
}

#[test]
fn where_the_configuration_demands_it_what_no_row_allows_is_not_delivered() {
    for demand in ["receive: always", "receive_listeners: [reader]", "receive_tenants: [acme]"] {
        let sections = format!("permissions: {{{demand}}}\n");
        let version = VERSIONS[1];
        let company = Company::start(Engine::Sqlite, version, &sections, &[("subscribe", "a/#")]);
        company.allow("reader", "receive", "a/open");
        let mut writer = company.client("writer", "w");
        let (mut other, _) = company.connect("other", connect_to_session(version, "o", 60));
        other.subscribe("a/#", Qos::AtLeastOnce);
        let mut reader = company.client("reader", "r");
        reader.subscribe("a/#", Qos::AtLeastOnce);
        wait_until("the row is in force", || {
            send(&mut writer, &["a/open"]);
            next_message(&mut reader).map(|received| reader.acknowledge(&received))
        });
        drain(&mut reader);
        drain(&mut other);
        send(&mut writer, &["a/secret"]);
        reader.expect_nothing();
        match demand.contains("listeners") {
            true => drop(other.expect_message("a/secret", b"x")),
            false => other.expect_nothing(),
        }
    }
}
