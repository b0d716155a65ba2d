//! Rules that do harm while they are loaded: they are refused, with a problem, and the version before stays.

use super::{HARMLESS, Scene};

const HOOK: &str = "fn publish(client, message) { pass() }\n";

fn with_hook(rest: &str) -> String {
    format!("{HOOK}{rest}")
}

/// The rule, and a part of what the report says of it.
fn hostile_files() -> Vec<(String, &'static str)> {
    let mut files = vec![
        ("x".repeat(14 << 20), "must not be longer than 65536 bytes"),
        (with_hook("const X = { loop { } };"), "too many operations"),
        (with_hook("const X = { let s = \"x\"; loop { s += s; } };"), "over the limit"),
        (with_hook("const X = { let a = [1]; loop { a += a; } };"), "over the limit"),
        (with_hook("const X = \"x\".repeat(9223372036854775807);"), "over the limit"),
        (with_hook("const X = kv_get(\"a\");"), "a constant cannot depend on"),
        (with_hook("while true { }"), "only constants and functions"),
        (with_hook("fn test_loop() { assert(true); loop { } }"), "too many operations"),
        (with_hook("fn test_deep() { test_deep(); }"), "too deep"),
        (with_hook("fn test_nothing() { }"), "expects nothing"),
        (with_hook("fn test_fails() { assert(1 == 2, \"no\"); }"), "no"),
        (
            with_hook("fn test_text() { let s = \"x\"; loop { s = s.replace(\"x\", \"xx\"); } }"),
            "over the limit",
        ),
        (with_hook("fn f() { \"a\".regex_find(\"(?:a{1000}){1000}\") }"), "too large"),
        (with_hook("fn f() { \"a\".regex_find(\"\\\\p{L}{500}\") }"), "pattern"),
        (with_hook("import \"std\" as x;"), "import"),
        (with_hook("fn f() { eval(\"1\") }"), "eval"),
    ];
    for name in
        ["sleep", "open_file", "read", "env", "exec", "exit", "timestamp", "http_get", "print"]
    {
        files.push((
            with_hook(&format!("fn f() {{ {name}(\"/etc/passwd\") }}")),
            "there is no function",
        ));
    }
    for (open, close) in
        [("(", ")"), ("[", "]"), ("#{a:", "}"), ("if true {", "}"), ("!", ""), ("-", "")]
    {
        let times = 60_000 / (open.len() + close.len());
        files.push((
            with_hook(&format!("fn f() {{ {}1{} }}", open.repeat(times), close.repeat(times))),
            "",
        ));
        files.push((with_hook(&format!("const X = {}", open.repeat(times))), ""));
    }
    files
}

/// P10
#[test]
fn hostile_files_are_refused() {
    let mut scene = Scene::new(HARMLESS);
    let before = scene.broker.peak_bytes();
    for (rule, said) in hostile_files() {
        let shown = &rule[..rule.len().min(200)];
        let item = scene.reload(&rule);
        assert_eq!(item["outcome"], "refused", "{item}\n{shown}");
        let problems = item["problems"].to_string();
        assert!(problems.contains(said) && problems != "[]", "{item}\n{shown}");
        scene.others_are_served();
    }
    scene.stays_small(before, "loading hostile files");
}
