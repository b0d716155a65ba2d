//! The `pipeline` section: the steps of the four hooks as a [`Blueprint`].

mod certificate;
mod jwt;

use std::path::Path;
use std::sync::Arc;

use hookmq_access::{
    AnonymousSettings, CertificateSettings, JwtSettings, PasswordSettings, ScramSettings,
};
use hookmq_codec::TopicName;
use hookmq_hooks::{
    Blueprint, Condition, Control, Explain, FailurePolicy, Hook, ProgramKind, ProgramName,
    StepSpec, TENANT_RULES,
};
use serde::de::DeserializeOwned;

use super::check::Check;
use super::document::{OnFailure, PipelineDocument, StepDocument};
use super::error::KeyPath;
use super::{ListenerConfig, PluginsConfig, RulesConfig};
use crate::programs::{SANDBOX_FILE, sandbox_settings};

/// What steps may name.
pub(super) struct Surroundings<'a> {
    pub(super) listeners: &'a [ListenerConfig],
    pub(super) plugins: &'a PluginsConfig,
    pub(super) rules: &'a RulesConfig,
    pub(super) has_database: bool,
    /// The tables are somebody else's, and queries are for what they hold.
    pub(super) has_queries: bool,
}

/// The builtin steps and the hooks that they answer.
const BUILTINS: [(&str, &[Hook]); 8] = [
    ("anonymous", &[Hook::Connect]),
    ("certificate", &[Hook::Connect]),
    ("database", &[Hook::Connect, Hook::Authorize]),
    ("jwt", &[Hook::Connect, Hook::Authorize]),
    ("open", &[Hook::Authorize]),
    ("password", &[Hook::Connect]),
    ("scram", &[Hook::Connect]),
    (TENANT_RULES, &[Hook::Authorize, Hook::Publish, Hook::Deliver]),
];

pub(super) fn step_path(hook: Hook, position: usize) -> KeyPath {
    hook_path(hook).index(position)
}

fn hook_path(hook: Hook) -> KeyPath {
    KeyPath::root("pipeline").key(match hook {
        Hook::Connect => "connect",
        Hook::Authorize => "authorize",
        Hook::Publish => "publish",
        Hook::Deliver => "deliver",
    })
}

pub(super) fn check(
    check: &mut Check,
    document: PipelineDocument,
    surroundings: &Surroundings<'_>,
) -> Blueprint {
    let mut steps = |hook, documents: Vec<StepDocument>| -> Vec<StepSpec> {
        let documents = documents.into_iter().enumerate();
        let steps = documents.filter_map(|(position, document)| {
            StepCheck { check, surroundings, hook, path: step_path(hook, position) }.step(document)
        });
        steps.collect()
    };
    let blueprint = Blueprint {
        connect: steps(Hook::Connect, document.connect),
        authorize: steps(Hook::Authorize, document.authorize),
        publish: steps(Hook::Publish, document.publish),
        deliver: steps(Hook::Deliver, document.deliver),
    };
    check_that_listeners_are_served(check, &blueprint, surroundings.listeners);
    check_that_strangers_are_meant(check, &blueprint, surroundings.listeners);
    check_that_plugins_are_used(check, &blueprint, surroundings.plugins);
    check_that_tenants_have_one_place(check, &blueprint);
    blueprint
}

/// A listener where no step may accept or allow is a mistake, though a safe one.
fn check_that_listeners_are_served(
    check: &mut Check,
    blueprint: &Blueprint,
    listeners: &[ListenerConfig],
) {
    for (hook, then) in
        [(Hook::Connect, "nobody could connect"), (Hook::Authorize, "nothing would be allowed")]
    {
        for (index, listener) in listeners.iter().enumerate() {
            let applies = |step: &StepSpec| {
                let listeners = &step.condition.listeners;
                listeners.is_empty() || listeners.contains(&listener.name)
            };
            if !blueprint.steps(hook).iter().any(applies) {
                let steps = hook_path(hook);
                let message = format!("no step of {steps} concerns this listener: {then}");
                check.problem(&KeyPath::root("listeners").index(index), message);
            }
        }
    }
}

/// Who lets everybody in where everybody can come must say so.
fn check_that_strangers_are_meant(
    check: &mut Check,
    blueprint: &Blueprint,
    listeners: &[ListenerConfig],
) {
    for (position, step) in blueprint.connect.iter().enumerate() {
        if step.program.kind != ProgramKind::Builtin || &*step.program.name != "anonymous" {
            continue;
        }
        let at = &step.condition.listeners;
        for listener in listeners {
            let concerned = at.is_empty() || at.contains(&listener.name);
            if concerned && listener.is_public() && !listener.allow_public_anonymous {
                let message = format!(
                    "it lets everybody in at {}, which other machines can reach: name other \
                     `listeners`, or add `allow_public_anonymous: true` to the listener {}",
                    listener.bind, listener.name
                );
                check.problem(&step_path(Hook::Connect, position), message);
            }
        }
    }
}

fn check_that_plugins_are_used(check: &mut Check, blueprint: &Blueprint, plugins: &PluginsConfig) {
    let grants = plugins.grants.keys().map(|name| ("grants", name));
    let limits = plugins.own_limits.keys().map(|name| ("limits", name));
    for (key, name) in grants.chain(limits) {
        let is_used = blueprint.all().any(|(_, step)| {
            step.program.kind == ProgramKind::Plugin && *step.program.name == **name
        });
        if !is_used {
            let path = KeyPath::root("plugins").key(key).key(name);
            check.problem(&path, format!("no step uses a plugin named {name:?}"));
        }
    }
}

/// Two places of one hook would ask each of their rules twice.
fn check_that_tenants_have_one_place(check: &mut Check, blueprint: &Blueprint) {
    for hook in Hook::ALL {
        let steps = blueprint.steps(hook).iter().enumerate();
        let places = steps.filter(|(_, step)| step.program.is_tenant_rules());
        for (position, _) in places.skip(1) {
            let message = "tenants' rules have one place in each hook, and there is one before";
            check.problem(&step_path(hook, position).key("builtin"), message);
        }
    }
}

/// One step under examination.
struct StepCheck<'a> {
    check: &'a mut Check,
    surroundings: &'a Surroundings<'a>,
    hook: Hook,
    path: KeyPath,
}

impl StepCheck<'_> {
    /// None where the step has no program.
    fn step(mut self, mut document: StepDocument) -> Option<StepSpec> {
        let program = self.program(&document)?;
        if document.control.is_some() && self.hook != Hook::Connect {
            self.problem("control", "only connect steps have one");
        }
        if !document.topics.is_empty() && self.hook == Hook::Connect {
            self.problem("topics", "a connect step is asked before there is a topic");
        }
        self.known_listeners(&document.listeners);
        if let Some(index) = document.tenants.iter().position(String::is_empty) {
            let path = self.path.key("tenants").index(index);
            self.check.problem(&path, "no tenant has an empty name");
        }
        self.settings(&program, &document.config);
        if program.kind == ProgramKind::Builtin && &*program.name == "certificate" {
            self.mappings(&document);
        }
        if program.is_tenant_rules() && document.explain == Explain::Log {
            self.problem("explain", "what tenants' rules answer does not go to the log");
        }
        if program.kind == ProgramKind::Builtin && &*program.name == "jwt" {
            self.tokens(&mut document.config);
        }
        let settings = match document.sandboxed {
            true => self.sandbox(&program),
            false => document.config,
        };
        let texts = |texts: Vec<String>| texts.into_iter().map(Arc::from).collect();
        Some(StepSpec {
            program,
            control: document.control.unwrap_or(Control::Required),
            on_failure: self.on_failure(document.on_failure),
            explain: document.explain,
            condition: Condition {
                listeners: texts(document.listeners),
                tenants: texts(document.tenants),
                topics: document.topics.into_iter().map(|filter| filter.0).collect(),
            },
            settings,
        })
    }

    fn problem(&mut self, key: &str, message: impl std::fmt::Display) {
        self.check.problem(&self.path.key(key), message);
    }

    fn program(&mut self, document: &StepDocument) -> Option<ProgramName> {
        let (kind, key, name) = match (&document.builtin, &document.plugin, &document.rule) {
            (Some(name), None, None) => (ProgramKind::Builtin, "builtin", name),
            (None, Some(name), None) => (ProgramKind::Plugin, "plugin", name),
            (None, None, Some(name)) => (ProgramKind::Rule, "rule", name),
            _ => {
                self.check.problem(&self.path, "a step is either a builtin, a plugin or a rule");
                return None;
            }
        };
        let Surroundings { plugins, rules, .. } = *self.surroundings;
        match kind {
            ProgramKind::Builtin => self.builtin(name),
            ProgramKind::Plugin => self.file(key, name, &plugins.dir.join(format!("{name}.wasm"))),
            ProgramKind::Rule => self.file(key, name, &rules.dir.join(format!("{name}.rhai"))),
        }
        Some(ProgramName { kind, name: name.as_str().into() })
    }

    fn builtin(&mut self, name: &str) {
        let Some((_, hooks)) = BUILTINS.iter().find(|(builtin, _)| *builtin == name) else {
            let known = BUILTINS.map(|(builtin, _)| builtin).join(", ");
            return self.problem("builtin", format!("{name:?} is none; there are {known}"));
        };
        if !hooks.contains(&self.hook) {
            let hooks = hooks.iter().map(|hook| format!("{hook:?}").to_lowercase());
            let hooks = hooks.collect::<Vec<_>>().join(" and ");
            return self.problem("builtin", format!("{name:?} is a step of {hooks}"));
        }
        if matches!(name, "database" | "password" | "scram") && !self.surroundings.has_database {
            self.problem("builtin", "it needs the section `database`");
        }
        let engine = self.surroundings.plugins.dir.join(SANDBOX_FILE);
        if name == TENANT_RULES && !engine.is_file() {
            self.problem("builtin", format!("there is no file {}", engine.display()));
        }
        if name == "scram" && self.surroundings.has_queries {
            self.problem("builtin", "it needs the broker's own tables: leave out database.queries");
        }
    }

    /// That a program has its file. What is in it is for its engine to say.
    fn file(&mut self, key: &str, name: &str, file: &Path) {
        self.check.name(&self.path.key(key), name);
        if !file.is_file() {
            self.problem(key, format!("there is no file {}", file.display()));
        }
    }

    fn known_listeners(&mut self, names: &[String]) {
        for (index, name) in names.iter().enumerate() {
            if !self.surroundings.listeners.iter().any(|listener| *listener.name == **name) {
                let path = self.path.key("listeners").index(index);
                self.check.problem(&path, format!("there is no listener named {name:?}"));
            }
        }
    }

    fn settings(&mut self, program: &ProgramName, settings: &serde_json::Value) {
        if settings.is_null() || program.kind == ProgramKind::Plugin {
            return;
        }
        let path = self.path.key("config");
        let problem = match (program.kind, &*program.name) {
            (ProgramKind::Builtin, "anonymous") => problem_of::<AnonymousSettings>(settings),
            (ProgramKind::Builtin, "certificate") => problem_of::<CertificateSettings>(settings),
            (ProgramKind::Builtin, "jwt") => problem_of::<JwtSettings>(settings),
            (ProgramKind::Builtin, "password") => problem_of::<PasswordSettings>(settings),
            (ProgramKind::Builtin, "scram") => problem_of::<ScramSettings>(settings),
            _ => return self.check.problem(&path, "this step takes none"),
        };
        if let Some(error) = problem {
            self.check.problem(&path.join(error.path()), error.inner());
        }
    }

    /// What a rule's step is set up with to run as a plugin.
    fn sandbox(&mut self, program: &ProgramName) -> serde_json::Value {
        if program.kind != ProgramKind::Rule {
            self.problem("sandboxed", "only rules are sandboxed or not; a plugin always is");
        }
        let artefact = self.surroundings.plugins.dir.join(SANDBOX_FILE);
        if !artefact.is_file() {
            self.problem("sandboxed", format!("there is no file {}", artefact.display()));
        }
        sandbox_settings()
    }

    fn on_failure(&mut self, document: Option<OnFailure>) -> FailurePolicy {
        if document.is_some() && matches!(self.hook, Hook::Connect | Hook::Authorize) {
            self.problem("on_failure", "connect and authorize steps that fail always refuse");
        }
        match document {
            None | Some(OnFailure::Drop) => FailurePolicy::Drop,
            Some(OnFailure::Pass) => FailurePolicy::Pass,
            Some(OnFailure::DeadLetter(topic)) => {
                if self.hook != Hook::Publish {
                    self.problem("on_failure", "only publish steps can dead-letter");
                }
                if let Err(error) = TopicName::new(&topic) {
                    self.problem("on_failure", format!("{topic:?} is not a topic: {error}"));
                }
                FailurePolicy::DeadLetter { topic }
            }
        }
    }
}

fn problem_of<T: DeserializeOwned>(
    settings: &serde_json::Value,
) -> Option<serde_path_to_error::Error<serde_json::Error>> {
    serde_path_to_error::deserialize::<_, T>(settings).err()
}
