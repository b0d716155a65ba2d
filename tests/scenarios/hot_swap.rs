//! Rules and plugins are replaced under load, and only by what is sound.

use std::fs::OpenOptions;
use std::io::Write;

use hookmq_tests::broker::plugins;
use hookmq_tests::mosquitto::{LinePublisher, Subscriber};
use serde_json::{Value, json};

use crate::first_light::sha256;
use crate::site::{STAMP_1, STAMP_2, Site, edit};

/// Messages under way at a time.
const WINDOW: usize = 50;

/// Messages before and after the change.
const MESSAGES: usize = 300;

const TOPIC: &str = "devices/sensor-1/telemetry";

/// The rule's limit changes from 80 to 60 degrees, the plugin from version 1 to 2, while a sensor at
/// 61 degrees and more goes on publishing.
pub fn programs_are_replaced_while_messages_flow(
    site: &Site,
    telemetry: &Subscriber,
    alarms: &Subscriber,
) {
    let before = pipeline(site);
    assert_eq!(before.plugin("stamp")["version"], "1.0.0");
    let mut flow =
        Flow { publisher: site.sensor().publish_lines(TOPIC), sent: 0, received: vec![] };
    flow.go_on_for(MESSAGES, telemetry);
    let connections = accepted_connections(site);

    let rule = site.rule_file("threshold_alarm");
    edit(&rule, &[("const LIMIT = 80;", "const LIMIT = 60;")]);
    let (rules, plugin) = std::thread::scope(|scope| {
        let change = scope.spawn(|| {
            let rules = site.post("rules/reload", None);
            (rules, site.post("plugins/stamp", Some(&plugins().join(STAMP_2))))
        });
        while !change.is_finished() {
            flow.go_on_for(1, telemetry);
        }
        change.join().expect("the change is made")
    });
    flow.go_on_for(MESSAGES, telemetry);
    let messages = flow.finish(telemetry);

    assert_eq!(
        outcomes(&rules),
        json!({
            "certificate_identity": "unchanged", "threshold_alarm": "applied", "redact_by_role": "unchanged"
        })
    );
    assert_eq!(outcomes(&plugin), json!({"stamp": "applied"}));
    assert_eq!(accepted_connections(site), connections, "nobody had to connect again");
    nothing_is_lost_and_one_stamp_follows_the_other(&messages);
    alarms_start_once_and_go_on(site, alarms, messages.len());

    let after = pipeline(site);
    assert_eq!(after.generation(), before.generation() + 2);
    assert_eq!(after.plugin("stamp")["version"], "2.0.0");
    assert_eq!(after.plugin("stamp")["sha256"], sha256(&plugins().join(STAMP_2)));
    assert_eq!(after.rule("threshold_alarm")["sha256"], sha256(&rule));
    assert_ne!(after.rule("threshold_alarm"), before.rule("threshold_alarm"));
    assert_eq!(after.rule("redact_by_role"), before.rule("redact_by_role"));
}

/// Rules with a mistake and artefacts that are not the plugin change nothing.
pub fn broken_programs_are_refused(site: &Site) {
    let before = pipeline(site);
    let file = site.rule_file("threshold_alarm");
    let sound = std::fs::read_to_string(&file).expect("read a rule");

    let lines = sound.lines().count();
    for (appended, problem_line, said) in [
        ("fn oops( {", lines + 1, ""),
        (
            "fn test_of_the_sky() { assert(false, \"the sky is green\"); }",
            lines + 1,
            "the sky is green",
        ),
    ] {
        let mut rule = OpenOptions::new().append(true).open(&file).expect("open a rule");
        writeln!(rule, "{appended}").expect("write a rule");
        let (status, report) = site.post("rules/reload", None);
        assert_eq!(status, 200, "{report}");
        let item = item(&report, "threshold_alarm");
        assert_eq!(item["outcome"], "refused", "{item}");
        let problem = &item["problems"][0];
        assert_eq!(problem["file"], "threshold_alarm.rhai");
        assert_eq!(problem["line"], problem_line, "{problem}");
        let message = problem["message"].as_str().expect("a reason");
        assert!(!message.is_empty() && message.contains(said), "{problem}");
        assert_eq!(pipeline(site), before, "the version before stays");
        std::fs::write(&file, &sound).expect("restore a rule");
    }

    let garbage = site.broker.directory().join("garbage.wasm");
    std::fs::write(&garbage, b"\0asm and then nothing that makes sense").expect("write a file");
    for (name, artefact, status, said) in [
        ("stamp", garbage, 422, ""),
        ("json-transform", plugins().join(STAMP_1), 422, "stamp"),
        ("nobody", plugins().join(STAMP_1), 404, "nobody"),
    ] {
        let answer = site.post(&format!("plugins/{name}"), Some(&artefact));
        assert_eq!(answer.0, status, "{answer:?}");
        let message = answer.1["error"]["message"].as_str().expect("a reason");
        assert!(!message.is_empty() && message.contains(said), "{answer:?}");
        assert_eq!(pipeline(site), before, "the version before stays");
    }
}

/// A sensor that publishes numbered messages, as fast as they arrive.
struct Flow {
    publisher: LinePublisher,
    sent: usize,
    received: Vec<Value>,
}

impl Flow {
    fn go_on_for(&mut self, messages: usize, telemetry: &Subscriber) {
        for _ in 0..messages {
            while self.sent < self.received.len() + WINDOW {
                let message = json!({"n": self.sent, "temperature": temperature(self.sent)});
                self.publisher.publish(&message.to_string());
                self.sent += 1;
            }
            self.received.push(telemetry.next_json());
        }
    }

    fn finish(mut self, telemetry: &Subscriber) -> Vec<Value> {
        self.publisher.finish();
        while self.received.len() < self.sent {
            self.received.push(telemetry.next_json());
        }
        self.received
    }
}

/// Of message `number`, for its alarm does not tell the number. It is the float nearest to its four
/// digits, so JSON brings it back as it was.
fn temperature(number: usize) -> f64 {
    (610_000 + number) as f64 / 10_000.0
}

fn nothing_is_lost_and_one_stamp_follows_the_other(messages: &[Value]) {
    for (number, message) in messages.iter().enumerate() {
        assert_eq!(message["n"], json!(number), "each arrives once, in order");
    }
    let stamps: Vec<_> = messages.iter().map(|message| message["stamp"].as_u64()).collect();
    let change = stamps.iter().position(|stamp| *stamp == Some(2)).expect("version 2 takes over");
    assert!(change >= MESSAGES, "version 1 was there first");
    assert!(stamps[..change].iter().all(|stamp| *stamp == Some(1)), "one version each: {stamps:?}");
    assert!(stamps[change..].iter().all(|stamp| *stamp == Some(2)), "one change: {stamps:?}");
}

/// From the first message that the new limit catches on, every message raises an alarm.
fn alarms_start_once_and_go_on(site: &Site, alarms: &Subscriber, messages: usize) {
    let mut alarm = alarms.next_json();
    let first = (0..messages).find(|number| alarm["temperature"] == temperature(*number));
    let first = first.unwrap_or_else(|| panic!("of no message: {alarm}"));
    assert!(first >= MESSAGES, "the old limit was there first");
    for number in first..messages {
        assert_eq!(alarm["temperature"], temperature(number), "none is left out");
        assert_eq!(alarm["limit"], 60);
        if number + 1 < messages {
            alarm = alarms.next_json();
        }
    }
    let last = json!({"temperature": 99}).to_string();
    assert!(site.sensor().publish(TOPIC, &last, &["-q", "1"]).status.success());
    assert_eq!(alarms.next_json()["temperature"], 99, "none comes twice");
}

/// What the admin API says of the pipeline, without the counters.
#[derive(Debug, PartialEq)]
struct Shown {
    generation: u64,
    programs: Vec<Value>,
}

impl Shown {
    fn generation(&self) -> u64 {
        self.generation
    }

    fn plugin(&self, name: &str) -> &Value {
        self.program("plugin", name)
    }

    fn rule(&self, name: &str) -> &Value {
        self.program("rule", name)
    }

    fn program(&self, kind: &str, name: &str) -> &Value {
        let found = self.programs.iter().find(|it| it["kind"] == kind && it["name"] == name);
        found.unwrap_or_else(|| panic!("no {kind} {name} in {:?}", self.programs))
    }
}

fn pipeline(site: &Site) -> Shown {
    let (status, shown) = site.get("pipeline");
    assert_eq!(status, 200, "{shown}");
    let steps = ["connect", "authorize", "publish", "deliver"]
        .into_iter()
        .flat_map(|hook| shown[hook].as_array().expect("the steps of a hook"));
    let programs = steps.map(|step| step["program"].clone()).collect();
    Shown { generation: shown["generation"].as_u64().expect("a number"), programs }
}

fn item<'a>(report: &'a Value, name: &str) -> &'a Value {
    let items = report["items"].as_array().unwrap_or_else(|| panic!("no items: {report}"));
    items.iter().find(|item| item["name"] == name).expect("an item for the program")
}

/// The outcome of a change, by the program's name.
fn outcomes((status, report): &(u16, Value)) -> Value {
    assert_eq!(*status, 200, "{report}");
    let items = report["items"].as_array().expect("items");
    let outcomes = items
        .iter()
        .map(|item| (item["name"].as_str().expect("a name").to_owned(), item["outcome"].clone()));
    Value::Object(outcomes.collect())
}

fn accepted_connections(site: &Site) -> String {
    let (_, metrics) = site.get("metrics");
    let metrics = metrics.as_str().expect("text");
    let line = metrics.lines().find(|line| line.starts_with("hookmq_connections_accepted_total "));
    line.expect("the counter").to_owned()
}
