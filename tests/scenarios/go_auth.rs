//! A site that comes from mosquitto-go-auth with its database.

use std::fs;
use std::process::Output;

use hookmq_codec::{Connect, ProtocolVersion, Qos, ReasonCode};
use hookmq_tests::broker::{Broker, directory, hookmq};
use hookmq_tests::client::{Client, connect, publish};
use hookmq_tests::company::Tables;
use hookmq_tests::guarded::connack_of;
use hookmq_tests::postgres::Postgres;
use hookmq_tests::wait::wait_until;

/// The password is `pencil`, by mosquitto-go-auth's rule.
const ACCOUNTS: &str = "
    CREATE TABLE account (username varchar(100), pass varchar(200), super int);
    CREATE TABLE acl (username varchar(100), topic text, rw int);
    INSERT INTO account VALUES
        ('kim', 'PBKDF2$sha512$1000$c2FsdHNhbHRzYWx0$mBU9rVuDZOTNPoli3/NGfrX9GAr4wNXWqIwiXMFrz8+w1X8vNVd33xlvWEeFfzoh2zJbIsq4OS0J1Kr5U/PxZg==', 0),
        ('boss', '$2b$04$4X4/ioQv9//2TeC21XCj..FhK8xI9vZ2MllL1xJePAPFOJUMPrM3.', 1),
        ('careless', 'pencil', 0), ('guest', NULL, 0);
    INSERT INTO acl VALUES
        ('kim', 'plant/%u/#', 3), ('kim', 'plant/#', 4), ('kim', 'news', 1), ('kim', 'a/#/b', 2);
";

fn comes_along(source: &Tables, dsn: &str) {
    source.execute(ACCOUNTS);
    let folder = directory();
    let imported = import(&["--dsn", dsn]);
    let report = String::from_utf8_lossy(&imported.stderr);
    assert!(imported.status.success(), "{report}");
    for remark in [
        "the password of \"careless\" is left out",
        "user \"guest\" has no password",
        "\"a/#/b\" is left out",
        "4 principals, 2 passwords",
    ] {
        assert!(report.contains(remark), "{remark}: {report}");
    }
    let config = folder.path().join("mosquitto.conf");
    let lines = "auth_opt_pg_userquery SELECT pass FROM account WHERE username = $1 limit 1
        auth_opt_pg_superquery SELECT count(*) FROM account WHERE username = $1 AND super = 1
        auth_opt_pg_aclquery SELECT topic FROM acl WHERE (username = $1) AND (rw & $2) > 0";
    fs::write(&config, lines).expect("write a file");
    let config = config.to_str().expect("UTF-8");
    let again =
        import(&["--dsn", dsn, "--queries", config, "--users", "SELECT username FROM account"]);
    assert_eq!(again.stdout, imported.stdout, "{}", String::from_utf8_lossy(&again.stderr));

    let database = folder.path().join("data/hookmq.db");
    let yaml = "data_dir: data
listeners: [{name: plain, bind: \"tcp://127.0.0.1:0\"}]
admin: {bind: \"127.0.0.1:0\"}
database: {poll_interval_ms: 20}
pipeline:
  connect: [{builtin: password, config: {tenant: plant}}, {builtin: database}]
  authorize: [{builtin: database}]
";
    let broker = Broker::with_config(yaml, folder);
    let admin = broker.admin();
    wait_until("the broker is ready", || (admin.get("/api/v1/ready").0 == 200).then_some(()));
    Tables::Sqlite(database).execute(&String::from_utf8(imported.stdout).expect("UTF-8"));
    let address = broker.address("plain");
    let login = |username: &'static str| Connect {
        username: Some(username),
        password: Some(b"pencil"),
        ..connect(ProtocolVersion::V5, username)
    };
    for username in ["careless", "guest"] {
        let (_, answer) = Client::attempt(address, login(username));
        assert_eq!(connack_of(&answer).reason_code, ReasonCode::NotAuthorized, "{username}");
    }
    let (mut kim, _) = Client::connect(address, login("kim"));
    let (mut boss, _) = Client::connect(address, login("boss"));
    kim.subscribe("plant/#", Qos::AtLeastOnce);
    // It may subscribe to more than it may read.
    for topic in ["plant/other", "plant/kim/a"] {
        assert!(!boss.publish(publish(topic, b"x", Qos::AtLeastOnce)).is_failure(), "{topic}");
    }
    kim.expect_message("plant/kim/a", b"x");
    let refused = kim.publish(publish("news", b"x", Qos::AtLeastOnce));
    assert_eq!(refused, ReasonCode::NotAuthorized);
    boss.subscribe("#", Qos::AtMostOnce);
}

fn import(more: &[&str]) -> Output {
    let mut command = hookmq();
    command.args(["import", "go-auth", "--tenant", "plant"]).args(more);
    command.output().expect("run hookmq")
}

#[test]
fn the_users_of_go_auth_come_along_from_sqlite() {
    let folder = directory();
    let file = folder.path().join("auth.db");
    comes_along(&Tables::Sqlite(file.clone()), &format!("sqlite:{}", file.display()));
}

#[test]
fn the_users_of_go_auth_come_along_from_postgres() {
    let server = Postgres::start().expect("start Postgres");
    let url = server.create_database().expect("make a database");
    comes_along(&Tables::Postgres { server, url: url.clone() }, &url);
}
