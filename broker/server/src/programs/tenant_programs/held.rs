//! What is held of one tenant: its programs, and the steps that they make.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hookmq_hooks::{HookSet, ProgramKind, TenantSteps, TenantStepsCell};
use parking_lot::{Mutex, MutexGuard};

use super::super::loader::ProgramError;
use super::archive::{Kept, KeptPlugin, KeptRule, PluginVersion, Pushed};
use super::made::{Made, Maker};
use super::{Shown, TenantProgramError};

/// One tenant's programs.
#[derive(Default)]
pub struct Held {
    pub(super) cell: Arc<TenantStepsCell>,
    /// Held throughout a change, so that the changes of one tenant follow one another; but not while a
    /// plugin is compiled.
    pub(super) state: Mutex<State>,
    /// Whether a plugin is pushed, which includes its upload.
    is_pushing: AtomicBool,
}

#[derive(Default)]
pub(super) struct State {
    /// In the order in which they are asked.
    pub(super) programs: BTreeMap<Arc<str>, Made>,
    pub(super) pace: Pace,
    /// Why the tenant's file cannot be read.
    pub(super) unreadable: Option<String>,
}

impl Held {
    /// Of a tenant of whose programs nobody can say what they were: wherever it could have had one, it fails.
    pub(super) fn unreadable(tenant: &Arc<str>, reason: String, maker: &Maker) -> Self {
        let everything = HookSet { connect: false, authorize: true, publish: true, deliver: true };
        let pushed = Pushed::new(String::new(), "", everything, []);
        let (source, sha256) = (String::new(), String::new());
        let unknown = Kept::Rule(KeptRule { source, sha256, previous: None, pushed });
        let broken = maker.broken(tenant, "unreadable", unknown, reason.clone());
        let mut state = State::default();
        state.programs.insert("unreadable".into(), broken);
        let held = Self::default();
        // A program that only fails has every hook.
        let _ = held.put_in_force(&state, maker);
        state.programs.clear();
        state.unreadable = Some(reason);
        *held.state.lock() = state;
        held
    }

    /// The state, where anybody can say what it is.
    pub(super) fn readable(&self) -> Result<MutexGuard<'_, State>, TenantProgramError> {
        let state = self.state.lock();
        match &state.unreadable {
            None => Ok(state),
            Some(reason) => Err(TenantProgramError::Unreadable(reason.clone())),
        }
    }

    /// Has the tenant's clients ask what the state holds.
    pub(super) fn put_in_force(&self, state: &State, maker: &Maker) -> Result<(), ProgramError> {
        let steps = state.programs.values().flat_map(|made| maker.steps(made));
        self.cell.store(TenantSteps::assemble(steps)?);
        Ok(())
    }
}

impl State {
    pub(super) fn kept(&self) -> impl Iterator<Item = (&str, &Kept)> {
        self.programs.iter().map(|(name, made)| (&**name, &made.kept))
    }

    /// The program of this kind and name.
    pub(super) fn find(&self, kind: ProgramKind, name: &str) -> Result<&Made, TenantProgramError> {
        let found = self.programs.get(name).filter(|made| made.kept.kind() == kind);
        found.ok_or(TenantProgramError::NoSuch(kind))
    }

    pub(super) fn shown(
        &self,
        tenant: &str,
        kind: ProgramKind,
        name: &str,
    ) -> Result<Shown, TenantProgramError> {
        Ok(Shown::new(tenant, name, self.find(kind, name)?))
    }

    pub(super) fn count(&self, kind: ProgramKind) -> usize {
        self.programs.values().filter(|made| made.kept.kind() == kind).count()
    }

    /// Whether a program of this kind may have the name, and whether it would be a new one.
    pub(super) fn admit(
        &self,
        kind: ProgramKind,
        name: &str,
        most: usize,
    ) -> Result<bool, TenantProgramError> {
        match self.programs.get(name).map(|made| made.kept.kind()) {
            Some(other) if other != kind => Err(TenantProgramError::Taken(other)),
            Some(_) => Ok(false),
            None => match self.count(kind) {
                count if count >= most => Err(TenantProgramError::TooMany { kind, count }),
                _ => Ok(true),
            },
        }
    }
}

/// The artefacts that these programs are made of.
pub(super) fn artefacts<'a>(kept: impl Iterator<Item = &'a Kept>) -> HashSet<String> {
    versions(kept).map(|version| version.sha256.clone()).collect()
}

/// What these programs take on the disk beside their texts.
pub(super) fn disk_bytes<'a>(kept: impl Iterator<Item = &'a Kept>) -> u64 {
    let by_artefact = versions(kept).map(|version| (&*version.sha256, version.disk_bytes()));
    by_artefact.collect::<HashMap<_, _>>().into_values().sum()
}

fn versions<'a>(kept: impl Iterator<Item = &'a Kept>) -> impl Iterator<Item = &'a PluginVersion> {
    kept.filter_map(Kept::as_plugin).flat_map(KeptPlugin::versions)
}

/// The right to push a plugin of a tenant: one at a time, so that no tenant fills the place where all wait
/// for the compiler.
pub struct Pushing(Arc<Held>);

impl Pushing {
    pub(super) fn begin(held: Arc<Held>) -> Result<Self, TenantProgramError> {
        match held.is_pushing.swap(true, Ordering::AcqRel) {
            true => Err(TenantProgramError::Pushing),
            false => Ok(Self(held)),
        }
    }

    pub(super) fn held(&self) -> &Held {
        &self.0
    }
}

impl Drop for Pushing {
    fn drop(&mut self) {
        self.0.is_pushing.store(false, Ordering::Release);
    }
}

/// How often something is done, in minutes that begin with the first time after the one before is over.
#[derive(Debug, Default)]
pub(super) struct Pace {
    since: Option<Instant>,
    count: u32,
}

const MINUTE: Duration = Duration::from_secs(60);

impl Pace {
    /// It was as much as if it had been done so often more.
    pub(super) fn charge(&mut self, more: u32) {
        self.count = self.count.saturating_add(more);
    }

    /// Whether it may be done once more.
    pub(super) fn admits(&mut self, most: u32, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= MINUTE) {
            (self.since, self.count) = (Some(now), 0);
        }
        let admits = self.count < most;
        self.count += u32::from(admits);
        admits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_much_is_done_in_each_minute() {
        let (mut pace, begun) = (Pace::default(), Instant::now());
        for minute in 0..3 {
            let now = begun + minute * MINUTE;
            let admitted = (0..7).filter(|second| pace.admits(3, now + *second * MINUTE / 8));
            assert_eq!(admitted.count(), 3);
        }
        assert!(pace.admits(9, begun + 3 * MINUTE));
        pace.charge(7);
        let again = begun + 3 * MINUTE + MINUTE / 2;
        assert_eq!([(); 2].map(|()| pace.admits(9, again)), [true, false]);
    }
}
