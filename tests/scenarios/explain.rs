//! Why a client or a message was treated so: asked for, from the API and the command line, and in the log.

use std::fs;
use std::process::Command;

use hookmq_codec::{ProtocolVersion, Qos};
use hookmq_tests::broker::{
    Broker, OPEN_LISTENER, add_rules, directory, hookmq, plugins, share_compiled,
};
use hookmq_tests::certificates::{Authority, Validity};
use hookmq_tests::client::{Client, connect, publish};
use hookmq_tests::guarded::Guarded;
use serde_json::{Value, json};

const DOORMAN: &str = r#"
fn connect(client) {
    if client.certificate != () && client.certificate.trust_anchor == "devices" {
        return accept(#{ tenant: client.certificate.o, username: client.certificate.cn });
    }
    if client.claimed_username == "nobody" {
        return accept(#{ tenant: "default", username: "nobody" });
    }
    deny("no certificate")
}

fn authorize(client, access) {
    if access.topic == "closed" { return deny("it is closed"); }
    allow()
}

fn publish(client, message) {
    if message.text == "stale" {
        return drop("too old");
    }
    message.text = "seen";
}

fn test_what_it_says_is_not_logged() {
    log("from a test");
    assert(run_authorize(test_client(#{}), test_access("publish", "closed")).denied);
}
"#;

fn site() -> Broker {
    site_with("{rule: doorman}", "{rule: doorman, explain: log}")
}

/// The same rule at all hooks; natively, or in the sandbox.
fn site_with(step: &str, publish: &str) -> Broker {
    let directory = directory();
    add_rules(directory.path(), &[("doorman", DOORMAN)]);
    share_compiled(directory.path());
    let plugins = plugins();
    let yaml = format!(
        "data_dir: data
listeners: [{{name: {OPEN_LISTENER}, bind: \"tcp://127.0.0.1:0\"}}]
admin: {{bind: \"127.0.0.1:0\"}}
rules: {{dir: rules}}
plugins: {{dir: {plugins:?}}}
steps: {{recorded_every: 1}}
pipeline:
  connect: [{step}]
  authorize: [{step}]
  publish: [{publish}]
"
    );
    Broker::with_config(&yaml, directory)
}

/// A client that the rule lets in by its name.
fn client(broker: &Broker) -> Client {
    let connect = hookmq_codec::Connect {
        username: Some("nobody"),
        ..connect(ProtocolVersion::V5, "somebody")
    };
    Client::connect(broker.address(OPEN_LISTENER), connect).0
}

#[track_caller]
fn explained(broker: &Broker, asked: &Value) -> Value {
    let (status, answer) = broker.admin().post("/api/v1/explain", asked.to_string().as_bytes());
    assert_eq!(status, 200, "{asked}: {answer}");
    answer
}

fn note<'a>(step: &'a Value, about: &str) -> Option<&'a str> {
    let notes = step["notes"].as_array()?;
    notes.iter().find(|note| note["about"] == about)?["text"].as_str()
}

#[test]
fn the_line_of_a_rule_that_decided_is_named() {
    let sandboxed = "{rule: doorman, sandboxed: true}";
    for broker in [site(), site_with(sandboxed, sandboxed)] {
        lines_are_named(&broker);
    }
}

fn lines_are_named(broker: &Broker) {
    let line = |asked: Value, hook: usize| {
        let answer = explained(broker, &asked);
        let step = &answer["explanations"][hook]["steps"][0];
        assert!(note(step, "operations").is_some() || hook == 1, "{answer}");
        note(step, "line").expect("a line").to_owned()
    };
    let publish =
        |topic: &str, payload: &str| json!({"username": "u", "topic": topic, "payload": payload});
    assert_eq!(line(publish("closed", "x"), 0), "doorman.rhai:13");
    assert_eq!(line(publish("open", "x"), 0), "doorman.rhai:14");
    assert_eq!(line(publish("open", "stale"), 1), "doorman.rhai:19");
    assert_eq!(line(publish("open", "x"), 1), "doorman.rhai:17 (publish names no verdict)");
    assert_eq!(line(json!({"action": "connect", "client_id": "c"}), 0), "doorman.rhai:9");
}

#[test]
fn what_a_rule_tests_say_does_not_reach_the_log() {
    let broker = site();
    broker.address(OPEN_LISTENER);
    assert!(!broker.log().contains("from a test"), "{}", broker.log());
}

#[test]
fn a_connect_is_explained_with_the_certificate_of_a_file() {
    let broker = site();
    let folder = directory();
    Authority::new("Devices").issue_device(folder.path(), "acme", "pump", Validity::Current);
    let admin = broker.wait_for_log("admin API listening ");
    let admin = admin.split_once("address=").expect("an address").1;
    let ask = |more: &[&str]| {
        let output = hookmq()
            .args(["explain", "--json", "--admin", admin.split(' ').next().expect("one")])
            .arg("--token-file")
            .arg(broker.directory().join("data/admin.token"))
            .args(more)
            .output()
            .expect("run hookmq");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")
    };
    let file = folder.path().join("pump.crt");
    let file = file.to_str().expect("a path");
    let vouched = ["connect", "--certificate", file, "--trust-anchor", "devices"];
    let outcome = &ask(&vouched)["explanations"][0]["outcome"];
    assert_eq!((&outcome["tenant"], &outcome["username"]), (&json!("acme"), &json!("pump")));
    let stranger = ask(&["connect", "--certificate", file]);
    assert_eq!(stranger["explanations"][0]["outcome"]["reason"], "no certificate");
    let named = ask(&["connect", "--username", "nobody"]);
    assert_eq!(named["explanations"][0]["outcome"]["username"], "nobody");
}

#[test]
fn a_client_that_is_connected_is_asked_about_as_it_is() {
    let broker = site();
    let _connected = client(&broker);
    let from = |asked: Value| explained(&broker, &asked)["client"]["from"].clone();
    let asked = json!({"client_id": "somebody", "topic": "t"});
    assert_eq!(from(asked), "connected");
    let asked = json!({"client_id": "somebody", "username": "nobody", "topic": "t"});
    assert_eq!(from(asked), "connected");
    let asked = json!({"client_id": "somebody", "username": "nobody", "topic": "t",
        "attributes": {"site": "north"}});
    assert_eq!(from(asked), "described");
    let both = json!({"client_id": "somebody", "topic": "t", "roles": ["operator"]});
    let (status, _) = broker.admin().post("/api/v1/explain", both.to_string().as_bytes());
    assert_eq!(status, 400);
}

#[test]
fn a_recorded_question_is_explained_by_its_number() {
    let broker = site();
    let mut client = client(&broker);
    client.publish(publish("open", b"stale", Qos::AtLeastOnce));
    let (_, recent) = broker.admin().get("/api/v1/rules/doorman/recent");
    let items = recent["items"].as_array().expect("items");
    let recorded = items.iter().find(|item| item["hook"] == "publish").expect("it is recorded");
    let answer = explained(&broker, &json!({"recorded": recorded["number"]}));
    assert_eq!(answer["client"]["from"], "recorded");
    let step = &answer["explanations"][0]["steps"][0];
    assert_eq!(step["answer"]["verdict"], "drop");
    assert_eq!(note(step, "line"), Some("doorman.rhai:19"));
    let (status, _) = broker.admin().post("/api/v1/explain", br#"{"recorded": 999999999}"#);
    assert_eq!(status, 404);
}

#[test]
fn a_step_that_explains_itself_in_the_log_says_why_but_not_what_was_sent() {
    let broker = site();
    let mut client = client(&broker);
    client.publish(publish("open/1", b"confidential", Qos::AtLeastOnce));
    let line = broker.wait_for_log("step answered");
    for part in ["step=\"doorman\"", "open/1", "somebody", "replace", "doorman.rhai:17"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    client.publish(publish("open/2", b"stale", Qos::AtLeastOnce));
    let line = broker.wait_for_log("open/2");
    assert!(line.contains("doorman.rhai:19"), "{line}");
    let answers = broker.log();
    assert!(!answers.contains("confidential") && !answers.contains("\"seen\""), "{answers}");
}

#[test]
fn permissions_of_the_database_are_explained_of_clients_that_are_not_connected() {
    let site = Guarded::new("");
    let asked = |username: &str, topic: &str| {
        let asked = json!({"tenant": "acme", "username": username, "client_id": username,
            "topic": topic});
        site.broker.admin().post("/api/v1/explain", asked.to_string().as_bytes())
    };
    let (status, answer) = asked("pump", "open/x");
    assert_eq!(status, 200, "{answer}");
    let authorize = &answer["explanations"][0];
    assert_eq!(authorize["outcome"]["allowed_up_to_qos"], 2, "{answer}");
    let permission = note(&authorize["steps"][0], "permission").map(str::to_owned);
    assert!(permission.is_some_and(|row| row.parse::<i64>().is_ok()), "{answer}");
    let (_, answer) = asked("pump", "elsewhere");
    assert!(answer["explanations"][0]["outcome"]["denied"].is_string(), "{answer}");
    let (status, refused) = asked("stranger", "open/x");
    assert_eq!(status, 404);
    let message = refused["error"]["message"].as_str().expect("a message");
    assert!(message.contains("no such principal"), "{message}");
}

/// A file whose reader waits until somebody writes.
fn fifo(path: &std::path::Path) {
    fs::remove_file(path).expect("there is a file");
    assert!(Command::new("mkfifo").arg(path).status().expect("run mkfifo").success());
}

fn changed(to: &str) -> String {
    DOORMAN.replace("it is closed", to)
}

#[test]
fn a_version_that_takes_long_to_make_holds_nobody_up_and_is_overtaken() {
    let broker = site();
    let api = broker.admin();
    let file = broker.directory().join("rules/doorman.rhai");
    fifo(&file);
    std::thread::scope(|scope| {
        let reload = scope.spawn(|| api.post("/api/v1/rules/reload", b""));
        // Opened when the reload is under way.
        let opened = fs::OpenOptions::new().write(true).open(&file).expect("open it");
        let (status, answer) = api.post("/api/v1/rules/doorman", changed("first").as_bytes());
        assert_eq!(status, 200, "{answer}");
        std::io::Write::write_all(&mut &opened, changed("late").as_bytes()).expect("write");
        drop(opened);
        let (_, answer) = reload.join().expect("an answer");
        let item = &answer["items"][0];
        assert_eq!(item["outcome"], "refused", "{answer}");
        assert!(item["error"].as_str().is_some_and(|error| error.contains("came first")));
    });
    let (_, life) = api.get("/api/v1/rules/doorman");
    let previous = life["previous"].as_str().expect("a version");
    let kept = broker.directory().join("data/programs/rule-doorman");
    let kept = kept.join(format!("{previous}.rhai"));
    let before = fs::read(&kept).expect("it is kept");
    fifo(&kept);
    std::thread::scope(|scope| {
        let rollback = scope.spawn(|| api.post("/api/v1/rules/doorman/rollback", b""));
        let opened = fs::OpenOptions::new().write(true).open(&kept).expect("open it");
        let (status, answer) = api.post("/api/v1/rules/doorman", changed("second").as_bytes());
        assert_eq!(status, 200, "{answer}");
        std::io::Write::write_all(&mut &opened, &before).expect("write");
        drop(opened);
        let (status, answer) = rollback.join().expect("an answer");
        assert_eq!((status, &answer["error"]["code"]), (409, &json!("conflict")), "{answer}");
    });
}
