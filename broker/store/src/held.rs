//! An engine whose disk is the test's: commits become durable when the test says so.

use std::sync::Mutex;
use std::task::Waker;

use hookmq_core::CommitSequence;

use crate::{Change, MessageId, Question, Room, Store, UnixMillis};

/// Keeps every commit until it is released, to show what waits for it.
#[derive(Debug, Default)]
pub struct HeldStore {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    commits: Vec<Vec<Change>>,
    durable: u64,
    ids: u64,
    waiting: Vec<(u64, Waker)>,
}

impl HeldStore {
    /// Makes all commits so far durable and wakes who waits for them.
    pub fn release(&self) {
        let mut state = self.state();
        state.durable = state.commits.len() as u64;
        let durable = state.durable;
        let (ready, waiting) = state.waiting.drain(..).partition(|(commit, _)| *commit <= durable);
        state.waiting = waiting;
        let ready: Vec<(u64, Waker)> = ready;
        drop(state);
        ready.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// The commits so far, in order.
    pub fn commits(&self) -> Vec<Vec<Change>> {
        self.state().commits.clone()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Store for HeldStore {
    fn next_id(&self) -> MessageId {
        let mut state = self.state();
        state.ids += 1;
        MessageId(state.ids)
    }

    fn append(&self, changes: Vec<Change>) -> CommitSequence {
        let mut state = self.state();
        state.commits.push(changes);
        CommitSequence(state.commits.len() as u64)
    }

    fn durable(&self) -> CommitSequence {
        CommitSequence(self.state().durable)
    }

    fn wake_when_durable(&self, commit: CommitSequence, waker: &Waker) {
        let mut state = self.state();
        match commit.0 <= state.durable {
            true => waker.wake_by_ref(),
            false => state.waiting.push((commit.0, waker.clone())),
        }
    }

    fn room(&self) -> Room {
        Room::Open
    }

    fn wake_when_room(&self, waker: &Waker) {
        waker.wake_by_ref();
    }

    fn next_expiry(&self) -> Option<UnixMillis> {
        None
    }

    fn ask(&self, _question: Question) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_durable_when_it_is_released() {
        let store = HeldStore::default();
        let commit = store.append(vec![]);
        assert!(store.durable() < commit);
        store.release();
        assert_eq!(store.durable(), commit);
    }
}
