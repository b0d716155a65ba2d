//! Rules that run as plugins: the rule engine itself is the plugin, and the rule's text its configuration.

use std::sync::Arc;

use hookmq_codec::TopicFilter;
use hookmq_core::Message;
use hookmq_hooks::{
    Access, AuthorizeVerdict, BoxFuture, Client, ConnectAttempt, ConnectVerdict, DeliverVerdict,
    Footprint, HookSet, Program, ProgramIdentity, ProgramKind, ProgramName, PublishAnswer,
    StepFailure, StepSpec,
};
use hookmq_script::{RuleOutline, failure_of_text};
use hookmq_wasm::{Grants, Limits, LoadError, PluginSettings, WasmPlugin};
use serde_json::{Value, json};

/// The plugin, in the directory of plugins.
pub const SANDBOX_FILE: &str = "rule-engine.wasm";

/// The settings of a rule's step that make it sandboxed.
pub fn sandbox_settings() -> Value {
    json!({"sandboxed": true})
}

pub fn is_sandboxed(step: &StepSpec) -> bool {
    step.program.kind == ProgramKind::Rule && step.settings == sandbox_settings()
}

/// What a rule may do natively, it may do here.
pub fn sandbox_grants() -> Grants {
    let all = TopicFilter::new("#").expect("# is a filter");
    Grants { log: true, clock: true, metric: true, kv: true, emit: vec![all], ..Grants::default() }
}

pub fn plugin_settings(name: &str, file: &str, source: &str, limits: Limits) -> PluginSettings {
    PluginSettings {
        name: Some("rule-engine".into()),
        alias: Some(ProgramName { kind: ProgramKind::Rule, name: name.into() }),
        home: None,
        config: json!({"file": file, "source": source}),
        limits,
        grants: sandbox_grants(),
    }
}

/// A rule in its sandbox, as the pipeline calls it.
pub struct SandboxedRule {
    identity: ProgramIdentity,
    file: String,
    outline: RuleOutline,
    plugin: WasmPlugin,
}

impl SandboxedRule {
    pub fn new(name: &str, file: &str, outline: RuleOutline, plugin: WasmPlugin) -> Self {
        let identity = ProgramIdentity {
            kind: ProgramKind::Rule,
            name: name.into(),
            version: String::new(),
            sha256: outline.sha256.clone(),
        };
        Self { identity, file: file.into(), outline, plugin }
    }

    /// Configures one instance, which runs the rule's own tests.
    pub fn try_out(&self) -> Result<(), LoadError> {
        self.plugin.try_out()
    }

    /// What the engine has said inside of the sandbox, as it would have outside.
    fn located(&self, failure: StepFailure) -> StepFailure {
        match failure.kind {
            hookmq_hooks::FailureKind::Error => failure_of_text(&failure.message, &self.file),
            _ => failure,
        }
    }
}

impl Program for SandboxedRule {
    fn identity(&self) -> &ProgramIdentity {
        &self.identity
    }

    fn hooks(&self) -> HookSet {
        self.outline.hooks
    }

    fn topics(&self) -> &[TopicFilter] {
        &self.outline.topics
    }

    fn authorize_is_cacheable(&self) -> bool {
        self.outline.authorize_is_cacheable
    }

    fn connect<'a>(
        &'a self,
        attempt: &'a ConnectAttempt,
    ) -> BoxFuture<'a, Result<ConnectVerdict, StepFailure>> {
        let answer = self.plugin.connect(attempt);
        Box::pin(async move { answer.await.map_err(|failure| self.located(failure)) })
    }

    fn authorize(
        &self,
        client: &Arc<Client>,
        access: &Access<'_>,
    ) -> Result<AuthorizeVerdict, StepFailure> {
        self.plugin.authorize(client, access).map_err(|failure| self.located(failure))
    }

    fn publish(
        &self,
        client: &Arc<Client>,
        message: &Message,
    ) -> Result<PublishAnswer, StepFailure> {
        self.plugin.publish(client, message).map_err(|failure| self.located(failure))
    }

    fn deliver(
        &self,
        client: &Arc<Client>,
        message: &Message,
    ) -> Result<DeliverVerdict, StepFailure> {
        self.plugin.deliver(client, message).map_err(|failure| self.located(failure))
    }

    fn refresh(&self, tenant: &str) {
        self.plugin.refresh(tenant);
    }

    fn footprint(&self) -> Footprint {
        self.plugin.footprint()
    }
}
