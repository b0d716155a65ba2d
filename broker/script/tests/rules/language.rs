//! The functions that a rule has for strings, numbers, arrays, maps, bytes and JSON.

use std::sync::{Arc, Mutex};

use hookmq_codec::Qos;
use hookmq_hooks::{Access, Action, Program, rehearse};
use hookmq_script::{LogLevel, RuleEngine, RuleLimits};

use crate::support::*;

#[test]
fn strings() {
    check(
        r##"assert_eq("Grüße".len(), 5);
        assert("abc".contains("b") && "b" in "abc" && "abc".starts_with("a") && "abc".ends_with("c"));
        assert_eq("a,b,,c".split(","), ["a", "b", "", "c"]);
        assert_eq(["a", 1, true].join("-"), "a-1-true");
        assert_eq("  x ".trim(), "x");
        assert_eq(["aB".to_upper(), "aB".to_lower()], ["AB", "ab"]);
        assert_eq(["grüße".sub_string(2), "grüße".sub_string(1, 2), "grüße".sub_string(-2)], ["üße", "rü", "ße"]);
        assert_eq(["abc".index_of("c"), "abc".index_of("x")], [2, -1]);
        assert_eq("a.b.c".replace(".", "::"), "a::b::c");
        assert("pump-7".consists_of("-7mpu") && !"pump 7".consists_of("-7mpu"));
        assert_eq("n" + 1 + true, "n1true");
        assert_eq(`${1.5} ${[1, "x"]}`, "1.5 [1, \"x\"]");
        assert(matches("a/+/#", "a/b/c") && !matches("a/+", "a/b/c") && !matches("#", "$SYS/x"));"##,
        "",
    );
}

#[test]
fn numbers() {
    check(
        r#"assert_eq([min(1, 2), max(1, 2.5), abs(-3), abs(-1.5)], [1, 2.5, 3, 1.5]);
        assert_eq([round(2.5), round(21.456, 1), floor(2.7), ceil(2.1)], [3, 21.5, 2, 3]);
        assert_eq(["42".parse_int(), "x".parse_int(), "2.5".parse_float(), "inf".parse_float()], [42, (), 2.5, ()]);
        assert_eq([(2.9).to_int(), (1e300).to_int(), (2).to_float()], [2, (), 2.0]);
        assert_eq(-(5) + +3, -2);
        assert(!false && 7 % 4 == 3 && 2 ** 3 == 8 && 1 == 1.0);"#,
        "",
    );
    for body in ["9223372036854775807 + 1;", "-(-9223372036854775807 - 1);", "1 / 0;", "1 << 999;"]
    {
        let failed = publish(body, "").is_err();
        assert!(failed || body.contains("<<"), "{body}");
    }
}

#[test]
fn arrays_maps_and_ranges() {
    check(
        r#"let a = [1, 2, 3];
        a.push(4);
        a += 5;
        assert_eq([a.len(), a.pop(), a.remove(0), a[-1]], [5, 5, 1, 4]);
        assert(2 in a && !(9 in a) && a.index_of(4) == 2 && a == [2, 3, 4] && a != [2]);
        let m = #{ a: 1 };
        m.b = #{ c: 2 };
        assert_eq([m.len(), m.b.c, m.x], [2, 2, ()]);
        assert_eq(m.keys(), ["a", "b"]);
        assert("a" in m && !("z" in m) && m == #{ a: 1, b: #{ c: 2 } });
        m.remove("b");
        assert_eq(m.values(), [1]);
        let sum = 0;
        for i in 0..3 { sum += i; }
        for i in 1..=2 { sum += i; }
        for (n, place) in a { sum += n * place; }
        assert_eq(sum, 17);
        assert(3 in 1..5 && !(5 in 1..5) && 5 in 1..=5);
        let text = switch m.a { 1 => "one", _ => "many" };
        assert_eq(text, "one");"#,
        "",
    );
}

#[test]
fn json_and_bytes() {
    check(
        r#"assert_eq(parse_json(`{"a":[1,{"b":2}]}`).a[1].b, 2);
        assert_eq([parse_json("5"), parse_json("nonsense")], [5, ()]);
        assert_eq(#{ b: [1, 2.5, ()], a: "x" }.to_json(), `{"a":"x","b":[1,2.5,null]}`);
        assert_eq(`${parse_json("[1]")}`, "[1]");
        let bytes = "00ff41".from_hex();
        assert_eq([bytes.len(), bytes[1], bytes.to_hex(), bytes.to_base64()], [3, 255, "00ff41", "AP9B"]);
        assert_eq([bytes.slice(2, 9).to_text(), bytes.to_text(), "zz".from_hex(), "?".from_base64()], ["A", (), (), ()]);
        assert("AP9B".from_base64() == bytes && "A".to_bytes() != bytes);"#,
        "",
    );
}

#[test]
fn a_constant_of_the_file_cannot_be_changed() {
    let rule = load(
        "const A = [1];\nfn publish(client, message) { A.push(2); drop() }\nfn deliver(client, message) { if A.len() != 1 { drop() } }",
    );
    let _ = rule.publish(&client(), &message(""));
    assert_eq!(rule.deliver(&client(), &message("")).unwrap(), hookmq_hooks::DeliverVerdict::Pass);
}

#[test]
fn logging_reaches_the_sink_with_level_and_rule_and_ends() {
    let lines = Arc::new(Mutex::new(vec![]));
    let sink = lines.clone();
    let engine = RuleEngine::new(RuleLimits::default(), || 0).with_log(Arc::new(
        move |level, rule, text| {
            sink.lock().unwrap().push((level, rule.to_owned(), text.to_owned()));
        },
    ));
    let run = |file: &str, body: &str| {
        let source = format!("fn publish(client, message) {{ {body} }}");
        engine.load(file, &source).unwrap().publish(&client(), &message("{}")).unwrap();
        std::mem::take(&mut *lines.lock().unwrap())
    };
    let noisy =
        run("noisy.rhai", "log(message.json); log(\"warn\", \"hot\"); for i in 0..100 { log(i); }");
    assert_eq!(noisy.len(), RuleLimits::default().log_lines);
    assert_eq!(noisy[1], (LogLevel::Warn, "noisy".into(), "hot".into()));
    let drops = run("drops.rhai", "drop(\"too old\")");
    assert_eq!(drops, [(LogLevel::Debug, "drops".into(), "too old".into())]);
    assert!(publish("log(\"shout\", 1);", "{}").is_err());
    let silent = "fn publish(c, m) { log(`hook`); } fn test_it() { log(`test`); run_publish(test_client(#{}), test_message(`t`, ``)); assert(true); } const A = 1;";
    engine.load("silent.rhai", silent).unwrap();
    assert_eq!(lines.lock().unwrap().len(), 0, "tests log nothing");
}

#[test]
fn the_line_that_decided_is_noted() {
    let rule = load(
        r#"
fn refusal(why) {
    deny(why)
}

fn publish(client, message) {
    if message.text == "a" { return drop("too old"); }
    if message.text == "b" {
        let verdict = consume();
        pass();
        return verdict;
    }
    message.text = "x";
}

fn authorize(client, access) {
    if client.tenant == "nobody" { return allow(); }
    refusal("no")
}
"#,
    );
    let line = |call: &dyn Fn()| {
        let (_, notes) = rehearse(call);
        let found = notes.iter().find(|note| note.about == "line").expect("a line");
        found.text.clone()
    };
    let publish = |text: &str| line(&|| _ = rule.publish(&client(), &message(text)).unwrap());
    assert!(publish("a").ends_with(".rhai:7"), "{}", publish("a"));
    assert!(publish("b").ends_with(".rhai:9"), "where the verdict was made: {}", publish("b"));
    assert!(publish("c").ends_with(".rhai:6 (publish names no verdict)"), "{}", publish("c"));
    let access = Access {
        action: Action::Publish,
        topic: "t",
        qos: Qos::AtMostOnce,
        retain: false,
        share_name: None,
    };
    let authorized = line(&|| _ = rule.authorize(&client(), &access).unwrap());
    assert!(authorized.ends_with(".rhai:3"), "{authorized}");
    let (_, notes) = rehearse(|| rule.publish(&client(), &message("a")));
    let operations = notes.iter().find(|note| note.about == "operations").expect("counted");
    assert!(operations.text.parse::<u64>().unwrap() > 0);
}
