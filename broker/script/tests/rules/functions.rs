//! The functions beside the language: time, digests, patterns, numbers in bytes, what is kept.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hookmq_hooks::{Client, FailureKind, KeyValueError, Program, PublishVerdict};
use hookmq_script::{Owner, RuleEngine, RuleHost, RuleLimits};

use crate::support::*;

/// A host at one moment, that writes down what it is asked.
#[derive(Default)]
struct Notebook {
    values: Mutex<BTreeMap<String, Vec<u8>>>,
    notes: Mutex<Vec<String>>,
}

impl Notebook {
    fn note(&self, owner: Owner<'_>, what: String) {
        self.notes.lock().unwrap().push(format!("{}/{} {what}", owner.tenant, owner.rule));
    }
}

impl RuleHost for Notebook {
    fn now(&self) -> u64 {
        self.notes.lock().unwrap().push("now".into());
        1_700_000_000_123
    }

    fn value(&self, owner: Owner<'_>, key: &str) -> Option<Vec<u8>> {
        self.note(owner, format!("value {key}"));
        self.values.lock().unwrap().get(key).cloned()
    }

    fn keep(
        &self,
        owner: Owner<'_>,
        key: &str,
        value: Vec<u8>,
        lifetime: Option<Duration>,
    ) -> Result<(), KeyValueError> {
        self.note(owner, format!("keep {key} {lifetime:?}"));
        if key == "full" {
            return Err(KeyValueError::Full);
        }
        self.values.lock().unwrap().insert(key.into(), value);
        Ok(())
    }

    fn forget(&self, owner: Owner<'_>, key: &str) {
        self.note(owner, format!("forget {key}"));
    }

    fn increase(
        &self,
        owner: Owner<'_>,
        key: &str,
        by: i64,
        lifetime: Option<Duration>,
    ) -> Result<i64, KeyValueError> {
        self.note(owner, format!("increase {key} {by} {lifetime:?}"));
        Ok(by)
    }

    fn count(&self, owner: Owner<'_>, figure: &str, by: u64) {
        self.note(owner, format!("count {figure} {by}"));
    }

    fn set(&self, owner: Owner<'_>, figure: &str, value: f64) {
        self.note(owner, format!("set {figure} {value}"));
    }
}

/// What a publish function with this body asks of its host.
fn notes(body: &str) -> Vec<String> {
    let host = Arc::new(Notebook::default());
    let engine = RuleEngine::new(RuleLimits::default(), || 0).with_host(host.clone());
    let source = format!("fn publish(client, message) {{\n{body}\n}}");
    let rule = engine.load("rule.rhai", &source).unwrap_or_else(|error| panic!("{error}"));
    let answer = rule.publish(&client(), &message("{}")).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(answer.verdict, PublishVerdict::Pass);
    host.notes.lock().unwrap().clone()
}

fn failure(body: &str) -> String {
    publish(body, "{}").unwrap_err().message
}

#[test]
fn a_call_is_one_moment() {
    let body = "assert_eq(now(), 1700000000123); assert_eq(now(), 1700000000123);";
    assert_eq!(notes(body), ["now"]);
}

#[test]
fn times_are_read_and_written() {
    check(
        r#"assert_eq(format_time(1700000000123), "2023-11-14T22:13:20.123Z");
        assert_eq(format_time(-1000), "1969-12-31T23:59:59Z");
        assert_eq(parse_time("2023-11-14T23:13:20.123+01:00"), 1700000000123);
        for odd in ["", "yesterday", "2023-13-01T00:00:00Z", "2023-11-14", "0".repeat(10000)] {
            assert_eq(parse_time(odd), ());
        }
        let parts = time_parts(1700000000123);
        assert_eq(parts, #{ year: 2023, month: 11, day: 14, hour: 22, minute: 13, second: 20, weekday: 2 });"#,
        "{}",
    );
    assert_eq!(failure("format_time(9223372036854775807);"), "the time is out of range");
}

#[test]
fn values_are_kept_by_tenant_and_rule() {
    let body = r#"
        assert_eq(kv_get("k"), ());
        kv_set("k", #{ list: [1, "two"] });
        assert_eq(kv_get("k"), #{ list: [1, "two"] });
        kv_set("t", "text", 5000);
        assert_eq(kv_get("t"), "text");
        kv_delete("k");
        assert_eq(kv_increase("n") + kv_increase("n", 2) + kv_increase("n", -4, 1000), -1);
        assert_eq(rate("r", 60000), 1);
        metric_count("seen"); metric_count("seen", 2); metric_set("level", 1); metric_set("level", 0.5);
        try { kv_set("full", 1); assert(false); } catch (error) { assert(error.contains("full")); }"#;
    let expected = [
        "value k",
        "keep k None",
        "value k",
        "keep t Some(5s)",
        "value t",
        "forget k",
        "increase n 1 None",
        "increase n 2 None",
        "increase n -4 Some(1s)",
        "increase rate:r 1 Some(60s)",
        "count seen 1",
        "count seen 2",
        "set level 1",
        "set level 0.5",
        "keep full None",
    ];
    let expected: Vec<_> = expected.iter().map(|note| format!("acme/rule {note}")).collect();
    assert_eq!(notes(body), expected);
}

#[test]
fn connect_keeps_apart_from_tenants_until_there_is_one() {
    let host = Arc::new(Notebook::default());
    let engine = RuleEngine::new(RuleLimits::default(), || 0).with_host(host.clone());
    let source = "fn connect(client) { rate(client.claimed_client_id, 1000); next() }\n\
                  fn authorize(client, access) { allow() }";
    let rule = engine.load("rule.rhai", source).unwrap();
    connect(&rule).unwrap();
    assert_eq!(*host.notes.lock().unwrap(), ["acme/rule increase rate:claimed-id 1 Some(1s)"]);
    let mut stranger = attempt();
    stranger.identity.tenant = None;
    connect_as(&rule, &stranger).unwrap();
    assert_eq!(host.notes.lock().unwrap()[1], "/rule increase rate:claimed-id 1 Some(1s)");
}

#[test]
fn the_host_is_asked_so_often_and_no_more() {
    let host = Arc::new(Notebook::default());
    let engine = RuleEngine::new(RuleLimits::default(), || 0).with_host(host.clone());
    for call in ["kv_get(`${i}`)", "kv_set(`${i}`, 1)", "rate(`${i}`, 1)", "metric_count(\"m\")"] {
        let source = format!(
            "fn publish(client, message) {{ for i in 0..1000 {{ try {{ {call}; }} catch {{ }} }} }}"
        );
        let rule = engine.load("rule.rhai", &source).unwrap();
        let failure = rule.publish(&client(), &message("{}")).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Limit, "{failure}");
        assert_eq!(host.notes.lock().unwrap().drain(..).count(), 64);
    }
}

#[test]
fn keys_names_and_times_are_checked() {
    for (body, said) in [
        (r#"kv_set("k", 1, 0)"#, "a time to live must be at least 1 ms"),
        (r#"rate("k".repeat(300), 1000)"#, "the key is longer than 256 bytes"),
        (r#"metric_count("Upper")"#, "a metric's name is of"),
        (r#"metric_count("down", -1)"#, "a counter does not go back"),
        (r#"kv_set("k", "x".to_bytes())"#, "bytes has no JSON form"),
        (r#"kv_get("k")"#, "there is no clock and no store here"),
        ("test_wait(1)", "only a test can do this"),
    ] {
        assert!(failure(body).contains(said), "{body}: {}", failure(body));
    }
    let error = refusal("const START = now();\nfn publish(client, message) {}");
    assert!(error.to_string().contains("a constant cannot depend on the time"), "{error}");
}

#[test]
fn tests_have_a_clock_and_a_store_of_their_own() {
    load(
        r#"fn publish(client, message) {
            metric_count("seen");
            if rate(client.client_id, 1000) > 2 { return drop("quota_exceeded", "too fast"); }
            kv_set("last", now());
        }
        fn send() { run_publish(test_client(#{}), test_message("a", "")) }
        fn test_windows_end() {
            assert_eq([send().passed, send().passed, send().dropped], [true, true, true]);
            assert_eq(test_metric("seen"), 3);
            test_wait(1000);
            assert(send().passed);
            assert_eq(kv_get("last"), now());
        }
        fn test_each_begins_anew() {
            assert_eq([kv_get("last"), test_metric("seen")], [(), ()]);
            assert_eq(format_time(now()), "2026-01-01T00:00:00Z");
            test_time(parse_time("2000-02-29T12:00:00Z"));
            assert_eq(time_parts(now()).day, 29);
            assert(send().passed);
        }"#,
    );
}

#[test]
fn a_verdict_that_may_change_is_not_remembered() {
    let cacheable = |body: &str| {
        load(&format!("fn authorize(client, access) {{ {body} }}")).authorize_is_cacheable()
    };
    for body in ["allow()", "metric_count(\"asked\"); abstain()"] {
        assert!(cacheable(body), "{body}");
    }
    for body in [
        "if now() > 5 { allow() }",
        "if rate(client.username, 1000) < 5 { allow() }",
        "if client.username.kv_get() == 1 { allow() }",
        "if `${now()}` == \"5\" { allow() }",
        "let clock = Fn(\"no\" + \"w\"); if clock.call() > 5 { allow() }",
    ] {
        assert!(!cacheable(body), "{body}");
    }
}

#[test]
fn digests_are_bytes() {
    check(
        r#"assert_eq(sha256("abc").to_hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert(sha256("abc".to_bytes()) == sha256("abc"));
        assert_eq(hmac_sha256("Jefe", "what do ya want for nothing?").to_hex().sub_string(0, 8), "5bdcc146");
        assert_eq(crc32("123456789").to_hex(), "cbf43926");"#,
        "{}",
    );
    assert!(failure("sha256(7);").contains("a string or bytes are needed, not i64"));
}

#[test]
fn patterns_match_find_and_replace() {
    check(
        r#"const SERIAL = `(?P<kind>[A-Z]+)-(\d+)`;
        let text = "PUMP-07, VALVE-12";
        assert(text.regex_matches(SERIAL) && !regex_matches("pump", SERIAL));
        assert_eq(text.regex_find(SERIAL), "PUMP-07");
        assert_eq(text.regex_find("x"), ());
        assert_eq(text.regex_find_all(SERIAL), ["PUMP-07", "VALVE-12"]);
        assert_eq(text.regex_count(`\d`), 4);
        assert_eq(text.regex_captures(SERIAL), ["PUMP-07", "PUMP", "07"]);
        assert_eq("b".regex_captures("(a)?b"), ["b", ()]);
        assert_eq(text.regex_captures("x"), ());
        assert_eq(text.regex_replace(SERIAL, "${kind} no. $2"), "PUMP no. 07, VALVE no. 12");
        assert_eq("åäö".regex_replace("^.", ""), "äö");
        assert("Grüße".regex_matches(`^\w+$`));"#,
        "{}",
    );
}

#[test]
fn a_bad_pattern_in_the_rule_keeps_it_out() {
    for (pattern, said) in [
        ("(a", "bad pattern: unclosed group"),
        (r"(a)\\1", "bad pattern: backreferences are not supported"),
        ("(?:a{1000}){1000}", "the pattern is too large; repeat less"),
        (r"\\w{1000}", "the pattern is too large"),
        (&"a".repeat(513), "a pattern must not be longer than 512 bytes"),
        (&"(".repeat(100), "bad pattern"),
    ] {
        for call in ["regex_find(message.topic, P)", "message.topic.regex_find(P)"] {
            let source =
                format!("const P = \"{pattern}\";\nfn publish(client, message) {{\n  {call};\n}}");
            let problem = &refusal(&source).problems[0];
            assert!(problem.message.contains(said), "{pattern}: {}", problem.message);
            let late = source.replace(", P)", ", P.trim())");
            let late = late.replace("regex_find(P)", "regex_find(P.trim())");
            let failure = load(&late).publish(&client(), &message("{}")).unwrap_err();
            assert!(failure.message.contains(said), "{pattern}: {failure}");
        }
    }
}

#[test]
fn searches_are_bounded() {
    let long = "ab".repeat(10_000);
    let failure = publish("message.text.regex_find(\"a\");", &long).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Limit);
    let body = "for i in 0..100 { \"a\".regex_find(`${i}`); }";
    assert_eq!(
        publish(body, "").unwrap_err().message,
        "over the limit: patterns that one call compiles"
    );
    let body = "message.text.regex_find_all(\"a\");";
    assert_eq!(publish(body, &"a".repeat(2000)).unwrap_err().kind, FailureKind::Limit);
    let body = "message.text.regex_replace(\"a+\", \"$0\".repeat(1000));";
    assert_eq!(publish(body, &"a".repeat(8_000)).unwrap_err().kind, FailureKind::Limit);
}

#[test]
fn texts_are_trimmed_filled_and_cut() {
    check(
        r#"assert_eq(["  a ".trim_start(), "  a ".trim_end()], ["a ", "  a"]);
        assert_eq(["v1.2".strip_prefix("v"), "1.2".strip_prefix("v"), "7°C".strip_suffix("°C")], ["1.2", (), "7"]);
        assert_eq(["7".pad_start(3, "0"), "7".pad_end(3, '·'), "1234".pad_start(3, "0")], ["007", "7··", "1234"]);
        assert_eq(["ab".repeat(3), "ab".repeat(0), "ab".repeat(-1)], ["ababab", "", ""]);
        assert_eq(["a/b/c".last_index_of("/"), "abc".last_index_of("/")], [3, -1]);
        assert_eq([parse_int("ff", 16), parse_int("zz", 10), (255).to_hex()], [255, (), "ff"]);
        assert_eq([(21.456).to_fixed(1), (21).to_fixed(2)], ["21.5", "21.00"]);
        assert_eq([(7).clamp(1, 5), (0.5).clamp(1.0, 2.0), (16).sqrt()], [5, 1.0, 4.0]);"#,
        "{}",
    );
    assert_eq!(failure("parse_int(\"1\", 99);"), "a radix is a number from 2 to 36");
    assert_eq!(failure("\"7\".pad_start(3, \"00\");"), "padding is done with one character");
}

#[test]
fn numbers_are_read_from_bytes() {
    check(
        r#"let bytes = from_hex("01020304ff7f3fc00000");
        assert_eq([bytes.be_uint(0, 2), bytes.le_uint(0, 2), bytes.be_uint(0, 4)], [258, 513, 16909060]);
        assert_eq([bytes.be_int(4, 1), bytes.le_int(4, 2), bytes.be_int(4, 2)], [-1, 32767, -129]);
        assert_eq(bytes.be_float(6, 4), 1.5);
        assert_eq(from_hex("000000000000f83f").le_float(0, 8), 1.5);
        assert_eq([bytes.be_uint(9, 2), bytes.be_uint(-1, 1), bytes.be_float(8, 4)], [(), (), ()]);
        assert_eq(from_hex("ffffffffffffffff").be_uint(0, 8), ());
        assert_eq(from_hex("ffffffffffffffff").be_int(0, 8), -1);"#,
        "{}",
    );
    assert_eq!(failure("\"\".to_bytes().be_int(0, 9);"), "a number has 1 to 8 bytes");
    assert_eq!(failure("\"\".to_bytes().be_float(0, 3);"), "a float has 4 or 8 bytes");
}

#[test]
fn publish_is_the_hook_and_not_a_function() {
    let error = refusal("fn publish(client, message) {\n  publish(\"a\", \"b\");\n}");
    assert_eq!((error.problems[0].line, error.problems[0].column), (2, 3));
    assert!(error.to_string().contains("emit(topic, payload)"), "{error}");
}

#[test]
fn one_client_is_enough_for_all_hooks() {
    let other = Arc::new(Client { tenant: "other".into(), ..(*client()).clone() });
    let host = Arc::new(Notebook::default());
    let engine = RuleEngine::new(RuleLimits::default(), || 0).with_host(host.clone());
    let rule = engine
        .load("r.rhai", "fn deliver(client, message) { kv_increase(\"n\"); pass() }")
        .unwrap();
    let _ = rule.deliver(&other, &message("")).unwrap();
    assert_eq!(*host.notes.lock().unwrap(), ["other/r increase n 1 None"]);
}
