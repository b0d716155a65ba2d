//! Clients that have logged in before, while the database is away.

use hookmq_codec::{Connect, Packet, ProtocolVersion, Qos, ReasonCode};
use hookmq_tests::broker::{Broker, directory};
use hookmq_tests::client::{Client, Received, at, connect};
use hookmq_tests::company::Tables;
use hookmq_tests::guarded::{SCRAM, auth, connack_of, connect_by, data_of, secret};
use hookmq_tests::postgres::Postgres;
use hookmq_tests::scram::ScramClient;
use hookmq_tests::wait::wait_until;

const V5: ProtocolVersion = ProtocolVersion::V5;
const AWAY: ReasonCode = ReasonCode::ServerUnavailable;

/// A broker whose clients log in by a password that Postgres knows.
struct Site {
    broker: Broker,
    tables: Tables,
}

impl Site {
    /// `pump`, `valve` and `lamp` have the password `pencil`. `database` are settings.
    fn start(database: &str) -> Self {
        let server = Postgres::start().expect("start Postgres");
        let url = server.create_database().expect("make a database");
        let yaml = format!(
            "data_dir: data
listeners: [{{name: plain, bind: \"tcp://127.0.0.1:0\"}}]
admin: {{bind: \"127.0.0.1:0\"}}
database: {{url: \"{url}\", timeout_ms: 500{database}}}
pipeline:
  connect:
    - {{builtin: scram, control: sufficient, config: {{tenant: acme, iterations: 4096}}}}
    - {{builtin: password, config: {{tenant: acme}}}}
    - {{builtin: database}}
  authorize: [{{builtin: database}}]
"
        );
        let broker = Broker::with_config(&yaml, directory());
        let site = Self { broker, tables: Tables::Postgres { server, url } };
        site.wait_until_ready(true);
        let mut sql = "INSERT INTO tenants (name) VALUES ('acme');".to_owned();
        let secrets =
            [("password", secret(&["password"], "pencil")), ("scram-sha-256", scram_secret())];
        for username in ["pump", "valve", "lamp"] {
            sql += &format!(
                "INSERT INTO principals (tenant, username) VALUES ('acme', '{username}');"
            );
            for (kind, secret) in &secrets {
                sql += &format!(
                    "INSERT INTO credentials (tenant, username, kind, secret)
                    VALUES ('acme', '{username}', '{kind}', '{secret}');"
                );
            }
        }
        site.tables.execute(&sql);
        site.wait_until_read();
        site
    }

    fn wait_until_ready(&self, ready: bool) {
        let admin = self.broker.admin();
        wait_until("readiness changes", || {
            ((admin.get("/api/v1/ready").0 == 200) == ready).then_some(())
        });
    }

    /// Waits until the change log has been read up to here.
    fn wait_until_read(&self) {
        let (mut witness, _) = self.attempt("pump", "pencil");
        self.tables.execute(
            "INSERT INTO permissions (tenant, subject_kind, action, filter)
            VALUES ('acme', 'everyone', 'subscribe', 'news')",
        );
        wait_until("the change is in force", || {
            let granted = witness.subscribe_with(&[("news", at(Qos::AtMostOnce))], None);
            (granted == [ReasonCode::Success]).then_some(())
        });
    }

    fn attempt(&self, username: &str, password: &str) -> (Client, Received) {
        let (username, password) = (Some(username), Some(password.as_bytes()));
        let connect = Connect { username, password, ..connect(V5, "device") };
        Client::attempt(self.broker.address("plain"), connect)
    }

    fn log_in(&self, username: &str, password: &str) -> ReasonCode {
        connack_of(&self.attempt(username, password).1).reason_code
    }

    fn log_in_by_scram(&self, username: &str, password: &str) -> ReasonCode {
        let scram = ScramClient::new(username, password);
        let first = scram.first();
        let connect = connect_by(SCRAM, "device", Some(first.as_bytes()));
        let (mut client, answer) = Client::attempt(self.broker.address("plain"), connect);
        if let Packet::ConnAck(connack) = answer.packet() {
            return connack.reason_code;
        }
        let last = scram.last(data_of(&answer)).message;
        client.send(&auth(ReasonCode::ContinueAuthentication, SCRAM, last.as_bytes()));
        connack_of(&client.receive()).reason_code
    }

    fn stop_database(&self) {
        self.tables.postgres().stop().expect("stop Postgres");
        self.wait_until_ready(false);
    }
}

fn scram_secret() -> String {
    secret(&["scram", "--iterations", "4096"], "pencil")
}

#[test]
fn who_has_logged_in_may_come_again_and_nobody_else() {
    let site = Site::start("");
    assert_eq!(site.log_in("pump", "pencil"), ReasonCode::Success);
    assert_eq!(site.log_in_by_scram("lamp", "pencil"), ReasonCode::Success);
    // Tried, and not proved.
    assert_eq!(site.log_in("valve", "wrong"), ReasonCode::NotAuthorized);
    site.stop_database();
    assert_eq!(site.log_in("pump", "pencil"), ReasonCode::Success);
    assert_eq!(site.log_in("pump", "wrong"), ReasonCode::NotAuthorized);
    assert_eq!(site.log_in_by_scram("lamp", "pencil"), ReasonCode::Success);
    assert_eq!(site.log_in_by_scram("lamp", "wrong"), ReasonCode::NotAuthorized);
    // Each by the way in which it has come before.
    assert_eq!(site.log_in("lamp", "pencil"), AWAY);
    assert_eq!(site.log_in_by_scram("pump", "pencil"), AWAY);
    for stranger in ["valve", "nobody"] {
        assert_eq!(site.log_in(stranger, "pencil"), AWAY, "{stranger}");
        assert_eq!(site.log_in_by_scram(stranger, "pencil"), AWAY, "{stranger}");
    }
    site.tables.postgres().resume().expect("start Postgres");
    site.wait_until_ready(true);
    assert_eq!(site.log_in("valve", "pencil"), ReasonCode::Success);
}

#[test]
fn a_password_that_has_changed_since_lets_nobody_in() {
    let site = Site::start("");
    for username in ["pump", "valve"] {
        assert_eq!(site.log_in(username, "pencil"), ReasonCode::Success);
    }
    let (mut lamp, _) = site.attempt("lamp", "pencil");
    let brush = secret(&["password"], "brush");
    site.tables.execute(&format!(
        "UPDATE credentials SET secret = '{brush}' WHERE username = 'pump' AND kind = 'password';
        UPDATE credentials SET enabled = false WHERE username = 'valve';
        UPDATE principals SET enabled = false WHERE username = 'lamp';"
    ));
    // So all three have been read.
    lamp.expect_disconnected(ReasonCode::NotAuthorized);
    site.stop_database();
    assert_eq!(site.log_in("pump", "pencil"), AWAY);
    assert_eq!(site.log_in("valve", "pencil"), AWAY);
    assert_eq!(site.log_in("lamp", "pencil"), AWAY);
}

#[test]
fn nobody_is_known_when_the_database_has_been_away_for_too_long() {
    let site = Site::start(", keep_known_ms: 1000");
    assert_eq!(site.log_in("pump", "pencil"), ReasonCode::Success);
    site.stop_database();
    wait_until("it has been away for too long", || {
        (site.log_in("pump", "pencil") == AWAY).then_some(())
    });
}
