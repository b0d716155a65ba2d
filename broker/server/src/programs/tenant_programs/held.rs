//! What is held of one tenant: its rules, and the steps that they make.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hookmq_hooks::{TenantSteps, TenantStepsCell};
use parking_lot::{Mutex, MutexGuard};

use super::super::loader::ProgramError;
use super::archive::Kept;
use super::made::{Made, Maker};
use super::{Shown, TenantProgramError};

/// One tenant's rules.
#[derive(Default)]
pub struct Held {
    pub(super) cell: Arc<TenantStepsCell>,
    /// Held throughout a change, so that the changes of one tenant follow one another.
    pub(super) state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    /// In the order in which they are asked.
    pub(super) rules: BTreeMap<Arc<str>, Made>,
    pub(super) pace: Pace,
    /// Why the tenant's file cannot be read.
    pub(super) unreadable: Option<String>,
}

impl Held {
    /// Of a tenant of whose rules nobody can say what they were: wherever it could have had one, it fails.
    pub(super) fn unreadable(tenant: &Arc<str>, reason: String, maker: &Maker) -> Self {
        let unknown = Kept {
            source: String::new(),
            sha256: String::new(),
            previous: None,
            pushed_at: String::new(),
            pushed_by: String::new(),
            authorize: true,
            publish: true,
            deliver: true,
            topics: vec![],
        };
        let broken = maker.broken(tenant, "unreadable", unknown, reason.clone());
        let mut state = State::default();
        state.rules.insert("unreadable".into(), broken);
        let held = Self::default();
        // A program that only fails has every hook.
        let _ = held.put_in_force(&state, maker);
        state.rules.clear();
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
        let steps = state.rules.values().flat_map(|made| maker.steps(made));
        self.cell.store(TenantSteps::assemble(steps)?);
        Ok(())
    }
}

impl State {
    pub(super) fn kept(&self) -> impl Iterator<Item = (&str, &Kept)> {
        self.rules.iter().map(|(rule, made)| (&**rule, &made.kept))
    }

    pub(super) fn shown(&self, tenant: &str, rule: &str) -> Result<Shown, TenantProgramError> {
        let made = self.rules.get(rule).ok_or(TenantProgramError::NoSuchRule)?;
        Ok(Shown::new(tenant, rule, made))
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
    }
}
