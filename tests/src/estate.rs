//! A broker with several tenants, and principals of the tenant `ops` who reach the others by grants: one
//! listener for each principal, who is admitted there without a word.

use hookmq_codec::{Connect, Packet, ProtocolVersion, Qos, ReasonCode};
use serde_json::{Value, json};

use crate::admin::AdminClient;
use crate::broker::{Broker, add_rules, directory};
use crate::client::{Client, Received, at, connect, connect_to_session, publish};
use crate::company::{Engine, Tables};
use crate::postgres::Postgres;
use crate::wait::wait_until;

pub struct Estate {
    pub broker: Broker,
    pub tables: Tables,
    pub version: ProtocolVersion,
}

/// The principals with their tenants. All may do anything that no tenant stands against, but for
/// `clerk`, who has permissions in the tables.
pub const PRINCIPALS: [(&str, &str); 5] = [
    ("service", "ops"),
    ("stranger", "ops"),
    ("clerk", "ops"),
    ("acme", "acme"),
    ("globex", "globex"),
];

const SEED: &str = "
    INSERT INTO tenants (name) VALUES ('ops'), ('acme'), ('globex');
    INSERT INTO principals (tenant, username) VALUES ('ops', 'clerk');
";

impl Estate {
    pub fn start(engine: Engine, version: ProtocolVersion) -> Self {
        Self::with(engine, version, "", "")
    }

    /// With these sections of the configuration, and this rule in the hook publish, if it is one.
    pub fn with(engine: Engine, version: ProtocolVersion, sections: &str, rule: &str) -> Self {
        let directory = directory();
        let (tables, url) = match engine {
            Engine::Sqlite => {
                let file = directory.path().join("data/hookmq.db");
                let url = format!("sqlite:{}", file.display());
                (Tables::Sqlite(file), url)
            }
            Engine::Postgres => {
                let server = Postgres::start().expect("start Postgres");
                let url = server.create_database().expect("make a database");
                (Tables::Postgres { server, url: url.clone() }, url)
            }
        };
        let mut yaml = configuration();
        if !sections.contains("database:") {
            yaml += &format!("database: {{url: \"{url}\", poll_interval_ms: 20}}\n");
        }
        yaml += &format!("{}\n", sections.replace("$URL", &url));
        if !rule.is_empty() {
            add_rules(directory.path(), &[("rule", rule)]);
            yaml = yaml.replace("  authorize:", "  publish: [{rule: rule}]\n  authorize:");
        }
        let estate = Self { broker: Broker::with_config(&yaml, directory), tables, version };
        estate.wait_until_ready();
        estate.tables.execute(SEED);
        wait_until("the principals are known", || {
            let attempt = connect(version, "first");
            let (client, answer) = Client::attempt(estate.broker.address("clerk"), attempt);
            client.vanish();
            let Packet::ConnAck(connack) = answer.packet() else { panic!("not CONNACK") };
            (connack.reason_code == ReasonCode::Success).then_some(())
        });
        estate
    }

    /// Kills the broker, starts it again, and waits until it knows its tables.
    pub fn crash(&mut self) {
        self.broker.restart();
        self.wait_until_ready();
    }

    fn wait_until_ready(&self) {
        let admin = self.admin();
        wait_until("the broker is ready", || (admin.get("/api/v1/ready").0 == 200).then_some(()));
    }

    pub fn admin(&self) -> AdminClient {
        self.broker.admin()
    }

    pub fn connect(&self, principal: &str, connect: Connect<'_>) -> Client {
        Client::connect(self.broker.address(principal), connect).0
    }

    /// A client of the principal whose session ends with it.
    pub fn client(&self, principal: &str, client_id: &str) -> Client {
        self.connect(principal, connect(self.version, client_id))
    }

    /// A client with a session that goes on.
    pub fn session(&self, principal: &str, client_id: &str) -> Client {
        self.connect(principal, connect_to_session(self.version, client_id, 600))
    }

    /// Grants something to the principal `service` by the admin API, and waits until it is in force.
    pub fn grant(&self, target: &str, publish: &[&str], subscribe: &[&str]) -> u64 {
        let said = json!({"publish": publish, "subscribe": subscribe});
        let id = self.grant_as(target, said);
        self.broker.wait_for_log(&format!("what=\"given\" id={id} "));
        id
    }

    /// As [`Self::grant`], with these parts of the request beside the principal; does not wait.
    pub fn grant_as(&self, target: &str, mut said: Value) -> u64 {
        for (name, value) in [("tenant", "ops"), ("username", "service")] {
            if said[name].is_null() {
                said[name] = json!(value);
            }
        }
        let path = format!("/api/v1/tenants/{target}/grants");
        let (status, made) = self.admin().post(&path, said.to_string().as_bytes());
        assert_eq!(status, 201, "{made}");
        made["id"].as_u64().expect("a number")
    }

    pub fn withdraw(&self, target: &str, id: u64) {
        let path = format!("/api/v1/tenants/{target}/grants/{id}");
        assert_eq!(self.admin().delete(&path).0, 204);
    }

    /// What SUBACK says of a filter that is not permitted.
    pub fn refusal(&self) -> ReasonCode {
        match self.version.is_v5() {
            true => ReasonCode::NotAuthorized,
            false => ReasonCode::UnspecifiedError,
        }
    }

    /// That the client may not subscribe to the filter.
    #[track_caller]
    pub fn expect_refused(&self, client: &mut Client, filter: &str) {
        let granted = client.subscribe_with(&[(filter, at(Qos::AtLeastOnce))], None);
        assert_eq!(granted, [self.refusal()], "{filter}");
    }

    /// Publishes what is to be refused. Before 5.0 the client is not told.
    #[track_caller]
    pub fn expect_unpublished(&self, client: &mut Client, topic: &str) {
        let code = client.publish(publish(topic, b"not to be seen", Qos::AtLeastOnce));
        if self.version.is_v5() {
            assert_eq!(code, ReasonCode::NotAuthorized, "{topic}");
        }
    }

    /// Publishes and expects the message at the subscriber on another topic.
    #[track_caller]
    pub fn pass(
        &self,
        (publisher, topic): (&mut Client, &str),
        (subscriber, seen_as): (&mut Client, &str),
    ) -> Received {
        let code = publisher.publish(publish(topic, topic.as_bytes(), Qos::AtLeastOnce));
        assert_eq!(code, ReasonCode::Success, "{topic}");
        let received = subscriber.expect_message(seen_as, topic.as_bytes());
        subscriber.acknowledge(&received);
        received
    }
}

fn configuration() -> String {
    let mut yaml = "data_dir: data\nadmin: {bind: \"127.0.0.1:0\"}\nlisteners:\n".to_owned();
    for (name, _) in PRINCIPALS {
        yaml += &format!("  - {{name: {name}, bind: \"tcp://127.0.0.1:0\"}}\n");
    }
    yaml += "pipeline:\n  connect:\n";
    for (name, tenant) in PRINCIPALS {
        let config = format!("config: {{tenant: {tenant}, username: {name}}}");
        yaml += &format!("    - {{builtin: anonymous, listeners: [{name}], {config}}}\n");
    }
    yaml += "    - {builtin: database, listeners: [clerk]}\n  authorize:\n";
    yaml += "    - {builtin: database, listeners: [clerk]}\n";
    yaml + "    - {builtin: open, listeners: [service, stranger, acme, globex]}\n"
}
