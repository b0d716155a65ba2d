//! Mistakes that people really make, and what they are told: the whole text.

use hookmq_script::{RuleEngine, RuleLimits};

use crate::support::refusal;

/// What is told of `source`, without the frame that every error has.
fn assert_told(source: &str, message: &str, line_and_column: &str, marked: &str, hint: &str) {
    let told = refusal(source).to_string();
    let number = line_and_column.split(':').next().unwrap();
    let hint = if hint.is_empty() { String::new() } else { format!("\n  = hint: {hint}") };
    let mark = marked.lines().last().unwrap();
    let shown = marked.lines().next().unwrap();
    let expected = format!(
        "error: {message}\n --> rule.rhai:{line_and_column}\n  |\n{number} | {shown}\n  | {mark}{hint}"
    );
    assert!(told == expected || told.starts_with(&format!("{expected}\n")), "{told}\n{expected}");
}

/// A publish hook with this line in it.
fn publish(line: &str) -> String {
    format!("fn publish(client, message) {{\n{line}\n}}")
}

#[test]
fn a_misspelt_function_is_told_with_the_name_that_is_near() {
    assert_told(
        &publish("if message.text.start_with(\"a\") { drop() }"),
        "there is no function `start_with`",
        "2:17",
        "if message.text.start_with(\"a\") { drop() }\n                ^",
        "is it `starts_with`?",
    );
    assert_told(
        &publish("print(message.topic);"),
        "there is no function `print`",
        "2:1",
        "print(message.topic);\n^",
        "in a rule it is `log(text)`",
    );
}

#[test]
fn a_function_with_too_few_arguments_is_told_with_what_there_is() {
    assert_told(
        &publish("emit(\"alarms\");"),
        "`emit` does not take 1 argument(s)",
        "2:1",
        "emit(\"alarms\");\n^",
        "there is `emit(string, any)`, `emit(string, any, map)`",
    );
    assert_told(
        "fn sum(a, b) { a + b }\nfn publish(client, message) { emit(\"a\", sum(1)); }",
        "`sum` does not take 1 argument(s)",
        "2:41",
        "fn publish(client, message) { emit(\"a\", sum(1)); }\n                                        ^",
        "it is defined here with 2 parameter(s)",
    );
}

#[test]
fn what_is_thought_to_be_a_hook_is_told_with_the_hook() {
    for (name, hook) in [
        ("on_publish", "fn publish(client, message)"),
        ("onConnect", "fn connect(client)"),
        ("authorise", "fn authorize(client, access)"),
        ("subscribe", "fn authorize(client, access)"),
        ("on_message", "fn publish(client, message)"),
    ] {
        let source = format!("fn {name}(client, x) {{ pass() }}");
        assert_told(
            &source,
            "the rule defines none of the hooks",
            "1:1",
            &format!("{source}\n^"),
            &format!("`{name}` is none: the hook is `{hook}`"),
        );
    }
    assert_told(
        "fn publish(client, message) { }\nfn on_deliver(client, message) { drop() }",
        "`on_deliver` is no hook, and nothing calls it",
        "2:1",
        "fn on_deliver(client, message) { drop() }\n^",
        "the hook is `fn deliver(client, message)`",
    );
}

#[test]
fn helpers_may_be_named_as_they_like() {
    crate::support::load(
        "fn on_hot(m) { emit(\"a\", 1) }\nfn publish(client, message) { on_hot(1); }",
    );
    crate::support::load("fn receive(m) { m }\nfn publish(client, message) { }");
}

#[test]
fn a_rule_without_a_hook_is_told_which_there_are() {
    assert_told(
        "const LIMIT = 5;",
        "the rule defines none of the hooks",
        "1:1",
        "const LIMIT = 5;\n^",
        "define connect(client) or authorize(client, access) or publish(client, message) or \
         deliver(client, message)",
    );
}

#[test]
fn an_assignment_in_a_condition_is_told() {
    assert_told(
        &publish("if message.qos = 1 { drop() }"),
        "this assigns, where a condition must stand",
        "2:16",
        "if message.qos = 1 { drop() }\n               ^",
        "compare with `==`",
    );
}

#[test]
fn a_missing_semicolon_is_told_where_it_is_missing() {
    assert_told(
        &publish("let a = 1\n\n// And then:\nlet b = 2;"),
        "a `;` is missing here",
        "2:10",
        "let a = 1\n         ^",
        "",
    );
}

#[test]
fn a_misspelt_variable_is_told_with_the_one_that_is_near() {
    assert_told(
        "const LIMIT = 5;\nfn publish(client, message) { if message.size > LIMTI { drop() } }",
        "Undefined variable: LIMTI",
        "2:49",
        "fn publish(client, message) { if message.size > LIMTI { drop() } }\n                                                ^",
        "is it misspelt? There is `LIMIT`",
    );
}

#[test]
fn words_of_other_languages_are_told_with_those_of_rules() {
    for (line, word, right) in [
        ("if message.qos == 1 and message.retain { drop() }", "and", "&&"),
        ("if message.qos == 1 { drop() } elif message.qos == 2 { drop() }", "elif", "else if"),
        ("if message.json == null { drop() }", "null", "()"),
        ("var x = 1;", "var", "let"),
    ] {
        let told = refusal(&publish(line)).to_string();
        let hint = format!("  = hint: what is `{word}` elsewhere is `{right}` in a rule");
        assert!(told.ends_with(&hint), "{told}");
        assert!(told.contains(" --> rule.rhai:2:"), "{told}");
    }
}

#[test]
fn an_object_map_without_its_sign_is_told() {
    assert_told(
        &publish("emit(\"a\", { x: 1 });"),
        "a `;` is missing before this",
        "2:14",
        "emit(\"a\", { x: 1 });\n             ^",
        "an object map begins with `#`: `#{ name: value }`",
    );
}

#[test]
fn a_brace_that_is_missing_is_told_where_the_next_function_begins() {
    assert_told(
        "fn publish(client, message) {\nif message.retain {\ndrop()\n}\nfn other() { 1 }",
        "Function definitions must be at global level and cannot be inside a block or another \
         function",
        "5:1",
        "fn other() { 1 }\n^",
        "is a `}` missing before it?",
    );
}

/// Of a rule with this line in its hook, and a test that calls it.
fn of_a_test(line: &str) -> String {
    let test = "fn test_it() { assert(run_publish(test_client(#{}), test_message(\"a\", \"b\")).passed); }";
    refusal(&format!("{}\n{test}", publish(line))).to_string()
}

#[test]
fn an_unknown_field_is_told_with_the_one_that_is_near() {
    let told = of_a_test("if client.user == \"x\" { drop() }");
    assert_eq!(
        told,
        "error: test_it failed: `client` has no field `user`\n --> rule.rhai:2:11\n  |\n\
         2 | if client.user == \"x\" { drop() }\n  |           ^\n  = hint: is it `username`?"
    );
    let told = of_a_test("if message.payload == \"x\" { drop() }");
    assert!(told.contains("`message` has no field `payload`"), "{told}");
    assert!(told.ends_with("= hint: it can be assigned; read `json`, `text` or `bytes`"), "{told}");
    let told = of_a_test("emit(\"a\", 1, #{ quos: 1 });");
    assert!(told.contains("emit knows no entry `quos`; is it `qos`?"), "{told}");
}

#[test]
fn a_failed_expectation_shows_its_line_and_both_values() {
    let source = "fn publish(client, message) { emit(\"alarm\", 1); }\nfn test_topic() {\n    \
                  let outcome = run_publish(test_client(#{}), test_message(\"a\", 1));\n    \
                  assert_eq(outcome.emitted[0].topic, \"alarms\");\n}";
    assert_told(
        source,
        "test_topic failed: \"alarm\" is not \"alarms\"",
        "4:5",
        "    assert_eq(outcome.emitted[0].topic, \"alarms\");\n    ^",
        "",
    );
    assert_told(
        &source.replace("assert_eq(outcome.emitted[0].topic, \"alarms\")", "assert(1 == 2)"),
        "test_topic failed: this does not hold",
        "4:5",
        "    assert(1 == 2);\n    ^",
        "`assert_eq(a, b)` shows both values",
    );
}

#[test]
fn every_test_is_named_with_how_it_came_out() {
    let rules = RuleEngine::new(RuleLimits::default(), || 0);
    let source = "fn publish(client, message) {}\nfn test_b() { assert(true); }\n\
                  fn test_a() { assert_eq(1, 2); }";
    let outcomes = rules.test("rule.rhai", source).unwrap();
    let told: Vec<_> = outcomes
        .iter()
        .map(|it| (&*it.name, it.problem.as_ref().map(|problem| &*problem.message)))
        .collect();
    assert_eq!(told, [("test_b", None), ("test_a", Some("test_a failed: 1 is not 2"))]);
    assert!(rules.test("rule.rhai", "fn publish(client, message) {").is_err());
}

#[test]
fn a_flood_of_mistakes_is_told_in_part() {
    let source = publish(&"nonsense();".repeat(500));
    assert_eq!(refusal(&source).problems.len(), 20);
}
