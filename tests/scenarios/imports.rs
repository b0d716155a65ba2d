//! A site that comes from Mosquitto with its files: the same clients, the same passwords, the same rights.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use hookmq_codec::{Connect, ProtocolVersion, Qos, ReasonCode};
use hookmq_tests::broker::{Broker, directory, hookmq};
use hookmq_tests::client::{Client, connect, publish};
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

#[test]
fn mosquittos_clients_come_along_into_sqlite() {
    let folder = directory();
    let file = folder.path().join("clients.db");
    let url = format!("sqlite:{}", file.display());
    comes_along(&url, || {
        let mut client = Command::new("sqlite3");
        client.args(["-bail", "-cmd", ".timeout 10000"]).arg(&file);
        client
    });
}

#[test]
fn mosquittos_clients_come_along_into_postgres() {
    let server = Postgres::shared().expect("start Postgres");
    let url = server.create_database().expect("make a database");
    comes_along(&url, || {
        let mut client = Command::new("psql");
        client.args([&url, "--quiet", "--set=ON_ERROR_STOP=1"]);
        client
    });
}

fn comes_along(url: &str, client: impl Fn() -> Command) {
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
    let imported = import(broker.directory());
    let report = String::from_utf8_lossy(&imported.stderr);
    assert!(imported.status.success(), "{report}");
    assert!(report.contains("the password of \"careless\" is left out"), "{report}");
    assert!(report.contains("3 principals, 2 passwords"), "{report}");
    // Twice is as good as once.
    for _ in 0..2 {
        fill(client(), &imported.stdout, broker.directory());
    }
    let address = broker.address("plain");
    let login = |username: &'static str, password: &'static [u8]| Connect {
        username: Some(username),
        password: Some(password),
        ..connect(ProtocolVersion::V5, username)
    };
    for (username, password) in [("kim", &b"pencils"[..]), ("careless", b"not hashed")] {
        let (_, answer) = Client::attempt(address, login(username, password));
        assert_eq!(connack_of(&answer).reason_code, ReasonCode::NotAuthorized, "{username}");
    }
    let (mut kim, _) = Client::connect(address, login("kim", b"pencil"));
    kim.subscribe("plant/kim/+", Qos::AtLeastOnce);
    kim.publish(publish("plant/kim/a", b"mine", Qos::AtLeastOnce));
    kim.expect_message("plant/kim/a", b"mine");
    kim.publish(publish("devices/kim/up", b"x", Qos::AtLeastOnce));
    for topic in ["devices/editor/up", "news/a", "news/secret"] {
        let refused = kim.publish(publish(topic, b"x", Qos::AtLeastOnce));
        assert_eq!(refused, ReasonCode::NotAuthorized, "{topic}");
    }
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
