//! Grants into other tenants, given and withdrawn by the command line and the admin API.

use std::process::Output;

use hookmq_codec::{ProtocolVersion, Qos, ReasonCode};
use hookmq_tests::broker::hookmq;
use hookmq_tests::client::at;
use hookmq_tests::company::Engine;
use hookmq_tests::estate::Estate;
use hookmq_tests::wait::wait_until;
use serde_json::{Value, json};

fn run(estate: &Estate, arguments: &[&str]) -> Output {
    let mut command = hookmq();
    command.arg("tenant").args(arguments);
    command.env("HOOKMQ_ADMIN", estate.admin().address.to_string());
    command.env("HOOKMQ_TOKEN_FILE", estate.broker.directory().join("data/admin.token"));
    command.output().expect("hookmq runs")
}

fn said(estate: &Estate, arguments: &[&str]) -> Value {
    let output = run(estate, arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

#[test]
fn grants_are_given_listed_and_withdrawn_by_the_command_line() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let estate = Estate::start(engine, ProtocolVersion::V5);
        let whom = ["--tenant", "ops", "--username", "service"];
        let what = ["--publish", "cmd/#", "--subscribe", "a/#", "--subscribe", "b"];
        let lasts = ["--expires-in-s", "600"];
        let made = said(&estate, &[&["grant", "acme"], &whom[..], &what, &lasts].concat());
        assert_eq!(
            (&made["target"], &made["publish"], &made["subscribe"]),
            (&json!("acme"), &json!(["cmd/#"]), &json!(["a/#", "b"]))
        );
        assert!(made["granted_by"].as_str().is_some_and(|it| it.contains('@')), "{made}");
        assert!(made["expires_at"].is_string() && made["granted_at"].is_string(), "{made}");
        for tenant in ["acme", "ops"] {
            assert_eq!(said(&estate, &["grants", tenant]), json!([made]), "{tenant}");
        }
        assert_eq!(said(&estate, &["grants", "globex"]), json!([]));
        let mut service = estate.client("service", "s");
        wait_until("it is in force", || {
            let granted = service.subscribe_with(&[("$tenant/acme/b", at(Qos::AtMostOnce))], None);
            (granted == [ReasonCode::Success]).then_some(())
        });
        let id = made["id"].to_string();
        assert!(!run(&estate, &["revoke", "globex", &id]).status.success());
        said(&estate, &["revoke", "acme", &id]);
        service.expect_disconnected(ReasonCode::NotAuthorized);
        assert_eq!(said(&estate, &["grants", "acme"]), json!([]));
        assert!(!run(&estate, &["revoke", "acme", &id]).status.success());
        assert!(!run(&estate, &[&["grant", "acme"], &whom[..]].concat()).status.success());
        assert!(estate.broker.log().contains("what=\"withdrawn\""));
    }
}

/// Every row is refused, and there is no grant afterwards.
#[test]
fn a_grant_that_cannot_be_understood_is_none() {
    let estate = Estate::start(Engine::Sqlite, ProtocolVersion::V5);
    let odd = json!({"name": "a/b"}).to_string();
    assert_eq!(estate.admin().post("/api/v1/tenants", odd.as_bytes()).0, 201);
    let many = vec!["a"; 101];
    for (target, body, status) in [
        ("acme", json!({}), 400),
        ("acme", json!({"tenant": "ops", "username": "s"}), 400),
        ("acme", json!({"tenant": "ops", "username": "", "publish": ["a"]}), 400),
        ("acme", json!({"tenant": "ops", "username": "s", "publish": []}), 400),
        ("acme", json!({"tenant": "ops", "username": "s", "publish": ["a/#/b"]}), 400),
        ("acme", json!({"tenant": "ops", "username": "s", "publish": [""]}), 400),
        ("acme", json!({"tenant": "ops", "username": "s", "publish": many}), 400),
        ("acme", json!({"tenant": "ops", "username": "s", "subscribe": ["$SYS/#"]}), 400),
        ("acme", json!({"tenant": "ops", "username": "s", "subscribe": ["$share/g/a"]}), 400),
        ("acme", json!({"tenant": "ops", "username": "s", "subscribe": ["$tenant/globex/a"]}), 400),
        ("acme", json!({"tenant": "ops", "username": "s", "subscribe": "a"}), 400),
        ("acme", json!({"tenant": "ops", "username": "s", "publish": ["a"], "deny": []}), 400),
        (
            "acme",
            json!({"tenant": "ops", "username": "s", "publish": ["a"], "expires_in_s": -1}),
            400,
        ),
        ("acme", json!({"tenant": "acme", "username": "s", "publish": ["a"]}), 400),
        ("acme", json!({"tenant": "nobody", "username": "s", "publish": ["a"]}), 404),
        ("nobody", json!({"tenant": "ops", "username": "s", "publish": ["a"]}), 404),
        ("a%2Fb", json!({"tenant": "ops", "username": "s", "publish": ["a"]}), 400),
        ("%2B", json!({"tenant": "ops", "username": "s", "publish": ["a"]}), 400),
    ] {
        let path = format!("/api/v1/tenants/{target}/grants");
        let (answered, said) = estate.admin().post(&path, body.to_string().as_bytes());
        assert_eq!(answered, status, "{target} {body}: {said}");
    }
    assert_eq!(estate.admin().get("/api/v1/tenants/ops/grants").1["items"], json!([]));
    assert_eq!(estate.admin().get("/api/v1/tenants/nobody/grants").0, 404);
    assert_eq!(estate.admin().delete("/api/v1/tenants/acme/grants/1").0, 404);
    // What SQL has brought in and nobody can read is told, and leads nowhere.
    estate.tables.execute(
        "INSERT INTO tenant_grants (tenant, username, target, publish)
        VALUES ('ops', 'service', 'acme', '[\"#\", \"a/#/b\"]')",
    );
    estate.broker.wait_for_log("a tenant grant cannot be read");
    let mut service = estate.client("service", "s");
    estate.expect_unpublished(&mut service, "$tenant/acme/a");
}
