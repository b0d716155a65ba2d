//! Clients whose principal becomes another while they are connected.

use std::path::Path;

use hookmq_codec::{ProtocolVersion, Qos, ReasonCode, TopicName};
use hookmq_tests::broker::{Broker, directory};
use hookmq_tests::client::{Client, at, connect, publish};
use hookmq_tests::company::{Company, Engine, Tables};
use hookmq_tests::wait::wait_until;

const V5: ProtocolVersion = ProtocolVersion::V5;

const OF_THE_SITE: &str = "
    INSERT INTO permissions (tenant, subject_kind, action, filter) VALUES
        ('acme', 'everyone', 'subscribe', 'sites/{attribute:site}'),
        ('acme', 'everyone', 'publish', 'sites/{attribute:site}');";

fn move_to(company: &Company, site: &str) {
    company.execute(&format!(
        "UPDATE principals SET attributes = '{{\"site\": \"{site}\"}}' WHERE username = 'reader'"
    ));
}

fn wait_until_subscribed(client: &mut Client, filter: &str) {
    wait_until("the change is in force", || {
        let granted = client.subscribe_with(&[(filter, at(Qos::AtMostOnce))], None);
        (granted == [ReasonCode::Success]).then_some(())
    });
}

#[test]
fn a_changed_attribute_gives_rights_and_takes_them() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let tell = "permissions: {on_revocation: unsubscribe}\n";
        let company = Company::start(engine, V5, tell, &[]);
        let mut reader = company.client("reader", "r");
        company.execute(OF_THE_SITE);
        move_to(&company, "north");
        wait_until_subscribed(&mut reader, "sites/north");
        move_to(&company, "south");
        let told = reader.receive();
        assert_eq!(told.publish().topic.map(TopicName::as_str), Some("$SYS/session/revoked"));
        reader.subscribe("sites/south", Qos::AtMostOnce);
        // What it may publish has become another at the same moment.
        let mut writer = company.client("writer", "w");
        reader.publish(publish("sites/north", b"not allowed", Qos::AtMostOnce));
        writer.publish(publish("sites/north", b"not subscribed", Qos::AtMostOnce));
        reader.publish(publish("sites/south", b"allowed", Qos::AtMostOnce));
        reader.expect_message("sites/south", b"allowed");
        reader.expect_nothing();
    }
}

/// Delivers to operators alone.
const RULE: &str = "//! Tells operators.
fn deliver(client, message) {
    if !client.has_role(\"operator\") { drop() }
}
";

fn broker_with_rule() -> (Broker, Tables) {
    let directory = directory();
    std::fs::create_dir(directory.path().join("rules")).expect("make a folder");
    std::fs::write(directory.path().join("rules/operators.rhai"), RULE).expect("write a rule");
    let yaml = "data_dir: data
listeners: [{name: plain, bind: \"tcp://127.0.0.1:0\"}]
admin: {bind: \"127.0.0.1:0\"}
rules: {dir: rules}
database: {url: \"sqlite:data/hookmq.db\", poll_interval_ms: 20}
pipeline:
  connect:
    - {builtin: anonymous, config: {tenant: acme, username: reader}}
    - {builtin: database}
  authorize: [{builtin: database}]
  deliver: [{rule: operators}]
";
    let broker = Broker::with_config(yaml, directory);
    let tables = Tables::Sqlite(broker.directory().join(Path::new("data/hookmq.db")));
    let admin = broker.admin();
    wait_until("the broker is ready", || (admin.get("/api/v1/ready").0 == 200).then_some(()));
    tables.execute(
        "INSERT INTO tenants (name) VALUES ('acme');
        INSERT INTO principals (tenant, username) VALUES ('acme', 'reader');
        INSERT INTO permissions (tenant, subject_kind, action, filter) VALUES
            ('acme', 'everyone', 'publish', '#'), ('acme', 'everyone', 'subscribe', '#');",
    );
    (broker, tables)
}

/// Publishes until the client is, or is not, sent what it publishes itself.
fn wait_until_delivered(client: &mut Client, wanted: bool) {
    wait_until("the change is in force", || {
        client.publish(publish("alarms", b"x", Qos::AtLeastOnce));
        (client.passed_over().is_some() == wanted).then_some(())
    });
}

#[test]
fn who_gets_or_loses_a_role_is_another_to_the_rules() {
    let (broker, tables) = broker_with_rule();
    let address = broker.address("plain");
    let mut client = wait_until("the principal is known", || {
        let (client, answer) = Client::attempt(address, connect(V5, "r"));
        let connack = hookmq_tests::guarded::connack_of(&answer);
        (connack.reason_code == ReasonCode::Success).then_some(client)
    });
    client.subscribe("#", Qos::AtMostOnce);
    wait_until_delivered(&mut client, false);
    let role = "('acme', 'reader', 'operator')";
    tables.execute(&format!("INSERT INTO principal_roles (tenant, username, role) VALUES {role}"));
    wait_until_delivered(&mut client, true);
    tables.execute("DELETE FROM principal_roles");
    wait_until_delivered(&mut client, false);
}
