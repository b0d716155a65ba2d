//! Permissions and the topics that begin with `$`; wills that are not permitted.

use std::net::SocketAddr;
use std::process::Command;

use hookmq_codec::{Connect, Packet, ProtocolVersion, Qos, ReasonCode};
use hookmq_tests::broker::{Broker, directory};
use hookmq_tests::client::{Client, at, connect, publish, will};
use hookmq_tests::wait::wait_until;

const VERSIONS: [ProtocolVersion; 2] = [ProtocolVersion::V311, ProtocolVersion::V5];

fn broker(sections: &str) -> (Broker, SocketAddr) {
    let directory = directory();
    std::fs::create_dir(directory.path().join("rules")).expect("make a folder");
    write_rule(directory.path(), "allowed/");
    let yaml = format!(
        "data_dir: data
listeners:
  - {{name: plain, bind: \"tcp://127.0.0.1:0\"}}
admin: {{bind: \"127.0.0.1:0\"}}
rules: {{dir: rules}}
{sections}"
    );
    let broker = Broker::with_config(&yaml, directory);
    let address = broker.address("plain");
    (broker, address)
}

/// The rule `doorkeeper`: everybody may subscribe, and publish below `prefix`.
fn write_rule(directory: &std::path::Path, prefix: &str) {
    let rule = format!(
        "//! Lets messages pass below one prefix.
fn authorize(client, access) {{
    if access.action == \"subscribe\" || access.topic.starts_with(\"{prefix}\") {{ allow() }}
    else {{ deny(\"not here\") }}
}}
"
    );
    std::fs::write(directory.join("rules/doorkeeper.rhai"), rule).expect("write a rule");
}

const RULE: &str = "pipeline:
  connect: [{builtin: anonymous}]
  authorize: [{rule: doorkeeper}]
";

fn mortal(version: ProtocolVersion, topic: &str) -> Connect<'_> {
    Connect { will: Some(will(topic, b"gone")), ..connect(version, "mortal") }
}

fn witness(address: SocketAddr, version: ProtocolVersion) -> Client {
    let (mut witness, _) = Client::connect(address, connect(version, "witness"));
    witness.subscribe("#", Qos::AtLeastOnce);
    witness
}

#[test]
fn a_client_whose_will_is_not_permitted_is_refused_and_its_will_never_published() {
    let (_broker, address) = broker(RULE);
    for version in VERSIONS {
        let mut witness = witness(address, version);
        let (mut client, answer) = Client::attempt(address, mortal(version, "forbidden/x"));
        let Packet::ConnAck(connack) = answer.packet() else { panic!("not CONNACK") };
        assert_eq!(connack.reason_code, ReasonCode::NotAuthorized);
        client.expect_closed();
        Client::connect(address, mortal(version, "allowed/x")).0.vanish();
        let received = witness.expect_message("allowed/x", b"gone");
        witness.acknowledge(&received);
        witness.expect_nothing();
    }
}

#[test]
fn a_will_that_was_permitted_and_is_no_more_is_not_published() {
    for version in VERSIONS {
        let (broker, address) = broker(RULE);
        let mut witness = witness(address, version);
        let (client, _) = Client::connect(address, mortal(version, "allowed/x"));
        write_rule(broker.directory(), "elsewhere/");
        let (status, answer) = broker.admin().post("/api/v1/rules/reload", b"");
        assert_eq!(status, 200, "{answer}");
        client.vanish();
        broker.wait_for_log("access denied");
        witness.expect_nothing();
    }
}

/// Where deliveries are authorized one by one, and by a rule.
#[test]
fn a_rule_that_is_replaced_judges_the_next_delivery() {
    let rule = |withheld: &str| {
        format!(
            "//! Keeps one topic from subscribers.
fn authorize(client, access) {{
    if access.action == \"receive\" && access.topic == \"{withheld}\" {{ deny(\"withheld\") }}
    else {{ allow() }}
}}
"
        )
    };
    let (broker, address) = broker(&format!("permissions: {{receive: always}}\n{RULE}"));
    for version in VERSIONS {
        let put_in_force = |withheld: &str| {
            let file = broker.directory().join("rules/doorkeeper.rhai");
            std::fs::write(file, rule(withheld)).expect("write a rule");
            let (status, answer) = broker.admin().post("/api/v1/rules/reload", b"");
            assert_eq!(status, 200, "{answer}");
        };
        put_in_force("nothing");
        let mut witness = witness(address, version);
        let (mut publisher, _) = Client::connect(address, connect(version, "publisher"));
        publisher.publish(publish("a", b"1", Qos::AtLeastOnce));
        let received = witness.expect_message("a", b"1");
        witness.acknowledge(&received);
        put_in_force("a");
        publisher.publish(publish("a", b"2", Qos::AtLeastOnce));
        publisher.publish(publish("b", b"3", Qos::AtLeastOnce));
        let received = witness.expect_message("b", b"3");
        witness.acknowledge(&received);
        witness.expect_nothing();
    }
}

const DATABASE: &str = "database: {url: \"sqlite:data/hookmq.db\"}
pipeline:
  connect:
    - {builtin: anonymous, config: {tenant: acme, username: guest, roles: [viewer]}}
    - {builtin: database}
  authorize: [{builtin: database}]
";

const SEED: &str = "
    INSERT INTO tenants (name) VALUES ('acme');
    INSERT INTO principals (tenant, username) VALUES ('acme', 'guest');
    INSERT INTO permissions (tenant, subject_kind, subject, action, filter) VALUES
        ('acme', 'role', 'viewer', 'publish', '#'),
        ('acme', 'role', 'viewer', 'publish', '$internal/#'),
        ('acme', 'role', 'viewer', 'subscribe', '#');
";

/// A right to everything is no right to what begins with `$`, and brings nothing of it.
#[test]
fn a_right_to_every_topic_does_not_reach_the_broker_s_own() {
    let (broker, address) = broker(DATABASE);
    let admin = broker.admin();
    wait_until("the broker is ready", || (admin.get("/api/v1/ready").0 == 200).then_some(()));
    let mut sqlite = Command::new("sqlite3");
    sqlite.args(["-bail", "-cmd", ".timeout 10000"]);
    sqlite.arg(broker.directory().join("data/hookmq.db")).arg(SEED);
    let seeded = sqlite.output().expect("apt-get install sqlite3");
    assert!(seeded.status.success(), "{}", String::from_utf8_lossy(&seeded.stderr));
    wait_until("the principal is known", || {
        let (_, answer) = Client::attempt(address, connect(ProtocolVersion::V5, "first"));
        let Packet::ConnAck(connack) = answer.packet() else { panic!("not CONNACK") };
        (connack.reason_code == ReasonCode::Success).then_some(())
    });
    for version in VERSIONS {
        let mut curious = witness(address, version);
        let refusal = match version.is_v5() {
            true => ReasonCode::NotAuthorized,
            false => ReasonCode::UnspecifiedError,
        };
        for filter in ["$SYS/#", "$SYS/broker", "$SYS/+", "$internal/#"] {
            let granted = curious.subscribe_with(&[(filter, at(Qos::AtMostOnce))], None);
            assert_eq!(granted, [refusal], "{filter}");
        }
        let (mut publisher, _) = Client::connect(address, connect(version, "publisher"));
        publisher.publish(publish("$internal/broker", b"secret", Qos::AtLeastOnce));
        publisher.publish(publish("open", b"x", Qos::AtLeastOnce));
        let received = curious.expect_message("open", b"x");
        curious.acknowledge(&received);
        curious.expect_nothing();
    }
}
