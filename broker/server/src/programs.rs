//! The programs behind the steps: loaded at the start, replaced while the broker runs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hookmq_access::{AnonymousProgram, DatabaseProgram, Directory, OpenProgram, ScramProgram};
use hookmq_hooks::{
    AssembleError, Blueprint, Hook, Pipeline, PipelineCell, Program, ProgramIdentity, ProgramKind,
    ProgramName, Services, StepSpec,
};
use hookmq_script::{LogLevel, Problem, RuleEngine, RuleError};
use hookmq_wasm::{Grants, HostError, LoadError, PluginHost, PluginSettings};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::config::{Config, PluginsConfig};

/// Every program that the pipeline uses, and the means to load new versions of it.
pub struct Programs {
    loader: Loader,
    blueprint: Blueprint,
    /// Held for the whole of a change, so that changes follow one another.
    state: Mutex<State>,
}

struct State {
    generation: u64,
    loaded: Vec<Loaded>,
}

/// A program with one configuration; the same plugin with another is another.
#[derive(Clone)]
struct Loaded {
    name: ProgramName,
    settings: Value,
    active: Arc<dyn Program>,
}

/// What makes a program of a rule file, an artefact or a builtin's name.
pub struct Loader {
    rules: RuleEngine,
    rules_dir: PathBuf,
    /// Present where a step is a plugin: its address space is not for nothing.
    host: Option<PluginHost>,
    plugins: PluginsConfig,
    /// Artefacts that were uploaded; they go before those in the plugins' directory.
    uploads: PathBuf,
}

/// Why a program is not loaded.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    #[error("cannot read {}: {error}", path.display())]
    Read { path: PathBuf, error: io::Error },
    #[error("the rule has problems\n{0}")]
    Rule(RuleError),
    #[error("{0}")]
    Plugin(#[from] LoadError),
    #[error("{program} has no function for the hook {hook:?}")]
    NoSuchHook { program: String, hook: Hook },
    #[error("the settings of {name}: {error}")]
    Settings { name: Arc<str>, error: serde_json::Error },
    #[error("there is no builtin {0:?}")]
    NoSuchBuiltin(Arc<str>),
    #[error("{0}")]
    Assemble(#[from] AssembleError),
    #[error("no step of the pipeline uses the plugin {0:?}")]
    NotInPipeline(String),
    #[error("cannot keep the artefact: {0}")]
    Keep(io::Error),
}

/// The step, by its position from 0, whose program is not loaded.
pub type StepError = (Hook, usize, ProgramError);

/// What came of a change, item by item.
#[derive(Debug, serde::Serialize)]
pub struct Report {
    /// Of the pipeline that is now in force.
    pub generation: u64,
    pub items: Vec<Item>,
}

#[derive(Debug, serde::Serialize)]
pub struct Item {
    #[serde(flatten)]
    pub program: ProgramIdentity,
    pub outcome: Outcome,
    /// Why it was refused; empty otherwise.
    pub problems: Vec<Problem>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Applied,
    Unchanged,
    /// The version before stays in force.
    Refused,
}

impl Loader {
    pub fn new(config: &Config, services: &Arc<Services>) -> Result<Self, HostError> {
        let host = || PluginHost::new(config.plugins.host.clone(), services.clone());
        let has_plugins =
            config.pipeline.all().any(|(_, step)| step.program.kind == ProgramKind::Plugin);
        Ok(Self {
            rules: RuleEngine::new(config.rules.limits).with_log(Arc::new(log_of_rule)),
            rules_dir: config.rules.dir.clone(),
            host: has_plugins.then(host).transpose()?,
            plugins: config.plugins.clone(),
            uploads: config.data_dir.join("plugins"),
        })
    }

    /// Loads what `step` names, from its file.
    pub fn load(&self, hook: Hook, step: &StepSpec) -> Result<Arc<dyn Program>, ProgramError> {
        let program: Arc<dyn Program> = match step.program.kind {
            ProgramKind::Rule => self.rule(&step.program.name)?,
            ProgramKind::Plugin => {
                let artefact = self.artefact(&step.program.name)?;
                self.plugin(&step.program.name, &step.settings, &artefact)?
            }
            ProgramKind::Builtin => {
                return Err(ProgramError::NoSuchBuiltin(step.program.name.clone()));
            }
        };
        match program.hooks().contains(hook) {
            true => Ok(program),
            false => {
                let program = program.identity().to_string();
                Err(ProgramError::NoSuchHook { program, hook })
            }
        }
    }

    fn rule(&self, name: &str) -> Result<Arc<dyn Program>, ProgramError> {
        let file = format!("{name}.rhai");
        let path = self.rules_dir.join(&file);
        let source =
            fs::read_to_string(&path).map_err(|error| ProgramError::Read { path, error })?;
        Ok(Arc::new(self.rules.load(&file, &source).map_err(ProgramError::Rule)?))
    }

    fn plugin(
        &self,
        name: &Arc<str>,
        config: &Value,
        artefact: &[u8],
    ) -> Result<Arc<dyn Program>, ProgramError> {
        let Some(host) = &self.host else {
            return Err(ProgramError::NotInPipeline(name.to_string()));
        };
        let grants: Grants = self.plugins.grants.get(&**name).cloned().unwrap_or_default();
        let settings = PluginSettings {
            name: Some(name.to_string()),
            config: config.clone(),
            limits: *self.plugins.own_limits.get(&**name).unwrap_or(&self.plugins.limits),
            grants,
        };
        Ok(Arc::new(host.load(artefact, settings)?))
    }

    fn artefact(&self, name: &str) -> Result<Vec<u8>, ProgramError> {
        let file = format!("{name}.wasm");
        let uploaded = self.uploads.join(&file);
        let path = if uploaded.exists() { uploaded } else { self.plugins.dir.join(&file) };
        fs::read(&path).map_err(|error| ProgramError::Read { path, error })
    }

    /// Keeps an artefact for the next start. The name is that of a configured step.
    fn keep(&self, name: &str, artefact: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.uploads)?;
        let whole = self.uploads.join(format!("{name}.wasm"));
        let part = whole.with_extension("wasm.part");
        fs::write(&part, artefact)?;
        fs::File::open(&part)?.sync_all()?;
        fs::rename(&part, &whole)?;
        sync_directory(&self.uploads)
    }
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    fs::File::open(directory)?.sync_all()
}

fn builtin(
    step: &StepSpec,
    directory: Option<&Directory>,
) -> Result<Arc<dyn Program>, ProgramError> {
    let name = &step.program.name;
    match (&**name, directory) {
        ("anonymous", _) => Ok(Arc::new(AnonymousProgram::new(settings(step)?))),
        ("open", _) => Ok(Arc::new(OpenProgram::new())),
        ("database", Some(directory)) => Ok(Arc::new(DatabaseProgram::new(directory.clone()))),
        ("scram", Some(directory)) => {
            Ok(Arc::new(ScramProgram::new(directory.clone(), settings(step)?)))
        }
        _ => Err(ProgramError::NoSuchBuiltin(name.clone())),
    }
}

fn settings<T: DeserializeOwned + Default>(step: &StepSpec) -> Result<T, ProgramError> {
    match &step.settings {
        Value::Null => Ok(T::default()),
        settings => serde_json::from_value(settings.clone())
            .map_err(|error| ProgramError::Settings { name: step.program.name.clone(), error }),
    }
}

impl Programs {
    /// Loads every step's program; a step that has none keeps the broker from starting.
    ///
    /// # Errors
    /// Each step that failed, with its hook and its position from 0.
    pub fn load(
        loader: Loader,
        blueprint: Blueprint,
        directory: Option<&Directory>,
    ) -> Result<(Self, Pipeline), Vec<StepError>> {
        let mut loaded: Vec<Loaded> = Vec::new();
        let mut errors = Vec::new();
        for hook in Hook::ALL {
            for (position, step) in blueprint.steps(hook).iter().enumerate() {
                if find(&loaded, step).is_some() {
                    continue;
                }
                let program = match step.program.kind {
                    ProgramKind::Builtin => builtin(step, directory),
                    ProgramKind::Plugin | ProgramKind::Rule => loader.load(hook, step),
                };
                match program {
                    Ok(active) => loaded.push(Loaded {
                        name: step.program.clone(),
                        settings: step.settings.clone(),
                        active,
                    }),
                    Err(error) => errors.push((hook, position, error)),
                }
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let generation = 1;
        match assemble(generation, &blueprint, &loaded) {
            Ok(pipeline) => {
                let state = Mutex::new(State { generation, loaded });
                Ok((Self { loader, blueprint, state }, pipeline))
            }
            Err(error) => Err(vec![(error.hook(), 0, error.into())]),
        }
    }

    /// Reads every rule's file again and puts the changed ones in force together. A rule with a problem
    /// keeps its version.
    pub fn reload_rules(&self, cell: &PipelineCell) -> Report {
        let mut state = self.state.lock();
        let mut next = state.loaded.clone();
        let mut items = Vec::new();
        for loaded in next.iter_mut().filter(|loaded| loaded.name.kind == ProgramKind::Rule) {
            let name = &loaded.name.name;
            let fresh = self.loader.rule(name).and_then(|fresh| {
                self.check_hooks(&loaded.name, &*fresh)?;
                Ok(fresh)
            });
            items.push(match fresh {
                Ok(fresh) if fresh.identity().sha256 == loaded.active.identity().sha256 => {
                    Item::new(&*loaded.active, Outcome::Unchanged)
                }
                Ok(fresh) => {
                    loaded.active = fresh;
                    Item::new(&*loaded.active, Outcome::Applied)
                }
                Err(error) => Item::refused(&*loaded.active, &error),
            });
        }
        if items.iter().any(|item| item.outcome == Outcome::Applied)
            && let Err(error) = self.put_in_force(&mut state, next, cell)
        {
            for item in items.iter_mut().filter(|item| item.outcome == Outcome::Applied) {
                item.outcome = Outcome::Refused;
                item.error = Some(error.to_string());
            }
        }
        Report { generation: state.generation, items }
    }

    /// Puts a new version of a plugin in force wherever steps use it, and keeps it for the next start.
    pub fn replace_plugin(
        &self,
        name: &str,
        artefact: &[u8],
        cell: &PipelineCell,
    ) -> Result<Report, ProgramError> {
        let mut state = self.state.lock();
        let mut next = state.loaded.clone();
        let mut items = Vec::new();
        for loaded in next.iter_mut().filter(|loaded| is_plugin(loaded, name)) {
            let fresh = self.loader.plugin(&loaded.name.name, &loaded.settings, artefact)?;
            self.check_hooks(&loaded.name, &*fresh)?;
            let unchanged = fresh.identity().sha256 == loaded.active.identity().sha256;
            let outcome = if unchanged { Outcome::Unchanged } else { Outcome::Applied };
            if !unchanged {
                loaded.active = fresh;
            }
            items.push(Item::new(&*loaded.active, outcome));
        }
        if items.is_empty() {
            return Err(ProgramError::NotInPipeline(name.into()));
        }
        if items.iter().any(|item| item.outcome == Outcome::Applied) {
            self.loader.keep(name, artefact).map_err(ProgramError::Keep)?;
            self.put_in_force(&mut state, next, cell)?;
        }
        Ok(Report { generation: state.generation, items })
    }

    fn check_hooks(&self, name: &ProgramName, program: &dyn Program) -> Result<(), ProgramError> {
        let missing = self
            .blueprint
            .all()
            .find(|(hook, step)| step.program == *name && !program.hooks().contains(*hook));
        match missing {
            None => Ok(()),
            Some((hook, _)) => {
                let program = program.identity().to_string();
                Err(ProgramError::NoSuchHook { program, hook })
            }
        }
    }

    fn put_in_force(
        &self,
        state: &mut State,
        next: Vec<Loaded>,
        cell: &PipelineCell,
    ) -> Result<(), AssembleError> {
        let generation = state.generation + 1;
        let pipeline = assemble(generation, &self.blueprint, &next)?;
        cell.store(pipeline);
        *state = State { generation, loaded: next };
        Ok(())
    }
}

impl Item {
    fn new(program: &dyn Program, outcome: Outcome) -> Self {
        Self { program: program.identity().clone(), outcome, problems: vec![], error: None }
    }

    fn refused(active: &dyn Program, error: &ProgramError) -> Self {
        let (problems, error) = match error {
            ProgramError::Rule(error) => (error.problems.clone(), None),
            error => (vec![], Some(error.to_string())),
        };
        let program = active.identity().clone();
        Self { program, outcome: Outcome::Refused, problems, error }
    }
}

fn is_plugin(loaded: &Loaded, name: &str) -> bool {
    loaded.name.kind == ProgramKind::Plugin && *loaded.name.name == *name
}

fn find<'a>(loaded: &'a [Loaded], step: &StepSpec) -> Option<&'a Loaded> {
    loaded.iter().find(|loaded| loaded.name == step.program && loaded.settings == step.settings)
}

fn assemble(
    generation: u64,
    blueprint: &Blueprint,
    loaded: &[Loaded],
) -> Result<Pipeline, AssembleError> {
    Pipeline::assemble(generation, blueprint, |_, step| {
        find(loaded, step).expect("every step of the blueprint was loaded").active.clone()
    })
}

fn log_of_rule(level: LogLevel, rule: &str, text: &str) {
    match level {
        LogLevel::Debug => tracing::debug!(rule, ?text, "from a rule"),
        LogLevel::Info => tracing::info!(rule, ?text, "from a rule"),
        LogLevel::Warn => tracing::warn!(rule, ?text, "from a rule"),
        LogLevel::Error => tracing::error!(rule, ?text, "from a rule"),
    }
}
