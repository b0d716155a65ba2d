//! A rule that decides who may, and whose file is not what it was: nobody may more than before.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use hookmq_codec::{ProtocolVersion, Qos, ReasonCode};
use hookmq_tests::broker::{Broker, OPEN_LISTENER, directory, plugins, share_compiled};
use hookmq_tests::client::{Client, connect, publish};
use tempfile::TempDir;

/// What denies stands behind what allows, so that it is lost first.
const RULE: &str = r#"fn connect(client) { next(#{}) }

fn is_open(topic) { topic.starts_with("open/") }

fn authorize(client, access) {
    if is_open(access.topic) { return allow(); }
    if is_closed(access.topic) { return deny("it is closed"); }
    abstain()
}

const CLOSED = ["closed/"];

fn is_closed(topic) {
    for prefix in CLOSED {
        if topic.starts_with(prefix) { return true; }
    }
    false
}
"#;

/// In the broker's own engine, and in the sandbox.
const STEPS: [&str; 2] = ["{rule: rule}", "{rule: rule, sandboxed: true}"];

fn configuration(step: &str) -> String {
    format!(
        "data_dir: data
admin: {{bind: \"127.0.0.1:0\"}}
plugins: {{dir: {:?}}}
listeners: [{{name: {OPEN_LISTENER}, bind: \"tcp://127.0.0.1:0\"}}]
pipeline:
  connect: [{step}, {{builtin: anonymous}}]
  authorize: [{step}, {{builtin: open}}]
",
        plugins()
    )
}

/// What somebody makes of the file, and what is said of it.
type Mishap = (&'static str, fn(&Path), &'static str);

const MISHAPS: [Mishap; 8] = [
    ("empty", |file| write(file, b""), "none of the hooks"),
    ("a comment", |file| write(file, b"\n\n// later\n"), "none of the hooks"),
    (
        "cut between functions",
        |file| write(file, RULE.lines().next().expect("a line").as_bytes()),
        "no function for the hook Authorize",
    ),
    ("cut", |file| write(file, &RULE.as_bytes()[..RULE.len() / 2]), "rule.rhai:"),
    ("in Latin-1", |file| write(file, &[RULE.as_bytes(), b"// \xe9\n"].concat()), "not UTF-8"),
    ("of zeros", |file| write(file, &[0; 4096]), "rule.rhai:"),
    ("led astray", |file| symlink("nowhere", file).expect("link"), "cannot read"),
    ("a folder", |file| fs::create_dir(file).expect("make a folder"), "cannot read"),
];

fn write(file: &Path, bytes: &[u8]) {
    fs::write(file, bytes).expect("write the rule");
}

fn site() -> TempDir {
    let directory = directory();
    share_compiled(directory.path());
    fs::create_dir(directory.path().join("rules")).expect("make a folder");
    restore(&directory.path().join("rules/rule.rhai"));
    directory
}

fn restore(file: &Path) {
    clear(file);
    write(file, RULE.as_bytes());
}

fn clear(file: &Path) {
    // There may be none yet.
    let _ = fs::remove_file(file).or_else(|_| fs::remove_dir(file));
}

/// That the rule counts as it is in [`RULE`].
#[track_caller]
fn expect_as_before(client: &mut Client, number: usize) {
    for (topic, expected) in [("closed", ReasonCode::NotAuthorized), ("open", ReasonCode::Success)]
    {
        // The connection remembers what it may do on a topic.
        let topic = format!("{topic}/{number}");
        let code = client.publish(publish(&topic, b"x", Qos::AtLeastOnce));
        assert_eq!(code.is_failure(), expected.is_failure(), "{topic}: {code:?}");
    }
}

#[test]
fn a_rule_whose_file_is_spoilt_stays_as_it_was_and_the_log_says_why() {
    STEPS.iter().for_each(|step| stays_as_it_was(step));
}

fn stays_as_it_was(step: &str) {
    let broker = Broker::with_config(&configuration(step), site());
    let address = broker.address(OPEN_LISTENER);
    let file = broker.directory().join("rules/rule.rhai");
    let mut client = Client::connect(address, connect(ProtocolVersion::V5, "a")).0;
    expect_as_before(&mut client, 0);
    let reload = || {
        let (status, report) = broker.admin().post("/api/v1/rules/reload", b"");
        assert_eq!(status, 200, "{report}");
        report["items"][0]["outcome"].as_str().expect("an outcome").to_owned()
    };
    for (number, (what, spoil, why)) in (1..).zip(MISHAPS) {
        clear(&file);
        spoil(&file);
        let before = broker.log().lines().filter(|line| line.contains("rule refused")).count();
        assert_eq!(reload(), "refused", "{what}");
        let log = broker.log();
        let told = log.lines().filter(|line| line.contains("rule refused")).nth(before);
        assert!(told.is_some_and(|line| line.contains(why)), "{what}: {told:?}");
        expect_as_before(&mut client, number);
        let mut newcomer = Client::connect(address, connect(ProtocolVersion::V5, "b")).0;
        expect_as_before(&mut newcomer, number);
    }
    // Wherever it is cut.
    for length in 0..RULE.len() {
        clear(&file);
        write(&file, &RULE.as_bytes()[..length]);
        let outcome = reload();
        // Without the last end of line it is another text that says the same.
        assert_eq!(outcome == "refused", length + 1 < RULE.len(), "{length}: {outcome}");
        expect_as_before(&mut client, 100 + length);
    }
    restore(&file);
    assert_eq!(reload(), "applied");
}

#[test]
fn a_broker_does_not_start_with_a_rule_whose_file_is_spoilt() {
    for (what, spoil, why) in MISHAPS {
        let directory = site();
        let file = directory.path().join("rules/rule.rhai");
        clear(&file);
        spoil(&file);
        let broker = Broker::with_config(&configuration(STEPS[0]), directory);
        assert_eq!(broker.wait_for_end().code(), Some(2), "{what}");
        let said = broker.log();
        let is_said = said.contains(why) || said.contains("there is no file");
        assert!(is_said && said.contains("authorize"), "{what}: {said}");
        assert!(!said.contains("listening"), "{what}: {said}");
    }
}
