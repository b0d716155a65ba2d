//! What passes and what becomes of the rest, through the configuration that an operator writes.

use hookmq_plugin::Qos;
use hookmq_plugin::test::{self, Bounds, Harness, Host};
use serde_json::json;

use super::*;

fn config(on_invalid: &str) -> Value {
    json!({
        "rules": [{
            "topics": ["plant/+/t"],
            "on_invalid": on_invalid,
            "schema": {
                "type": "object",
                "required": ["celsius"],
                "additionalProperties": false,
                "properties": {
                    "celsius": {"type": "number", "minimum": -50, "maximum": 150},
                    "at": {"type": "string", "format": "date-time"},
                    "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}},
                },
                "$defs": {"tag": {"type": "string", "pattern": "^[a-z]+$"}},
            },
        }],
    })
}

fn guard(config: Value) -> Harness<SchemaGuard> {
    Harness::new(config).unwrap()
}

fn ask(guard: &mut Harness<SchemaGuard>, message: &Message) -> PublishVerdict {
    guard.publish(&test::client("m7"), message).unwrap()
}

fn message(payload: &str) -> Message {
    test::message("plant/7/t", payload)
}

/// The values of the tag in the answer.
fn tags(verdict: &PublishVerdict) -> Vec<&str> {
    let PublishVerdict::Replace(patch) = verdict else { panic!("{verdict:?}") };
    let properties = patch.user_properties.as_ref().unwrap();
    properties.iter().filter(|p| p.name == TAG).map(|p| p.value.as_str()).collect()
}

#[test]
fn what_the_schema_allows_passes() {
    let host = Host::new();
    for on_invalid in ["drop", "dead_letter", "tag", "pass"] {
        let mut guard = guard(config(on_invalid));
        for payload in [
            r#"{"celsius": 21.5}"#,
            r#"{"celsius": -50, "at": "2024-02-29T12:00:00Z", "tags": ["a", "b"]}"#,
        ] {
            assert_eq!(ask(&mut guard, &message(payload)), PublishVerdict::Pass, "{payload}");
        }
        let elsewhere = test::message("plant/7/raw", "not JSON");
        assert_eq!(ask(&mut guard, &elsewhere), PublishVerdict::Pass);
    }
    assert_eq!(host.counted("invalid"), 0);
}

#[test]
fn what_it_does_not_allow_is_dropped_and_the_place_is_named_where_it_is_tagged() {
    let host = Host::new();
    let (mut drops, mut tagger) = (guard(config("drop")), guard(config("tag")));
    let table = [
        ("", "not JSON"),
        ("not JSON", "not JSON"),
        ("{\"celsius\": 1} x", "not JSON"),
        ("{\"celsius\": NaN}", "not JSON"),
        ("\u{feff}{}", "not JSON"),
        ("[]", "invalid at \"\""),
        ("{}", "invalid at \"\""),
        (r#"{"celsius": 151}"#, "invalid at \"/celsius\""),
        (r#"{"celsius": "21"}"#, "invalid at \"/celsius\""),
        (r#"{"celsius": 1, "x": 1}"#, "invalid at \"\""),
        (r#"{"celsius": 1, "at": "yesterday"}"#, "invalid at \"/at\""),
        (r#"{"celsius": 1, "tags": ["a", "B"]}"#, "invalid at \"/tags/1\""),
    ];
    for (payload, place) in table {
        let message = message(payload);
        assert_eq!(ask(&mut drops, &message), PublishVerdict::Drop(0x99), "{payload}");
        assert_eq!(tags(&ask(&mut tagger, &message)), [place], "{payload}");
    }
    assert_eq!(host.counted("invalid"), 2 * table.len() as u64);
    let deep = "[".repeat(100_000);
    assert_eq!(ask(&mut drops, &message(&deep)), PublishVerdict::Drop(0x99));
}

#[test]
fn dead_letters_keep_payload_and_qos_under_a_topic_of_their_own() {
    let host = Host::new();
    let mut guard = guard(config("dead_letter"));
    let invalid = Message { qos: Qos::AtLeastOnce, retain: true, ..message("bad") };
    assert_eq!(ask(&mut guard, &invalid), PublishVerdict::Consume);
    let [letter] = &host.take_emitted()[..] else { panic!("one letter") };
    assert_eq!(letter.topic, "dead-letter/schema-guard/plant/7/t");
    assert_eq!(
        (&*letter.payload, letter.qos, letter.retain),
        (&b"bad"[..], Qos::AtLeastOnce, false)
    );

    host.set_bounds(Bounds { emitted_messages: 0, ..Bounds::default() });
    assert_eq!(ask(&mut guard, &invalid), PublishVerdict::Drop(0x99));
    assert_eq!(host.counted("dead_letters_refused"), 1);
}

#[test]
fn a_dead_letter_is_not_checked_again() {
    let _host = Host::new();
    let mut config = config("dead_letter");
    config["rules"][0]["topics"] = json!(["#"]);
    let letter = test::message("dead-letter/schema-guard/plant/7/t", "bad");
    assert_eq!(ask(&mut guard(config), &letter), PublishVerdict::Pass);
}

#[test]
fn a_publishers_own_tag_is_taken_away_and_other_properties_stay() {
    let _host = Host::new();
    let mut guard = guard(config("tag"));
    let property =
        |name: &str, value: &str| UserProperty { name: name.into(), value: value.into() };
    for (payload, expected) in [("{}", &["invalid at \"\""][..]), (r#"{"celsius": 1}"#, &[])] {
        let mut message = message(payload);
        let properties = message.properties.as_mut().unwrap();
        properties.user_properties = vec![property("unit", "C"), property(TAG, "fine")];
        let verdict = ask(&mut guard, &message);
        assert_eq!(tags(&verdict), expected, "{payload}");
        let PublishVerdict::Replace(patch) = verdict else { panic!() };
        assert_eq!(patch.user_properties.unwrap()[0], property("unit", "C"));
    }
}

#[test]
fn places_are_bounded_and_hold_no_control_characters() {
    let _host = Host::new();
    let mut guard = guard(json!({"rules": [{
        "topics": ["#"],
        "on_invalid": "tag",
        "schema": {"additionalProperties": {"additionalProperties": {"type": "null"}}},
    }]}));
    let long = "ü".repeat(5_000);
    for (name, expected) in [("a/b~c", "/a~1b~0c/x"), ("\u{0}\n", "/??/x"), (&long, "/üüü")] {
        let verdict = ask(&mut guard, &test::json_message("t", &json!({name: {"x": 1}})));
        let tag = tags(&verdict)[0].to_owned();
        assert!(tag.contains(expected) && tag.len() < 240, "{tag}");
        assert!(!tag.contains(char::is_control), "{tag}");
    }
}

#[test]
fn the_first_rule_that_is_broken_decides() {
    let _host = Host::new();
    let mut guard = guard(json!({"rules": [
        {"topics": ["a/#"], "schema": {"type": "object"}, "on_invalid": "pass"},
        {"topics": ["a/b"], "schema": {"required": ["x"]}},
        {"topics": ["c"], "schema": true},
        {"topics": ["d"], "schema": false},
    ]}));
    let mut answer = |topic: &str, payload: &str| ask(&mut guard, &test::message(topic, payload));
    assert_eq!(answer("a/b", "[]"), PublishVerdict::Pass);
    assert_eq!(answer("a/b", "{}"), PublishVerdict::Drop(0x99));
    assert_eq!(answer("a/b", r#"{"x": 1}"#), PublishVerdict::Pass);
    assert_eq!(answer("c", "1"), PublishVerdict::Pass);
    assert_eq!(answer("d", "1"), PublishVerdict::Drop(0x99));
}

#[test]
fn long_payloads_and_cleared_retained_messages_are_as_configured() {
    let _host = Host::new();
    let mut config = config("drop");
    config["max_payload_bytes"] = json!(16);
    let clear = Message { retain: true, ..message("") };
    let mut lenient = guard(config.clone());
    assert_eq!(ask(&mut lenient, &message(r#"{"celsius": 1}"#)), PublishVerdict::Pass);
    assert_eq!(ask(&mut lenient, &message(r#"{"celsius": 1.0}  "#)), PublishVerdict::Drop(0x99));
    assert_eq!(ask(&mut lenient, &clear), PublishVerdict::Pass);
    config["empty_retained"] = json!("check");
    assert_eq!(ask(&mut guard(config), &clear), PublishVerdict::Drop(0x99));
}

#[test]
fn what_is_wrong_with_a_configuration_is_named() {
    let schema = |schema: Value| json!({"rules": [{"topics": ["#"], "schema": schema}]});
    let table = [
        (json!(null), "rules: 1 to 256"),
        (json!({"rule": []}), "unknown field"),
        (json!({"rules": [{"topics": [], "schema": {}}]}), "rules[0].topics"),
        (json!({"rules": [{"topics": ["a/#/b"], "schema": {}}]}), "not a topic filter"),
        (schema(json!(7)), "rules[0].schema"),
        (schema(json!({"type": "objekt"})), "rules[0].schema"),
        (schema(json!({"pattern": "("})), "rules[0].schema"),
        (schema(json!({"$ref": "#/$defs/none"})), "rules[0].schema"),
        (schema(json!({"$ref": "https://example.org/s"})), "outside of the schema"),
        (schema(json!({"$ref": "file:///etc/hostname"})), "outside of the schema"),
        (schema(json!({"$schema": "https://example.org/mine"})), "rules[0].schema"),
    ];
    for (config, expected) in table {
        let error = Harness::<SchemaGuard>::new(&config).err().unwrap();
        assert!(error.contains(expected), "{config}: {error}");
    }
}

#[test]
fn schemas_of_older_drafts_and_recursive_ones_are_read() {
    let _host = Host::new();
    let mut guard = guard(json!({"rules": [
        {"topics": ["old"], "schema": {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "definitions": {"n": {"type": "integer"}},
            "items": [{"$ref": "#/definitions/n"}],
        }},
        {"topics": ["tree"], "schema": {
            "type": "object",
            "properties": {"child": {"$ref": "#"}},
            "additionalProperties": false,
        }},
    ]}));
    let mut answer = |topic: &str, payload: &str| ask(&mut guard, &test::message(topic, payload));
    assert_eq!(answer("old", "[1, \"x\"]"), PublishVerdict::Pass);
    assert_eq!(answer("old", "[1.5]"), PublishVerdict::Drop(0x99));
    let nested = |depth: usize, leaf: &str| {
        format!("{}{leaf}{}", r#"{"child":"#.repeat(depth), "}".repeat(depth))
    };
    assert_eq!(answer("tree", &nested(31, "{}")), PublishVerdict::Pass);
    assert_eq!(answer("tree", &nested(31, "1")), PublishVerdict::Drop(0x99));
    assert_eq!(answer("tree", &nested(32, "{}")), PublishVerdict::Drop(0x99), "too deep");
}

#[test]
fn no_bytes_make_it_panic() {
    let _host = Host::new();
    let mut guard = guard(config("tag"));
    let payload = r#"{"celsius": 1e0, "at": "2024-02-29T12:00:00Z", "tags": ["a"]}"#.as_bytes();
    for at in 0..payload.len() {
        for byte in 0..=255_u8 {
            let mut bytes = payload.to_vec();
            bytes[at] = byte;
            ask(&mut guard, &test::message("plant/7/t", bytes));
        }
    }
}
