//! Pipelines of real rules and plugins, without a broker around them; processor time and allocations.

pub mod counting;
mod cpu_time;
pub mod steady;
pub mod trusting;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use hookmq_codec::{ProtocolVersion, Qos, TopicFilter, TopicName};
use hookmq_core::{Message, NewMessage};
use hookmq_hooks::{
    Blueprint, Client, ConnectionFacts, Hook, Observer, Pipeline, Program, PublishOutcome, Step,
    StepFailure, StepParts, StepSpec,
};
use hookmq_script::{RuleEngine, RuleLimits};
use hookmq_wasm::{Grants, HostOptions, Limits, PluginHost, PluginSettings};
use serde_json::{Value, json};

pub use cpu_time::{CpuTime, lower_priority, run_when_idle};

/// The rule of the figures: it asks for topics, reads a number of the payload and compares it.
pub const THRESHOLD: &str = include_str!("../../rules/threshold_alarm.rhai");
/// A topic that it wants.
pub const TOPIC: &str = "devices/pump-7/telemetry";
/// A payload of 64 bytes that it passes.
pub const PAYLOAD: &[u8; 64] =
    br#"{"temperature":21.5,"humidity":40,"site":"plant-7","unit":"cel"}"#;

/// A client whose messages go through publish steps.
pub struct Bench {
    client: Arc<Client>,
    pipeline: Pipeline,
}

impl Bench {
    /// The programs as publish steps, in their order. A failure would spoil the figures: it panics.
    pub fn new(programs: Vec<Arc<dyn Program>>) -> Self {
        let step = |program: &Arc<dyn Program>| {
            let identity = program.identity();
            StepSpec::new(identity.kind, identity.name.as_str())
        };
        let publish = programs.iter().map(step).collect();
        let blueprint = Blueprint { publish, ..Blueprint::default() };
        let parts = |_, place: usize, _: &StepSpec| StepParts::from(programs[place].clone());
        let pipeline = Pipeline::assemble(1, &blueprint, parts).expect("all programs publish");
        Self { client: client(), pipeline }
    }

    /// What a broker does for each message of a topic that it has seen since the pipeline changed.
    pub fn publish(&self) -> impl FnMut() -> PublishOutcome + '_ {
        let message = message();
        let steps = self.pipeline.select(Hook::Publish, &self.client, message.topic());
        move || self.pipeline.publish(&steps, &self.client, message.clone(), &Strict).outcome
    }

    /// What it does for a message of a new topic.
    pub fn select_and_publish(&self) -> impl FnMut() -> PublishOutcome + '_ {
        let message = message();
        move || {
            let steps = self.pipeline.select(Hook::Publish, &self.client, message.topic());
            self.pipeline.publish(&steps, &self.client, message.clone(), &Strict).outcome
        }
    }
}

struct Strict;

impl Observer for Strict {
    fn step_failed(&self, step: &Step, failure: &StepFailure) {
        panic!("{}: {failure}", step.name());
    }
}

/// The rule in the native engine.
pub fn rule(file: &str, source: &str) -> Arc<dyn Program> {
    let rule = RuleEngine::new(RuleLimits::default(), clock).load(file, source);
    Arc::new(rule.expect("the rule loads"))
}

/// The plugin of this name, as `cargo xtask plugins` has built it.
pub fn plugin(name: &str, config: Value) -> Arc<dyn Program> {
    static HOST: OnceLock<PluginHost> = OnceLock::new();
    let host = HOST.get_or_init(|| {
        let options = HostOptions { instances: 16, ..HostOptions::default() };
        PluginHost::new(options, Arc::default()).expect("the plugin host starts")
    });
    let file = target_directory().join(format!("plugins/{name}.wasm"));
    let artefact = std::fs::read(&file)
        .unwrap_or_else(|error| panic!("{}: {error}. Run `cargo xtask plugins`", file.display()));
    let emit = vec![TopicFilter::new("#").expect("# is a filter")];
    let grants =
        Grants { log: true, clock: true, metric: true, kv: true, emit, ..Grants::default() };
    let settings = PluginSettings {
        name: None,
        alias: None,
        home: None,
        config,
        grants,
        limits: Limits::default(),
    };
    Arc::new(host.load(&artefact, settings).expect("the plugin loads"))
}

/// The rule in the engine that runs as a plugin.
pub fn sandboxed_rule(file: &str, source: &str) -> Arc<dyn Program> {
    plugin("rule-engine", json!({"file": file, "source": source}))
}

fn clock() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_micros()).unwrap_or(u64::MAX)
}

fn target_directory() -> PathBuf {
    let program = std::env::current_exe().expect("a program has a file");
    // <target>/<profile>/deps/<program>
    program.ancestors().nth(3).unwrap_or(Path::new("target")).to_owned()
}

fn client() -> Arc<Client> {
    Arc::new(Client {
        tenant: "acme".into(),
        username: "pump-7".into(),
        client_id: "pump-7".into(),
        client_id_bound: true,
        roles: Default::default(),
        attributes: Default::default(),
        connection: ConnectionFacts {
            listener: "main".into(),
            peer: None,
            protocol: ProtocolVersion::V5,
            encrypted: false,
        },
        certificate: None,
        attachments: Default::default(),
        limits: Default::default(),
        budget: Default::default(),
        steps: Default::default(),
    })
}

fn message() -> Message {
    Message::new(NewMessage {
        topic: TopicName::new(TOPIC).expect("a topic name"),
        forwarded_properties: &[],
        payload: PAYLOAD,
        qos: Qos::AtMostOnce,
        retain: false,
        expires_at: None,
        publisher: 0,
    })
}
