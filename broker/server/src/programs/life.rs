//! The life of a version: pushed, in shadow, in force for some, promoted, rolled back.

use std::sync::Arc;

use hookmq_hooks::{
    Difference, Hook, PipelineCell, ProgramIdentity, ProgramName, Recorded, Stage, ask_again,
};
use parking_lot::MutexGuard;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{
    Candidacy, Candidate, Change, Item, Loaded, Outcome, ProgramError, Programs, Report, Standing,
    State, Transition,
};

/// How a program stands, for operators.
#[derive(Debug, serde::Serialize)]
pub struct Life {
    pub generation: u64,
    pub active: ProgramIdentity,
    /// Whether a pushed version is in force, and the operator's file is not looked at.
    pub pinned: bool,
    /// SHA-256 of what a rollback puts in force.
    pub previous: Option<String>,
    pub candidate: Option<CandidateLife>,
    /// Newest first.
    pub history: Vec<Transition>,
}

/// A candidate, and how its answers in shadow differ.
#[derive(Debug, serde::Serialize)]
pub struct CandidateLife {
    #[serde(flatten)]
    pub program: ProgramIdentity,
    pub stage: Option<Stage>,
    pub compared: u64,
    pub differing: u64,
    /// The latest, oldest first.
    pub differences: Vec<Difference>,
}

/// A recorded question, with what two versions answer to it.
pub struct Replayed {
    pub recorded: Recorded,
    pub active: Value,
    pub candidate: Value,
}

/// Changes of the history that are shown.
const SHOWN: usize = 50;

/// Bytes of what a person says who they are.
const LONGEST_NAME: usize = 128;

impl Programs {
    /// Checks, compiles and tests a version, and makes it the candidate. It is not asked yet; a candidate
    /// before it is gone.
    pub fn push(
        &self,
        name: &ProgramName,
        bytes: &[u8],
        who: &str,
        cell: &PipelineCell,
    ) -> Result<Life, ProgramError> {
        let (made, mut state) = self.make(name, bytes)?;
        let mut next = state.loaded.clone();
        of(&mut next, name).zip(made).for_each(|(loaded, made)| loaded.candidate = Some(made));
        let sha256 = self.kept(name, bytes)?;
        let candidate = Some(Candidacy { sha256: sha256.clone(), stage: None });
        let standing = Standing { candidate, ..self.standing(name)? };
        self.change(&mut state, name, next, standing, (Change::Pushed, sha256, who), cell)?;
        self.life_of(&state, name)
    }

    /// Has the candidate asked: in shadow, or in force for some.
    pub fn stage(
        &self,
        name: &ProgramName,
        stage: Stage,
        who: &str,
        cell: &PipelineCell,
    ) -> Result<Life, ProgramError> {
        let mut state = self.state.lock();
        let mut standing = self.standing(name)?;
        let no_candidate = || ProgramError::NoCandidate(name.clone());
        let candidacy = standing.candidate.as_mut().ok_or_else(no_candidate)?;
        let sha256 = candidacy.sha256.clone();
        candidacy.stage = Some(stage.clone());
        let mut next = state.loaded.clone();
        for loaded in of(&mut next, name) {
            let candidate = loaded.candidate.as_mut().ok_or_else(no_candidate)?;
            candidate.stage = Some(stage.clone());
            candidate.differences = Arc::default();
        }
        self.change(&mut state, name, next, standing, (Change::Staged, sha256, who), cell)?;
        self.life_of(&state, name)
    }

    /// Puts the candidate in force for everybody. The version before is kept for a rollback.
    pub fn promote(
        &self,
        name: &ProgramName,
        who: &str,
        cell: &PipelineCell,
    ) -> Result<Life, ProgramError> {
        let mut state = self.state.lock();
        let next = state.loaded.clone();
        self.promote_candidate(&mut state, next, name, who, cell)?;
        self.life_of(&state, name)
    }

    /// Puts the version before in force again; a candidate is gone.
    pub fn roll_back(
        &self,
        name: &ProgramName,
        who: &str,
        cell: &PipelineCell,
    ) -> Result<Life, ProgramError> {
        let wanted = {
            // Not while a change is under way, which writes it.
            let _state = self.state.lock();
            self.standing(name)?.previous
        };
        let sha256 = wanted.ok_or_else(|| ProgramError::NoPrevious(name.clone()))?;
        let unreadable = |error| ProgramError::Archive { name: name.clone(), error };
        let bytes = self.archive.version(name, &sha256).map_err(unreadable)?;
        let (made, mut state) = self.make(name, &bytes)?;
        if self.standing(name)?.previous.as_ref() != Some(&sha256) {
            return Err(ProgramError::Overtaken(name.clone()));
        }
        let mut next = state.loaded.clone();
        let mut previous = None;
        for (loaded, made) in of(&mut next, name).zip(made) {
            previous = Some(self.kept(name, &loaded.bytes)?);
            (loaded.active, loaded.bytes) = (made.program, made.bytes);
            loaded.candidate = None;
        }
        let standing = Standing { active: Some(sha256.clone()), previous, candidate: None };
        self.change(&mut state, name, next, standing, (Change::RolledBack, sha256, who), cell)?;
        self.life_of(&state, name)
    }

    /// Gives the candidate up.
    pub fn withdraw(
        &self,
        name: &ProgramName,
        who: &str,
        cell: &PipelineCell,
    ) -> Result<Life, ProgramError> {
        let mut state = self.state.lock();
        let mut standing = self.standing(name)?;
        let candidate = standing.candidate.take();
        let candidate = candidate.ok_or_else(|| ProgramError::NoCandidate(name.clone()))?;
        let mut next = state.loaded.clone();
        of(&mut next, name).for_each(|loaded| loaded.candidate = None);
        let about = (Change::Withdrawn, candidate.sha256, who);
        self.change(&mut state, name, next, standing, about, cell)?;
        self.life_of(&state, name)
    }

    /// Pushes a version and promotes it at once.
    pub fn replace(
        &self,
        name: &ProgramName,
        bytes: &[u8],
        who: &str,
        cell: &PipelineCell,
    ) -> Result<Report, ProgramError> {
        let (made, mut state) = self.make(name, bytes)?;
        let mut next = state.loaded.clone();
        of(&mut next, name).zip(made).for_each(|(loaded, made)| loaded.candidate = Some(made));
        let is_new = |loaded: &Loaded| {
            let candidate = loaded.candidate.as_ref().map(|it| &it.program.identity().sha256);
            candidate != Some(&loaded.active.identity().sha256)
        };
        let outcome = match of(&mut next, name).any(|loaded| is_new(loaded)) {
            true => Outcome::Applied,
            false => Outcome::Unchanged,
        };
        if outcome == Outcome::Applied {
            self.kept(name, bytes)?;
            self.promote_candidate(&mut state, next, name, who, cell)?;
        }
        let mut now = state.loaded.clone();
        let items = of(&mut now, name).map(|loaded| Item::new(&*loaded.active, outcome));
        Ok(Report { generation: state.generation, items: items.collect() })
    }

    /// How the program stands.
    pub fn life(&self, name: &ProgramName) -> Result<Life, ProgramError> {
        self.life_of(&self.state.lock(), name)
    }

    /// The questions that steps with the program were asked, oldest first.
    pub fn recorded(&self, name: &ProgramName) -> Result<Vec<Recorded>, ProgramError> {
        let state = self.state.lock();
        if !state.loaded.iter().any(|loaded| loaded.name == *name) {
            return Err(ProgramError::NotInPipeline(name.clone()));
        }
        let mut recorded = Vec::new();
        for (hook, position) in self.steps_of(name) {
            if let Some(recorder) = state.accounts.recorders.get(&(hook, position)) {
                recorded.extend(recorder.recorded());
            }
        }
        recorded.sort_by_key(|it| it.at);
        Ok(recorded)
    }

    /// The question of this number, of whatever step, unless it has made room for others.
    pub fn question(&self, number: u64) -> Option<Recorded> {
        let state = self.state.lock();
        let recorders: Vec<_> = state.accounts.recorders.values().cloned().collect();
        drop(state);
        let mut recorded = recorders.iter().flat_map(|recorder| recorder.recorded());
        recorded.find(|recorded| recorded.number == number)
    }

    /// Puts them to the candidate, and to the version in force. Nothing comes of it.
    pub async fn replay(&self, name: &ProgramName) -> Result<Vec<Replayed>, ProgramError> {
        let recorded = self.recorded(name)?;
        let (active, candidate) = {
            let state = self.state.lock();
            let loaded = state.loaded.iter().find(|loaded| loaded.name == *name);
            let loaded = loaded.ok_or_else(|| ProgramError::NotInPipeline(name.clone()))?;
            let candidate = loaded.candidate.as_ref();
            let candidate = candidate.ok_or_else(|| ProgramError::NoCandidate(name.clone()))?;
            (loaded.active.clone(), candidate.program.clone())
        };
        let mut replayed = Vec::with_capacity(recorded.len());
        for recorded in recorded {
            let active = ask_again(&*active, &recorded.question).await;
            let candidate = ask_again(&*candidate, &recorded.question).await;
            replayed.push(Replayed { recorded, active, candidate });
        }
        Ok(replayed)
    }

    /// The hooks and positions, from 0, of the steps with the program.
    fn steps_of(&self, name: &ProgramName) -> Vec<(Hook, usize)> {
        let of_hook = |hook| {
            let steps = self.blueprint.steps(hook).iter().enumerate();
            steps.filter(|(_, step)| step.program == *name).map(move |(place, _)| (hook, place))
        };
        Hook::ALL.into_iter().flat_map(of_hook).collect()
    }

    /// A version, made for each configuration that steps use the program with, and the state to put it
    /// in, in which nothing else has happened to the program meanwhile.
    fn make(
        &self,
        name: &ProgramName,
        bytes: &[u8],
    ) -> Result<(Vec<Candidate>, MutexGuard<'_, State>), ProgramError> {
        let mut before = self.state.lock().loaded.clone();
        before.retain(|loaded| loaded.name == *name);
        if before.is_empty() {
            return Err(ProgramError::NotInPipeline(name.clone()));
        }
        let mut made = Vec::with_capacity(before.len());
        for loaded in &before {
            let program = self.loader.make(name, &loaded.settings, bytes)?;
            self.check_hooks(name, &*program)?;
            let (bytes, differences) = (bytes.into(), Arc::default());
            made.push(Candidate { program, bytes, stage: None, differences });
        }
        let state = self.state.lock();
        let present = state.loaded.iter().filter(|loaded| loaded.name == *name);
        match present.zip(&before).all(|(now, before)| now.stands_as(before)) {
            true => Ok((made, state)),
            false => Err(ProgramError::Overtaken(name.clone())),
        }
    }

    fn promote_candidate(
        &self,
        state: &mut State,
        mut next: Vec<Loaded>,
        name: &ProgramName,
        who: &str,
        cell: &PipelineCell,
    ) -> Result<(), ProgramError> {
        let no_candidate = || ProgramError::NoCandidate(name.clone());
        let mut standing = Standing::default();
        for loaded in of(&mut next, name) {
            let candidate = loaded.candidate.take().ok_or_else(no_candidate)?;
            standing.previous = Some(self.kept(name, &loaded.bytes)?);
            standing.active = Some(self.kept(name, &candidate.bytes)?);
            (loaded.active, loaded.bytes) = (candidate.program, candidate.bytes);
        }
        let sha256 = standing.active.clone();
        let sha256 = sha256.ok_or_else(|| ProgramError::NotInPipeline(name.clone()))?;
        self.change(state, name, next, standing, (Change::Promoted, sha256, who), cell)
    }

    fn kept(&self, name: &ProgramName, bytes: &[u8]) -> Result<String, ProgramError> {
        let kept = self.archive.keep(name, bytes);
        kept.map_err(|error| ProgramError::Archive { name: name.clone(), error })
    }

    /// Makes a change last, then puts it in force: a broker that is killed in between starts with it.
    fn change(
        &self,
        state: &mut State,
        name: &ProgramName,
        next: Vec<Loaded>,
        standing: Standing,
        (change, sha256, who): (Change, String, &str),
        cell: &PipelineCell,
    ) -> Result<(), ProgramError> {
        let generation = state.generation + 1;
        // What does not fit the pipeline must not be found at the next start.
        self.assemble(&mut super::Accounts::default(), generation, &next)?;
        let stage = standing.candidate.as_ref().and_then(|candidate| candidate.stage.clone());
        let who = who[..who.floor_char_boundary(LONGEST_NAME)].to_owned();
        let at = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
        let transition = Transition { at, who, change, sha256, generation, stage };
        let recorded = self.archive.record(name, &standing, &transition);
        recorded.map_err(|error| ProgramError::Archive { name: name.clone(), error })?;
        Ok(self.put_in_force(state, next, cell)?)
    }

    fn life_of(&self, state: &State, name: &ProgramName) -> Result<Life, ProgramError> {
        let found = state.loaded.iter().find(|loaded| loaded.name == *name);
        let loaded = found.ok_or_else(|| ProgramError::NotInPipeline(name.clone()))?;
        let unreadable = |error| ProgramError::Archive { name: name.clone(), error };
        let standing = self.standing(name)?;
        let candidate = loaded.candidate.as_ref().map(|candidate| CandidateLife {
            program: candidate.program.identity().clone(),
            stage: candidate.stage.clone(),
            compared: candidate.differences.compared(),
            differing: candidate.differences.differing(),
            differences: candidate.differences.samples(),
        });
        Ok(Life {
            generation: state.generation,
            active: loaded.active.identity().clone(),
            pinned: standing.active.is_some(),
            previous: standing.previous,
            candidate,
            history: self.archive.history(name, SHOWN).map_err(unreadable)?,
        })
    }
}

/// The program, in each configuration.
fn of<'a>(loaded: &'a mut [Loaded], name: &'a ProgramName) -> impl Iterator<Item = &'a mut Loaded> {
    loaded.iter_mut().filter(move |loaded| loaded.name == *name)
}
