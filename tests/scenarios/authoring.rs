//! What the author of a rule or a plugin sees on the command line.

use std::path::Path;
use std::process::Output;

use hookmq_tests::broker::{Broker, OPEN_LISTENER, directory, hookmq, plugins};

fn run(arguments: &[&str], directory: &Path) -> (Option<i32>, String, String) {
    let mut command = hookmq();
    let output = command.args(arguments).current_dir(directory).output().expect("run hookmq");
    let Output { status, stdout, stderr } = output;
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

const RULE: &str = r#"const TOPICS = ["devices/+/telemetry"];
fn publish(client, message) {
    if message.text == "hot" { emit("alarms", "hot"); }
    pass()
}
fn test_hot() {
    let outcome = run_publish(test_client(#{}), test_message("devices/a/telemetry", "hot"));
    assert_eq(outcome.emitted[0].topic, "alarms");
}
"#;

#[test]
fn rule_test_names_each_test_and_ends_with_the_numbers() {
    let directory = directory();
    let write = |text: &str| std::fs::write(directory.path().join("a.rhai"), text).unwrap();
    write(RULE);
    let (code, told, _) = run(&["rule", "test", "a.rhai"], directory.path());
    assert_eq!((code, &*told), (Some(0), "a.rhai\n  test_hot  ok\n\n1 passed, 0 failed\n"));
    write(&format!("{RULE}fn test_it_fails() {{ assert_eq(1 + 1, 3); }}\n"));
    let (code, told, _) = run(&["rule", "test", "a.rhai"], directory.path());
    let expected = "a.rhai
  test_hot       ok
  test_it_fails  FAILED
error: test_it_fails failed: 2 is not 3
  --> a.rhai:10:22
   |
10 | fn test_it_fails() { assert_eq(1 + 1, 3); }
   |                      ^

1 passed, 1 failed
";
    assert_eq!((code, &*told), (Some(1), expected));
    write("fn publish(client, message) { dropp() }");
    let (code, told, why) = run(&["rule", "test", "a.rhai"], directory.path());
    assert_eq!((code, &*why), (Some(2), "1 of 1 rules do not load\n"));
    assert!(told.contains("there is no function `dropp`"), "{told}");
    assert!(told.contains("= hint: is it `drop`?"), "{told}");
}

#[test]
fn a_new_rule_passes_its_own_tests() {
    let directory = directory();
    let (code, _, why) = run(&["rule", "new", "rules/alarm.rhai"], directory.path());
    assert_eq!(code, Some(0), "{why}");
    let (code, told, _) = run(&["rule", "test", "rules/alarm.rhai"], directory.path());
    assert_eq!(code, Some(0), "{told}");
    assert!(told.ends_with("3 passed, 0 failed\n"), "{told}");
}

#[test]
fn a_bench_tells_what_was_asked_and_what_was_answered() {
    let directory = directory();
    std::fs::write(directory.path().join("a.rhai"), RULE).unwrap();
    let engine = plugins().join("rule-engine.wasm");
    let engine = engine.to_str().unwrap();
    let bench = ["rule", "bench", "a.rhai", "--seconds", "1", "--payload", "hot"];
    let sandboxed = [&bench[..], &["--sandboxed", engine]].concat();
    let (code, told, why) = run(&sandboxed, directory.path());
    assert_eq!(code, Some(0), "{why}");
    assert_eq!(told.matches("publish: 3 bytes on devices/x/telemetry").count(), 2, "{told}");
    assert_eq!(told.matches(r#""topic":"alarms""#).count(), 2, "{told}");
    assert_eq!(told.matches(" ns per call, the median of ").count(), 2, "{told}");
    assert_eq!(told.matches(" bytes of linear memory in 1 instance(s)").count(), 1, "{told}");

    let stamp = plugins().join("fixtures/stamp-v1.wasm");
    let bench = ["plugin", "bench", stamp.to_str().unwrap(), "--seconds", "1", "--payload", "{}"];
    let (code, told, why) = run(&bench, directory.path());
    assert_eq!(code, Some(0), "{why}");
    assert!(told.contains(r#"answer   {"patch":{"payload":"{\"stamp\":1}"},"verdict":"replace"}"#));
    assert!(told.contains(" replace\n"), "{told}");
    assert!(told.contains(" bytes of linear memory in 1 instance(s)"), "{told}");
    let (code, _, why) = run(&[&bench[..], &["--hook", "connect"]].concat(), directory.path());
    assert_eq!((code, &*why), (Some(2), "plugin stamp has no such hook\n"));
}

#[test]
fn a_plugin_that_asks_for_more_is_refused_with_what_would_grant_it() {
    let directory = directory();
    let dir = plugins();
    let config = format!(
        "data_dir: data
listeners: [{{name: {OPEN_LISTENER}, bind: \"tcp://127.0.0.1:0\"}}]
plugins: {{dir: {:?}}}
pipeline:
  connect: [{{builtin: anonymous}}]
  authorize: [{{builtin: open}}]
  publish: [{{plugin: json-transform}}]
",
        dir.to_str().unwrap()
    );
    std::fs::write(directory.path().join("a.yaml"), config).unwrap();
    let (code, _, why) = run(&["check", "--config", "a.yaml"], directory.path());
    assert_eq!(code, Some(2));
    assert!(why.contains("asks for what it is not granted: log, clock"), "{why}");
    let yaml =
        "\n      plugins:\n        grants:\n          json-transform:\n            log: true\n";
    assert!(why.contains(yaml), "{why}");
}

#[test]
fn the_api_says_what_would_help() {
    let broker = Broker::open_with("");
    let (status, answer) = broker.admin().post("/api/v1/plugins/prefix/versions", b"");
    assert_eq!((status, answer["error"]["code"].as_str()), (404, Some("not_found")));
    let hint = answer["error"]["hint"].as_str().expect("a hint");
    assert!(hint.ends_with("pipeline:\n    publish:\n      - plugin: prefix"), "{hint}");
}
