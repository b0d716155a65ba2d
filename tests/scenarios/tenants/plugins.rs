//! Plugins that tenants own.

mod bounds;
mod lasting;

use std::sync::atomic::{AtomicBool, Ordering};

use hookmq_codec::{Packet, Qos, ReasonCode};
use hookmq_tests::admin::AdminClient;
use hookmq_tests::broker::plugins;
use hookmq_tests::client::Client;
use serde_json::{Value, json};

use super::post;
use super::rules::{self, EVERYWHERE, broker, broker_with, newest, own, send};

/// An artefact as it was built.
fn artefact(name: &str) -> Vec<u8> {
    let file = plugins().join(format!("{name}.wasm"));
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn path(tenant: &str, plugin: &str) -> String {
    format!("/api/v1/tenants/{tenant}/plugins/{plugin}")
}

/// The path of a push with a configuration.
fn configured(path: &str, config: &Value) -> String {
    let text = config.to_string();
    let escaped: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
    format!("{path}?config={escaped}")
}

#[track_caller]
fn push(admin: &AdminClient, tenant: &str, plugin: &str, name: &str) -> Value {
    let (status, shown) = admin.put(&path(tenant, plugin), &artefact(name));
    assert!(status == 200 || status == 201, "{status} {shown}");
    shown
}

/// The configuration of `json-transform` that sets one field.
fn sets(field: &str, value: &str) -> Value {
    json!({"operations": [{"op": "set", "field": field, "value": value}]})
}

/// The payload of the next message.
#[track_caller]
fn received(client: &mut Client) -> String {
    let received = client.receive_where(|packet| matches!(packet, Packet::Publish(_)));
    let Packet::Publish(message) = received.packet() else { unreachable!() };
    String::from_utf8_lossy(message.payload).into_owned()
}

#[test]
fn each_tenant_has_a_plugin_of_the_same_name_and_none_meets_another() {
    let broker = broker();
    let (of_a, of_b) = (own(&broker, "a"), own(&broker, "b"));
    let pushing = configured(&path("a", "alarm"), &sets("by", "a"));
    let (status, made) = of_a.put(&pushing, &artefact("json-transform"));
    assert_eq!((status, &made["hooks"]), (201, &json!(["publish"])), "{made}");
    assert_eq!((&made["name"], &made["config"]), (&json!("alarm"), &sets("by", "a")));
    push(&of_b, "b", "alarm", "fixtures/counter");
    let (mut in_a, mut in_b) = (newest(&broker, "a", "c"), newest(&broker, "b", "c"));
    for client in [&mut in_a, &mut in_b] {
        client.subscribe("t", Qos::AtMostOnce);
    }
    for number in ["1", "2"] {
        send(&mut in_a, "t", b"{}");
        in_a.expect_message("t", br#"{"by":"a"}"#);
        send(&mut in_b, "t", b"{}");
        in_b.expect_message("t", number.as_bytes());
    }
    assert_eq!(of_a.get(&path("a", "alarm")).1["calls"], 2);
    assert_eq!(broker.admin().get("/api/v1/plugins").1["items"], json!([]), "the operator's");
    assert_eq!(broker.admin().metric("tenant_plugins"), 2);
    // One of another configuration, for the tenant alone.
    let (status, _) =
        of_a.put(&configured(&path("a", "alarm"), &sets("by", "b")), &artefact("json-transform"));
    assert_eq!(status, 200);
    send(&mut in_a, "t", b"{}");
    in_a.expect_message("t", br#"{"by":"b"}"#);
    assert_eq!(of_a.delete(&path("a", "alarm")).0, 204);
    send(&mut in_a, "t", b"{}");
    in_a.expect_message("t", b"{}");
    send(&mut in_b, "t", b"{}");
    in_b.expect_message("t", b"3");
}

#[test]
fn a_tenants_token_neither_sees_nor_changes_the_plugins_of_another() {
    let broker = broker();
    let (of_a, of_b) = (own(&broker, "a"), own(&broker, "b"));
    push(&of_b, "b", "secret", "fixtures/counter");
    let theirs = path("b", "secret");
    assert_eq!(of_a.get(&theirs).0, 403);
    assert_eq!(of_a.get("/api/v1/tenants/b/plugins").0, 403);
    assert_eq!(of_a.put(&theirs, &artefact("fixtures/counter")).0, 403);
    assert_eq!(of_a.delete(&theirs).0, 403);
    assert_eq!(of_a.post(&format!("{theirs}/rollback"), b"").0, 403);
    for odd in ["..%2fsecret", "a%2fb", "x%00", &"x".repeat(65)] {
        assert_eq!(of_a.put(&path("a", odd), &artefact("fixtures/counter")).0, 404, "{odd}");
    }
    assert_eq!(of_a.get("/api/v1/tenants/a/plugins").1["items"], json!([]));
    assert_eq!(of_a.get(&path("a", "secret")).0, 404);
    // The operator may do what the tenant may, and both are on record.
    let admin = broker.admin();
    assert_eq!(admin.get(&theirs).1["version"], "1.0.0");
    assert_eq!(admin.delete(&theirs).0, 204);
    let line = broker.wait_for_log("method=\"PUT\"");
    assert!(line.contains("who=\"token dev of b\"") && line.contains("status=201"), "{line}");
    assert_eq!(admin.put(&path("nobody", "p"), &artefact("fixtures/counter")).0, 404);
    // Neither is the pipeline's plugin of the name anybody's.
    assert_eq!(of_a.post("/api/v1/plugins/secret", &artefact("fixtures/counter")).0, 403);
}

#[test]
fn rules_and_plugins_are_asked_in_the_order_of_their_names_which_are_no_others() {
    let broker = broker();
    let of_a = own(&broker, "a");
    let begins = "fn publish(client, message) { message.payload = `{\"n\":\"${message.text}\"}`; }";
    let ends = "fn publish(client, message) { message.payload = message.text + \"!\"; }";
    rules::push(&of_a, "a", "a-begins", begins);
    rules::push(&of_a, "a", "c-ends", ends);
    push(&of_a, "a", "b-stamps", "fixtures/stamp-v1");
    let mut in_a = newest(&broker, "a", "c");
    in_a.subscribe("t", Qos::AtMostOnce);
    send(&mut in_a, "t", b"x");
    assert_eq!(received(&mut in_a), r#"{"n":"x","stamp":1}!"#);
    let (status, refused) = of_a.put(&path("a", "c-ends"), &artefact("fixtures/stamp-v1"));
    assert!(status == 409 && refused.to_string().contains("has a rule of this name"), "{refused}");
    let rule = "/api/v1/tenants/a/rules/b-stamps";
    let (status, refused) = of_a.put(rule, ends.as_bytes());
    assert!(
        status == 409 && refused.to_string().contains("has a plugin of this name"),
        "{refused}"
    );
    // Each is found among its kind alone.
    assert_eq!((of_a.get(rule).0, of_a.delete(rule).0), (404, 404));
    assert_eq!(of_a.get(&path("a", "c-ends")).0, 404);
    let names = |kind: &str| {
        let listed = of_a.get(&format!("/api/v1/tenants/a/{kind}")).1;
        Value::from_iter(
            listed["items"].as_array().expect("items").iter().map(|it| it["name"].clone()),
        )
    };
    assert_eq!(
        (names("rules"), names("plugins")),
        (json!(["a-begins", "c-ends"]), json!(["b-stamps"]))
    );
    let asked = json!({"tenant": "a", "client_id": "c", "topic": "t", "payload": "x"});
    let explained = post(&of_a, "/api/v1/explain", asked).1.to_string();
    assert!(
        explained.contains(r#""kind":"plugin""#) && explained.contains("a/b-stamps"),
        "{explained}"
    );
}

#[test]
fn plugins_are_replaced_under_load_and_nobody_is_disconnected() {
    let sections = "tenant_rules: {pushes_per_minute: 100}";
    let pipeline = format!("  authorize: [{{builtin: open}}]\n  publish: {EVERYWHERE}");
    let broker = broker_with(&pipeline, sections, &[]);
    let of_a = own(&broker, "a");
    push(&of_a, "a", "stamps", "fixtures/stamp-v1");
    let (mut in_a, mut in_b) = (newest(&broker, "a", "c"), newest(&broker, "b", "c"));
    for client in [&mut in_a, &mut in_b] {
        client.subscribe("t", Qos::AtMostOnce);
    }
    let stop = AtomicBool::new(false);
    let mut seen = [0, 0];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1..=20 {
                let version = format!("fixtures/stamp-v{}", number % 2 + 1);
                push(&of_a, "a", "stamps", &version);
            }
            stop.store(true, Ordering::Release);
        });
        while !stop.load(Ordering::Acquire) {
            send(&mut in_a, "t", b"{}");
            let stamped: Value = serde_json::from_str(&received(&mut in_a)).expect("JSON");
            let stamp = stamped["stamp"].as_u64().expect("every message was stamped");
            seen[stamp as usize - 1] += 1;
            send(&mut in_b, "t", b"{}");
            in_b.expect_message("t", b"{}");
        }
    });
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
    send(&mut in_a, "t", b"{}");
    in_a.expect_message("t", br#"{"stamp":1}"#);
    assert_eq!(broker.admin().metric("connections"), 2);
}

#[test]
fn a_tenant_without_programs_any_more_is_served_as_one_that_never_had_any() {
    let broker = broker();
    let of_a = own(&broker, "a");
    let mut in_a = newest(&broker, "a", "c");
    in_a.subscribe("t", Qos::AtMostOnce);
    let calls = |client: &mut Client| {
        send(client, "t", b"{}");
        received(client)
    };
    push(&of_a, "a", "stamps", "fixtures/stamp-v1");
    rules::push(
        &of_a,
        "a",
        "veil",
        "fn deliver(client, message) { message.payload = message.text + \"?\"; }",
    );
    assert_eq!(calls(&mut in_a), r#"{"stamp":1}?"#);
    assert_eq!(of_a.delete("/api/v1/tenants/a/rules/veil").0, 204);
    assert_eq!(calls(&mut in_a), r#"{"stamp":1}"#);
    assert_eq!(of_a.delete(&path("a", "stamps")).0, 204);
    assert_eq!(calls(&mut in_a), "{}");
    push(&of_a, "a", "stamps", "fixtures/stamp-v2");
    assert_eq!(calls(&mut in_a), r#"{"stamp":2}"#);
    let code = send(&mut in_a, "other", b"{}");
    assert_eq!(code, ReasonCode::NoMatchingSubscribers);
}
