//! Users and permissions in tables of another application's, read by an operator's queries.

use std::net::SocketAddr;

use hookmq_codec::{Connect, ProtocolVersion, Qos, ReasonCode};
use hookmq_tests::broker::{Broker, directory};
use hookmq_tests::client::{Client, at, connect, publish};
use hookmq_tests::company::{Engine, Tables};
use hookmq_tests::guarded::{connack_of, secret};
use hookmq_tests::postgres::Postgres;
use hookmq_tests::wait::wait_until;
use tempfile::TempDir;

/// Made of `pencil` by mosquitto-go-auth's rule.
const PENCIL: &str = "PBKDF2$sha512$1000$c2FsdHNhbHRzYWx0$mBU9rVuDZOTNPoli3/NGfrX9GAr4wNXWqIwiXMFrz8+w1X8vNVd33xlvWEeFfzoh2zJbIsq4OS0J1Kr5U/PxZg==";

/// As mosquitto-go-auth's documentation has them.
const GO_AUTH: &str = "
    credential: SELECT pass FROM account WHERE username = $1 limit 1
    superuser: SELECT COUNT(*) FROM account WHERE username = $1 AND super = 1
    acl: SELECT topic FROM acl WHERE (username = $1) AND (rw = $2 or (rw = 3 and $2 < 4));
";

const ENGINES: [Engine; 2] = [Engine::Sqlite, Engine::Postgres];

/// The other application's database.
struct Site {
    tables: Tables,
    url: String,
    folder: TempDir,
}

fn site(engine: Engine) -> Site {
    let folder = directory();
    let (tables, url) = match engine {
        Engine::Sqlite => {
            let file = folder.path().join("users.db");
            (Tables::Sqlite(file.clone()), format!("sqlite:{}", file.display()))
        }
        Engine::Postgres => {
            let server = Postgres::start().expect("start Postgres");
            let url = server.create_database().expect("make a database");
            (Tables::Postgres { server, url: url.clone() }, url)
        }
    };
    let argon = secret(&["password"], "pencil");
    tables.execute(&format!(
        "CREATE TABLE account (username varchar(100) NOT NULL, pass text, super int NOT NULL,
            active boolean NOT NULL DEFAULT true, facts text);
        CREATE TABLE acl (username varchar(100) NOT NULL, topic text NOT NULL, rw int NOT NULL);
        CREATE TABLE version (number int NOT NULL);
        INSERT INTO version VALUES (1);
        INSERT INTO account (username, pass, super, facts) VALUES
            ('kim', '{PENCIL}', 0, '{{\"site\": \"north\"}}'),
            ('boss', '{argon}', 1, NULL), ('nobody', NULL, 0, NULL);
        INSERT INTO acl VALUES ('kim', 'plant/%u/#', 3), ('kim', 'plant/#', 4), ('kim', 'news', 1);"
    ));
    Site { tables, url, folder }
}

impl Site {
    fn open(self, queries: &str, more: &str) -> (Broker, Tables, SocketAddr) {
        let (broker, tables) = self.start(queries, more);
        let admin = broker.admin();
        wait_until("the broker is ready", || (admin.get("/api/v1/ready").0 == 200).then_some(()));
        let address = broker.address("plain");
        (broker, tables, address)
    }

    fn start(self, queries: &str, more: &str) -> (Broker, Tables) {
        let yaml = format!(
            "data_dir: data
listeners: [{{name: plain, bind: \"tcp://127.0.0.1:0\"}}]
admin: {{bind: \"127.0.0.1:0\"}}
database:
  url: \"{}\"
  poll_interval_ms: 20
  {more}
  queries:
{queries}
pipeline:
  connect: [{{builtin: password, config: {{tenant: plant}}}}, {{builtin: database}}]
  authorize: [{{builtin: database}}]
",
            self.url
        );
        (Broker::with_config(&yaml, self.folder), self.tables)
    }
}

fn login<'a>(username: &'a str, password: &'a [u8]) -> Connect<'a> {
    Connect {
        username: Some(username),
        password: Some(password),
        ..connect(ProtocolVersion::V5, username)
    }
}

fn refused(address: SocketAddr, connect: Connect<'_>) {
    let (_, answer) = Client::attempt(address, connect);
    assert_eq!(connack_of(&answer).reason_code, ReasonCode::NotAuthorized);
}

#[test]
fn the_queries_of_mosquitto_go_auth_mean_the_same() {
    for engine in ENGINES {
        let (_broker, tables, address) = site(engine).open(GO_AUTH, "cache_ttl_ms: 3600000");
        for (username, password) in
            [("kim", &b"pencils"[..]), ("nobody", b""), ("stranger", b"pencil")]
        {
            refused(address, login(username, password));
        }
        let (mut kim, _) = Client::connect(address, login("kim", b"pencil"));
        let (mut boss, _) = Client::connect(address, login("boss", b"pencil"));
        let filters = ["plant/#", "news", "#"].map(|filter| (filter, at(Qos::AtLeastOnce)));
        let granted = kim.subscribe_with(&filters, None);
        let no = ReasonCode::NotAuthorized;
        assert_eq!(granted, [ReasonCode::GrantedQos1, no, no], "{engine:?}");
        // It may subscribe to more than it may read.
        for topic in ["plant/other", "plant/kim/a"] {
            let sent = boss.publish(publish(topic, b"x", Qos::AtLeastOnce));
            assert!(!sent.is_failure(), "{topic}");
        }
        kim.expect_message("plant/kim/a", b"x");
        let sent = kim.publish(publish("plant/other", b"x", Qos::AtLeastOnce));
        assert_eq!(sent, ReasonCode::NotAuthorized);
        let sent = kim.publish(publish("plant/kim/b", b"y", Qos::AtLeastOnce));
        assert!(!sent.is_failure());
        boss.subscribe("#", Qos::AtMostOnce);
        // Nothing of the broker's was made.
        for name in ["tenants", "change_log", "_sqlx_migrations"] {
            tables.execute(&format!("CREATE TABLE {name} (x int)"));
        }
    }
}

const OWN: &str = "
    credential: SELECT pass AS secret FROM account WHERE username = {username} AND 'plant' = {tenant}
    principal: SELECT active AS enabled, facts AS attributes FROM account WHERE username = {username}
    roles: SELECT 'staff' AS role -- and no other
    permissions: >
      SELECT 'publish' AS action, 'sites/{attribute:site}/{username}' AS filter, 1 AS max_qos
      UNION ALL SELECT 'subscribe', topic, 2 FROM acl WHERE username = {username} AND rw = 4
";

#[test]
fn columns_are_read_by_name_and_changes_that_are_told_count_at_once() {
    for engine in ENGINES {
        let queries = match engine {
            Engine::Sqlite => format!("{OWN}    changes: SELECT number FROM version\n"),
            Engine::Postgres => format!("{OWN}    notify_channel: rights\n"),
        };
        let (_broker, tables, address) = site(engine).open(&queries, "cache_ttl_ms: 3600000");
        let (mut kim, _) = Client::connect(address, login("kim", b"pencil"));
        let sent = kim.publish(publish("sites/north/kim", b"", Qos::AtLeastOnce));
        assert!(!sent.is_failure(), "{engine:?} {sent:?}");
        kim.subscribe("plant/+", Qos::AtLeastOnce);
        tables.execute("DELETE FROM acl WHERE rw = 4");
        let call = match engine {
            Engine::Sqlite => "UPDATE version SET number = 2",
            Engine::Postgres => "NOTIFY rights",
        };
        tables.execute(call);
        kim.expect_disconnected(ReasonCode::NotAuthorized);
        let (mut kim, _) = Client::connect(address, login("kim", b"pencil"));
        tables.execute("UPDATE account SET active = false WHERE username = 'kim'");
        tables.execute(&call.replace("= 2", "= 3"));
        kim.expect_disconnected(ReasonCode::NotAuthorized);
        refused(address, login("kim", b"pencil"));
    }
}

#[test]
fn a_change_that_nobody_tells_counts_when_what_is_known_is_too_old() {
    for engine in ENGINES {
        let (_broker, tables, address) = site(engine).open(GO_AUTH, "cache_ttl_ms: 100");
        let (mut kim, _) = Client::connect(address, login("kim", b"pencil"));
        kim.subscribe("plant/kim/#", Qos::AtLeastOnce);
        tables.execute("DELETE FROM acl");
        kim.expect_disconnected(ReasonCode::NotAuthorized);
    }
}

#[track_caller]
fn unready(engine: Engine, queries: &str, expected: &str) {
    let (broker, _tables) = site(engine).start(queries, "cache_ttl_ms: 1000");
    let admin = broker.admin();
    wait_until("the broker says what is wrong", || {
        let (status, answer) = admin.get("/api/v1/ready");
        assert_eq!(status, 503);
        answer["reason"].as_str().is_some_and(|reason| reason.contains(expected)).then_some(())
    });
    let (_, answer) = Client::attempt(broker.address("plain"), login("kim", b"pencil"));
    assert!(connack_of(&answer).reason_code.is_failure());
}

#[test]
fn a_query_that_does_not_fit_is_named_and_lets_nobody_in() {
    for (queries, expected) in [
        ("    acl: SELECT topics FROM acl", "the query `acl`: "),
        ("    acl: SELECT topic, rw FROM acl", "it has 2 columns, and topic alone is wanted"),
        ("    permissions: SELECT topic AS filter FROM acl", "it has no column \"action\""),
        (
            "    permissions: SELECT topic AS filter, 'publish' AS action, 1 AS max_qso FROM acl",
            "column \"max_qso\" is not known",
        ),
    ] {
        unready(Engine::Sqlite, queries, expected);
    }
    let missing = "    acl: SELECT topics FROM acl";
    unready(Engine::Postgres, missing, "the query `acl`: column \"topics\" does not exist");
    let number = "    acl: SELECT rw FROM acl WHERE username = $1";
    unready(Engine::Postgres, number, "column \"rw\" is of type INT4, and text is wanted");
}

#[test]
fn queries_are_checked_when_the_database_answers_at_last() {
    let server = Postgres::prepare().expect("prepare Postgres");
    let site = Site {
        url: server.url("postgres"),
        tables: Tables::Postgres { url: server.url("postgres"), server },
        folder: directory(),
    };
    let (broker, tables) = site.start("    acl: SELECT 'a/#' AS topic", "cache_ttl_ms: 1000");
    let admin = broker.admin();
    wait_until("the broker has tried", || {
        let (status, answer) = admin.get("/api/v1/ready");
        let tried = answer["reason"].as_str().is_some_and(|it| it.contains("postgres database"));
        (status == 503 && tried).then_some(())
    });
    tables.postgres().resume().expect("start Postgres");
    wait_until("the broker is ready", || (admin.get("/api/v1/ready").0 == 200).then_some(()));
}
