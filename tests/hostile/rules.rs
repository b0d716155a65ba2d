//! Hostile rules: whatever one says, it is refused or ended, the broker stays small and serves the others.

mod calls;
mod loading;
mod loops;
mod payloads;
mod sandbox;

use hookmq_codec::{Packet, ProtocolVersion, Qos, ReasonCode};
use hookmq_tests::broker::{Broker, OPEN_LISTENER, add_rules, directory, plugins, share_compiled};
use hookmq_tests::client::{Client, connect, publish};
use serde_json::Value;

const MIB: u64 = 1 << 20;

/// What the broker may have grown by when a hostile rule has had its chance. The engine's own bounds, on
/// values of 256 KiB and on calls of 10 ms, leave room for tens of megabytes on each of two workers.
const GROWTH: u64 = 192 * MIB;

/// Asked in all hooks for topics under `hostile/`, and for every connection.
const HARMLESS: &str = r#"const TOPICS = ["hostile/#"];
fn connect(client) { next() }
fn authorize(client, access) { abstain() }
fn publish(client, message) { pass() }
fn deliver(client, message) { pass() }
"#;

/// A broker with one rule, which is asked however often it fails, and two clients who want nothing but to exchange messages.
struct Scene {
    broker: Broker,
    publisher: Client,
    subscriber: Client,
    exchanged: u32,
}

impl Scene {
    fn new(rule: &str) -> Self {
        Self::with_step(rule, "{rule: rule}")
    }

    /// With the rule in the plugin `rule-engine`, which may take as long as a busy machine needs.
    fn sandboxed(rule: &str) -> Self {
        Self::with_step(rule, "{rule: rule, sandboxed: true}")
    }

    fn with_step(rule: &str, step: &str) -> Self {
        let directory = directory();
        add_rules(directory.path(), &[("rule", rule)]);
        share_compiled(directory.path());
        let yaml = format!(
            "data_dir: data
listeners:
  - {{name: {OPEN_LISTENER}, bind: \"tcp://127.0.0.1:0\"}}
admin: {{bind: \"127.0.0.1:0\"}}
steps: {{breaker_failures: 1000000, breaker_failing_ms: 1000000}}
pipeline:
  connect: [{step}, {{builtin: anonymous}}]
  authorize: [{step}, {{builtin: open}}]
  publish: [{step}]
  deliver: [{step}]
plugins: {{dir: {:?}}}
",
            plugins()
        );
        let broker = Broker::with_config(&yaml, directory);
        let address = broker.address(OPEN_LISTENER);
        let client = |id| Client::connect(address, connect(ProtocolVersion::V5, id)).0;
        let (publisher, mut subscriber) = (client("bystander 1"), client("bystander 2"));
        subscriber.subscribe("bystanders", Qos::AtLeastOnce);
        Self { publisher, subscriber, broker, exchanged: 0 }
    }

    fn client(&self, client_id: &str) -> Client {
        let connect = connect(ProtocolVersion::V5, client_id);
        Client::connect(self.broker.address(OPEN_LISTENER), connect).0
    }

    /// The code of CONNACK.
    fn knock(&self, client_id: &str) -> ReasonCode {
        let connect = connect(ProtocolVersion::V5, client_id);
        let (_, answer) = Client::attempt(self.broker.address(OPEN_LISTENER), connect);
        match answer.packet() {
            Packet::ConnAck(connack) => connack.reason_code,
            other => panic!("not CONNACK: {other:?}"),
        }
    }

    /// Puts another text in the rule's place; gives what the broker reports of it.
    fn reload(&self, rule: &str) -> Value {
        std::fs::write(self.broker.directory().join("rules/rule.rhai"), rule)
            .expect("write the rule");
        let (status, report) = self.broker.admin().post("/api/v1/rules/reload", b"");
        assert_eq!(status, 200, "{report}");
        report["items"][0].clone()
    }

    /// The rule must go live, to be tried.
    #[track_caller]
    fn apply(&self, rule: &str) {
        let item = self.reload(rule);
        assert_eq!(item["outcome"], "applied", "{item}\n{}", &rule[..rule.len().min(2000)]);
    }

    /// A message between others arrives.
    #[track_caller]
    fn others_are_served(&mut self) {
        self.exchanged += 1;
        let payload = self.exchanged.to_be_bytes();
        let sent = self.publisher.publish(publish("bystanders", &payload, Qos::AtLeastOnce));
        assert_eq!(sent, ReasonCode::Success);
        let received = self.subscriber.expect_message("bystanders", &payload);
        self.subscriber.acknowledge(&received);
    }

    #[track_caller]
    fn stays_small(&self, before: u64, what: &str) {
        let grown = self.broker.peak_bytes().saturating_sub(before);
        println!("{what}: {grown} bytes");
        assert!(grown < GROWTH, "{what} has cost {grown} bytes");
    }
}
