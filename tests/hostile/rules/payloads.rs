//! Messages that are made to hurt an honest rule: one that reads JSON, searches with patterns, decodes, and
//! counts under keys that clients choose.

use hookmq_codec::{Qos, ReasonCode};
use hookmq_tests::client::{Client, publish};

use super::Scene;

/// What an operator may well write.
const RULE: &str = r#"
const TOPICS = ["hostile/#"];
const MOST = 100;

fn connect(client) { next() }
fn authorize(client, access) { abstain() }
fn deliver(client, message) { pass() }

fn publish(client, message) {
    let kind = message.level(1);
    if kind == "json" {
        let body = message.json;
        if is_object(body) && body.value != () { body.seen = true; }
        return pass();
    }
    if kind == "pattern" {
        let found = message.text.regex_captures(`^(\w+\s?)*@([a-z]+\.)+[a-z]{2,8}$`);
        return if found == () { drop() } else { pass() };
    }
    if kind == "base64" {
        let bytes = message.text.from_base64();
        message.text = bytes.to_text().to_upper();
        return pass();
    }
    if kind == "count" {
        if rate("by:" + message.text, 60000) > MOST { return drop("quota_exceeded", "too often"); }
        kv_increase(message.text);
        return pass();
    }
    if kind == "say" {
        log("warn", message.text);
        throw message.text;
    }
    if kind == "set" {
        kv_set(message.text, message.size);
        return pass();
    }
    pass()
}
"#;

fn tell(client: &mut Client, topic: &str, payload: &[u8]) -> ReasonCode {
    client.publish(publish(topic, payload, Qos::AtLeastOnce))
}

/// Texts that have hurt parsers.
fn hostile_json() -> Vec<Vec<u8>> {
    let mut texts: Vec<Vec<u8>> = [
        "",
        "null",
        "{",
        "}",
        "[",
        "\"",
        "nul",
        "{\"value\":}",
        "{\"value\":1,}",
        "{\"value\":1}}",
        "{\"value\":1e999}",
        "{\"value\":-1e999}",
        "{\"value\":1e-999}",
        "{\"value\":-0}",
        "{\"value\":99999999999999999999999999999999}",
        "{\"value\":0x10}",
        "{\"value\":NaN}",
        "{\"value\":\"\\ud800\"}",
        "{\"value\":\"\\u0000\"}",
        "{\"value\":1,\"value\":2}",
        "{\"\":1,\"value\":{}}",
        "{\"__proto__\":{\"seen\":1},\"value\":1}",
        "\u{feff}{\"value\":1}",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    let nested = |open: &str, close: &str, times: usize| {
        format!("{{\"value\":{}1{}}}", open.repeat(times), close.repeat(times)).into_bytes()
    };
    for times in [10, 100, 127, 128, 1000, 50_000] {
        texts.push(nested("[", "]", times));
        texts.push(nested("{\"a\":", "}", times));
        texts.push("[".repeat(times).into_bytes());
    }
    texts.push(format!("{{\"value\":[{}1]}}", "1,".repeat(120_000)).into_bytes());
    texts.push(format!("{{\"value\":\"{}\"}}", "\\u0041".repeat(40_000)).into_bytes());
    texts.push(format!("{{\"value\":{}}}", "9".repeat(200_000)).into_bytes());
    texts.push([&b"{\"value\":\""[..], &[0xC0, 0x80, 0xFF, 0xFE], b"\"}"].concat());
    texts.push((0..=255).collect());
    texts
}

/// P10: whatever it holds, a message passes or is dropped.
#[test]
fn messages_that_hurt_parsers_pass_or_are_dropped_on_both_sides() {
    for mut scene in [Scene::new(RULE), Scene::sandboxed(RULE)] {
        let mut attacker = scene.client("attacker");
        let before = scene.broker.peak_bytes();
        for payload in hostile_json() {
            for kind in ["json", "pattern", "base64"] {
                tell(&mut attacker, &format!("hostile/{kind}"), &payload);
            }
            scene.others_are_served();
        }
        for size in [10, 100, 8_000, 8_192] {
            for text in ["a".repeat(size), "a ".repeat(size / 2), "@a.".repeat(size / 3)] {
                tell(&mut attacker, "hostile/pattern", format!("{text}!").as_bytes());
            }
            scene.others_are_served();
        }
        let good = tell(&mut attacker, "hostile/json", br#"{"value":1}"#);
        assert!(!good.is_failure(), "{good:?}");
        scene.stays_small(before, "messages that hurt parsers");
    }
}

/// A client's text in a key reaches no window, and a hundred thousand of them no more than the store's bound.
#[test]
fn keys_that_clients_choose_reach_nothing_else() {
    let mut scene = Scene::new(RULE);
    let mut attacker = scene.client("attacker");
    assert!(!tell(&mut attacker, "hostile/count", b"victim").is_failure());
    for forged in ["rate:by:victim", "by:victim"] {
        tell(&mut attacker, "hostile/set", forged.as_bytes());
        for _ in 0..200 {
            tell(&mut attacker, "hostile/count", forged.as_bytes());
        }
    }
    assert!(!tell(&mut attacker, "hostile/count", b"victim").is_failure());
    for odd in ["", "a\0b", &"k".repeat(257), &"k".repeat(60_000), "9223372036854775807"] {
        tell(&mut attacker, "hostile/count", odd.as_bytes());
        tell(&mut attacker, "hostile/set", odd.as_bytes());
    }
    let before = scene.broker.peak_bytes();
    let mut refused = 0;
    for number in 0..6_000 {
        let answer = tell(&mut attacker, "hostile/count", format!("key {number}").as_bytes());
        refused += usize::from(answer.is_failure());
    }
    assert!(refused > 500, "two entries each, of ten thousand: {refused}");
    scene.others_are_served();
    scene.stays_small(before, "keys that clients choose");
}

/// What a client makes a rule say is one record, in the rule's name.
#[test]
fn lines_that_clients_forge_are_none() {
    for mut scene in [Scene::new(RULE), Scene::sandboxed(RULE)] {
        let mut attacker = scene.client("attacker");
        let forged = "x\r\n2031-01-01T00:00:00Z  INFO hookmq: all is well\u{1b}[2K\u{2028}";
        assert!(tell(&mut attacker, "hostile/say", forged.as_bytes()).is_failure());
        let failure = scene.broker.wait_for_log("step failed");
        assert!(failure.contains("all is well"), "{failure}");
        scene.others_are_served();
        let log = scene.broker.log();
        assert!(!log.contains('\u{1b}') && !log.contains('\r'));
        assert!(log.lines().all(|line| !line.starts_with("2031")), "{log}");
    }
}
