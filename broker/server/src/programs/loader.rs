//! What makes a program of a rule's source, of an artefact, or of a builtin's name.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use hookmq_access::{
    AnonymousProgram, CertificateProgram, DatabaseProgram, Directory, FetchKeySet, JwtProgram,
    KeyError, OpenProgram, PasswordProgram, ScramProgram,
};
use hookmq_hooks::{
    AssembleError, Hook, Program, ProgramKind, ProgramName, Services, StepSpec, TENANT_RULES,
    is_rehearsed, note,
};
use hookmq_script::{LogLevel, RuleEngine, RuleError};
use hookmq_wasm::{Grants, HostError, LoadError, PluginHost, PluginSettings};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::lent::{self, Lent};
use super::plugin_host::plugin_host;
use super::sandbox::{self, SANDBOX_FILE, SandboxedRule, sandbox_settings};
use super::tenant_programs::tenant_rules_place;
use crate::config::{Config, PluginsConfig};
use crate::outbound::{KeySets, Outbound};

/// The engines, and where the operator's files are.
pub struct Loader {
    rules: RuleEngine,
    rules_dir: PathBuf,
    /// Present where a step is a plugin: its address space is not for nothing.
    host: Option<PluginHost>,
    plugins: PluginsConfig,
    /// Present where a step takes keys from a URL.
    key_sets: Option<Arc<dyn FetchKeySet>>,
}

/// Why a program is not loaded, or not changed.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    #[error("cannot read {}: {error}", path.display())]
    Read { path: PathBuf, error: io::Error },
    #[error("the rule has problems\n{0}")]
    Rule(RuleError),
    #[error("the rule is not UTF-8 text")]
    NotText,
    #[error(transparent)]
    Plugin(#[from] LoadError),
    #[error(transparent)]
    Host(#[from] HostError),
    #[error("{program} has no function for the hook {hook:?}")]
    NoSuchHook { program: String, hook: Hook },
    #[error("the settings of {name}: {error}")]
    Settings { name: Arc<str>, error: serde_json::Error },
    #[error("the keys of the step: {0}")]
    Keys(#[from] KeyError),
    #[error("there is no builtin {0:?}")]
    NoSuchBuiltin(Arc<str>),
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    #[error("no step of the pipeline uses {0}")]
    NotInPipeline(ProgramName),
    #[error("another change of {0} came first: look at it, and try again")]
    Overtaken(ProgramName),
    #[error("{0} has no candidate: push one first")]
    NoCandidate(ProgramName),
    #[error("{0} has no version to go back to")]
    NoPrevious(ProgramName),
    #[error("cannot keep the versions of {name}: {error}")]
    Archive { name: ProgramName, error: io::Error },
}

impl ProgramError {
    /// What would help; perhaps of several lines. Problems of rules have hints of their own.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Plugin(error) => error.hint(),
            Self::NotInPipeline(ProgramName { kind, name }) => {
                let (kind, dir) = (kind.name(), format!("{}s.dir", kind.name()));
                Some(format!(
                    "name it in the configuration, with its file in `{dir}`, and start the broker \
                     again:\n  pipeline:\n    publish:\n      - {kind}: {name}"
                ))
            }
            Self::Read { error, .. } if error.kind() == io::ErrorKind::NotFound => Some(
                "a step `rule: x` runs x.rhai in `rules.dir`, `plugin: x` x.wasm in `plugins.dir`"
                    .into(),
            ),
            Self::NoSuchHook { hook, .. } => Some(format!(
                "define `{}`, or take the step out",
                format!("{hook:?}").to_lowercase()
            )),
            _ => None,
        }
    }

    /// The error with its hint, for people.
    pub fn told(&self) -> String {
        match self.hint() {
            None => self.to_string(),
            Some(hint) => format!("{self}\n  = hint: {}", hint.replace('\n', "\n    ")),
        }
    }
}

impl Loader {
    pub fn new(config: &Config, services: &Arc<Services>) -> Result<Self, HostError> {
        let needs_host = |step: &StepSpec| {
            step.program.kind == ProgramKind::Plugin || sandbox::is_sandboxed(step)
        };
        let has_plugins = config.pipeline.all().any(|(_, step)| needs_host(step));
        Ok(Self {
            rules: rules(config, services),
            rules_dir: config.rules.dir.clone(),
            host: has_plugins.then(|| plugin_host(config, services)).transpose()?,
            plugins: config.plugins.clone(),
            key_sets: key_sets(config)?,
        })
    }

    /// Loads what `step` names, from the operator's file.
    pub fn load(&self, hook: Hook, step: &StepSpec) -> Result<Arc<dyn Program>, ProgramError> {
        let bytes = self.read(&step.program)?;
        let program = self.make(&step.program, &step.settings, &bytes)?;
        match program.hooks().contains(hook) {
            true => Ok(program),
            false => {
                let program = program.identity().to_string();
                Err(ProgramError::NoSuchHook { program, hook })
            }
        }
    }

    /// The operator's file.
    pub(super) fn read(&self, name: &ProgramName) -> Result<Vec<u8>, ProgramError> {
        let path = match name.kind {
            ProgramKind::Rule => self.rules_dir.join(format!("{}.rhai", name.name)),
            ProgramKind::Plugin => self.plugins.dir.join(format!("{}.wasm", name.name)),
            ProgramKind::Builtin => return Err(ProgramError::NoSuchBuiltin(name.name.clone())),
        };
        fs::read(&path).map_err(|error| ProgramError::Read { path, error })
    }

    /// Checks and compiles a version, and runs its tests.
    pub(super) fn make(
        &self,
        name: &ProgramName,
        settings: &Value,
        bytes: &[u8],
    ) -> Result<Arc<dyn Program>, ProgramError> {
        match name.kind {
            ProgramKind::Builtin => Err(ProgramError::NoSuchBuiltin(name.name.clone())),
            ProgramKind::Rule => {
                let source = std::str::from_utf8(bytes).map_err(|_| ProgramError::NotText)?;
                let file = format!("{}.rhai", name.name);
                if *settings == sandbox_settings() {
                    return self.sandboxed_rule(name, &file, source);
                }
                Ok(Arc::new(self.rules.load(&file, source).map_err(ProgramError::Rule)?))
            }
            ProgramKind::Plugin => {
                let Some(host) = &self.host else {
                    return Err(ProgramError::NotInPipeline(name.clone()));
                };
                let grants = self.plugins.grants.get(&*name.name).cloned();
                let grants: Grants = grants.unwrap_or_default();
                let settings = PluginSettings {
                    name: Some(name.name.to_string()),
                    alias: None,
                    home: None,
                    config: settings.clone(),
                    limits: self.plugins.limits_of(&name.name),
                    grants,
                };
                Ok(Arc::new(host.load(bytes, settings)?))
            }
        }
    }

    /// A rule that runs as a plugin. Of its text only what the parser finds is used here.
    fn sandboxed_rule(
        &self,
        name: &ProgramName,
        file: &str,
        source: &str,
    ) -> Result<Arc<dyn Program>, ProgramError> {
        let Some(host) = &self.host else {
            return Err(ProgramError::NotInPipeline(name.clone()));
        };
        let outline = self.rules.outline(file, source).map_err(ProgramError::Rule)?;
        let path = self.plugins.dir.join(SANDBOX_FILE);
        let artefact = fs::read(&path).map_err(|error| ProgramError::Read { path, error })?;
        let limits = self.plugins.limits;
        let settings = sandbox::plugin_settings(&name.name, file, source, limits);
        let plugin = host.load(&artefact, settings)?;
        Ok(Arc::new(SandboxedRule::new(&name.name, file, outline, plugin)))
    }
}

pub(super) fn rules(config: &Config, services: &Arc<Services>) -> RuleEngine {
    RuleEngine::new(config.rules.limits, lent::monotonic_clock)
        .with_host(Arc::new(Lent::new(services.clone())))
        .with_log(Arc::new(log_of_rule))
}

/// Makes a builtin step. One with keys in URLs begins to ask for them.
pub(super) fn builtin(
    loader: &Loader,
    step: &StepSpec,
    directory: Option<&Directory>,
) -> Result<Arc<dyn Program>, ProgramError> {
    let name = &step.program.name;
    match (&**name, directory) {
        ("jwt", _) if step.settings.is_null() => Ok(Arc::new(JwtProgram::authorizer())),
        ("jwt", _) => {
            let key_sets = loader.key_sets.as_ref();
            Ok(Arc::new(JwtProgram::new(given_settings(step)?, key_sets)?))
        }
        ("certificate", directory) => {
            Ok(Arc::new(CertificateProgram::new(settings(step)?, directory.cloned())))
        }
        ("anonymous", _) => Ok(Arc::new(AnonymousProgram::new(settings(step)?))),
        ("open", _) => Ok(Arc::new(OpenProgram::new())),
        (TENANT_RULES, _) => Ok(tenant_rules_place()),
        ("database", Some(directory)) => Ok(Arc::new(DatabaseProgram::new(directory.clone()))),
        ("password", Some(directory)) => {
            Ok(Arc::new(PasswordProgram::new(directory.clone(), settings(step)?)))
        }
        ("scram", Some(directory)) => {
            Ok(Arc::new(ScramProgram::new(directory.clone(), settings(step)?)))
        }
        _ => Err(ProgramError::NoSuchBuiltin(name.clone())),
    }
}

fn settings<T: DeserializeOwned + Default>(step: &StepSpec) -> Result<T, ProgramError> {
    match &step.settings {
        Value::Null => Ok(T::default()),
        _ => given_settings(step),
    }
}

fn given_settings<T: DeserializeOwned>(step: &StepSpec) -> Result<T, ProgramError> {
    serde_json::from_value(step.settings.clone())
        .map_err(|error| ProgramError::Settings { name: step.program.name.clone(), error })
}

/// Who asks URLs for keys, where a step has one.
fn key_sets(config: &Config) -> Result<Option<Arc<dyn FetchKeySet>>, HostError> {
    let has_url = |step: &StepSpec| {
        let keys = step.settings.get("keys").and_then(Value::as_array);
        keys.is_some_and(|keys| keys.iter().any(|key| key.get("jwks_url").is_some()))
    };
    let is_jwt =
        |step: &StepSpec| step.program.kind == ProgramKind::Builtin && &*step.program.name == "jwt";
    if !config.pipeline.all().any(|(_, step)| is_jwt(step) && has_url(step)) {
        return Ok(None);
    }
    let outbound = Outbound::of_operator(&config.plugins.http);
    let outbound = outbound.map_err(|error| HostError(error.to_string()))?;
    Ok(Some(Arc::new(KeySets::new(outbound))))
}

pub(super) fn log_of_rule(level: LogLevel, rule: &str, text: &str) {
    if is_rehearsed() {
        return note("log", || text.to_owned());
    }
    match level {
        LogLevel::Debug => tracing::debug!(rule, ?text, "from a rule"),
        LogLevel::Info => tracing::info!(rule, ?text, "from a rule"),
        LogLevel::Warn => tracing::warn!(rule, ?text, "from a rule"),
        LogLevel::Error => tracing::error!(rule, ?text, "from a rule"),
    }
}
