//! A site that comes from Mosquitto with its files: the same clients, the same passwords, the same rights.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use hookmq_codec::{Connect, ProtocolVersion, Qos, ReasonCode};
use hookmq_tests::broker::{Broker, directory, hookmq};
use hookmq_tests::client::{Client, at, connect, publish};
use hookmq_tests::guarded::connack_of;
use hookmq_tests::postgres::Postgres;
use hookmq_tests::wait::wait_until;

const ACL: &str = "
user kim
topic readwrite plant/kim/#
topic read news/#
topic deny news/secret

pattern write devices/%u/up
";

/// mosquitto_passwd made these of `pencil`.
const PASSWD: &str = "\
kim:$7$101$b59SrLZ+qQCs1J58$WSEvGfWDtugKUc7MxEfxrmS/D509xV70CuvcRTpO5rQxtUNfhV8QFwCzqtJ4y8PoYE4dqZkBVL+d6AJc7wJg5Q==
editor:$7$101$b59SrLZ+qQCs1J58$WSEvGfWDtugKUc7MxEfxrmS/D509xV70CuvcRTpO5rQxtUNfhV8QFwCzqtJ4y8PoYE4dqZkBVL+d6AJc7wJg5Q==
careless:not hashed
";

/// The plugin for dynamic security made the passwords of `pencil`, too.
const DYNSEC: &str = r##"{
    "defaultACLAccess": {"publishClientSend": false, "publishClientReceive": true,
                         "subscribe": false, "unsubscribe": true},
    "clients": [
        {"username": "kim", "salt": "b59SrLZ+qQCs1J58", "iterations": 101, "password":
         "WSEvGfWDtugKUc7MxEfxrmS/D509xV70CuvcRTpO5rQxtUNfhV8QFwCzqtJ4y8PoYE4dqZkBVL+d6AJc7wJg5Q==",
         "roles": [{"rolename": "device"}]},
        {"username": "max", "salt": "b59SrLZ+qQCs1J58", "iterations": 101, "disabled": true, "password":
         "WSEvGfWDtugKUc7MxEfxrmS/D509xV70CuvcRTpO5rQxtUNfhV8QFwCzqtJ4y8PoYE4dqZkBVL+d6AJc7wJg5Q==",
         "roles": [{"rolename": "device"}]},
        {"username": "lee"}
    ],
    "groups": [{"groupname": "all", "roles": [{"rolename": "reader"}],
                "clients": [{"username": "kim"}, {"username": "lee"}]}],
    "roles": [
        {"rolename": "device", "acls": [
            {"acltype": "publishClientSend", "topic": "devices/%u/#", "allow": true, "priority": 1},
            {"acltype": "publishClientSend", "topic": "devices/%u/secret", "allow": false, "priority": 2},
            {"acltype": "subscribePattern", "topic": "devices/%u/#", "allow": true}]},
        {"rolename": "reader", "acls": [
            {"acltype": "subscribePattern", "topic": "news/#", "allow": true}]}
    ]
}"##;

/// Gives an empty database's address, and how to start its client.
fn in_both_databases(scenario: impl Fn(&str, &dyn Fn() -> Command)) {
    let folder = directory();
    let file = folder.path().join("clients.db");
    scenario(&format!("sqlite:{}", file.display()), &|| {
        let mut client = Command::new("sqlite3");
        client.args(["-bail", "-cmd", ".timeout 10000"]).arg(&file);
        client
    });
    let server = Postgres::shared().expect("start Postgres");
    let url = server.create_database().expect("make a database");
    scenario(&url, &|| {
        let mut client = Command::new("psql");
        client.args([&url, "--quiet", "--set=ON_ERROR_STOP=1"]);
        client
    });
}

fn site(url: &str) -> Broker {
    let yaml = format!(
        "data_dir: data
listeners: [{{name: plain, bind: \"tcp://127.0.0.1:0\"}}]
admin: {{bind: \"127.0.0.1:0\"}}
database: {{url: \"{url}\", poll_interval_ms: 20}}
pipeline:
  connect: [{{builtin: password, config: {{tenant: plant}}}}, {{builtin: database}}]
  authorize: [{{builtin: database}}]
"
    );
    let broker = Broker::with_config(&yaml, directory());
    let admin = broker.admin();
    wait_until("the broker is ready", || (admin.get("/api/v1/ready").0 == 200).then_some(()));
    broker
}

fn login(username: &'static str, password: &'static [u8]) -> Connect<'static> {
    Connect {
        username: Some(username),
        password: Some(password),
        ..connect(ProtocolVersion::V5, username)
    }
}

#[track_caller]
fn expect_refused(broker: &Broker, username: &'static str, password: &'static [u8]) {
    let (_, answer) = Client::attempt(broker.address("plain"), login(username, password));
    assert_eq!(connack_of(&answer).reason_code, ReasonCode::NotAuthorized, "{username}");
}

#[test]
fn mosquittos_clients_come_along() {
    in_both_databases(comes_along);
}

fn comes_along(url: &str, client: &dyn Fn() -> Command) {
    let broker = site(url);
    let imported = import(broker.directory());
    let report = String::from_utf8_lossy(&imported.stderr);
    assert!(imported.status.success(), "{report}");
    assert!(report.contains("the password of \"careless\" is left out"), "{report}");
    assert!(report.contains("3 principals, 2 passwords"), "{report}");
    // Twice is as good as once.
    for _ in 0..2 {
        fill(client(), &imported.stdout, broker.directory());
    }
    expect_refused(&broker, "kim", b"pencils");
    expect_refused(&broker, "careless", b"not hashed");
    let (mut kim, _) = Client::connect(broker.address("plain"), login("kim", b"pencil"));
    kim.subscribe("plant/kim/+", Qos::AtLeastOnce);
    kim.publish(publish("plant/kim/a", b"mine", Qos::AtLeastOnce));
    kim.expect_message("plant/kim/a", b"mine");
    kim.publish(publish("devices/kim/up", b"x", Qos::AtLeastOnce));
    for topic in ["devices/editor/up", "news/a", "news/secret"] {
        let refused = kim.publish(publish(topic, b"x", Qos::AtLeastOnce));
        assert_eq!(refused, ReasonCode::NotAuthorized, "{topic}");
    }
}

#[test]
fn clients_of_dynamic_security_come_along_with_their_roles() {
    in_both_databases(|url, client| {
        let broker = site(url);
        let file = broker.directory().join("dynamic-security.json");
        fs::write(&file, DYNSEC).expect("write a file");
        let mut command = hookmq();
        command.args(["import", "mosquitto", "--tenant", "plant", "--dynsec"]).arg(file);
        let imported = command.output().expect("run hookmq");
        let report = String::from_utf8_lossy(&imported.stderr);
        assert!(imported.status.success(), "{report}");
        assert!(report.contains("\"lee\" has no password"), "{report}");
        fill(client(), &imported.stdout, broker.directory());
        expect_refused(&broker, "kim", b"pencils");
        expect_refused(&broker, "max", b"pencil");
        expect_refused(&broker, "lee", b"");
        let (mut kim, _) = Client::connect(broker.address("plain"), login("kim", b"pencil"));
        kim.subscribe("devices/kim/+", Qos::AtLeastOnce);
        kim.subscribe("news/+", Qos::AtLeastOnce);
        let granted = kim.subscribe_with(&[("devices/lee/a", at(Qos::AtMostOnce))], None);
        assert_eq!(granted, [ReasonCode::NotAuthorized]);
        kim.publish(publish("devices/kim/a", b"mine", Qos::AtLeastOnce));
        kim.expect_message("devices/kim/a", b"mine");
        for topic in ["devices/kim/secret", "devices/lee/a", "news/a"] {
            let refused = kim.publish(publish(topic, b"x", Qos::AtLeastOnce));
            assert_eq!(refused, ReasonCode::NotAuthorized, "{topic}");
        }
    });
}

fn import(folder: &Path) -> Output {
    let (acl, passwd) = (folder.join("acl"), folder.join("passwd"));
    fs::write(&acl, ACL).expect("write a file");
    fs::write(&passwd, PASSWD).expect("write a file");
    let mut command = hookmq();
    command.args(["import", "mosquitto", "--tenant", "plant", "--acl"]).arg(acl);
    command.arg("--passwd").arg(passwd).output().expect("run hookmq")
}

/// As an operator does, by a pipe.
fn fill(mut client: Command, sql: &[u8], folder: &Path) {
    let file = folder.join("import.sql");
    fs::write(&file, sql).expect("write a file");
    let output = client.stdin(fs::File::open(file).expect("open it")).output();
    let output = output.expect("apt-get install sqlite3 postgresql-client");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
