//! Rules that do harm when they are called: the call ends, its step fails as configured, and nobody else
//! notices.

use hookmq_codec::{Qos, ReasonCode};
use hookmq_tests::client::publish;
use hookmq_tests::wait::wait_until;

use super::{HARMLESS, MIB, Scene};

/// Bodies of `publish` that never end by themselves, or want more than there is.
const BODIES: [&str; 30] = [
    "loop { }",
    "while true { }",
    "for i in 0..9223372036854775807 { i + 1; }",
    "loop { try { loop { } } catch { } }",
    "loop { try { throw 1; } catch { } }",
    "fn_that_recurs(1)",
    "let f = Fn(\"fn_that_recurs\"); f.call(1)",
    "let s = message.text; loop { s += s; }",
    "let s = message.text; loop { s = `${s}${s}`; }",
    "let s = message.text; s.replace(\"a\", s)",
    "let s = message.text; loop { s = s.replace(\"a\", \"aa\"); }",
    "\"a\".repeat(9223372036854775807)",
    "message.text.repeat(65536)",
    "\"a\".pad_start(9223372036854775807, \"b\")",
    "\"a\".pad_end(4294967296, \"b\")",
    "let s = message.text; loop { s = [s, s].join(s); }",
    "let s = message.text; loop { s = s.to_bytes().to_hex(); }",
    "let a = [message.text]; loop { a += a; }",
    "let a = []; loop { a.push(a); }",
    "let m = #{}; loop { m = #{ a: m, b: m }; }",
    "let m = #{}; let s = message.text; let i = 0; loop { m[s + i] = 1; i += 1; }",
    "let m = #{}; let i = 0; loop { m[`${i}`] = message.text; i += 1; }",
    "loop { message.json = #{ a: message.json, b: message.json }; }",
    "message.text.split(\"\")",
    "message.text.split(\"a\")",
    "for i in 0..1000 { \"aaaa\".regex_find(`(?:a?){${i}}a{${i}}`); }",
    "\"a\".regex_find(\"a{100000}\" + message.topic)",
    "for i in 0..100000 { kv_set(`${i}`, message.text); }",
    "for i in 0..100000 { emit(\"elsewhere\", message.text); }",
    "for i in 0..100000 { metric_count(`m${i}`); }",
];

/// What the broker may grow by for one of them.
const GROWTH_BY_ONE: u64 = 64 * MIB;

fn rule(body: &str) -> String {
    format!(
        "const TOPICS = [\"hostile/#\"];\n\
         fn fn_that_recurs(n) {{ [fn_that_recurs(n + 1)] }}\n\
         fn publish(client, message) {{ {body}; }}\n\
         fn connect(client) {{ next() }}\nfn authorize(client, access) {{ abstain() }}\n\
         fn deliver(client, message) {{ pass() }}\n"
    )
}

/// P10
#[test]
fn hostile_calls_are_ended_and_their_message_is_dropped() {
    hostile_calls_are_ended(Scene::new(&rule(&each_by_its_topic())));
}

/// P10
#[test]
fn hostile_calls_are_ended_in_the_sandbox() {
    hostile_calls_are_ended(Scene::sandboxed(&rule(&each_by_its_topic())));
}

/// All bodies in one rule, the first for `hostile/0`.
fn each_by_its_topic() -> String {
    let branch =
        |(number, body)| format!("if message.topic == \"hostile/{number}\" {{ {body}; }}\n");
    BODIES.iter().enumerate().map(branch).collect()
}

fn hostile_calls_are_ended(mut scene: Scene) {
    let mut attacker = scene.client("attacker");
    let payload = "a".repeat(64 << 10);
    let before = scene.broker.peak_bytes();
    for (number, body) in BODIES.iter().enumerate() {
        let before_it = scene.broker.peak_bytes();
        let topic = format!("hostile/{number}");
        for _ in 0..3 {
            let message = publish(&topic, payload.as_bytes(), Qos::AtLeastOnce);
            let answer = attacker.publish(message);
            assert!(answer.is_failure(), "{body}: {answer:?}");
            scene.others_are_served();
        }
        let grown = scene.broker.peak_bytes() - before_it;
        assert!(grown < GROWTH_BY_ONE, "{body}: {grown} bytes");
    }
    scene.stays_small(before, "hostile calls");
    let failed = scene.broker.admin().metric("step_failures_total");
    assert_eq!(failed, 3 * BODIES.len() as u64);
}

/// P10
#[test]
fn a_pattern_that_is_slow_to_search_for_is_ended_by_the_deadline() {
    let mut scene = Scene::new(HARMLESS);
    let mut attacker = scene.client("attacker");
    scene.apply(&rule("loop { message.text.regex_count(`(?:a?){700}a{700}c`); }"));
    let payload = "a".repeat(8 << 10);
    let answer = attacker.publish(publish("hostile/a", payload.as_bytes(), Qos::AtLeastOnce));
    assert!(answer.is_failure(), "{answer:?}");
    scene.others_are_served();
}

/// P07
#[test]
fn a_million_lines_are_a_few_in_the_log() {
    let mut scene = Scene::new(HARMLESS);
    let mut attacker = scene.client("attacker");
    let line = "nothing happens".repeat(1000);
    scene.apply(&rule(&format!("for i in 0..1000000 {{ log(\"error\", \"{line}\"); }}")));
    for _ in 0..20 {
        let answer = attacker.publish(publish("hostile/a", b"", Qos::AtLeastOnce));
        assert!(answer.is_failure(), "{answer:?}");
    }
    scene.others_are_served();
    let size = scene.broker.log().len();
    assert!(size < 1 << 20, "the log has {size} bytes");
}

/// P07
#[test]
fn a_flood_of_kept_values_ends_at_the_tenants_bound() {
    let mut scene = Scene::new(HARMLESS);
    let mut attacker = scene.client("attacker");
    let before = scene.broker.peak_bytes();
    scene.apply(&rule(
        "for i in 0..16 { try { kv_set(message.text.sub_string(0, 8) + i, message.text); } catch { return drop(\"quota_exceeded\", \"full\"); } } pass()",
    ));
    let mut full = 0;
    for number in 0..100 {
        let payload = format!("{number:08}{}", "x".repeat(32 << 10));
        match attacker.publish(publish("hostile/a", payload.as_bytes(), Qos::AtLeastOnce)) {
            ReasonCode::QuotaExceeded => full += 1,
            answer => assert!(!answer.is_failure(), "{answer:?}"),
        }
    }
    assert!(full > 80, "50 MiB were offered, and 4 MiB are kept: {full}");
    scene.stays_small(before, "kept values");
    scene.others_are_served();
}

/// P02, P10
#[test]
fn the_other_hooks_are_ended_too() {
    let mut scene = Scene::new(HARMLESS);
    let mut attacker = scene.client("attacker");
    attacker.subscribe("hostile/a", Qos::AtLeastOnce);
    for body in ["loop { }", "let s = \"x\"; loop { s += s; }", "fn_that_recurs(1)"] {
        let prelude =
            "const TOPICS = [\"hostile/#\"];\nfn fn_that_recurs(n) { [fn_that_recurs(n + 1)] }\n";
        let only_for =
            |guard: &str, otherwise: &str| format!("{{ if {guard} {{ {body}; }} {otherwise} }}");
        let connect = only_for("client.claimed_client_id == \"victim\"", "next()");
        let authorize = only_for("access.topic == \"hostile/b\"", "abstain()");
        let deliver = only_for("message.topic == \"hostile/a\"", "pass()");
        scene.apply(&format!(
            "{prelude}fn connect(client) {connect}\nfn authorize(client, access) {authorize}\n\
             fn publish(client, message) {{ pass() }}\nfn deliver(client, message) {deliver}\n"
        ));
        assert!(scene.knock("victim").is_failure(), "{body}: connect fails closed");
        assert_eq!(scene.knock("somebody else"), ReasonCode::Success);
        let answer = attacker.publish(publish("hostile/b", b"", Qos::AtLeastOnce));
        assert!(answer.is_failure(), "{body}: authorize fails closed");
        let failures = || scene.broker.admin().metric("step_failures_total");
        let before = failures();
        let answer = attacker.publish(publish("hostile/a", b"", Qos::AtLeastOnce));
        assert!(!answer.is_failure(), "{body}");
        wait_until("deliver has failed", || (failures() > before).then_some(()));
        scene.others_are_served();
    }
}
