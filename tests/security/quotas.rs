//! What a tenant is bounded by: each quota at its bound, changed while it runs, and beside a neighbour.

use std::time::{Duration, Instant};

use hookmq_codec::{Connect, Packet, ProtocolVersion, Publish, Qos, ReasonCode};
use hookmq_tests::broker::{Broker, directory};
use hookmq_tests::client::{Client, at, connect, packet_id, publish};
use hookmq_tests::company::{Company, Engine};
use hookmq_tests::guarded::connack_of;
use hookmq_tests::scene::Scene;
use hookmq_tests::wait::wait_until;

const VERSIONS: [ProtocolVersion; 2] = [ProtocolVersion::V311, ProtocolVersion::V5];

/// For a broker without a database, whose clients are all of the tenant `default`.
fn bounded(version: ProtocolVersion, quota: &str) -> Scene {
    Scene::with_sections(version, &format!("quotas: {{tenants: {{default: {{{quota}}}}}}}"))
}

#[track_caller]
fn expect_over_quota(scene: &Scene, client_id: &str) {
    let (mut client, answer) = Client::attempt(scene.address, scene.connect_packet(client_id));
    let told = match scene.version.is_v5() {
        true => ReasonCode::QuotaExceeded,
        false => ReasonCode::ServerUnavailable,
    };
    assert_eq!(connack_of(&answer).reason_code, told);
    client.expect_closed();
}

fn reached(broker: &Broker, bound: &str) -> u64 {
    broker.admin().metric(&format!("quota_reached_total{{bound=\"{bound}\"}}"))
}

/// Sends so many messages of QoS 1 without waiting for an answer.
fn send(client: &mut Client, count: u16, payload: &[u8]) {
    for id in 1..=count {
        let publish = publish("t", payload, Qos::AtLeastOnce);
        client.send(&Packet::Publish(Publish { packet_id: Some(packet_id(id)), ..publish }));
    }
}

fn expect_acknowledged(client: &mut Client, count: u16) {
    for id in 1..=count {
        let answer = client.receive_where(|it| matches!(it, Packet::PubAck(_)));
        assert!(!answer.acknowledges(packet_id(id)).is_failure());
    }
}

/// That `count` took as long as it takes beyond a second's worth, but for one that is paid for later.
#[track_caller]
fn expect_no_faster(since: Instant, count: u64, per_second: u64) {
    let passed = since.elapsed();
    let least = Duration::from_secs(count - 1 - per_second) / per_second as u32;
    assert!(passed >= least, "{count} in {passed:?}, at {per_second} per second");
}

#[test]
fn a_tenant_has_no_more_connections_than_it_may() {
    for version in VERSIONS {
        let scene = bounded(version, "connections: 2");
        let mut first = scene.client("a");
        let second = scene.client("b");
        expect_over_quota(&scene, "c");
        scene.broker.wait_for_log("kind=\"quota\"");
        // Who takes its own connection over makes no more of them.
        let _again = scene.client("a");
        first.expect_disconnected(ReasonCode::SessionTakenOver);
        expect_over_quota(&scene, "c");
        second.disconnect();
        wait_until("the place is free", || {
            let (client, answer) = Client::attempt(scene.address, scene.connect_packet("c"));
            (connack_of(&answer).reason_code == ReasonCode::Success).then_some(client)
        });
        assert!(reached(&scene.broker, "connections") >= 2);
    }
}

#[test]
fn a_tenants_clients_connect_no_more_often_than_they_may() {
    for version in VERSIONS {
        let scene = bounded(version, "connects_per_s: 2");
        let begun = Instant::now();
        let mut admitted = 0;
        let refused = |admitted: u64| {
            let client_id = format!("client {admitted}");
            let attempt = scene.connect_packet(&client_id);
            let (client, answer) = Client::attempt(scene.address, attempt);
            client.vanish();
            connack_of(&answer).reason_code != ReasonCode::Success
        };
        while admitted < 6 {
            match refused(admitted) {
                true => assert!(reached(&scene.broker, "connects_per_s") > 0),
                false => admitted += 1,
            }
        }
        expect_no_faster(begun, admitted, 2);
    }
}

#[test]
fn a_tenant_has_no_more_sessions_than_it_may() {
    for version in VERSIONS {
        let scene = bounded(version, "sessions: 2");
        scene.session("kept").disconnect();
        let _connected = scene.client("connected");
        expect_over_quota(&scene, "another");
        scene.session("kept");
        assert_eq!(reached(&scene.broker, "sessions"), 1);
    }
}

#[test]
fn a_tenant_has_no_more_subscriptions_than_it_may() {
    for version in VERSIONS {
        let scene = bounded(version, "subscriptions: 2");
        let (mut one, mut other) = (scene.client("1"), scene.client("2"));
        one.subscribe("a", Qos::AtMostOnce);
        other.subscribe("a", Qos::AtMostOnce);
        let refused = match version.is_v5() {
            true => ReasonCode::QuotaExceeded,
            false => ReasonCode::UnspecifiedError,
        };
        assert_eq!(other.subscribe_with(&[("b", at(Qos::AtMostOnce))], None), [refused]);
        other.subscribe("a", Qos::AtLeastOnce);
        one.unsubscribe(&["a"]);
        other.subscribe("b", Qos::AtMostOnce);
        assert_eq!(reached(&scene.broker, "subscriptions"), 1);
    }
}

#[test]
fn a_tenant_retains_no_more_than_it_may() {
    for version in VERSIONS {
        for (quota, payload) in [("retained_messages: 1", 10), ("retained_bytes: 1000", 700)] {
            let scene = bounded(version, quota);
            let mut client = scene.client("a");
            let payload = vec![b'x'; payload];
            let retained = |topic| {
                let publish = publish(topic, &payload, Qos::AtLeastOnce);
                Publish { retain: true, ..publish }
            };
            assert!(!client.publish(retained("first")).is_failure());
            assert!(!client.publish(retained("first")).is_failure(), "in its own place");
            match version.is_v5() {
                true => assert_eq!(client.publish(retained("b")), ReasonCode::QuotaExceeded),
                false => {
                    let packet_id = Some(packet_id(9));
                    client.send(&Packet::Publish(Publish { packet_id, ..retained("b") }));
                    client.expect_disconnected(ReasonCode::QuotaExceeded);
                }
            }
            let mut subscriber = scene.client("b");
            subscriber.subscribe("#", Qos::AtMostOnce);
            subscriber.expect_message("first", &payload);
            subscriber.expect_nothing();
            assert_eq!(reached(&scene.broker, "retained"), 1);
        }
    }
}

/// Messages that wait for a session, beyond those on their way.
fn queued(broker: &Broker, client_id: &str) -> u64 {
    let (_, clients) = broker.admin().get("/api/v1/clients");
    let mut clients = clients["items"].as_array().expect("a list").iter();
    let client = clients.find(|it| it["client_id"] == client_id).expect("a known client");
    client["queued"].as_u64().expect("a number")
}

#[test]
fn what_waits_for_a_tenants_sessions_is_bounded_over_all_of_them() {
    for version in VERSIONS {
        let scene = bounded(version, "queued_bytes: 2000");
        let names = ["1", "2"];
        let come = |name: &str| scene.session(name);
        for name in names {
            let mut client = come(name);
            client.subscribe("t", Qos::AtLeastOnce);
            client.disconnect();
        }
        // Whatever the broker counts beside the payload, not all fit, and one does.
        let mut all = 0;
        for round in 1..=2 {
            let mut publisher = scene.client("publisher");
            send(&mut publisher, 20, &[0; 200]);
            expect_acknowledged(&mut publisher, 20);
            let mut arrived = 0;
            for name in names {
                let mut client = come(name);
                wait_until("all is on its way", || {
                    (queued(&scene.broker, name) == 0).then_some(())
                });
                client.send(&Packet::PingReq);
                let mut pongs = 0;
                while pongs < 2 {
                    let received = client.receive();
                    match received.packet() {
                        Packet::Publish(_) => {
                            client.acknowledge(&received);
                            arrived += 1;
                        }
                        Packet::PingResp => {
                            pongs += 1;
                            client.send(&Packet::PingReq);
                        }
                        other => panic!("not to come: {other:?}"),
                    }
                }
                client.disconnect();
            }
            assert!((1..=10).contains(&arrived), "round {round}: {arrived} of 40");
            all += arrived;
            assert_eq!(reached(&scene.broker, "queued_bytes"), round * 40 - all);
        }
    }
}

/// What is taken in beyond a quota waits in the client's socket, and nothing is lost. A client that is
/// not read from is not taken for dead.
#[test]
fn a_tenant_is_read_from_no_faster_than_it_may_send() {
    for version in VERSIONS {
        for (quota, size, messages, rate) in
            [("messages_in_per_s: 20", 1, 70, 20), ("bytes_in_per_s: 20000", 1000, 70, 20)]
        {
            let scene = bounded(version, quota);
            let connect = Connect { keep_alive: 1, ..scene.connect_packet("noisy") };
            let mut client = Client::connect(scene.address, connect).0;
            let begun = Instant::now();
            send(&mut client, messages, &vec![0; size]);
            expect_acknowledged(&mut client, messages);
            expect_no_faster(begun, messages.into(), rate);
            assert!(reached(&scene.broker, "in") > 0);
        }
    }
}

#[test]
fn a_tenant_is_sent_no_more_than_it_may_be_and_the_rest_waits() {
    for version in VERSIONS {
        for (quota, size, messages, rate) in
            [("messages_out_per_s: 20", 1, 70, 20), ("bytes_out_per_s: 20000", 1000, 70, 20)]
        {
            let scene = bounded(version, quota);
            let (mut subscriber, mut publisher) = (scene.client("1"), scene.client("2"));
            subscriber.subscribe("t", Qos::AtMostOnce);
            let begun = Instant::now();
            let payload = vec![0; size];
            send(&mut publisher, messages, &payload);
            expect_acknowledged(&mut publisher, messages);
            for _ in 0..messages {
                subscriber.expect_message("t", &payload);
            }
            expect_no_faster(begun, messages.into(), rate);
            assert!(reached(&scene.broker, "out") > 0);
        }
    }
}

/// D11: a tenant that does ten times what it may beside one that does what it wants.
#[test]
fn a_noisy_tenant_costs_a_quiet_one_no_message_and_no_connection() {
    let yaml = "data_dir: data
listeners:
  - {name: noisy, bind: \"tcp://127.0.0.1:0\"}
  - {name: quiet, bind: \"tcp://127.0.0.1:0\"}
admin: {bind: \"127.0.0.1:0\"}
quotas: {tenants: {noisy: {messages_in_per_s: 100, connects_per_s: 10}}}
pipeline:
  connect:
    - {builtin: anonymous, listeners: [noisy], config: {tenant: noisy}}
    - {builtin: anonymous, listeners: [quiet], config: {tenant: quiet}}
  authorize: [{builtin: open}]
";
    let broker = Broker::with_config(yaml, directory());
    let (noisy, quiet) = (broker.address("noisy"), broker.address("quiet"));
    let client = |address, id: &str| Client::connect(address, connect(VERSIONS[1], id)).0;
    let (mut sender, mut receiver) = (client(quiet, "sender"), client(quiet, "receiver"));
    receiver.subscribe("t", Qos::AtLeastOnce);
    let begun = Instant::now();
    let mut flooder = client(noisy, "flooder");
    std::thread::scope(|scope| {
        scope.spawn(|| send(&mut flooder, 1000, b"x"));
        let knocking = scope.spawn(|| {
            let admitted = (0..100).filter(|number| {
                let name = format!("knocker {number}");
                let (client, answer) = Client::attempt(noisy, connect(VERSIONS[0], &name));
                client.vanish();
                connack_of(&answer).reason_code == ReasonCode::Success
            });
            let admitted = admitted.count() as u64;
            assert!(admitted <= 10 + 10 * (begun.elapsed().as_secs() + 1), "{admitted}");
        });
        for number in 0..200u8 {
            sender.publish(publish("t", &[number], Qos::AtLeastOnce));
            let received = receiver.expect_message("t", &[number]);
            receiver.acknowledge(&received);
            client(quiet, "another").disconnect();
        }
        knocking.join().expect("it was bounded");
    });
    expect_acknowledged(&mut flooder, 300);
    expect_no_faster(begun, 300, 100);
}

#[test]
fn a_changed_quota_is_in_force_for_those_who_are_connected() {
    for (engine, version) in [(Engine::Sqlite, VERSIONS[0]), (Engine::Postgres, VERSIONS[1])] {
        let company = Company::start(engine, version, "", &[("subscribe", "#")]);
        let mut writer = company.client("writer", "w");
        let mut reader = company.client("reader", "r");
        reader.subscribe("t", Qos::AtMostOnce);
        company.execute(
            "INSERT INTO quotas (tenant, messages_in_per_s, subscriptions) VALUES ('acme', 1, 1)",
        );
        let refused = |reader: &mut Client| {
            reader.subscribe_with(&[("u", at(Qos::AtMostOnce))], None)[0].is_failure()
        };
        wait_until("the quota is in force", || {
            let refused = refused(&mut reader);
            reader.unsubscribe(&["u"]);
            refused.then_some(())
        });
        send(&mut writer, 100, b"x");
        let _ = writer.receive();
        assert!(reached(&company.broker, "in") > 0);
        // It would take minutes otherwise.
        company.execute("UPDATE quotas SET messages_in_per_s = NULL");
        expect_acknowledged_from(&mut writer, 2, 100);
        assert!(refused(&mut reader));
        company.execute("DELETE FROM quotas");
        wait_until("the quota is gone", || (!refused(&mut reader)).then_some(()));
    }
}

fn expect_acknowledged_from(client: &mut Client, first: u16, last: u16) {
    for id in first..=last {
        assert!(!client.receive().acknowledges(packet_id(id)).is_failure());
    }
}

/// Whichever steps have let its clients in.
#[test]
fn a_disabled_tenants_clients_are_disconnected_and_kept_out() {
    for version in VERSIONS {
        let sections = "database: {url: \"sqlite:data/hookmq.db\", poll_interval_ms: 20}";
        let scene = Scene::with_sections(version, sections);
        let admin = scene.broker.admin();
        wait_until("the broker is ready", || (admin.get("/api/v1/ready").0 == 200).then_some(()));
        let tables =
            hookmq_tests::company::Tables::Sqlite(scene.broker.directory().join("data/hookmq.db"));
        let mut client = scene.client("a");
        tables.execute("INSERT INTO tenants (name, enabled) VALUES ('default', false)");
        client.expect_disconnected(ReasonCode::NotAuthorized);
        let (_, answer) = Client::attempt(scene.address, scene.connect_packet("a"));
        assert_eq!(connack_of(&answer).reason_code, ReasonCode::NotAuthorized);
        tables.execute("UPDATE tenants SET enabled = true");
        wait_until("the tenant is enabled", || {
            let (_, answer) = Client::attempt(scene.address, scene.connect_packet("a"));
            (connack_of(&answer).reason_code == ReasonCode::Success).then_some(())
        });
    }
}
