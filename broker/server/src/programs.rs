//! The programs behind the steps: loaded at the start, replaced while the broker runs.
//!
//! A version is pushed, asked in shadow or for a share of the clients, promoted, and rolled back. Each
//! change swaps the pipeline as a whole; calls in flight finish on the version that they started on.

pub(crate) mod alone;
mod archive;
mod lent;
mod life;
mod loader;
mod plugin_host;
mod sandbox;
mod tenant_programs;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use hookmq_access::Directory;
use hookmq_hooks::{
    AssembleError, Blueprint, BreakerOptions, Breakers, Differences, Hook, Meter, Pipeline,
    PipelineCell, Program, ProgramIdentity, ProgramKind, ProgramName, Recorder, RecorderOptions,
    Stage, StepParts, StepSpec, Trial, Version,
};
use hookmq_script::Problem;
use parking_lot::Mutex;
use serde_json::Value;
use tracing::warn;

use self::archive::Archive;
pub use self::archive::{Candidacy, Change, Standing, Transition};
pub use self::life::{Life, Replayed};
use self::loader::builtin;
pub use self::loader::{Loader, ProgramError};
pub use self::plugin_host::COMPILED;
pub use self::sandbox::{SANDBOX_FILE, sandbox_settings};
pub use self::tenant_programs::{
    Pushing, Shown, TenantPluginsOptions, TenantProgramError, TenantPrograms, TenantRulesOptions,
};

/// Every program that the pipeline uses, and the means to load new versions of it.
pub struct Programs {
    loader: Loader,
    archive: Archive,
    blueprint: Blueprint,
    options: StepOptions,
    /// Held while a change is put in force, so that changes follow one another; not while a version is
    /// made, which takes long.
    state: Mutex<State>,
}

/// What all plugins and rules are subject to.
#[derive(Debug, Clone, Copy, Default)]
pub struct StepOptions {
    pub breaker: BreakerOptions,
    pub recorder: RecorderOptions,
}

struct State {
    generation: u64,
    loaded: Vec<Loaded>,
    accounts: Accounts,
}

/// What steps and their versions have counted; it outlives the pipelines.
#[derive(Default)]
struct Accounts {
    /// By step and SHA-256.
    versions: HashMap<(Hook, usize, String), Account>,
    recorders: HashMap<(Hook, usize), Arc<Recorder>>,
}

type Account = (Arc<Meter>, Arc<Breakers>);

/// A program with one configuration; the same plugin with another is another.
#[derive(Clone)]
struct Loaded {
    name: ProgramName,
    settings: Value,
    active: Arc<dyn Program>,
    /// What the version in force was made of; empty for builtins.
    bytes: Arc<[u8]>,
    candidate: Option<Candidate>,
}

#[derive(Clone)]
struct Candidate {
    program: Arc<dyn Program>,
    bytes: Arc<[u8]>,
    stage: Option<Stage>,
    differences: Arc<Differences>,
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
    /// A version that was pushed is in force, and the operator's file is not looked at.
    Pinned,
    /// The version before stays in force.
    Refused,
}

/// What a look at the operator's file has come to.
enum Reloaded {
    Fresh(Arc<dyn Program>, Arc<[u8]>),
    Same,
    Pinned,
}

impl Loaded {
    /// Whether no change has come in between.
    fn stands_as(&self, before: &Self) -> bool {
        let same_candidate = match (&self.candidate, &before.candidate) {
            (None, None) => true,
            (Some(one), Some(other)) => {
                Arc::ptr_eq(&one.program, &other.program) && one.stage == other.stage
            }
            _ => false,
        };
        Arc::ptr_eq(&self.active, &before.active) && same_candidate
    }
}

impl Programs {
    /// Loads every step's program; a step that has none keeps the broker from starting. A candidate that
    /// does not load any more is left out.
    ///
    /// # Errors
    /// Each step that failed, with its hook and its position from 0.
    pub fn load(
        loader: Loader,
        blueprint: Blueprint,
        options: StepOptions,
        data_dir: &Path,
        directory: Option<&Directory>,
    ) -> Result<(Self, Pipeline), Vec<StepError>> {
        let archive = Archive::new(data_dir.join("programs"));
        let mut loaded: Vec<Loaded> = Vec::new();
        let mut errors = Vec::new();
        for hook in Hook::ALL {
            for (position, step) in blueprint.steps(hook).iter().enumerate() {
                if find(&loaded, step).is_some() {
                    continue;
                }
                match load_step(&loader, &archive, step, directory) {
                    Ok(program) => loaded.push(program),
                    Err(error) => errors.push((hook, position, error)),
                }
            }
        }
        let state = State { generation: 0, loaded: vec![], accounts: Accounts::default() };
        let programs = Self { loader, archive, blueprint, options, state: Mutex::new(state) };
        for (hook, step) in programs.blueprint.all() {
            let Some(found) = find(&loaded, step) else { continue };
            if let Err(error) = programs.check_hooks(&found.name, &*found.active) {
                let position = programs.blueprint.steps(hook).iter().position(|it| it == step);
                errors.push((hook, position.unwrap_or_default(), error));
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut state = programs.state.lock();
        match programs.assemble(&mut state.accounts, 1, &loaded) {
            Ok(pipeline) => {
                (state.generation, state.loaded) = (1, loaded);
                drop(state);
                Ok((programs, pipeline))
            }
            Err(error) => Err(vec![(error.hook(), 0, error.into())]),
        }
    }

    /// Reads every rule's file again and puts the changed ones in force together. A rule with a problem
    /// keeps its version.
    pub fn reload_rules(&self, cell: &PipelineCell) -> Report {
        let mut made = self.state.lock().loaded.clone();
        made.retain(|loaded| loaded.name.kind == ProgramKind::Rule);
        let made = made.into_iter().map(|basis| (self.reload(&basis), basis)).collect::<Vec<_>>();

        let mut state = self.state.lock();
        let mut next = state.loaded.clone();
        let mut items = Vec::new();
        for (made, basis) in made {
            let same = |it: &&mut Loaded| it.name == basis.name && it.settings == basis.settings;
            let Some(loaded) = next.iter_mut().find(same) else { continue };
            let made = made.and_then(|made| match loaded.stands_as(&basis) {
                true => Ok(made),
                false => Err(ProgramError::Overtaken(basis.name.clone())),
            });
            items.push(match made {
                Ok(Reloaded::Fresh(program, bytes)) => {
                    (loaded.active, loaded.bytes) = (program, bytes);
                    Item::new(&*loaded.active, Outcome::Applied)
                }
                Ok(Reloaded::Same) => Item::new(&*loaded.active, Outcome::Unchanged),
                Ok(Reloaded::Pinned) => Item::new(&*loaded.active, Outcome::Pinned),
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

    /// Makes what the operator's file holds.
    fn reload(&self, loaded: &Loaded) -> Result<Reloaded, ProgramError> {
        let name = &loaded.name;
        if self.standing(name)?.active.is_some() {
            return Ok(Reloaded::Pinned);
        }
        let bytes = self.loader.read(name)?;
        let fresh = self.loader.make(name, &loaded.settings, &bytes)?;
        self.check_hooks(name, &*fresh)?;
        if fresh.identity().sha256 == loaded.active.identity().sha256 {
            return Ok(Reloaded::Same);
        }
        Ok(Reloaded::Fresh(fresh, bytes.into()))
    }

    fn standing(&self, name: &ProgramName) -> Result<Standing, ProgramError> {
        let standing = self.archive.standing(name);
        standing.map_err(|error| ProgramError::Archive { name: name.clone(), error })
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
        let pipeline = self.assemble(&mut state.accounts, generation, &next)?;
        cell.store(pipeline);
        (state.generation, state.loaded) = (generation, next);
        Ok(())
    }

    fn assemble(
        &self,
        accounts: &mut Accounts,
        generation: u64,
        loaded: &[Loaded],
    ) -> Result<Pipeline, AssembleError> {
        let mut used = Accounts::default();
        let pipeline = Pipeline::assemble(generation, &self.blueprint, |hook, position, step| {
            let found = find(loaded, step).expect("every step of the blueprint was loaded");
            let mut version = |program: &Arc<dyn Program>| {
                let key = (hook, position, program.identity().sha256.clone());
                let (meter, breakers) = accounts.versions.get(&key).cloned().unwrap_or_else(|| {
                    (Arc::default(), Arc::new(Breakers::new(self.options.breaker)))
                });
                used.versions.insert(key, (meter.clone(), breakers.clone()));
                Version { program: program.clone(), meter, breakers }
            };
            let trial = found.candidate.as_ref().and_then(|candidate| {
                let version = version(&candidate.program);
                let differences = candidate.differences.clone();
                Some(Trial { version, stage: candidate.stage.clone()?, differences })
            });
            let active = version(&found.active);
            let recorder = self.recorder(accounts, &found.name, (hook, position));
            used.recorders.insert((hook, position), recorder.clone());
            StepParts { active, trial: trial.map(Arc::new), recorder, account: None }
        })?;
        *accounts = used;
        Ok(pipeline)
    }

    /// Nothing is recorded of builtins: they are not replaced.
    fn recorder(
        &self,
        accounts: &Accounts,
        name: &ProgramName,
        step: (Hook, usize),
    ) -> Arc<Recorder> {
        let options = match name.kind {
            ProgramKind::Builtin => RecorderOptions { questions: 0, ..self.options.recorder },
            ProgramKind::Plugin | ProgramKind::Rule => self.options.recorder,
        };
        let known = accounts.recorders.get(&step).cloned();
        known.unwrap_or_else(|| Arc::new(Recorder::new(options)))
    }
}

/// The version that the step's program stands by, or the operator's file.
fn load_step(
    loader: &Loader,
    archive: &Archive,
    step: &StepSpec,
    directory: Option<&Directory>,
) -> Result<Loaded, ProgramError> {
    let (name, settings) = (step.program.clone(), step.settings.clone());
    if name.kind == ProgramKind::Builtin {
        let active = builtin(loader, step, directory)?;
        return Ok(Loaded { name, settings, active, bytes: Arc::new([]), candidate: None });
    }
    let unreadable = |error| ProgramError::Archive { name: name.clone(), error };
    let standing = archive.lasting_standing(&name).map_err(unreadable)?;
    let bytes = match &standing.active {
        None => loader.read(&name)?,
        Some(sha256) => archive.version(&name, sha256).map_err(unreadable)?,
    };
    let active = loader.make(&name, &settings, &bytes)?;
    let candidate = standing.candidate.and_then(|candidacy| {
        let bytes = archive.version(&name, &candidacy.sha256).map_err(unreadable);
        let made = bytes.and_then(|bytes| Ok((loader.make(&name, &settings, &bytes)?, bytes)));
        match made {
            Ok((program, bytes)) => {
                let (bytes, differences) = (bytes.into(), Arc::default());
                Some(Candidate { program, bytes, stage: candidacy.stage, differences })
            }
            Err(error) => {
                let error = error.to_string();
                warn!(program = %name, error, "the candidate does not load and is left out");
                None
            }
        }
    });
    Ok(Loaded { name, settings, active, bytes: bytes.into(), candidate })
}

impl Item {
    fn new(program: &dyn Program, outcome: Outcome) -> Self {
        Self { program: program.identity().clone(), outcome, problems: vec![], error: None }
    }

    fn refused(active: &dyn Program, error: &ProgramError) -> Self {
        let (problems, error) = match error {
            ProgramError::Rule(error) => (error.problems.clone(), None),
            error => (vec![], Some(error.told())),
        };
        let program = active.identity().clone();
        Self { program, outcome: Outcome::Refused, problems, error }
    }

    /// Why it was refused, in one line, and if there is much, the first of it.
    pub fn reason(&self) -> Option<String> {
        let problem = self.problems.first();
        let problem = problem.map(|Problem { file, line, column, message, .. }| {
            format!("{file}:{line}:{column}: {message}")
        });
        self.error.clone().or(problem)
    }
}

fn find<'a>(loaded: &'a [Loaded], step: &StepSpec) -> Option<&'a Loaded> {
    loaded.iter().find(|loaded| loaded.name == step.program && loaded.settings == step.settings)
}
