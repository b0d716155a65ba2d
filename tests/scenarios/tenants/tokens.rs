//! Tokens that are good for one tenant.

use hookmq_codec::ReasonCode;
use hookmq_tests::admin::AdminClient;
use hookmq_tests::company::{Company, Engine};
use serde_json::{Value, json};

use super::{VERSIONS, client, patch, post, said, two_tenants};

/// A token of the tenant's.
fn token(admin: &AdminClient, tenant: &str, body: Value) -> String {
    let (status, made) = post(admin, &format!("/api/v1/tenants/{tenant}/tokens"), body);
    assert_eq!(status, 201, "{made}");
    made["token"].as_str().expect("a token").to_owned()
}

/// What a token of the tenant `a` is not good for: everything else that there is.
const NOT_OF_A: &[(&str, &str, &str)] = &[
    ("GET", "/api/v1/tenants", ""),
    ("POST", "/api/v1/tenants", "{\"name\": \"c\"}"),
    ("GET", "/api/v1/tenants/b", ""),
    ("HEAD", "/api/v1/tenants/b", ""),
    ("GET", "/api/v1/tenants/nobody", ""),
    ("PATCH", "/api/v1/tenants/b", "{\"attributes\": {}}"),
    ("PATCH", "/api/v1/tenants/a", "{\"quotas\": null}"),
    ("PATCH", "/api/v1/tenants/a", "{\"quotas\": {\"sessions\": 9}}"),
    ("PATCH", "/api/v1/tenants/a", "{\"enabled\": true}"),
    ("DELETE", "/api/v1/tenants/a", ""),
    ("DELETE", "/api/v1/tenants/b", ""),
    ("GET", "/api/v1/tenants/a/tokens", ""),
    ("POST", "/api/v1/tenants/a/tokens", "{\"name\": \"more\"}"),
    ("POST", "/api/v1/tenants/b/tokens", "{\"name\": \"more\"}"),
    ("DELETE", "/api/v1/tenants/a/tokens/ops", ""),
    ("GET", "/api/v1/clients?tenant=b", ""),
    ("DELETE", "/api/v1/clients/b/c", ""),
    ("GET", "/api/v1/tenants/a/grants", ""),
    (
        "POST",
        "/api/v1/tenants/a/grants",
        "{\"tenant\": \"b\", \"username\": \"u\", \"publish\": [\"#\"]}",
    ),
    (
        "POST",
        "/api/v1/tenants/b/grants",
        "{\"tenant\": \"a\", \"username\": \"u\", \"publish\": [\"#\"]}",
    ),
    ("DELETE", "/api/v1/tenants/a/grants/1", ""),
    ("GET", "/api/v1/tenants/b/bans", ""),
    ("GET", "/api/v1/tenants/b/rules", ""),
    ("GET", "/api/v1/tenants/b/rules/r", ""),
    ("PUT", "/api/v1/tenants/b/rules/r", "fn publish(client, message) { drop() }"),
    ("DELETE", "/api/v1/tenants/b/rules/r", ""),
    ("POST", "/api/v1/tenants/b/rules/r/rollback", ""),
    ("POST", "/api/v1/tenants/b/bans", "{\"kind\": \"client_id\", \"subject\": \"c\"}"),
    ("POST", "/api/v1/explain", "{\"tenant\": \"b\", \"client_id\": \"c\", \"topic\": \"t\"}"),
    ("POST", "/api/v1/explain", "{\"client_id\": \"c\"}"),
    ("POST", "/api/v1/explain", "{\"recorded\": 1}"),
    ("POST", "/api/v1/explain", "{\"tenant\": \"a\", \"action\": \"connect\"}"),
    ("GET", "/api/v1/status", ""),
    ("GET", "/api/v1/ready", ""),
    ("GET", "/api/v1/metrics", ""),
    ("GET", "/api/v1/pipeline", ""),
    ("GET", "/api/v1/rules", ""),
    ("POST", "/api/v1/rules/reload", ""),
    ("GET", "/api/v1/plugins", ""),
    ("GET", "/api/v1/rules/r", ""),
    ("POST", "/api/v1/rules/r", ""),
    ("POST", "/api/v1/rules/r/versions", ""),
    ("POST", "/api/v1/rules/r/stage", ""),
    ("POST", "/api/v1/rules/r/promote", ""),
    ("POST", "/api/v1/rules/r/rollback", ""),
    ("DELETE", "/api/v1/rules/r/candidate", ""),
    ("GET", "/api/v1/rules/r/recent", ""),
    ("POST", "/api/v1/rules/r/replay", ""),
    ("POST", "/api/v1/plugins/p", ""),
    ("GET", "/api/v1/tls", ""),
    ("POST", "/api/v1/tls/reload", ""),
    ("GET", "/api/v1/nothing", ""),
    ("GET", "/", ""),
];

#[test]
fn a_tenants_token_sees_and_changes_its_own_tenant_alone() {
    let broker = two_tenants();
    let admin = broker.admin();
    let own = admin.with_token(&token(&admin, "a", json!({"name": "ops"})));
    let (mut of_a, mut of_b) =
        (client(&broker, "a", VERSIONS[1], "c"), client(&broker, "b", VERSIONS[1], "c"));
    // What it may.
    assert_eq!(own.get("/api/v1/tenants/a").1["usage"]["connections"], 1);
    assert_eq!(patch(&own, "/api/v1/tenants/a", json!({"attributes": {"x": "y"}})).0, 200);
    let (_, clients) = own.get("/api/v1/clients");
    assert_eq!(clients["items"].as_array().map(Vec::len), Some(1), "{clients}");
    assert_eq!(clients["items"][0]["tenant"], "a");
    let question = |tenant| json!({"tenant": tenant, "client_id": "c", "topic": "t"});
    let (status, explained) = post(&own, "/api/v1/explain", question("a"));
    assert_eq!((status, &explained["client"]["tenant"]), (200, &json!("a")), "{explained}");
    let bans = "/api/v1/tenants/a/bans";
    let (status, ban) = post(&own, bans, json!({"kind": "principal", "subject": "nobody"}));
    assert_eq!((status, &ban["reason"]), (201, &json!("")), "{ban}");
    assert_eq!(own.get(bans).1["items"], json!([ban]));
    assert_eq!(own.delete(&format!("{bans}/{}", ban["id"])).0, 204);
    let in_b = json!({"kind": "principal", "subject": "nobody"});
    let ban = post(&admin, "/api/v1/tenants/b/bans", in_b).1["id"].to_string();
    assert_eq!(own.delete(&format!("{bans}/{ban}")).0, 404, "it is another tenant's");
    assert_eq!(own.delete(&format!("/api/v1/tenants/b/bans/{ban}")).0, 403);
    let before = admin.get("/api/v1/tenants").1;
    for (method, path, body) in NOT_OF_A {
        let length = format!("Content-Length: {}\r\n", body.len());
        let answer = own.raw(&format!("{method} {path}"), &length, body.as_bytes());
        assert_eq!(answer.expect("an answer").0, 403, "{method} {path} {body}");
    }
    assert_eq!(admin.get("/api/v1/tenants").1, before);
    of_b.expect_nothing();
    let line = broker.wait_for_log("kind=\"admin_refused\"");
    assert!(line.contains("who=\"token ops of a\""), "{line}");
    assert_eq!(own.delete("/api/v1/clients/a/c").0, 204);
    of_a.expect_disconnected(ReasonCode::AdministrativeAction);
    let mut of_a = client(&broker, "a", VERSIONS[1], "c");
    let ban = json!({"kind": "client_id", "subject": "c", "reason": "r", "expires_in_s": 600});
    assert_eq!(post(&own, bans, ban).0, 201);
    of_a.expect_disconnected(ReasonCode::AdministrativeAction);
    of_b.expect_nothing();
}

#[test]
fn a_token_is_good_until_it_is_revoked_or_over_or_its_tenant_is_disabled() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let company = Company::start(engine, VERSIONS[1], "", &[]);
        let (broker, admin) = (&company.broker, company.broker.admin());
        let path = "/api/v1/tenants/acme";
        let made = said(broker, &["token", "create", "acme", "first"]);
        let own = admin.with_token(made.trim());
        let over =
            admin.with_token(&token(&admin, "acme", json!({"name": "over", "expires_in_s": 0})));
        let lasting = token(&admin, "acme", json!({"name": "lasting", "expires_in_s": 3600}));
        let lasting = admin.with_token(&lasting);
        let statuses = || [&own, &over, &lasting].map(|it| it.get(path).0);
        assert_eq!(statuses(), [200, 401, 200]);
        let taken = post(&admin, "/api/v1/tenants/acme/tokens", json!({"name": "first"}));
        assert_eq!(taken.0, 409);
        let listed = said(broker, &["token", "list", "acme"]);
        assert!(listed.contains("\"lasting\"") && !listed.contains("hookmq-tenant-"), "{listed}");
        for (subject, expires_in_s) in [("192.0.2.7", Value::Null), ("2001:db8::/32", json!(60))] {
            let ban = json!({"kind": "address", "subject": subject, "expires_in_s": expires_in_s});
            let (status, ban) = post(&lasting, "/api/v1/tenants/acme/bans", ban);
            assert_eq!(
                (status, ban["expires_at"].is_null()),
                (201, expires_in_s.is_null()),
                "{ban}"
            );
        }
        let (_, bans) = lasting.get("/api/v1/tenants/acme/bans");
        assert_eq!(bans["items"][0]["subject"], "2001:db8::/32", "{bans}");
        said(broker, &["token", "revoke", "acme", "first"]);
        assert_eq!(statuses(), [401, 401, 200]);
        assert_eq!(patch(&admin, path, json!({"enabled": false})).0, 200);
        assert_eq!(statuses(), [401, 401, 401]);
        assert!(!broker.log().contains(made.trim()), "it is nowhere in the log");
    }
}
