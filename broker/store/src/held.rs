//! An engine whose disk is the test's: commits become durable when the test says so.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use hookmq_core::CommitSequence;

use crate::committer::answer;
use crate::engine::MemoryEngine;
use crate::{
    Change, CheckpointBounds, Ledger, MessageId, Question, Recovery, Room, Store, UnixMillis,
    Verify,
};

/// Keeps every commit until it is released, to show what waits for it.
#[derive(Default)]
pub struct HeldStore {
    state: Mutex<State>,
    watcher: Mutex<Option<Watcher>>,
}

/// Is shown each commit, before anybody can wait for it.
type Watcher = Arc<dyn Fn(&[Change]) + Send + Sync>;

struct State {
    commits: Vec<Vec<Change>>,
    durable: usize,
    ids: u64,
    waiting: Vec<(u64, Waker)>,
    /// Each with the number of commits that its answer takes in.
    questions: Vec<(usize, Question)>,
    room: Room,
    waiting_for_room: Vec<Waker>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            commits: Vec::new(),
            durable: 0,
            ids: 0,
            waiting: Vec::new(),
            questions: Vec::new(),
            room: Room::Open,
            waiting_for_room: Vec::new(),
        }
    }
}

impl fmt::Debug for HeldStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldStore").field("commits", &self.state().commits).finish_non_exhaustive()
    }
}

impl HeldStore {
    /// Makes all commits so far durable, answers what was asked behind them, and wakes who waits.
    pub fn release(&self) {
        self.release_first(usize::MAX);
    }

    /// As [`Self::release`], for the first `commits` since the beginning.
    pub fn release_first(&self, commits: usize) {
        let mut state = self.state();
        state.durable = state.durable.max(commits.min(state.commits.len()));
        let durable = state.durable;
        let waiting = std::mem::take(&mut state.waiting).into_iter();
        let (ready, waiting) = waiting.partition(|(commit, _)| *commit <= durable as u64);
        let questions = std::mem::take(&mut state.questions).into_iter();
        let (due, questions) = questions.partition(|(behind, _)| *behind <= durable);
        (state.waiting, state.questions) = (waiting, questions);
        drop(state);
        let (ready, due): (Vec<_>, Vec<_>) = (ready, due);
        ready.into_iter().for_each(|(_, waker): (u64, Waker)| waker.wake());
        for (_, question) in due {
            answer(&mut self.ledger(), question);
        }
    }

    /// The commits so far, in order.
    pub fn commits(&self) -> Vec<Vec<Change>> {
        self.state().commits.clone()
    }

    /// How many questions wait for a commit.
    pub fn asked(&self) -> usize {
        self.state().questions.len()
    }

    /// Changes what [`Store::room`] says, and wakes who waits for room.
    pub fn set_room(&self, room: Room) {
        let mut state = self.state();
        state.room = room;
        let waiting = std::mem::take(&mut state.waiting_for_room);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Has every commit from now on be shown to `watcher` as it is appended.
    pub fn watch(&self, watcher: impl Fn(&[Change]) + Send + Sync + 'static) {
        *self.watcher.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(watcher));
    }

    /// What is left after a crash: the commits that are durable.
    pub fn after_crash(&self) -> Self {
        let state = self.state();
        let commits = state.commits[..state.durable].to_vec();
        let (durable, ids) = (state.durable, state.ids);
        drop(state);
        let state = State { commits, durable, ids, ..State::default() };
        Self { state: Mutex::new(state), watcher: Mutex::default() }
    }

    /// What a broker begins with.
    pub fn recovery(&self) -> Recovery {
        Recovery::of(self.ledger())
    }

    /// The state behind all that is durable.
    fn ledger(&self) -> Ledger {
        let state = self.state();
        let bounds = CheckpointBounds::default();
        let loaded = Ledger::load(Box::new(MemoryEngine::default()), bounds, 0, Verify::default());
        let (mut ledger, _) = loaded.expect("memory can be read");
        let next_id = MessageId(state.ids + 1);
        let commits = &state.commits[..state.durable];
        ledger.commit(commits, next_id, UnixMillis::now()).expect("memory can be written");
        ledger
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for HeldStore {
    fn next_id(&self) -> MessageId {
        let mut state = self.state();
        state.ids += 1;
        MessageId(state.ids)
    }

    fn append(&self, changes: Vec<Change>) -> CommitSequence {
        let watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(watcher) = watcher {
            watcher(&changes);
        }
        let mut state = self.state();
        state.commits.push(changes);
        CommitSequence(state.commits.len() as u64)
    }

    fn durable(&self) -> CommitSequence {
        CommitSequence(self.state().durable as u64)
    }

    fn wake_when_durable(&self, commit: CommitSequence, waker: &Waker) {
        let mut state = self.state();
        match commit.0 <= state.durable as u64 {
            true => waker.wake_by_ref(),
            false => state.waiting.push((commit.0, waker.clone())),
        }
    }

    fn room(&self) -> Room {
        self.state().room
    }

    fn wake_when_room(&self, waker: &Waker) {
        let mut state = self.state();
        match state.room {
            Room::Open => waker.wake_by_ref(),
            _ => state.waiting_for_room.push(waker.clone()),
        }
    }

    fn next_expiry(&self) -> Option<UnixMillis> {
        self.ledger().index().next_expiry()
    }

    fn ask(&self, question: Question) {
        let mut state = self.state();
        let (behind, durable) = (state.commits.len(), state.durable);
        match state.room {
            // The answer is dropped.
            Room::Failed => {}
            _ if behind > durable => state.questions.push((behind, question)),
            _ => {
                drop(state);
                answer(&mut self.ledger(), question);
            }
        }
    }
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

    #[test]
    fn a_question_is_answered_behind_what_was_appended_before() {
        let store = HeldStore::default();
        let answered = Arc::new(Mutex::new(0));
        let ask = || {
            let answered = answered.clone();
            let count = Box::new(move |_| *answered.lock().unwrap() += 1);
            store.ask(Question::Message(MessageId(1), count));
        };
        ask();
        assert_eq!(*answered.lock().unwrap(), 1);
        store.append(vec![]);
        ask();
        assert_eq!(*answered.lock().unwrap(), 1);
        store.release();
        assert_eq!(*answered.lock().unwrap(), 2);
    }
}
