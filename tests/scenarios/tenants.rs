//! Tenants by the admin API and the command line.

mod plugins;
mod rules;
mod tokens;

use std::process::Output;

use hookmq_codec::{Packet, ProtocolVersion, Publish, Qos, ReasonCode};
use hookmq_tests::admin::AdminClient;
use hookmq_tests::broker::{Broker, directory, hookmq};
use hookmq_tests::client::{Client, connect, connect_to_session, publish};
use hookmq_tests::company::{Company, Engine};
use hookmq_tests::wait::wait_until;
use serde_json::{Value, json};

const VERSIONS: [ProtocolVersion; 2] = [ProtocolVersion::V311, ProtocolVersion::V5];

/// A broker with tables, and the tenants `a` and `b`, each with a listener, whose clients may do
/// anything.
fn two_tenants() -> Broker {
    let yaml = "data_dir: data
listeners:
  - {name: a, bind: \"tcp://127.0.0.1:0\"}
  - {name: b, bind: \"tcp://127.0.0.1:0\"}
admin: {bind: \"127.0.0.1:0\"}
database: {url: \"sqlite:data/hookmq.db\", poll_interval_ms: 20}
pipeline:
  connect:
    - {builtin: anonymous, listeners: [a], config: {tenant: a}}
    - {builtin: anonymous, listeners: [b], config: {tenant: b}}
  authorize: [{builtin: open}]
";
    let broker = Broker::with_config(yaml, directory());
    let admin = broker.admin();
    wait_until("the broker is ready", || (admin.get("/api/v1/ready").0 == 200).then_some(()));
    for name in ["a", "b"] {
        assert_eq!(post(&admin, "/api/v1/tenants", json!({"name": name})).0, 201);
    }
    broker
}

fn post(admin: &AdminClient, path: &str, body: Value) -> (u16, Value) {
    admin.post(path, body.to_string().as_bytes())
}

fn patch(admin: &AdminClient, path: &str, body: Value) -> (u16, Value) {
    admin.patch(path, body.to_string().as_bytes())
}

fn client(broker: &Broker, tenant: &str, version: ProtocolVersion, client_id: &str) -> Client {
    Client::connect(broker.address(tenant), connect(version, client_id)).0
}

/// Runs `hookmq tenant` against the broker.
fn run(broker: &Broker, arguments: &[&str]) -> Output {
    let mut command = hookmq();
    command.arg("tenant").args(arguments);
    command.env("HOOKMQ_ADMIN", broker.admin().address.to_string());
    command.env("HOOKMQ_TOKEN_FILE", broker.directory().join("data/admin.token"));
    command.output().expect("hookmq runs")
}

#[track_caller]
fn said(broker: &Broker, arguments: &[&str]) -> String {
    let output = run(broker, arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn a_tenant_is_made_changed_disabled_and_deleted_by_the_command_line() {
    for (engine, version) in [(Engine::Sqlite, VERSIONS[0]), (Engine::Postgres, VERSIONS[1])] {
        let company = Company::start(engine, version, "", &[("subscribe", "#")]);
        let broker = &company.broker;
        let quota = ["--quota", "sessions=5", "--quota", "connections=7"];
        let attributes = ["--attributes", "{\"site\": \"north\"}"];
        said(broker, &[&["create", "globex"], &quota[..], &attributes].concat());
        let shown: Value = serde_json::from_str(&said(broker, &["show", "globex"])).expect("JSON");
        assert_eq!(shown["quotas"]["sessions"], 5);
        assert_eq!(
            (&shown["attributes"]["site"], &shown["usage"]),
            (&json!("north"), &Value::Null)
        );
        said(broker, &["set", "globex", "--quota", "sessions=none"]);
        let shown: Value = serde_json::from_str(&said(broker, &["show", "globex"])).expect("JSON");
        assert_eq!(
            (&shown["quotas"]["sessions"], &shown["quotas"]["connections"]),
            (&Value::Null, &json!(7))
        );
        assert_eq!(shown["attributes"]["site"], "north");
        let again = run(broker, &["create", "globex"]);
        assert!(String::from_utf8_lossy(&again.stderr).contains("there is a tenant of this name"));
        let listed = said(broker, &["list"]);
        assert!(listed.contains("acme\t") && listed.contains("globex\tnot in use"), "{listed}");

        let mut reader = company.client("reader", "r");
        said(broker, &["disable", "acme"]);
        reader.expect_disconnected(ReasonCode::NotAuthorized);
        assert!(said(broker, &["list"]).contains("acme\tdisabled"));
        said(broker, &["enable", "acme"]);
        wait_until("the tenant is enabled", || {
            let attempt = connect(version, "r");
            let (client, answer) = Client::attempt(company.address("reader"), attempt);
            let Packet::ConnAck(connack) = answer.packet() else { panic!("not CONNACK") };
            (connack.reason_code == ReasonCode::Success).then_some(client)
        });
        assert!(!run(broker, &["delete", "globex"]).status.success(), "without --yes");
        said(broker, &["delete", "globex", "--yes"]);
        assert!(!run(broker, &["show", "globex"]).status.success());
        broker.wait_for_log("method=\"DELETE\" path=\"/api/v1/tenants/globex\" status=204");
    }
}

#[test]
fn a_deleted_tenant_leaves_nothing_behind_and_others_are_untouched() {
    for version in VERSIONS {
        let broker = two_tenants();
        let admin = broker.admin();
        let mut connected = Vec::new();
        for tenant in ["a", "b"] {
            let address = broker.address(tenant);
            let away = connect_to_session(version, "away", 600);
            let mut away = Client::connect(address, away).0;
            away.subscribe("#", Qos::AtLeastOnce);
            away.disconnect();
            let stays = connect_to_session(version, "stays", 600);
            let mut stays = Client::connect(address, stays).0;
            stays.publish(Publish { retain: true, ..publish("t", b"kept", Qos::AtLeastOnce) });
            connected.push(stays);
        }
        let usage = |tenant: &str| {
            let (_, shown) = admin.get(&format!("/api/v1/tenants/{tenant}"));
            let mut usage = shown["usage"].as_object().expect("it is used").clone();
            let traffic = ["messages_in", "bytes_in", "messages_out", "bytes_out"];
            let traffic = traffic.map(|it| usage.remove(it).and_then(|it| it.as_u64()));
            (Value::Object(usage), traffic)
        };
        wait_until("what has passed is counted", || {
            let [messages_in, bytes_in, ..] = usage("b").1;
            (messages_in == Some(1) && bytes_in > Some(0)).then_some(())
        });
        let usage = |tenant: &str| usage(tenant).0;
        let full = usage("b");
        assert_eq!(usage("a"), full);
        for (figure, value) in
            [("connections", 1), ("sessions", 2), ("subscriptions", 1), ("retained_messages", 1)]
        {
            assert_eq!(full[figure], value, "{figure}");
        }
        assert!(
            full["queued_bytes"].as_u64() > Some(0) && full["retained_bytes"].as_u64() > Some(0)
        );

        assert_eq!(admin.delete("/api/v1/tenants/a").0, 204);
        connected.remove(0).expect_disconnected(ReasonCode::AdministrativeAction);
        connected[0].expect_nothing();
        wait_until("the sessions are over", || (usage("a")["sessions"] == 0).then_some(()));
        let left = usage("a");
        for figure in ["connections", "subscriptions", "retained_messages", "queued_bytes"] {
            assert_eq!(left[figure], 0, "{figure}");
        }
        assert_eq!(usage("b"), full);
        let mut new = client(&broker, "a", version, "new");
        new.subscribe("#", Qos::AtMostOnce);
        new.expect_nothing();
        assert_eq!(admin.delete("/api/v1/tenants/a").0, 404);
    }
}

#[test]
fn a_tenant_may_have_any_name_that_the_tables_take() {
    let broker = two_tenants();
    let admin = broker.admin();
    let names = [
        ("x/y", "x%2Fy"),
        ("..", "%2E%2E"),
        ("a?b#c%41", "a%3Fb%23c%2541"),
        ("é \u{202e}\"\\", "%C3%A9%20%E2%80%AE%22%5C"),
        ("tokens", "tokens"),
        ("';DROP TABLE tenants;--", "%27%3BDROP%20TABLE%20tenants%3B--"),
        ("A", "A"),
    ];
    for (name, encoded) in names {
        let path = format!("/api/v1/tenants/{encoded}");
        assert_eq!(admin.get(&path).0, 404, "{name}");
        let quotas = json!({"sessions": 3});
        assert_eq!(post(&admin, "/api/v1/tenants", json!({"name": name, "quotas": quotas})).0, 201);
        let (status, shown) = admin.get(&path);
        assert_eq!(
            (status, &shown["name"], &shown["quotas"]["sessions"]),
            (200, &json!(name), &json!(3))
        );
        assert_eq!(patch(&admin, &path, json!({"quotas": {"sessions": 4}})).0, 200);
        let shown: Value = serde_json::from_str(&said(&broker, &["show", name])).expect("JSON");
        assert_eq!(shown["quotas"]["sessions"], 4, "{name}");
    }
    let (_, listed) = admin.get("/api/v1/tenants");
    let listed = listed["items"].as_array().expect("a list");
    let stored = listed.iter().filter(|it| it["stored"] == true).count();
    assert_eq!(stored, 2 + names.len());
    assert_eq!(admin.get("/api/v1/tenants/a").1["quotas"], Value::Null);
    for (name, encoded) in names {
        assert_eq!(admin.delete(&format!("/api/v1/tenants/{encoded}")).0, 204, "{name}");
    }
    for wrong in ["", "\u{1}", "a\u{7f}", &"x".repeat(256)] {
        assert_eq!(post(&admin, "/api/v1/tenants", json!({"name": wrong})).0, 400, "{wrong:?}");
    }
}

/// Every row is refused, and nothing is different afterwards.
#[test]
fn what_cannot_be_understood_changes_nothing() {
    let broker = two_tenants();
    let admin = broker.admin();
    let state = || admin.get("/api/v1/tenants").1;
    let before = state();
    let large = format!("{{\"attributes\": {{\"x\": \"{}\"}}}}", "x".repeat(70_000));
    for (method, path, body, status) in [
        ("POST", "/api/v1/tenants", "", 400),
        ("POST", "/api/v1/tenants", "{}", 400),
        ("POST", "/api/v1/tenants", "[\"c\"]", 400),
        ("POST", "/api/v1/tenants", "{\"name\": \"c\", \"admin\": true}", 400),
        ("POST", "/api/v1/tenants", "{\"name\": \"a\"}", 409),
        ("POST", "/api/v1/tenants", "{\"name\": \"c\", \"quotas\": {\"sessions\": -1}}", 400),
        ("POST", "/api/v1/tenants", "{\"name\": \"c\", \"quotas\": {\"tenants\": 1}}", 400),
        ("PATCH", "/api/v1/tenants/a", "{\"quotas\": {\"connects_per_s\": 0}}", 400),
        ("PATCH", "/api/v1/tenants/a", "{\"enabled\": \"no\"}", 400),
        ("PATCH", "/api/v1/tenants/a", "{\"enabled\": false, \"name\": \"b\"}", 400),
        ("PATCH", "/api/v1/tenants/a", "{\"attributes\": [1]}", 400),
        ("PATCH", "/api/v1/tenants/a", "{\"attributes\": {\"x\": \"\\u0000\"}}", 400),
        ("PATCH", "/api/v1/tenants/a", &large, 413),
        ("PATCH", "/api/v1/tenants/c", "{\"enabled\": false}", 404),
        ("PATCH", "/api/v1/tenants/c", "{\"quotas\": {\"sessions\": 1}}", 404),
        ("PUT", "/api/v1/tenants/a", "{\"enabled\": false}", 405),
        ("DELETE", "/api/v1/tenants/c", "", 404),
        ("DELETE", "/api/v1/tenants", "", 405),
        ("POST", "/api/v1/tenants/c/tokens", "{\"name\": \"t\"}", 404),
        ("POST", "/api/v1/tenants/a/tokens", "{\"name\": \"\"}", 400),
        ("POST", "/api/v1/tenants/a/tokens", "{\"name\": \"t\", \"hash\": \"x\"}", 400),
        ("DELETE", "/api/v1/tenants/a/tokens/t", "", 404),
        ("POST", "/api/v1/tenants/a/bans", "{\"kind\": \"tenant\", \"subject\": \"\"}", 400),
        ("POST", "/api/v1/tenants/a/bans", "{\"kind\": \"client_id\", \"subject\": \"\"}", 400),
        ("POST", "/api/v1/tenants/a/bans", "{\"kind\": \"address\", \"subject\": \"x\"}", 400),
        ("POST", "/api/v1/tenants/a/bans", "{\"kind\": \"x\", \"subject\": \"x\"}", 400),
        ("DELETE", "/api/v1/tenants/a/bans/1", "", 404),
        ("DELETE", "/api/v1/tenants/a/bans/x", "", 400),
        ("DELETE", "/api/v1/tenants/%ff", "", 400),
    ] {
        let length = format!("Content-Length: {}\r\n", body.len());
        let answer = admin.raw(&format!("{method} {path}"), &length, body.as_bytes());
        let (answered, said) = answer.expect("an answer");
        assert_eq!(answered, status, "{method} {path} {}: {said}", &body[..body.len().min(80)]);
    }
    // A method is what the request line says.
    for header in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"] {
        let headers = format!("{header}: DELETE\r\nContent-Length: 2\r\n");
        let answer = admin.raw("GET /api/v1/tenants/a?_method=DELETE", &headers, b"{}");
        assert_eq!(answer.expect("an answer").0, 200);
    }
    for token in ["", "wrong", &format!("hookmq-tenant-{}", "0".repeat(64))] {
        let stranger = admin.with_token(token);
        assert_eq!(stranger.delete("/api/v1/tenants/a").0, 401, "{token}");
        assert_eq!(stranger.get("/api/v1/tenants/a").0, 401, "{token}");
    }
    assert_eq!(state(), before);
}

#[test]
fn without_a_database_tenants_are_seen_and_not_changed() {
    let broker = Broker::open_with_sections("quotas: {default: {sessions: 9}}");
    let admin = broker.admin();
    let _client = client(&broker, hookmq_tests::broker::OPEN_LISTENER, VERSIONS[1], "c");
    let (status, shown) = admin.get("/api/v1/tenants/default");
    assert_eq!((status, &shown["stored"]), (200, &json!(false)));
    assert_eq!(
        (&shown["usage"]["sessions"], &shown["quotas_in_force"]["sessions"]),
        (&json!(1), &json!(9))
    );
    assert_eq!(admin.get("/api/v1/tenants/nobody").0, 404);
    let refused = run(&broker, &["disable", "default"]);
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && words.contains("the broker has no database"), "{words}");
    assert_eq!(post(&admin, "/api/v1/tenants", json!({"name": "c"})).0, 409);
}
