//! Whatever a rule does, it ends, and stays small.

use std::sync::atomic::{AtomicU64, Ordering};

use hookmq_hooks::{FailureKind, Program};
use hookmq_script::{RuleEngine, RuleLimits};

use crate::support::*;

fn assert_limited(body: &str, payload: &str) {
    match publish(body, payload) {
        Ok(answer) => panic!("not limited, gave {answer:?}: {body}"),
        Err(failure) => {
            assert_eq!(failure.kind, FailureKind::Limit, "{failure}: {body}");
            assert!(failure.location.is_some(), "{body}");
        }
    }
}

#[test]
fn endless_loops_run_out_of_operations() {
    for body in [
        "loop { }",
        "while true { }",
        "for i in 0..9223372036854775807 { i + 1; }",
        "let x = 0; loop { x += 1; }",
        "loop { try { throw 1; } catch { } }",
        "for i in 0..1000 { for j in 0..1000 { for k in 0..1000 { i + k; } } }",
    ] {
        assert_limited(body, "{}");
    }
}

#[test]
fn a_slow_call_runs_out_of_time() {
    static NOW: AtomicU64 = AtomicU64::new(0);
    // Each look at the clock finds it a millisecond later.
    let engine = RuleEngine::new(RuleLimits::default(), || NOW.fetch_add(1000, Ordering::Relaxed));
    let rule = engine.load("slow.rhai", "fn publish(client, message) {\n  loop { }\n}").unwrap();
    let failure = rule.publish(&client(), &message("{}")).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Timeout);
    assert_eq!(failure.location.unwrap().file, "slow.rhai");
    let looks = NOW.load(Ordering::Relaxed) / 1000;
    assert!(looks <= 12, "ended after 10 ms, not {looks}");
}

#[test]
fn a_pause_of_the_thread_is_not_the_rules_fault() {
    static NOW: AtomicU64 = AtomicU64::new(0);
    // Every look finds a second gone; four looks are less than ten milliseconds of work.
    let engine =
        RuleEngine::new(RuleLimits::default(), || NOW.fetch_add(1_000_000, Ordering::Relaxed));
    let rule = engine
        .load("short.rhai", "fn publish(client, message) { for i in 0..16 { let x = i; } }")
        .unwrap();
    rule.publish(&client(), &message("{}")).unwrap();
    assert!(NOW.load(Ordering::Relaxed) >= 2_000_000, "the clock was looked at");
}

#[test]
fn a_rule_cannot_catch_its_limits() {
    assert_limited("loop { try { loop { } } catch { } }", "{}");
    assert_limited("try { let s = \"x\"; loop { s += s; } } catch { }", "{}");
}

#[test]
fn deep_recursion_is_stopped() {
    let rule = load(
        "fn f(n) { if n > 0 { [[[f(n - 1)]]] } else { 0 } }\nfn publish(client, message) { f(100000); }",
    );
    let failure = rule.publish(&client(), &message("{}")).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Limit);
    let mutual = load("fn f(n) { g(n) }\nfn g(n) { f(n) }\nfn publish(client, message) { f(1); }");
    assert_eq!(mutual.publish(&client(), &message("{}")).unwrap_err().kind, FailureKind::Limit);
}

#[test]
fn values_that_double_are_stopped() {
    for body in [
        "let s = \"xxxxxxxx\"; loop { s += s; }",
        "let s = \"xxxxxxxx\"; loop { s = s + s; }",
        "let s = \"xxxxxxxx\"; loop { s = `${s}${s}`; }",
        "let s = \"xxxxxxxx\"; loop { s = s.replace(\"x\", \"xx\"); }",
        "let s = \"xxxxxxxx\"; loop { s = [s, s].join(s); }",
        "let s = \"xxxxxxxx\"; loop { s = s.to_bytes().to_hex(); }",
        "let s = \"xxxxxxxx\"; loop { s = s.to_bytes().to_base64(); }",
        "let a = [1]; loop { a += a; }",
        "let a = [1]; loop { a = [a, a]; }",
        "let a = []; loop { a.push(1); }",
        "let a = []; loop { a.push(a); }",
        "let m = #{}; loop { m = #{ a: m, b: m }; }",
        "let m = #{}; let i = 0; loop { m[`${i}`] = i; i += 1; }",
        "loop { message.json.x = message.json; }",
        "loop { message.json = #{ a: message.json, b: message.json }; }",
        "message.json.l = []; loop { message.json.l.push(message.json.l); }",
        "loop { message.json.s = message.json.to_json(); }",
    ] {
        assert_limited(body, "{}");
    }
}

#[test]
fn replacing_in_a_long_text_is_counted_before_it_is_done() {
    // Done first, this would ask for 4 GiB.
    assert_limited("message.text.replace(\"a\", message.text);", &"a".repeat(64 * 1024));
}

#[test]
fn values_nested_to_the_limit_do_not_exhaust_the_stack() {
    assert_limited("let a = []; loop { a = [a]; }", "{}");
    assert_limited("let m = #{}; loop { m = #{ m: m }; }", "{}");
    assert_limited("let a = []; loop { a = [#{ a: a }]; }", "{}");
    assert_limited("let a = []; for i in 0..900 { a = [a]; } emit(\"a\", a);", "{}");
    assert_limited("let v = message.json; loop { v.a = #{}; v = v.a; }", "{}");
    assert_limited("loop { message.json = #{ a: message.json }; }", "{}");
}

#[test]
fn many_views_of_one_large_document_are_not_copied_at_once() {
    let payload = format!("[{}1]", "1,".repeat(100_000));
    let body = "let j = message.json; let a = []; for i in 0..100 { a.push(j); } emit(\"a\", a);";
    assert_limited(body, &payload);
}

#[test]
fn pieces_texts_and_payloads_are_bounded() {
    assert_limited("message.text.split(\",\");", &",".repeat(2000));
    assert_limited("message.text;", &"a".repeat(300 * 1024));
    assert_limited("message.json;", &format!("\"{}\"", "a".repeat(300 * 1024)));
    assert_limited("message.json.keys();", &{
        let fields: Vec<_> = (0..2000).map(|n| format!("\"{n}\":{n}")).collect();
        format!("{{{}}}", fields.join(","))
    });
}

#[test]
fn emissions_are_bounded_in_number_and_size() {
    assert_limited("for i in 0..17 { emit(\"a\", \"x\"); }", "{}");
    assert_limited(
        "emit(\"a\", message.text); emit(\"b\", message.text);",
        &"a".repeat(200 * 1024),
    );
    assert_eq!(publish("for i in 0..16 { emit(\"a\", \"x\"); }", "{}").unwrap().emitted.len(), 16);
}

#[test]
fn json_bombs_end_as_no_json_or_at_a_limit() {
    let nested = format!("{}1{}", "{\"a\":".repeat(50_000), "}".repeat(50_000));
    assert_limited("message.json;", &nested);
    let nested = "[".repeat(100_000);
    check("assert_eq(message.json, ());", &nested);
    let digits = "9".repeat(100_000);
    check("assert_eq(message.json, ());", &digits);
    check("assert_eq(message.json, ());", "1e400");
    let wide = format!("[{}[]]", "[],".repeat(80_000));
    check("assert_eq(message.json.len(), 80001);", &wide);
}

#[test]
fn a_source_must_be_short() {
    let long = format!("fn publish(client, message) {{}} //{}", "x".repeat(14 * 1024 * 1024));
    let error = refusal(&long);
    assert!(error.problems[0].message.contains("must not be longer than 65536 bytes"));
}

#[test]
fn expressions_must_not_nest_too_deep() {
    let deep =
        format!("fn publish(client, message) {{ {}1{}; }}", "(".repeat(5000), ")".repeat(5000));
    assert!(refusal(&deep).to_string().contains("complex"));
    let chain = format!("fn publish(client, message) {{ let x = {}1; }}", "1 + ".repeat(5000));
    assert!(refusal(&chain).to_string().contains("complex"));
}

#[test]
fn functions_and_variables_are_counted() {
    let functions: String = (0..200).map(|n| format!("fn f{n}() {{ {n} }}\n")).collect();
    let _ = refusal(&format!("{functions}fn publish(client, message) {{}}"));
    let variables: String = (0..200).map(|n| format!("let v{n} = {n};")).collect();
    let source = format!("fn publish(client, message) {{ {variables} }}");
    match try_load(&source) {
        Err(_) => {}
        Ok(rule) => {
            let failure = rule.publish(&client(), &message("{}")).unwrap_err();
            assert_eq!(failure.kind, FailureKind::Limit);
        }
    }
}
