//! Who refers to which message: the state machine behind every engine.
//!
//! Messages stay on disk; the index holds 24 bytes for each that waits in a queue. It is a function of
//! the operations applied to it: no clock, no I/O.

mod counts;
mod expiry;
mod plan;
mod queue;
mod session;
mod slots;

use serde::{Deserialize, Serialize};

use crate::operation::{Operation, SessionStep};
use crate::{
    MessageId, Opening, Presence, QueueKey, RetainedKey, RetainedState, SessionKey, SessionState,
    SharedKey, SharedState,
};

use counts::Counts;
pub use queue::Queue;
use slots::Slots;

/// Sessions, shared subscriptions and retained messages, and how often each message is referred to.
///
/// Each unit remembers as of which commit it stands. An operation of that commit or an earlier one
/// leaves it alone, which lets a checkpoint be written piece by piece while the index changes.
#[derive(Debug, Default)]
pub struct Index {
    sessions: Slots<SessionState>,
    shared: Slots<SharedState>,
    retained: Slots<RetainedState>,
    counts: Counts,
    /// Messages that nobody refers to any more, since they were last taken.
    freed: Vec<MessageId>,
}

/// One unit, borrowed for writing or owned after reading.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Unit<S, H, R> {
    Session(S),
    Shared(H),
    Retained(R),
}

pub(crate) type StoredUnit = Unit<SessionState, SharedState, RetainedState>;
type UnitRef<'a> = Unit<&'a SessionState, &'a SharedState, &'a RetainedState>;

/// How far a checkpoint has come: slots of sessions, then of shared subscriptions, then of retained
/// messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cursor(usize);

impl Index {
    pub fn session(&self, key: &SessionKey) -> Option<&SessionState> {
        self.sessions.find(key)
    }

    pub fn sessions(&self) -> impl Iterator<Item = &SessionState> {
        self.sessions.iter()
    }

    pub fn shared(&self) -> impl Iterator<Item = &SharedState> {
        self.shared.iter()
    }

    pub fn retained(&self) -> impl Iterator<Item = &RetainedState> {
        self.retained.iter()
    }

    pub fn queue(&self, key: &QueueKey) -> Option<&Queue> {
        match key {
            QueueKey::Session(session) => self.sessions.find(session).map(|it| &it.queue),
            QueueKey::Shared(shared) => self.shared.find(shared).map(|it| &it.queue),
        }
    }

    /// Messages that somebody refers to.
    pub fn messages(&self) -> usize {
        self.counts.len()
    }

    pub fn is_live(&self, id: MessageId) -> bool {
        self.counts.contains(id)
    }

    /// The messages that somebody refers to, in the order of their ids.
    pub(crate) fn live(&self) -> Vec<MessageId> {
        self.counts.ids()
    }

    pub(crate) fn take_freed(&mut self) -> Vec<MessageId> {
        std::mem::take(&mut self.freed)
    }

    /// Who refers to a message, as text for a person. Looks at everything.
    pub(crate) fn holders(&self, id: MessageId) -> Vec<String> {
        let of_session = |it: &&SessionState| it.message_ids().any(|held| held == id);
        let sessions = self.sessions().filter(of_session).map(|it| &it.session);
        let sessions = sessions.map(|it| format!("session {:?} of {:?}", it.client_id, it.tenant));
        let of_shared = |it: &&SharedState| it.queue.find(id).is_some();
        let shared = self.shared().filter(of_shared).map(|it| &it.shared);
        let shared = shared.map(|it| format!("{:?} of {:?}", it.filter.as_str(), it.tenant));
        let retained = self.retained().filter(|it| it.message.id() == id).map(|it| &it.retained);
        let retained = retained.map(|it| format!("retained {:?} of {:?}", it.topic, it.tenant));
        sessions.chain(shared).chain(retained).collect()
    }

    /// Forgets every reference to a message that cannot be read.
    pub(crate) fn drop_message(&mut self, id: MessageId) {
        let Self { sessions, shared, retained, counts, freed } = self;
        let mut forget = || release(counts, freed, id);
        for state in sessions.iter_mut() {
            while state.remove(id).is_some() {
                forget();
            }
            state.will.take_if(|will| will.id == id).into_iter().for_each(|_| forget());
        }
        for state in shared.iter_mut() {
            state.queue.remove(id).into_iter().for_each(|_| forget());
        }
        let lost: Vec<RetainedKey> = retained
            .iter()
            .filter(|it| it.message.id() == id)
            .map(|it| it.retained.clone())
            .collect();
        for key in lost {
            retained.remove(&key).into_iter().for_each(|_| forget());
        }
    }

    /// Notes that the connection of a session has a message of its queue. It is no part of the state.
    pub(crate) fn take(&mut self, session: &SessionKey, id: MessageId) {
        let state = self.sessions.at(u64::MAX, session);
        state.into_iter().for_each(|it| it.queue.take(id));
    }

    /// Applies one operation of `commit`. What it concerns may be gone, or further on already.
    pub(crate) fn apply(&mut self, commit: u64, operation: Operation) {
        use Operation as Op;
        match operation {
            Op::Open { session, username, expiry_interval, epoch, opening } => {
                let fresh = || SessionState::new(session.clone());
                let Some(state) = self.sessions.entry(commit, &session, fresh) else { return };
                if opening == Opening::Clean {
                    let old = std::mem::replace(state, fresh());
                    old.message_ids().for_each(|id| release(&mut self.counts, &mut self.freed, id));
                }
                (state.username, state.expiry_interval) = (username, expiry_interval);
                (state.epoch, state.presence) = (epoch, Presence::Connected);
            }
            Op::End { session } => {
                if self.sessions.at(commit, &session).is_none() {
                    return;
                }
                let Some(old) = self.sessions.remove(&session) else { return };
                old.message_ids().for_each(|id| self.release(id));
            }
            Op::OfSession { session, step } => {
                let Some((place, state)) = self.sessions.place(commit, &session) else { return };
                if let SessionStep::SetWill(Some(will)) = &step {
                    self.counts.add(will.id);
                }
                let let_go = state.apply(step);
                if state.queue.is_empty() {
                    self.sessions.settle(place);
                }
                let_go.into_iter().for_each(|id| self.release(id));
            }
            Op::Join { shared } => {
                let queue = Queue::default();
                let fresh = || SharedState { shared: shared.clone(), members: 0, queue };
                if let Some(state) = self.shared.entry(commit, &shared, fresh) {
                    state.members += 1;
                }
            }
            Op::Leave { shared } => self.leave(commit, &shared),
            Op::Retain(new) => {
                let id = new.message.id();
                self.counts.add(id);
                match self.retained.replace(commit, new) {
                    Ok(old) => old.into_iter().for_each(|it| self.release(it.message.id())),
                    Err(new) => self.release(new.message.id()),
                }
            }
            Op::Forget(key) => {
                if self.retained.at(commit, &key).is_none() {
                    return;
                }
                let old = self.retained.remove(&key);
                old.into_iter().for_each(|it| self.release(it.message.id()));
            }
            Op::Push { queue, reference } => self.push(commit, &queue, reference),
            Op::Remove { queue, id } => self.remove(commit, &queue, id),
            Op::Expire { queue, at } => self.expire(commit, &queue, at),
        }
    }

    fn leave(&mut self, commit: u64, shared: &SharedKey) {
        let Some(state) = self.shared.at(commit, shared) else { return };
        state.members = state.members.saturating_sub(1);
        if state.members > 0 {
            return;
        }
        let Some(old) = self.shared.remove(shared) else { return };
        old.queue.iter().for_each(|it| release(&mut self.counts, &mut self.freed, it.id()));
    }

    fn remove(&mut self, commit: u64, key: &QueueKey, id: MessageId) {
        let removed = match key {
            QueueKey::Session(key) => {
                let Some((place, state)) = self.sessions.place(commit, key) else { return };
                let removed = state.remove(id);
                if state.queue.is_empty() {
                    self.sessions.settle(place);
                }
                removed
            }
            QueueKey::Shared(key) => {
                let Some((place, state)) = self.shared.place(commit, key) else { return };
                let removed = state.queue.remove(id);
                if state.queue.is_empty() {
                    self.shared.settle(place);
                }
                removed
            }
        };
        if removed.is_some() {
            self.release(id);
        }
    }

    fn release(&mut self, id: MessageId) {
        release(&mut self.counts, &mut self.freed, id);
    }

    /// The units from `from` on, each given to `write` until it says that it has enough. None when
    /// there are no more.
    pub(crate) fn units(
        &self,
        from: Cursor,
        mut write: impl FnMut(UnitRef<'_>) -> bool,
    ) -> Option<Cursor> {
        let (sessions, shared) = (self.sessions.slots(), self.shared.slots());
        let all = sessions + shared + self.retained.slots();
        for place in from.0..all {
            let unit = match place {
                place if place < sessions => self.sessions.slot(place).map(Unit::Session),
                place if place < sessions + shared => {
                    self.shared.slot(place - sessions).map(Unit::Shared)
                }
                place => self.retained.slot(place - sessions - shared).map(Unit::Retained),
            };
            if unit.is_some_and(&mut write) {
                return Some(Cursor(place + 1));
            }
        }
        None
    }

    /// Takes in a unit of a checkpoint, as it stood as of `commit`.
    pub(crate) fn restore(&mut self, commit: u64, unit: StoredUnit) {
        match unit {
            Unit::Session(mut state) => {
                state.queue.compact();
                // Earlier brokers had them in the order in which they came.
                state.received.sort_unstable();
                state.message_ids().for_each(|id| self.counts.add(id));
                let old = self.sessions.restore(commit, state);
                old.into_iter().flat_map(|it| it.message_ids().collect::<Vec<_>>()).for_each(
                    |id| {
                        self.release(id);
                    },
                );
            }
            Unit::Shared(mut state) => {
                state.queue.compact();
                state.queue.iter().for_each(|it| self.counts.add(it.id()));
                let old = self.shared.restore(commit, state);
                let old = old.iter().flat_map(|it| it.queue.iter());
                old.for_each(|it| release(&mut self.counts, &mut self.freed, it.id()));
            }
            Unit::Retained(state) => {
                self.counts.add(state.message.id());
                let old = self.retained.restore(commit, state);
                old.into_iter().for_each(|it| self.release(it.message.id()));
            }
        }
    }
}

fn release(counts: &mut Counts, freed: &mut Vec<MessageId>, id: MessageId) {
    if counts.remove(id) {
        freed.push(id);
    }
}
