//! Rows that deny: what the client notices, and which row it was.

use std::process::Command;

use hookmq_codec::{ProtocolVersion, Publish, Qos, ReasonCode};
use hookmq_tests::broker::hookmq;
use hookmq_tests::client::publish;
use hookmq_tests::company::{Company, Engine};
use hookmq_tests::guarded::Guarded;
use serde_json::Value;

const VERSIONS: [ProtocolVersion; 2] = [ProtocolVersion::V311, ProtocolVersion::V5];

const QUALITIES: [Qos; 3] = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];

/// `writer` may publish anything else.
const ROWS: &str = "
    INSERT INTO permissions (tenant, subject_kind, subject, action, filter, effect, on_denial) VALUES
        ('acme', 'principal', 'writer', 'publish', 'silent/#', 'deny', 'acknowledge'),
        ('acme', 'principal', 'writer', 'publish', 'told/#', 'deny', 'refuse'),
        ('acme', 'principal', 'writer', 'publish', 'final/#', 'deny', 'disconnect'),
        ('acme', 'principal', 'writer', 'subscribe', 'mark', 'allow', 'refuse');
";

#[test]
fn a_denial_that_is_acknowledged_looks_like_success_and_nobody_gets_the_message() {
    for version in VERSIONS {
        let company = Company::start(Engine::Sqlite, version, "", &[("subscribe", "#")]);
        company.execute(ROWS);
        company.wait_until_subscribing("writer", "mark", true);
        let mut reader = company.client("reader", "r");
        reader.subscribe("#", Qos::ExactlyOnce);
        let mut writer = company.client("writer", "w");
        for (number, qos) in QUALITIES.into_iter().enumerate() {
            let topic = format!("silent/{number}");
            let retained = Publish { retain: true, ..publish(&topic, b"x", qos) };
            assert_eq!(writer.publish(retained), ReasonCode::Success, "{version:?} {qos:?}");
            writer.expect_nothing();
            reader.expect_nothing();
            let told = writer.publish(publish("told/x", b"x", qos));
            let is_told = version.is_v5() && qos != Qos::AtMostOnce;
            assert_eq!(told == ReasonCode::NotAuthorized, is_told, "{version:?} {qos:?}");
            reader.expect_nothing();
        }
        writer.publish(publish("open/x", b"y", Qos::AtLeastOnce));
        let received = reader.expect_message("open/x", b"y");
        reader.acknowledge(&received);
        // Nothing was retained, either.
        let mut late = company.client("other", "o");
        late.subscribe("silent/#", Qos::AtLeastOnce);
        late.expect_nothing();
        let log = company.broker.log();
        let denied = |topic: &str| {
            log.lines().any(|line| line.contains("access denied") && line.contains(topic))
        };
        assert!((0..3).all(|number| denied(&format!("silent/{number}"))), "it is on record: {log}");
        writer.send(&hookmq_codec::Packet::Publish(publish("final/x", b"x", Qos::AtMostOnce)));
        writer.expect_disconnected(ReasonCode::NotAuthorized);
        reader.expect_nothing();
    }
}

/// Among the rows of [`Guarded`], which allow `open/#`.
const AMONG_OTHERS: &str = "
    INSERT INTO permissions (id, tenant, subject_kind, subject, action, filter, effect) VALUES
        (4711, 'acme', 'principal', 'valve', 'publish', 'open/secret', 'allow'),
        (815, 'acme', 'everyone', '', 'publish', 'open/secret', 'deny'),
        (42, 'acme', 'principal', 'pump', 'subscribe', 'open/+/down', 'deny'),
        (77, 'acme', 'principal', 'pump', 'publish', 'open/secret/known', 'allow');
";

/// The ids of rows, by the database's own client.
fn ids(site: &Guarded, condition: &str) -> String {
    let mut client = Command::new("sqlite3");
    client.arg(site.broker.directory().join("data/hookmq.db"));
    client.arg(format!("SELECT id FROM permissions WHERE {condition}"));
    let output = client.output().expect("apt-get install sqlite3");
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

/// What the step `database` answers to the command line's question, and the row that it names.
fn decided(site: &Guarded, action: &str, topic: &str, who: &[&str]) -> (bool, String) {
    let mut command = hookmq();
    command.args(["explain", action, topic, "--json", "--tenant", "acme"]).args(who);
    command.args(["--admin", &site.broker.admin().address.to_string(), "--token-file"]);
    let output = command.arg(site.broker.directory().join("data/admin.token")).output();
    let output = output.expect("run hookmq");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let explanation = &answer["explanations"][0];
    let notes = explanation["steps"][0]["notes"].as_array().expect("notes");
    let permission = notes.iter().find(|note| note["about"] == "permission");
    let permission = permission.and_then(|note| note["text"].as_str()).expect("a row");
    (explanation["outcome"]["denied"].is_null(), permission.to_owned())
}

#[test]
fn an_explanation_names_the_row_that_decided_by_its_id() {
    let site = Guarded::new("");
    site.execute(AMONG_OTHERS);
    let _connected = site.client("pump");
    for who in [["--username", "pump"], ["--client-id", "pump"]] {
        for (action, topic, is_allowed, condition) in [
            ("publish", "open/a", true, "action = 'publish' AND filter = 'open/#'"),
            ("publish", "open/secret", false, "subject_kind = 'everyone' AND effect = 'deny'"),
            ("publish", "open/secret/known", true, "filter = 'open/secret/known'"),
            ("subscribe", "open/a", true, "action = 'subscribe' AND filter = 'open/#'"),
            ("subscribe", "open/a/down", false, "filter = 'open/+/down'"),
            ("subscribe", "open/#", false, "filter = 'open/+/down'"),
        ] {
            let expected = (is_allowed, ids(&site, condition));
            assert_eq!(decided(&site, action, topic, &who), expected, "{action} {topic} {who:?}");
        }
    }
}
