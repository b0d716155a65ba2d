//! What survives, what does not load any more, and what goes with its tenant.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::tenants::{run, said};

pub(crate) fn marks(mark: &str) -> String {
    format!("fn publish(client, message) {{ message.payload = \"{mark}\"; }}")
}

/// What a message becomes.
pub(crate) fn becomes(broker: &Broker, tenant: &str) -> String {
    let mut client = newest(broker, tenant, "probe");
    client.subscribe("t", Qos::AtMostOnce);
    send(&mut client, "t", b"raw");
    let received = client.receive_where(|packet| matches!(packet, Packet::Publish(_)));
    let Packet::Publish(message) = received.packet() else { unreachable!() };
    String::from_utf8_lossy(message.payload).into_owned()
}

pub(crate) fn restarted(broker: &mut Broker) -> AdminClient {
    broker.kill();
    broker.start();
    let admin = broker.admin();
    wait_until("the broker is ready", || (admin.get("/api/v1/ready").0 == 200).then_some(()));
    admin
}

/// The one file of what is kept.
fn file(broker: &Broker) -> PathBuf {
    let directory = broker.directory().join("data/tenant-rules");
    let files = fs::read_dir(directory).expect("the directory");
    let files: Vec<_> = files.map(|it| it.expect("a file").path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

#[test]
fn rules_survive_a_broker_that_is_killed_and_go_back() {
    let mut broker = broker();
    let of_a = own(&broker, "a");
    push(&of_a, "a", "marks", &marks("one"));
    let pushed = push(&of_a, "a", "marks", &marks("two"));
    assert_eq!(
        (&pushed["pushed_by"], &pushed["has_previous"]),
        (&json!("token dev"), &json!(true))
    );
    push(&of_a, "a", "gone", "fn publish(client, message) { drop() }");
    assert_eq!(of_a.delete(&path("a", "gone")).0, 204);
    let admin = restarted(&mut broker);
    assert_eq!((becomes(&broker, "a"), becomes(&broker, "b")), ("two".into(), "raw".into()));
    let shown = admin.get(&path("a", "marks")).1;
    assert_eq!((&shown["sha256"], &shown["pushed_at"]), (&pushed["sha256"], &pushed["pushed_at"]));
    assert_eq!(admin.get("/api/v1/tenants/a/rules").1["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(admin.metric("tenant_rules"), 1);
    let (status, shown) = admin.post(&format!("{}/rollback", path("a", "marks")), b"");
    assert_eq!((status, &shown["source"]), (200, &json!(marks("one"))), "{shown}");
    assert_eq!(becomes(&broker, "a"), "one");
    restarted(&mut broker);
    assert_eq!(becomes(&broker, "a"), "one");
}

#[test]
fn a_rule_that_does_not_load_fails_where_it_was_asked_and_the_broker_starts() {
    let mut broker = broker();
    let of_a = own(&broker, "a");
    push(&of_a, "a", "marks", &format!("const TOPICS = [\"t\"];\n{}", marks("one")));
    push(&own(&broker, "b"), "b", "marks", &marks("b"));
    let directory = broker.directory().join("data/tenant-rules");
    broker.kill();
    for entry in fs::read_dir(&directory).expect("the directory") {
        let path = entry.expect("a file").path();
        let text = fs::read_to_string(&path).expect("text");
        fs::write(&path, text.replace("\\\"one\\\"", "\\\"two\\\"")).expect("write");
    }
    broker.start();
    let admin = broker.admin();
    wait_until("the broker is ready", || (admin.get("/api/v1/ready").0 == 200).then_some(()));
    broker.wait_for_log("a tenant's rule does not load");
    assert_eq!(becomes(&broker, "b"), "b");
    let mut in_a = newest(&broker, "a", "c");
    assert_eq!(send(&mut in_a, "t", b"x"), ReasonCode::ImplementationSpecificError);
    assert_eq!(send(&mut in_a, "u", b"x"), ReasonCode::NoMatchingSubscribers);
    let shown = admin.get(&path("a", "marks")).1;
    assert!(shown["problem"].as_str().unwrap_or_default().contains("has changed"), "{shown}");
    assert!(shown["last_failure"]["message"].as_str().unwrap_or_default().contains("not load"));
    push(&admin, "a", "marks", &marks("three"));
    assert_eq!(becomes(&broker, "a"), "three");
}

#[test]
fn a_file_that_cannot_be_read_fails_every_hook_of_its_tenant_alone() {
    let mut broker = broker();
    push(&own(&broker, "a"), "a", "marks", &marks("one"));
    let file = file(&broker);
    broker.kill();
    let bytes = fs::read(&file).expect("the file");
    fs::write(&file, &bytes[..bytes.len() / 2]).expect("write");
    broker.start();
    let admin = broker.admin();
    wait_until("the broker is ready", || (admin.get("/api/v1/ready").0 == 200).then_some(()));
    assert_eq!(becomes(&broker, "b"), "raw");
    let mut in_a = newest(&broker, "a", "c");
    assert_eq!(send(&mut in_a, "anything", b"x"), ReasonCode::NotAuthorized);
    for (status, answer) in [
        admin.get("/api/v1/tenants/a/rules"),
        admin.put(&path("a", "marks"), marks("two").as_bytes()),
        admin.delete(&path("a", "marks")),
    ] {
        assert_eq!(status, 500, "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap_or_default().contains(".json"));
    }
    assert_eq!(fs::read(&file).expect("the file"), &bytes[..bytes.len() / 2], "left as it is");
}

#[test]
fn a_tenant_that_is_deleted_loses_its_rules_and_one_that_is_disabled_does_not() {
    let broker = broker();
    let admin = broker.admin();
    push(&own(&broker, "a"), "a", "marks", &marks("one"));
    let file = file(&broker);
    assert_eq!(super::super::patch(&admin, "/api/v1/tenants/a", json!({"enabled": false})).0, 200);
    assert_eq!(admin.get(&path("a", "marks")).1["source"], marks("one"));
    assert_eq!(admin.delete("/api/v1/tenants/a").0, 204);
    assert!(!file.exists());
    assert_eq!(admin.metric("tenant_rules"), 0);
    assert_eq!(admin.get(&path("a", "marks")).0, 404);
    assert_eq!(post(&admin, "/api/v1/tenants", json!({"name": "a"})).0, 201);
    assert_eq!(becomes(&broker, "a"), "raw");
}

#[test]
fn the_command_line_does_what_the_api_does() {
    let broker = broker();
    let text = broker.directory().join("marks.rhai");
    fs::write(&text, marks("one")).expect("write");
    let file = text.to_str().expect("a path");
    said(&broker, &["rule", "push", "a", file]);
    assert_eq!(becomes(&broker, "a"), "one");
    fs::write(&text, marks("two")).expect("write");
    said(&broker, &["rule", "push", "a", file, "--name", "marks"]);
    assert_eq!(becomes(&broker, "a"), "two");
    let shown: Value =
        serde_json::from_str(&said(&broker, &["rule", "show", "a", "marks"])).expect("JSON");
    assert_eq!(shown["source"], marks("two"));
    said(&broker, &["rule", "rollback", "a", "marks"]);
    assert_eq!(becomes(&broker, "a"), "one");
    let listed = said(&broker, &["rule", "list", "a"]);
    assert!(listed.contains("marks") && listed.contains("publish"), "{listed}");
    fs::write(&text, "fn publish(client, message) {\n    message. }").expect("write");
    let refused = run(&broker, &["rule", "push", "a", file]);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && why.contains("marks.rhai:2:"), "{why}");
    said(&broker, &["rule", "delete", "a", "marks"]);
    assert_eq!(becomes(&broker, "a"), "raw");
}
