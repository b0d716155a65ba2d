//! Runs one rule inside a plugin's limits: what a tenant wrote is run here, by the same engine that runs
//! the operator's own rules.
//!
//! The rule is the configuration: `{"file": "alarm.rhai", "source": ".."}`. Its tests run whenever an
//! instance is configured, and a rule with a problem is refused with all of them.

mod answer;
mod question;
#[cfg(target_arch = "wasm32")]
mod seed;
mod world;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use hookmq_hooks::{Circumstances, Program, StepFailure};
use hookmq_plugin::{
    Access, AuthorizeVerdict, Client, ConnectAttempt, ConnectVerdict, DeliverVerdict, Message,
    Plugin, PublishVerdict, explain,
};
use hookmq_script::{LogLevel, Rule, RuleEngine, RuleLimits, failure_text};

use crate::world::World;

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The file's name, for messages.
    pub file: String,
    pub source: String,
}

pub struct SandboxedRule {
    rule: Rule,
}

impl Plugin for SandboxedRule {
    type Config = Config;

    fn new(config: Config) -> Result<Self, String> {
        // The host ends a call that takes too long, so the engine needs no clock.
        let engine = RuleEngine::new(RuleLimits::default(), || 0)
            .with_host(Arc::new(World))
            .with_log(Arc::new(log));
        let rule = engine.load(&config.file, &config.source).map_err(|error| error.to_string())?;
        Ok(Self { rule })
    }

    fn connect(&mut self, attempt: ConnectAttempt) -> Result<ConnectVerdict, String> {
        let attempt = question::attempt(attempt);
        let verdict = explained(|| at_once(self.rule.connect(&attempt))).map_err(told)?;
        answer::connect(verdict)
    }

    fn authorize(&mut self, client: Client, access: Access) -> Result<AuthorizeVerdict, String> {
        let client = Arc::new(question::client(client));
        let access = question::access(&access);
        let verdict = explained(|| self.rule.authorize(&client, &access)).map_err(told)?;
        Ok(answer::authorize(verdict))
    }

    fn publish(
        &mut self,
        client: Option<Client>,
        message: Message,
    ) -> Result<PublishVerdict, String> {
        let client = Arc::new(question::client(client.unwrap_or_default()));
        let message = question::message(message)?;
        let answer = explained(|| self.rule.publish(&client, &message)).map_err(told)?;
        answer.emitted.into_iter().try_for_each(world::emit)?;
        Ok(answer::publish(answer.verdict))
    }

    fn deliver(
        &mut self,
        client: Option<Client>,
        message: Message,
    ) -> Result<DeliverVerdict, String> {
        let client = Arc::new(question::client(client.unwrap_or_default()));
        let message = question::message(message)?;
        let verdict = explained(|| self.rule.deliver(&client, &message)).map_err(told)?;
        Ok(answer::deliver(verdict))
    }
}

/// Makes a call of the rule; which line has decided is told to whoever wants to know.
fn explained<T>(call: impl FnOnce() -> T) -> T {
    if !explain::wanted() {
        return call();
    }
    let (answer, notes) = Circumstances::NOTED.run(call);
    for note in notes {
        explain::note(&note.about, || note.text);
    }
    answer
}

/// A rule waits for nothing.
fn at_once<T>(call: impl Future<Output = Result<T, StepFailure>>) -> Result<T, StepFailure> {
    match pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => unreachable!("a rule answers when it is first polled"),
    }
}

fn told(failure: StepFailure) -> String {
    failure_text(&failure)
}

fn log(level: LogLevel, _: &str, text: &str) {
    world::log(level, text);
}

hookmq_plugin::export! {
    plugin: SandboxedRule,
    hooks: [connect, authorize, publish, deliver],
    fields: [payload, properties, client, attributes, connection],
    capabilities: [log, metric, clock, kv],
    emit: ["#"],
}
