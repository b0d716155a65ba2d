//! Rules that tenants own.

mod bounds;
pub mod lasting;

use std::sync::atomic::{AtomicBool, Ordering};

use hookmq_codec::{Packet, Qos, ReasonCode};
use hookmq_tests::admin::AdminClient;
use hookmq_tests::broker::Broker;
use hookmq_tests::client::{Client, at, publish};
use hookmq_tests::tenants::two_tenants;
use hookmq_tests::wait::wait_until;
use serde_json::{Value, json};

use super::{VERSIONS, client, post};

pub(super) use hookmq_tests::tenants::own;

pub(super) const EVERYWHERE: &str = "[{builtin: tenant_rules}]";

/// Two tenants, whose rules have the places that `pipeline` gives them.
pub(super) fn broker_with(pipeline: &str, sections: &str, rules: &[(&str, &str)]) -> Broker {
    two_tenants(500, pipeline, sections, rules)
}

/// With a place in every hook, and all else open.
pub(super) fn broker() -> Broker {
    let pipeline = format!(
        "  authorize: [{{builtin: tenant_rules}}, {{builtin: open}}]
  publish: {EVERYWHERE}
  deliver: {EVERYWHERE}"
    );
    broker_with(&pipeline, "", &[])
}

fn path(tenant: &str, rule: &str) -> String {
    format!("/api/v1/tenants/{tenant}/rules/{rule}")
}

#[track_caller]
pub(super) fn push(admin: &AdminClient, tenant: &str, rule: &str, text: &str) -> Value {
    let (status, shown) = admin.put(&path(tenant, rule), text.as_bytes());
    assert!(status == 200 || status == 201, "{status} {shown}");
    shown
}

pub(super) fn newest(broker: &Broker, tenant: &str, client_id: &str) -> Client {
    client(broker, tenant, VERSIONS[1], client_id)
}

/// Publishes with QoS 1; the code of the acknowledgement.
pub(super) fn send(client: &mut Client, topic: &str, payload: &[u8]) -> ReasonCode {
    client.publish(publish(topic, payload, Qos::AtLeastOnce))
}

#[test]
fn each_tenant_has_a_rule_of_the_same_name_and_none_meets_another() {
    let counting = |mark: &str| {
        format!(
            "const TOPICS = [\"t\"];
fn publish(client, message) {{
    metric_count(\"seen\");
    emit(\"counted/{mark}\", `${{kv_increase(\"n\")}}`);
}}"
        )
    };
    let pipeline = "  authorize: [{builtin: open}]
  publish: [{rule: alarm}, {builtin: tenant_rules}]";
    let broker = broker_with(pipeline, "", &[("alarm", &counting("operator"))]);
    let (of_a, of_b) = (own(&broker, "a"), own(&broker, "b"));
    let made = push(&of_a, "a", "alarm", &counting("a"));
    assert_eq!((&made["hooks"], &made["topics"]), (&json!(["publish"]), &json!(["t"])), "{made}");
    push(&of_b, "b", "alarm", "const TOPICS = [\"t\"]; fn publish(client, message) { drop(0x97) }");
    let (mut in_a, mut in_b) = (newest(&broker, "a", "c"), newest(&broker, "b", "c"));
    in_a.subscribe("#", Qos::AtMostOnce);
    in_b.subscribe("#", Qos::AtMostOnce);
    assert_eq!(send(&mut in_b, "t", b"x"), ReasonCode::QuotaExceeded);
    in_b.expect_message("counted/operator", b"1");
    in_b.expect_nothing();
    for number in ["1", "2"] {
        assert_eq!(send(&mut in_a, "t", b"x"), ReasonCode::Success);
        let mut received = [(); 3].map(|()| {
            let received = in_a.receive_where(|packet| matches!(packet, Packet::Publish(_)));
            match received.packet() {
                Packet::Publish(it) => {
                    let payload = String::from_utf8_lossy(it.payload).into_owned();
                    (it.topic.expect("a topic").as_str().to_owned(), payload)
                }
                _ => unreachable!(),
            }
        });
        received.sort();
        let expected = [("counted/a", number), ("counted/operator", number), ("t", "x")];
        assert_eq!(received, expected.map(|(topic, it)| (topic.to_owned(), it.to_owned())));
    }
    let admin = broker.admin();
    let seen = |program: &str, tenant: &str| {
        let labels = [format!("program=\"{program}\""), format!("tenant=\"{tenant}\"")];
        let labels = [labels[0].as_str(), labels[1].as_str()];
        admin.metric_with("program_counter_total", &labels)
    };
    assert_eq!((seen("alarm", "a"), seen("alarm", "b")), (Some(2), Some(1)));
    assert_eq!((seen("a/alarm", "a"), seen("b/alarm", "b")), (Some(2), None));
    assert_eq!(of_a.get(&path("a", "alarm")).1["calls"], 2);
    let listed = admin.get("/api/v1/rules").1;
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1), "the operator's: {listed}");
    // What a rule has kept goes with it.
    assert_eq!(of_a.delete(&path("a", "alarm")).0, 204);
    assert_eq!(seen("a/alarm", "a"), None);
    push(&of_a, "a", "alarm", &counting("a"));
    send(&mut in_a, "t", b"y");
    in_a.expect_message("t", b"y");
    in_a.expect_message("counted/operator", b"3");
    in_a.expect_message("counted/a", b"1");
}

#[test]
fn a_tenants_token_neither_sees_nor_changes_the_rules_of_another() {
    let broker = broker();
    let (of_a, of_b) = (own(&broker, "a"), own(&broker, "b"));
    let dropping = "fn publish(client, message) { drop() }";
    push(&of_b, "b", "secret", dropping);
    let theirs = path("b", "secret");
    assert_eq!(of_a.get(&theirs).0, 403);
    assert_eq!(of_a.get("/api/v1/tenants/b/rules").0, 403);
    assert_eq!(of_a.put(&theirs, dropping.as_bytes()).0, 403);
    assert_eq!(of_a.delete(&theirs).0, 403);
    assert_eq!(of_a.post(&format!("{theirs}/rollback"), b"").0, 403);
    for odd in ["..%2fsecret", "a%2fb", "x%00", "b%2f..%2fsecret", &"x".repeat(65)] {
        assert_eq!(of_a.put(&path("a", odd), dropping.as_bytes()).0, 404, "{odd}");
    }
    assert_eq!(of_a.get("/api/v1/tenants/a/rules").1["items"], json!([]));
    assert_eq!(of_a.get(&path("a", "secret")).0, 404);
    assert_eq!(send(&mut newest(&broker, "a", "c"), "t", b"x"), ReasonCode::NoMatchingSubscribers);
    // The operator may do what the tenant may, and both are on record.
    let admin = broker.admin();
    assert_eq!(admin.get(&theirs).1["source"], dropping);
    assert_eq!(admin.delete(&theirs).0, 204);
    let line = broker.wait_for_log("method=\"PUT\"");
    assert!(line.contains("who=\"token dev of b\"") && line.contains("status=201"), "{line}");
    assert_eq!(admin.put(&path("nobody", "r"), dropping.as_bytes()).0, 404);
}

#[test]
fn a_tenants_rule_denies_and_cannot_open_what_the_operator_has_not() {
    let pipeline = "  authorize: [{builtin: tenant_rules}, {builtin: open, topics: [\"open/#\"]}]";
    let broker = broker_with(pipeline, "", &[]);
    let of_a = own(&broker, "a");
    let mut in_a = newest(&broker, "a", "c");
    assert_ne!(send(&mut in_a, "open/no", b""), ReasonCode::NotAuthorized);
    let rule = "fn authorize(client, access) {
    if access.topic.starts_with(\"open/no\") { deny(\"not even so\") } else { allow() }
}";
    push(&of_a, "a", "guard", rule);
    assert_eq!(send(&mut in_a, "shut/1", b""), ReasonCode::NotAuthorized);
    assert_eq!(send(&mut in_a, "open/no", b""), ReasonCode::NotAuthorized);
    assert_eq!(send(&mut in_a, "open/1", b""), ReasonCode::NoMatchingSubscribers);
    for (filter, code) in [
        ("shut/#", ReasonCode::NotAuthorized),
        ("open/no", ReasonCode::NotAuthorized),
        ("open/1", ReasonCode::Success),
    ] {
        let answered = in_a.subscribe_with(&[(filter, at(Qos::AtMostOnce))], None);
        assert_eq!(answered, [code], "{filter}");
    }
    assert_ne!(send(&mut newest(&broker, "b", "c"), "open/no", b""), ReasonCode::NotAuthorized);
    // Why, for whoever has the tenant's token.
    let asked = json!({"tenant": "a", "client_id": "c", "topic": "open/no"});
    let (status, explained) = post(&of_a, "/api/v1/explain", asked);
    let steps = explained["explanations"][0]["steps"].clone();
    assert_eq!((status, &steps[0]["program"]["name"]), (200, &json!("a/guard")), "{explained}");
    assert_eq!(steps[0]["answer"]["reason"], "not even so", "{steps}");
    // A described client has its tenant's rules, too.
    let asked = json!({"tenant": "a", "username": "u", "client_id": "x", "topic": "open/no"});
    let explained = post(&of_a, "/api/v1/explain", asked).1;
    let outcome = &explained["explanations"][0]["outcome"];
    assert_eq!(outcome["denied"], "not even so", "{explained}");
}

#[test]
fn a_deliver_rule_is_for_the_tenants_own_subscribers() {
    let broker = broker();
    let of_a = own(&broker, "a");
    let (mut in_a, mut in_b) = (newest(&broker, "a", "c"), newest(&broker, "b", "c"));
    for (client, seen) in [(&mut in_a, "before"), (&mut in_b, "before")] {
        client.subscribe("t", Qos::AtMostOnce);
        send(client, "t", seen.as_bytes());
        client.expect_message("t", b"before");
    }
    push(&of_a, "a", "veil", "fn deliver(client, message) { message.payload = \"veiled\"; }");
    send(&mut in_a, "t", b"plain");
    in_a.expect_message("t", b"veiled");
    send(&mut in_b, "t", b"plain");
    in_b.expect_message("t", b"plain");
    assert_eq!(of_a.delete(&path("a", "veil")).0, 204);
    send(&mut in_a, "t", b"again");
    in_a.expect_message("t", b"again");
}

#[test]
fn rules_are_asked_in_the_order_of_their_names_and_see_what_those_before_have_made() {
    let broker = broker();
    let of_a = own(&broker, "a");
    let adds = |letter: &str| {
        format!("fn publish(client, message) {{ message.payload = message.text + \"{letter}\"; }}")
    };
    for letter in ["z", "m", "b"] {
        push(&of_a, "a", letter, &adds(letter));
    }
    // Behind it are those that want the new topic, and those before are not asked again.
    push(
        &of_a,
        "a",
        "n",
        "const TOPICS = [\"t\"]; fn publish(client, message) { message.topic = \"u\"; }",
    );
    push(&of_a, "a", "o", &format!("const TOPICS = [\"u\"]; {}", adds("o")));
    push(&of_a, "a", "p", &format!("const TOPICS = [\"t\"]; {}", adds("p")));
    let mut in_a = newest(&broker, "a", "c");
    in_a.subscribe("#", Qos::AtMostOnce);
    send(&mut in_a, "t", b"");
    in_a.expect_message("u", b"bmoz");
    let listed = of_a.get("/api/v1/tenants/a/rules").1;
    let names = listed["items"].as_array().expect("rules").iter().map(|it| it["name"].clone());
    assert_eq!(Value::from_iter(names), json!(["b", "m", "n", "o", "p", "z"]));
}

#[test]
fn a_loop_ends_by_its_limits_and_leaves_others_alone() {
    let broker = broker();
    let (of_a, of_b) = (own(&broker, "a"), own(&broker, "b"));
    let rule = "const TOPICS = [\"loop\"];\nfn publish(client, message) {\n    loop { }\n}";
    push(&of_a, "a", "turns", rule);
    push(&of_b, "b", "turns", "fn publish(client, message) { message.payload = \"b\"; }");
    let (mut in_a, mut in_b) = (newest(&broker, "a", "c"), newest(&broker, "b", "c"));
    in_b.subscribe("loop", Qos::AtMostOnce);
    let failed = ReasonCode::ImplementationSpecificError;
    assert_eq!(send(&mut in_a, "loop", b""), failed);
    let shown = of_a.get(&path("a", "turns")).1;
    let last = &shown["last_failure"];
    assert_eq!((&shown["failures"], &last["hook"]), (&json!(1), &json!("publish")), "{shown}");
    assert!(["limit", "timeout"].map(|it| json!(it)).contains(&last["kind"]), "{shown}");
    // Again and again: then it is left alone, for this tenant.
    let alone =
        || (of_a.get(&path("a", "turns")).1["left_alone"] == json!(["publish"])).then_some(());
    for _ in 0..100 {
        assert_eq!(send(&mut in_a, "loop", b""), failed);
        if alone().is_some() {
            break;
        }
    }
    alone().expect("a breaker that is open");
    assert_eq!(send(&mut in_a, "other", b""), ReasonCode::NoMatchingSubscribers);
    assert_eq!(send(&mut in_b, "loop", b""), ReasonCode::Success);
    in_b.expect_message("loop", b"b");
    assert_eq!(of_b.get(&path("b", "turns")).1["failures"], 0);
    // A new version begins anew.
    push(&of_a, "a", "turns", "fn publish(client, message) { }");
    assert_eq!(send(&mut in_a, "loop", b""), ReasonCode::NoMatchingSubscribers);
}

#[test]
fn what_a_rule_logs_is_its_tenants_and_not_the_brokers() {
    let broker = broker();
    let of_a = own(&broker, "a");
    push(
        &of_a,
        "a",
        "talks",
        "fn publish(client, message) { log(\"warn\", `heard ${message.text}`); }",
    );
    let mut in_a = newest(&broker, "a", "c");
    for number in 0..20 {
        send(&mut in_a, "t", number.to_string().as_bytes());
    }
    let shown = of_a.get(&path("a", "talks")).1;
    let log = shown["log"].as_array().expect("lines");
    assert_eq!((log.len(), &log[15]["line"]), (16, &json!("heard 19")), "{shown}");
    assert_eq!(log[0]["level"], "warn");
    assert!(!broker.log().contains("heard"), "{}", broker.log());
}

#[test]
fn rules_are_replaced_under_load_and_nobody_is_disconnected() {
    let broker = broker();
    let of_a = own(&broker, "a");
    let marks =
        |number: u32| format!("fn publish(client, message) {{ message.payload = \"{number}\"; }}");
    push(&of_a, "a", "marks", &marks(0));
    let (mut in_a, mut in_b) = (newest(&broker, "a", "c"), newest(&broker, "b", "c"));
    in_a.subscribe("t", Qos::AtMostOnce);
    in_b.subscribe("t", Qos::AtMostOnce);
    let (pushed, stop) = (std::sync::atomic::AtomicU32::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1..=20 {
                push(&of_a, "a", "marks", &marks(number));
                pushed.store(number, Ordering::Release);
            }
            stop.store(true, Ordering::Release);
        });
        let mut last = 0;
        while !stop.load(Ordering::Acquire) {
            let least = pushed.load(Ordering::Acquire);
            send(&mut in_a, "t", b"raw");
            let received = in_a.receive_where(|packet| matches!(packet, Packet::Publish(_)));
            let Packet::Publish(message) = received.packet() else { unreachable!() };
            let text = std::str::from_utf8(message.payload).expect("text");
            let seen: u32 = text.parse().expect("every message was marked");
            assert!(seen >= least && seen >= last, "{seen} after {least} was in force, and {last}");
            last = seen;
            send(&mut in_b, "t", b"raw");
            in_b.expect_message("t", b"raw");
        }
    });
    send(&mut in_a, "t", b"raw");
    in_a.expect_message("t", b"20");
    assert_eq!(broker.admin().metric("connections"), 2);
}
