//! A change of permissions is foretold, and then made: what was foretold is what happens.

use std::fs;
use std::process::Output;

use hookmq_codec::{ProtocolVersion, Qos, ReasonCode};
use hookmq_tests::broker::hookmq;
use hookmq_tests::client::publish;
use hookmq_tests::company::{Company, Engine};
use hookmq_tests::wait::wait_until;
use serde_json::{Value, json};

const CHANGE: &str = "
    DELETE FROM permissions WHERE subject = 'reader' AND filter = 'a/#';
    UPDATE permissions SET max_qos = 0 WHERE subject = 'other' AND filter = 'b/#';
    UPDATE principals SET enabled = false WHERE username = 'writer';
    INSERT INTO permissions (tenant, subject_kind, subject, action, filter)
        VALUES ('acme', 'principal', 'other', 'publish', 'c/{client_id}/#'),
            ('acme', 'role', 'staff', 'publish', 'c/{username}/#');
";

fn company(engine: Engine) -> Company {
    let permissions = [("subscribe", "a/#"), ("subscribe", "b/#")];
    Company::start(engine, ProtocolVersion::V5, "", &permissions)
}

/// `hookmq acl diff` with this change.
fn diff(company: &Company, change: &str, more: &[&str]) -> Output {
    let folder = company.broker.directory();
    let file = folder.join("change.sql");
    fs::write(&file, change).expect("write the change");
    let mut command = hookmq();
    command.args(["acl", "diff", "--config"]).arg(folder.join("hookmq.yaml"));
    command.arg("--sql").arg(file).args(more);
    if !more.iter().any(|it| it.contains("principal")) {
        command.arg("--admin").arg(company.broker.admin().address.to_string());
        command.arg("--token-file").arg(folder.join("data/admin.token"));
    }
    command.output().expect("run hookmq")
}

fn told(output: &Output) -> Value {
    let error = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("not JSON: {error}"))
}

/// `username what filter: before -> after` of each difference.
fn lines(told: &Value) -> Vec<String> {
    let text = |item: &Value, name: &str| item[name].as_str().expect("a text").to_owned();
    let line = |item: &Value| {
        let [username, what, filter, before, after] =
            ["username", "what", "filter", "before", "after"].map(|name| text(item, name));
        format!("{username} {what} {filter}: {before} -> {after}")
    };
    told["items"].as_array().expect("a list").iter().map(line).collect()
}

fn comes_true(engine: Engine) {
    let company = company(engine);
    let mut reader = company.client("reader", "r");
    let mut other = company.client("other", "o");
    let mut writer = company.client("writer", "w");
    reader.subscribe("a/+", Qos::AtLeastOnce);
    reader.subscribe("$share/group/b/x", Qos::AtMostOnce);
    other.subscribe("b/#", Qos::ExactlyOnce);
    let expected = [
        "other subscription b/#: QoS 2 -> QoS 0",
        "other publish c/other/#: denied -> QoS 2",
        "other subscribe b/#: QoS 2 -> QoS 0",
        "reader subscription a/+: QoS 1 -> ended",
        "reader publish c/reader/#: denied -> QoS 2",
        "reader subscribe a/#: QoS 2 -> denied",
        "writer connection : admitted -> the principal is disabled",
    ];
    // A second time nothing is different: it was not made.
    for _ in 0..2 {
        let output = diff(&company, CHANGE, &["--json"]);
        assert_eq!(output.status.code(), Some(1));
        let told = told(&output);
        assert_eq!(lines(&told), expected);
        assert_eq!((&told["compared"], &told["incomplete"]), (&json!(3), &json!([])));
    }
    let output = diff(&company, CHANGE, &["--tenant", "acme"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.starts_with("- acme/other (o)"), "{text}");
    assert!(text.contains("3 compared, 7 differences: somebody loses"), "{text}");
    let metrics = company.broker.admin();
    assert_eq!(metrics.metric("subscriptions_revoked_total"), 0);
    let refused = other.publish(publish("c/other/x", b"", Qos::AtLeastOnce));
    assert_eq!(refused, ReasonCode::NotAuthorized);

    company.execute(CHANGE);
    reader.expect_disconnected(ReasonCode::NotAuthorized);
    writer.expect_disconnected(ReasonCode::NotAuthorized);
    company.wait_until_subscribing("reader", "a/+", false);
    assert_eq!(metrics.metric("subscriptions_revoked_total"), 1);
    wait_until("the change is in force for the other", || {
        let granted = other.publish(publish("c/other/x", b"", Qos::AtLeastOnce));
        (!granted.is_failure()).then_some(())
    });
}

#[test]
fn what_is_foretold_comes_true_on_sqlite() {
    comes_true(Engine::Sqlite);
}

#[test]
fn what_is_foretold_comes_true_on_postgres() {
    comes_true(Engine::Postgres);
}

#[test]
fn what_an_attribute_gives_and_takes_is_foretold() {
    let company = company(Engine::Sqlite);
    let mut other = company.client("other", "o");
    company.execute(
        "INSERT INTO permissions (tenant, subject_kind, action, filter)
            VALUES ('acme', 'everyone', 'publish', 'sites/{attribute:site}');
        UPDATE principals SET attributes = '{\"site\": \"north\"}' WHERE username = 'other'",
    );
    wait_until("the attribute counts", || {
        let answer = other.publish(publish("sites/north", b"", Qos::AtLeastOnce));
        (!answer.is_failure()).then_some(())
    });
    let change = "UPDATE principals SET attributes = '{\"site\": \"south\"}'";
    let expected = [
        "other publish sites/north: QoS 2 -> denied",
        "other publish sites/south: denied -> QoS 2",
    ];
    assert_eq!(lines(&told(&diff(&company, change, &["--json"]))), expected);
    company.execute(change);
    wait_until("the change counts", || {
        let answer = other.publish(publish("sites/north", b"", Qos::AtLeastOnce));
        answer.is_failure().then_some(())
    });
    let answer = other.publish(publish("sites/south", b"", Qos::AtLeastOnce));
    assert!(!answer.is_failure(), "{answer:?}");
}

fn commits_nothing(engine: Engine, changes: &[&str]) {
    let company = company(engine);
    for change in changes {
        let change = change.replace("LEAK", "INSERT INTO tenants (name) VALUES ('leaked')");
        let output = diff(&company, &change, &["--principal", "acme/reader"]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{change}: {error}");
        assert!(output.stdout.is_empty(), "{change}");
    }
    // It is not there: a second one would be refused.
    company.execute("INSERT INTO tenants (name) VALUES ('leaked')");
}

#[test]
fn no_change_is_committed_whatever_it_says_on_sqlite() {
    commits_nothing(
        Engine::Sqlite,
        &[
            "LEAK; COMMIT;",
            "LEAK; END TRANSACTION;",
            "COMMIT; LEAK",
            "ROLLBACK; LEAK",
            "ROLLBACK; BEGIN; LEAK; COMMIT; BEGIN",
            "BEGIN; LEAK; COMMIT",
            "LEAK; /* ; */ CoMmIt -- it",
            "LEAK; SELECT nothing",
            "SAVEPOINT a; LEAK; RELEASE a; COMMIT",
            "INSERT OR ROLLBACK INTO tenants (name) VALUES ('acme')",
        ],
    );
}

#[test]
fn no_change_is_committed_whatever_it_says_on_postgres() {
    commits_nothing(
        Engine::Postgres,
        &[
            "LEAK; COMMIT;",
            "LEAK; END",
            "COMMIT; LEAK",
            "ROLLBACK; LEAK",
            "BEGIN; LEAK; COMMIT",
            "LEAK; COMMIT AND CHAIN; SELECT 1",
            "LEAK; PREPARE TRANSACTION 'later'",
            "LEAK; DO $$ BEGIN COMMIT; END $$",
            "LEAK; DO $$ BEGIN EXECUTE 'COMMIT'; END $$",
            "CREATE PROCEDURE leak() LANGUAGE plpgsql AS $$ BEGIN LEAK; COMMIT; END $$; CALL leak()",
            "LEAK; $hookmq$; COMMIT; DO $hookmq$",
            "LEAK; VACUUM",
            "LEAK; SELECT nothing",
        ],
    );
}

#[test]
fn principals_are_compared_without_a_broker() {
    let company = company(Engine::Sqlite);
    let more = "
        INSERT INTO principals (tenant, username, attributes)
            VALUES ('acme', 'new', '{\"site\": \"north\"}');
        INSERT INTO permissions (tenant, subject_kind, action, filter)
            VALUES ('acme', 'everyone', 'publish', 'sites/{attribute:site}');
    ";
    let output = diff(&company, more, &["--all-principals", "--json"]);
    assert_eq!(output.status.code(), Some(0), "nobody loses");
    let told = told(&output);
    assert_eq!(lines(&told), ["new connection : there is no such principal -> admitted"]);
    assert_eq!(told["compared"], json!(4));
    let less = "DELETE FROM permissions WHERE subject = 'writer'";
    let output = diff(&company, less, &["--principal", "acme/writer", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(lines(&self::told(&output)), ["writer publish #: QoS 2 -> denied"]);
    let output = diff(&company, less, &["--principal", "acme/reader"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stdout, b"1 compared, 0 differences: nobody loses\n");
}
