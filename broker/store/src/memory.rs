//! The store of brokers whose sessions end with the process.

use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use hookmq_core::CommitSequence;

use crate::{Change, MessageId, Question, Room, Store, UnixMillis};

/// Counts commits and keeps none: what it calls durable lasts as long as the process.
#[derive(Debug, Default)]
pub struct MemoryStore {
    last: AtomicU64,
    ids: AtomicU64,
}

impl Store for MemoryStore {
    fn next_id(&self) -> MessageId {
        MessageId(self.ids.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn append(&self, _changes: Vec<Change>) -> CommitSequence {
        CommitSequence(self.last.fetch_add(1, Ordering::AcqRel) + 1)
    }

    fn durable(&self) -> CommitSequence {
        CommitSequence(self.last.load(Ordering::Acquire))
    }

    fn wake_when_durable(&self, _commit: CommitSequence, waker: &Waker) {
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

    fn ask(&self, _question: Question) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_durable_at_once() {
        let store = MemoryStore::default();
        let first = store.append(vec![]);
        let second = store.append(vec![]);
        assert!(first < second);
        assert!(store.durable() >= second);
    }
}
