//! A store whose commits are durable at once, and are looked at in the end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use hookmq_core::CommitSequence;
use hookmq_store::{Change, MessageId, Question, Room, Store, UnixMillis};

use super::sync::Mutex;

#[derive(Debug, Default)]
pub struct ModelStore {
    commits: Mutex<Vec<Vec<Change>>>,
    ids: AtomicU64,
}

impl ModelStore {
    pub fn commits(&self) -> Vec<Vec<Change>> {
        self.commits.lock().clone()
    }
}

impl Store for ModelStore {
    fn next_id(&self) -> MessageId {
        MessageId(self.ids.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn append(&self, changes: Vec<Change>) -> CommitSequence {
        let mut commits = self.commits.lock();
        commits.push(changes);
        CommitSequence(commits.len() as u64)
    }

    fn durable(&self) -> CommitSequence {
        CommitSequence(u64::MAX)
    }

    fn wake_when_durable(&self, _: CommitSequence, waker: &Waker) {
        waker.wake_by_ref();
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

    fn ask(&self, _: Question) {}
}
