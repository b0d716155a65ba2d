//! What keeps a rule out, and how it is told.

use hookmq_script::{RuleEngine, RuleLimits};

use crate::support::*;

/// File, line, column and a part of the message.
fn assert_problem(source: &str, line: usize, column: usize, part: &str) {
    let error = refusal(source);
    let problem = &error.problems[0];
    assert!(problem.message.contains(part), "{error}");
    assert_eq!((problem.line, problem.column), (line, column), "{error}");
    assert_eq!(problem.file, "rule.rhai");
    let told = error.to_string();
    assert!(told.contains(&format!("rule.rhai:{line}:{column}")), "{told}");
}

const HOOK: &str = "fn publish(client, message) {}\n";

#[test]
fn syntax_errors_name_the_place() {
    assert_problem("fn publish(client, message) {\n  let = 5;\n}", 2, 7, "name of a variable");
    assert_problem("fn publish(client, message) {\n", 2, 1, "'}'");
}

#[test]
fn a_misspelt_variable_is_found_before_the_rule_runs() {
    let source = "const LIMIT = 5;\nfn publish(client, message) {\n  if LIMTI > 3 { drop() }\n}";
    assert_problem(source, 3, 6, "LIMTI");
    assert!(refusal(source).to_string().contains("misspelt"));
}

#[test]
fn a_misspelt_function_is_found_before_the_rule_runs() {
    let source = "fn publish(client, message) {\n  message.text.trimm();\n  dorp()\n}";
    let error = refusal(source);
    let lines: Vec<_> = error.problems.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [2, 3], "{error}");
    assert!(error.to_string().contains("there is no function `dorp`"));
}

#[test]
fn errors_are_shown_as_a_compiler_shows_them() {
    let error = refusal("const A = 1;\nfn publish(client) {}");
    assert_eq!(
        error.to_string(),
        "error: `publish` must take 2 parameter(s)\n \
         --> rule.rhai:2:1\n  |\n2 | fn publish(client) {}\n  | ^\n  \
         = hint: write `fn publish(client, message)`"
    );
}

#[test]
fn a_rule_must_define_a_hook() {
    assert_problem("fn publsh(client, message) {}", 1, 1, "none of the hooks");
    assert_problem("fn connect(client, message) {}", 1, 1, "`connect` must take 1 parameter(s)");
}

#[test]
fn only_constants_and_functions_stand_outside() {
    assert_problem(&format!("{HOOK}let x = 1;"), 2, 1, "only constants and functions");
    assert_problem(&format!("{HOOK}\nemit(\"a\", 1);"), 3, 1, "only constants and functions");
}

#[test]
fn topics_must_be_filters() {
    for (topics, part) in [
        ("5", "must be an array"),
        ("[]", "must not be empty"),
        ("[5]", "as strings, not i64"),
        ("[\"a/#/b\"]", "a wildcard must stand for a whole level"),
        ("[\"$share/g/a\"]", "shared subscription"),
    ] {
        assert_problem(&format!("{HOOK}const TOPICS = {topics};"), 2, 1, part);
    }
}

#[test]
fn constants_are_plain_and_known_everywhere() {
    let rule = load(
        "const LIMIT = 40 + 2;\nconst NAMES = [\"a\", \"b\"];\nconst MAP = #{ x: LIMIT };\n\
         fn helper() { MAP.x + NAMES.len() }\n\
         fn publish(client, message) {}\n\
         fn test_constants() {\n\
           assert_eq(helper(), 44); assert_eq(NAMES[1], \"b\"); assert(\"a\" in NAMES);\n\
           let found = 0; for name in NAMES { found += 1; } assert_eq(found, 2);\n\
         }",
    );
    drop(rule);
    assert_problem(
        &format!("{HOOK}const M = parse_json(\"{{}}\");"),
        2,
        1,
        "must be a plain value",
    );
    assert_problem("const A = 1;\nfn publish(client, A) {}", 2, 1, "the name of a constant");
    assert_problem(&format!("const A = 1 / 0;\n{HOOK}"), 1, 13, "ivi");
}

#[test]
fn a_failing_test_keeps_the_rule_out() {
    let source = format!("{HOOK}fn test_one() {{\n  assert_eq(1 + 1, 3, \"sum\");\n}}");
    assert_problem(&source, 3, 3, "test_one failed: sum: 2 is not 3");
    let source = format!("{HOOK}fn test_two() {{\n  assert(false, \"not so\");\n}}");
    assert_problem(&source, 3, 3, "test_two failed: not so");
    let source = format!(
        "{HOOK}fn helper() {{ throw \"odd\"; }}\nfn test_three() {{ assert(true); helper(); }}"
    );
    assert_problem(&source, 2, 15, "test_three failed: odd");
    let source = format!("{HOOK}fn test_four() {{ loop {{ }} }}");
    assert!(refusal(&source).problems[0].message.contains("too many operations"));
}

#[test]
fn a_test_that_expects_nothing_keeps_the_rule_out() {
    assert_problem(&format!("{HOOK}fn test_idle() {{ 1 + 1; }}"), 2, 1, "expects nothing");
    assert_problem(&format!("{HOOK}fn test_odd(x) {{ assert(true); }}"), 2, 1, "no parameters");
}

#[test]
fn every_failing_test_is_told() {
    let error = refusal(&format!(
        "{HOOK}fn test_b() {{ assert(false); }}\nfn test_ok() {{ assert(true); }}\nfn test_a() {{ assert(false); }}"
    ));
    let lines: Vec<_> = error.problems.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [2, 4], "{error}");
}

#[test]
fn tests_may_call_a_hook_directly() {
    load(
        "fn publish(client, message) { message.json.seen = true; }\n\
         fn test_it() {\n\
           let message = test_message(\"a\", #{ n: 1 });\n\
           publish(test_client(#{}), message);\n\
           assert_eq(message.json, #{ n: 1, seen: true });\n\
         }",
    );
}

#[test]
fn tests_run_each_hook_as_the_pipeline_does() {
    load(
        r#"fn connect(client) { if client.has_password { accept(#{ tenant: "t" }) } else { deny(0x86, "no password") } }
        fn authorize(client, access) { if access.retain { disconnect("no") } else if access.qos == 2 { allow() } }
        fn publish(client, message) { emit("x", #{ n: 1 }, #{ retain: true }); if message.qos == 2 { consume() } else { drop(0x97) } }
        fn deliver(client, message) { if client.attributes.site == () { drop() } else { message.topic = "b"; } }
        fn test_all() {
            let outcome = run_connect(test_connect(#{ has_password: true }));
            assert(outcome.accepted && outcome.tenant == "t" && !outcome.denied);
            outcome = run_connect(test_connect(#{ address: "::1", protocol: "3.1.1" }));
            assert_eq([outcome.denied, outcome.code, outcome.reason], [true, 0x86, "no password"]);
            outcome = run_authorize(test_client(#{}), test_access("publish", "a", #{ retain: true }));
            assert(outcome.denied && outcome.disconnected && outcome.reason == "no");
            assert(run_authorize(test_client(#{}), test_access("publish", "a", #{ qos: 2 })).allowed);
            assert(run_authorize(test_client(#{}), test_access("receive", "a")).abstained);
            outcome = run_publish(test_client(#{}), test_message("a", "x"));
            assert_eq([outcome.dropped, outcome.code], [true, 0x97]);
            assert_eq(outcome.emitted.len(), 1);
            assert(outcome.emitted[0].topic == "x" && outcome.emitted[0].json.n == 1 && outcome.emitted[0].retain);
            let message = test_message("a", "x");
            message.qos = 2;
            assert(run_publish(test_client(#{}), message).consumed);
            assert(run_deliver(test_client(#{}), test_message("a", "x")).dropped);
            outcome = run_deliver(test_client(#{ attributes: #{ site: "n" } }), test_message("a", "x"));
            assert(outcome.passed && outcome.message.topic == "b");
        }"#,
    );
    let source = format!("{HOOK}fn test_typo() {{ test_client(#{{ tennant: \"x\" }}); }}");
    assert!(refusal(&source).to_string().contains("test_client knows no entry `tennant`"));
}

#[test]
fn what_reaches_outside_is_not_part_of_the_language() {
    for statement in [
        "eval(\"1\")",
        "import \"x\" as x",
        "export x",
        "sleep(1)",
        "timestamp()",
        "open_file(\"x\")",
        "exit()",
        "print(1)",
        "debug(1)",
        "parse_json_file(1)",
        "blob(1000)",
        "\"x\".pad(1000, \"y\")",
        "[1].pad(1000, 1)",
    ] {
        let _ = refusal(&format!("fn publish(client, message) {{ {statement}; }}"));
    }
}

#[test]
fn the_file_name_is_the_rules_name() {
    let engine = RuleEngine::new(RuleLimits::default(), || 0);
    for file in ["", "a b.rhai", "../x/.rhai", "ä.rhai"] {
        assert!(engine.load(file, HOOK).is_err(), "{file}");
    }
    assert!(engine.load("rules/my-rule_2.rhai", HOOK).is_ok());
}

#[test]
fn the_example_in_the_reference_loads() {
    let page = include_str!("../../../../docs/rules.md");
    let example = page.split("```").nth(1).unwrap().trim_start_matches("rust\n");
    assert!(example.contains("fn publish"));
    load(example);
}
