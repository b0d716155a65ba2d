//! Rights that rules ask about, and what rules do past them.

use hookmq_codec::{Connect, ProtocolVersion, Qos, ReasonCode};
use hookmq_tests::broker::{Broker, add_rules, directory};
use hookmq_tests::client::{Client, connect, publish};
use hookmq_tests::company::Tables;
use hookmq_tests::guarded::connack_of;
use hookmq_tests::wait::wait_until;

const V5: ProtocolVersion = ProtocolVersion::V5;

/// A broker with a rule, and clients who are taken at their word: the client id is the username.
struct Site {
    broker: Broker,
    tables: Tables,
}

const WORD: &str = "//! Everybody is who they say.
fn connect(client) { accept(#{ tenant: \"acme\", username: client.claimed_client_id }) }
";

impl Site {
    /// `rule` is a step of `hook`; `permissions` are values of the columns subject, action, filter and effect.
    fn start(hook: &str, rule: &str, permissions: &[[&str; 4]]) -> Self {
        let directory = directory();
        add_rules(directory.path(), &[("word", WORD), ("rule", rule)]);
        let yaml = format!(
            "data_dir: data
listeners: [{{name: plain, bind: \"tcp://127.0.0.1:0\"}}]
admin: {{bind: \"127.0.0.1:0\"}}
rules: {{dir: rules}}
database: {{url: \"sqlite:data/hookmq.db\", poll_interval_ms: 20}}
pipeline:
  connect: [{{rule: word, control: required}}, {{builtin: database}}]
  authorize: [{{builtin: database}}]
  {hook}: [{{rule: rule}}]
"
        );
        let broker = Broker::with_config(&yaml, directory);
        let admin = broker.admin();
        wait_until("the broker is ready", || (admin.get("/api/v1/ready").0 == 200).then_some(()));
        let tables = Tables::Sqlite(broker.directory().join("data/hookmq.db"));
        let mut sql = "INSERT INTO tenants (name) VALUES ('acme');
            INSERT INTO principals (tenant, username) VALUES ('acme', 'reader'), ('acme', 'writer');"
            .to_owned();
        for [subject, action, filter, effect] in permissions {
            sql += &format!(
                "INSERT INTO permissions (tenant, subject_kind, subject, action, filter, effect)
                VALUES ('acme', 'principal', '{subject}', '{action}', '{filter}', '{effect}');"
            );
        }
        tables.execute(&sql);
        Self { broker, tables }
    }

    fn client(&self, name: &'static str) -> Client {
        let connect: Connect<'_> = connect(V5, name);
        wait_until("the principal is known", || {
            let (client, answer) = Client::attempt(self.broker.address("plain"), connect.clone());
            (connack_of(&answer).reason_code == ReasonCode::Success).then_some(client)
        })
    }
}

/// Delivers to operators alone.
const OPERATORS: &str = "//! Tells operators.
fn deliver(client, message) {
    if !client.has_role(\"operator\") { drop() }
}
";

/// Publishes until the client is, or is not, sent what it publishes itself.
fn wait_until_delivered(client: &mut Client, wanted: bool) {
    wait_until("the change is in force", || {
        client.publish(publish("alarms", b"x", Qos::AtLeastOnce));
        (client.passed_over().is_some() == wanted).then_some(())
    });
}

#[test]
fn who_gets_or_loses_a_role_is_another_to_the_rules() {
    let rights = [["reader", "publish", "#", "allow"], ["reader", "subscribe", "#", "allow"]];
    let site = Site::start("deliver", OPERATORS, &rights);
    let mut client = site.client("reader");
    client.subscribe("#", Qos::AtMostOnce);
    wait_until_delivered(&mut client, false);
    let role = "('acme', 'reader', 'operator')";
    let sql = format!("INSERT INTO principal_roles (tenant, username, role) VALUES {role}");
    site.tables.execute(&sql);
    wait_until_delivered(&mut client, true);
    site.tables.execute("DELETE FROM principal_roles");
    wait_until_delivered(&mut client, false);
}

const COPIES: &str = "//! Two copies of what comes in.
const TOPICS = [\"in\"];
fn publish(client, message) {
    emit(\"out/secret\", message.text);
    emit(\"out/open\", message.text);
    drop()
}
";

/// The publisher's rights do not count for what a rule emits; those of whoever receives it do.
#[test]
fn what_a_rule_emits_is_the_rules_and_who_may_not_receive_it_does_not() {
    let rights = [
        ["writer", "publish", "in", "allow"],
        ["reader", "subscribe", "out/#", "allow"],
        ["reader", "receive", "#", "allow"],
        ["reader", "receive", "out/secret", "deny"],
    ];
    let site = Site::start("publish", COPIES, &rights);
    let (mut reader, mut writer) = (site.client("reader"), site.client("writer"));
    reader.subscribe("out/#", Qos::AtMostOnce);
    let refused = writer.publish(publish("out/open", b"past the rule", Qos::AtLeastOnce));
    assert_eq!(refused, ReasonCode::NotAuthorized);
    for _ in 0..3 {
        writer.publish(publish("in", b"x", Qos::AtLeastOnce));
        reader.expect_message("out/open", b"x");
    }
    reader.expect_nothing();
}
