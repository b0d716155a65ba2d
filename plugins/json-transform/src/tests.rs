//! What each operation does, through the configuration that an operator writes.

use serde_json::json;

use super::*;

fn plugin(config: Value) -> Result<JsonTransform, String> {
    serde_json::from_value(config).map_err(|error| error.to_string()).and_then(JsonTransform::new)
}

/// The object after the operations, or nothing where they leave it alone.
fn transformed(operations: Value, payload: Value) -> Option<Value> {
    let plugin = plugin(json!({ "operations": operations })).unwrap();
    let facts = Facts {
        tenant: "acme",
        username: "meter-7",
        client_id: "c1",
        topic: "plant/1",
        now: || 1_700_000_000_123,
    };
    let Value::Object(object) = payload else { panic!("the payload is an object") };
    plugin.transform(object, &facts).map(|bytes| serde_json::from_slice(&bytes).unwrap())
}

#[test]
fn operations_change_the_object_in_order() {
    let table = [
        (
            json!([{"op": "rename", "from": "t", "to": "temperature"}]),
            json!({"t": 1}),
            json!({"temperature": 1}),
        ),
        (
            json!([{"op": "rename", "from": "t", "to": "a.b"}]),
            json!({"t": 1}),
            json!({"a": {"b": 1}}),
        ),
        (
            json!([{"op": "remove", "field": "a.b"}]),
            json!({"a": {"b": 1, "c": 2}}),
            json!({"a": {"c": 2}}),
        ),
        (
            json!([{"op": "set", "field": "by", "value": "{tenant}/{username}/{client_id}"}]),
            json!({}),
            json!({"by": "acme/meter-7/c1"}),
        ),
        (
            json!([{"op": "set", "field": "x", "value": {"on": ["{topic}", 1, "{{}}"]}}]),
            json!({}),
            json!({"x": {"on": ["plant/1", 1, "{}"]}}),
        ),
        (
            json!([{"op": "default", "field": "unit", "value": "C"}]),
            json!({"unit": null}),
            json!({"unit": "C"}),
        ),
        (
            json!([{"op": "scale", "field": "t", "factor": 0.1, "offset": -40, "digits": 1}]),
            json!({"t": 653}),
            json!({"t": 25.3}),
        ),
        (
            json!([{"op": "scale", "field": "t", "factor": 1000, "digits": 0}]),
            json!({"t": 1.5}),
            json!({"t": 1500}),
        ),
        (
            json!([{"op": "timestamp", "field": "at"}]),
            json!({}),
            json!({"at": 1_700_000_000_123_u64}),
        ),
        (
            json!([{"op": "keep", "fields": ["a.b", "d"]}]),
            json!({"a": {"b": 1, "c": 2}, "d": 3, "e": 4}),
            json!({"a": {"b": 1}, "d": 3}),
        ),
        (json!([{"op": "remove", "field": "a\\.b"}]), json!({"a.b": 1, "c": 2}), json!({"c": 2})),
        (
            json!([{"op": "rename", "from": "t", "to": "u"}, {"op": "scale", "field": "u", "factor": 2, "digits": 0}]),
            json!({"t": 4}),
            json!({"u": 8}),
        ),
    ];
    for (operations, payload, expected) in table {
        assert_eq!(transformed(operations.clone(), payload), Some(expected), "{operations}");
    }
}

#[test]
fn what_does_not_fit_is_left_alone() {
    let table = [
        (json!([{"op": "rename", "from": "absent", "to": "x"}]), json!({"a": 1})),
        (json!([{"op": "rename", "from": "a", "to": "a"}]), json!({"a": 1})),
        (json!([{"op": "rename", "from": "a", "to": "b.c"}]), json!({"a": 1, "b": 2})),
        (json!([{"op": "remove", "field": "a.b"}]), json!({"a": [1]})),
        (json!([{"op": "set", "field": "a.b", "value": 1}]), json!({"a": "text"})),
        (json!([{"op": "default", "field": "a", "value": 1}]), json!({"a": false})),
        (json!([{"op": "scale", "field": "a", "factor": 2}]), json!({"a": "text"})),
        (json!([{"op": "scale", "field": "a", "factor": 1e300}]), json!({"a": 1e300})),
        (json!([{"op": "keep", "fields": ["a"]}]), json!({"a": 1})),
    ];
    for (operations, payload) in table {
        assert_eq!(transformed(operations.clone(), payload), None, "{operations}");
    }
}

#[test]
fn configuration_errors_name_the_operation_and_the_key() {
    let table = [
        (json!({}), "operations: at least one is needed"),
        (
            json!({"operations": [{"op": "set", "field": "a", "value": "{nobody}"}]}),
            "operations[0].value: unknown placeholder {nobody}",
        ),
        (json!({"operations": [{"op": "set", "field": "a", "value": "{"}]}), "a single brace"),
        (
            json!({"operations": [{"op": "remove", "field": "a"},
            {"op": "scale", "field": "a", "digits": 99}]}),
            "operations[1].digits",
        ),
        (json!({"operations": [{"op": "keep", "fields": []}]}), "operations[0].fields"),
        (json!({"operations": [{"op": "remove", "field": "a..b"}]}), "empty name"),
        (json!({"operations": [{"op": "explode"}]}), "unknown variant `explode`"),
        (
            json!({"operations": [{"op": "remove", "field": "a", "fild": 1}]}),
            "unknown field `fild`",
        ),
        (json!({"operation": []}), "unknown field `operation`"),
    ];
    for (config, expected) in table {
        let error = plugin(config.clone()).unwrap_err();
        assert!(error.contains(expected), "{config}: {error}");
    }
}

#[test]
fn a_payload_that_is_no_object_passes_or_is_dropped() {
    for (on_invalid, verdict) in
        [("pass", PublishVerdict::Pass), ("drop", PublishVerdict::Drop(PAYLOAD_FORMAT_INVALID))]
    {
        let operations = json!([{"op": "remove", "field": "a"}]);
        let mut plugin =
            plugin(json!({"on_invalid": on_invalid, "operations": operations})).unwrap();
        for payload in [&b"[1]"[..], b"{", b"", b"\xff"] {
            let message = Message { payload: Some(payload.to_vec()), ..Message::default() };
            assert_eq!(plugin.publish(None, message).unwrap(), verdict);
        }
    }
}

#[test]
fn numbers_that_no_operation_names_keep_their_value() {
    let payload = br#"{"a":0.1,"b":18446744073709551615,"c":1e-7,"d":1}"#;
    let operations = json!([{"op": "remove", "field": "d"}]);
    let mut plugin = plugin(json!({ "operations": operations })).unwrap();
    let message = Message { payload: Some(payload.to_vec()), ..Message::default() };
    let PublishVerdict::Replace(patch) = plugin.publish(None, message).unwrap() else {
        panic!("the payload is replaced");
    };
    assert_eq!(patch.payload.unwrap(), br#"{"a":0.1,"b":18446744073709551615,"c":1e-7}"#);
}

#[test]
fn the_readme_shows_what_happens() {
    let readme = include_str!("../README.md");
    let blocks: Vec<_> = readme.split("```json").skip(1).collect();
    let value = |block: &str| -> Value {
        serde_json::from_str(block.split("```").next().unwrap()).unwrap()
    };
    let operations = value(blocks[0])["operations"].take();
    let before = readme.split("turns `").nth(1).unwrap().split('`').next().unwrap();
    let mut after = transformed(operations, serde_json::from_str(before).unwrap()).unwrap();
    let mut shown = value(blocks[1]);
    // The clock and the client of the tests are others.
    for object in [&mut after, &mut shown] {
        assert!(object["received_at"].take().is_u64());
        assert!(object["source"]["device"].take().is_string());
    }
    assert_eq!(after, shown);
}
