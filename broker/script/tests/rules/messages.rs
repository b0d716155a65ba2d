//! What a rule reads of a message and what becomes of its changes.

use hookmq_codec::Qos;
use hookmq_hooks::{MessagePatch, Program};

use crate::support::*;

#[test]
fn a_message_is_read_without_changing_it() {
    let body = r#"
        assert_eq(message.topic, "devices/pump-7/telemetry");
        assert_eq(message.levels, ["devices", "pump-7", "telemetry"]);
        assert_eq([message.level(1), message.level(-1), message.level(3)], ["pump-7", "telemetry", ()]);
        assert_eq(message.qos, 1);
        assert_eq(message.retain, false);
        assert_eq(message.content_type, "application/json");
        assert_eq(message.user_properties.unit, "F");
        assert_eq(message.text, `{"t":[1,{"x":null}],"s":"é"}`);
        assert_eq(message.size, 29);
        assert_eq(message.bytes.len(), 29);
        assert_eq([message.bytes[0], message.bytes[-1], message.bytes[99]], [123, 125, ()]);
        assert_eq(message.json.t[1].x, ());
        assert_eq(message.json.t[-2], 1);
        assert_eq(message.json.s, "é");
        assert_eq(message.json.absent, ());
        assert("t" in message.json && !("u" in message.json));
        assert(1 in message.json.t);
        assert_eq(message.json.keys(), ["s", "t"]);
        assert_eq(message.json.t.len(), 2);
        assert(message.json == #{ s: "é", t: [1, #{ x: () }] });
        assert(message.json.t != [1]);"#;
    assert_eq!(patch(body, r#"{"t":[1,{"x":null}],"s":"é"}"#), MessagePatch::default());
}

#[test]
fn every_part_can_be_assigned() {
    let body = r#"
        message.topic = "a/b";
        message.text = "new";
        message.qos = 0;
        message.retain = true;
        message.content_type = "text/plain";
        message.user_properties.site = "north";
        assert_eq([message.topic, message.text, message.qos, message.retain], ["a/b", "new", 0, true]);"#;
    let patch = patch(body, "old");
    assert_eq!(patch.topic.as_deref(), Some("a/b"));
    assert_eq!(patch.payload.as_deref(), Some(b"new".as_slice()));
    assert_eq!((patch.qos, patch.retain), (Some(Qos::AtMostOnce), Some(true)));
    assert_eq!(patch.content_type.as_deref(), Some("text/plain"));
    let pairs = [("site", "north"), ("unit", "F")].map(|(k, v)| (k.into(), v.into()));
    assert_eq!(patch.user_properties.as_deref(), Some(pairs.as_slice()));
    let changed = patch.apply(&message("old")).unwrap();
    assert_eq!((changed.topic().as_str(), changed.payload()), ("a/b", b"new".as_slice()));
}

#[test]
fn fields_of_json_can_be_assigned_at_any_depth() {
    for (body, payload, expected) in [
        ("message.json.t = 5;", r#"{"t":1}"#, r#"{"t":5}"#),
        ("message.json.a.b.c = \"x\";", r#"{"a":{"b":{}}}"#, r#"{"a":{"b":{"c":"x"}}}"#),
        ("message.json.a[1] = ();", r#"{"a":[1,2]}"#, r#"{"a":[1,null]}"#),
        ("message.json[0].n += 1;", r#"[{"n":1}]"#, r#"[{"n":2}]"#),
        ("message.json[\"a b\"] = 1;", "{}", r#"{"a b":1}"#),
        ("message.json.list.push(#{ x: 1 });", r#"{"list":[]}"#, r#"{"list":[{"x":1}]}"#),
        ("message.json.list.remove(0);", r#"{"list":[1,2]}"#, r#"{"list":[2]}"#),
        ("message.json.copy = message.json.a;", r#"{"a":[1]}"#, r#"{"a":[1],"copy":[1]}"#),
        ("let j = message.json; j.x = 1;", "{}", r#"{"x":1}"#),
        (
            "for item in message.json { item.seen = true; }",
            "[{},{}]",
            r#"[{"seen":true},{"seen":true}]"#,
        ),
        ("message.json = #{ n: message.text };", "plain", r#"{"n":"plain"}"#),
        ("message.json = 5;", "{}", "5"),
        ("message.payload = #{ a: 1 };", "{}", r#"{"a":1}"#),
    ] {
        assert_eq!(new_payload(body, payload).as_deref(), Some(expected), "{body}");
    }
}

#[test]
fn json_is_written_back_only_if_it_changed() {
    let odd = "{ \"t\" : 1.50, \"u\": 1 }";
    for body in [
        "let t = message.json.t;",
        "message.json.t = 1.5;",
        "message.json.remove(\"absent\");",
        "message.json = message.json;",
        "for name in message.json { }",
        "message.text = message.text;",
    ] {
        assert_eq!(new_payload(body, odd), None, "{body}");
    }
}

#[test]
fn numbers_that_a_rule_leaves_alone_come_back_as_they_were() {
    let payload =
        r#"{"big":18446744073709551615,"float":0.1234567890123456,"int":-9007199254740993,"n":1}"#;
    let expected = payload.replace("\"n\":1", "\"n\":2");
    assert_eq!(new_payload("message.json.n = 2;", payload).unwrap(), expected);
}

#[test]
fn a_payload_that_is_not_json_has_no_json() {
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for payload in ["", "plain", "{", "{\"a\":1}x", "1e999", &deep] {
        check("assert_eq(message.json, ()); assert(!is_object(message.json));", payload);
    }
    check("assert(message.json == 42 && !is_object(message.json));", "42");
    check("assert(!is_object(message.json) && message.json.len() == 1);", "[1]");
}

#[test]
fn a_payload_that_is_not_text_has_no_text() {
    let rule = load(
        "fn publish(client, message) { assert_eq(message.text, ()); assert_eq(message.bytes.to_hex(), \"fffe\"); }",
    );
    let parts = message("");
    let binary = hookmq_core::Message::new(hookmq_core::NewMessage {
        payload: &[0xFF, 0xFE],
        ..parts.parts()
    });
    rule.publish(&client(), &binary).unwrap();
}

#[test]
fn changes_that_cannot_be_a_message_are_refused_where_they_are_made() {
    for (body, part) in [
        ("message.topic = \"a/+\";", "`a/+`: a topic name must not hold a wildcard"),
        ("message.qos = 7;", "7 is not a QoS"),
        ("message.json.a.b = 1;", "b"),
        ("message.user_properties = #{ a: 1 };", "user property `a` must be a string"),
        ("message.tpoic = \"a\";", "tpoic"),
    ] {
        let failure = publish(body, "{}").unwrap_err();
        assert!(failure.message.contains(part), "{}", failure.message);
        assert_eq!(failure.location.unwrap().line, 2, "{body}");
    }
}

#[test]
fn a_view_of_json_that_was_replaced_stays_what_it_was() {
    let body = "let old = message.json; message.text = `{\"b\":2}`; old.a = 5; assert_eq(message.json.b, 2);";
    assert_eq!(new_payload(body, r#"{"a":1}"#).as_deref(), Some(r#"{"b":2}"#));
    let body = "let inner = message.json.a; message.json.remove(\"a\"); inner.x = 1;";
    let failure = publish(body, r#"{"a":{}}"#).unwrap_err();
    assert!(failure.message.contains("was removed"), "{}", failure.message);
}

#[test]
fn what_the_publisher_says_of_its_message_can_be_read() {
    check(
        r#"assert_eq(message.response_topic, "answers/7");
        assert_eq(message.correlation_data.to_hex(), "01ff");
        assert_eq(message.payload_is_text, true);
        let plain = test_message("a", "");
        assert_eq([plain.response_topic, plain.correlation_data, plain.payload_is_text], [(), (), ()]);"#,
        "{}",
    );
}
