//! What is dropped from a queue that is too long: nothing that the client may have.

use hookmq_store::engine::MemoryEngine;
use hookmq_store::{
    Change, CheckpointBounds, Ledger, MessageId, PageRequest, QueueKey, UnixMillis,
};

use crate::scenes::{NOW, load, opened, queued, session, shared, subscribed};

fn key() -> QueueKey {
    QueueKey::Session(session("a"))
}

/// A ledger in which 1 to 9 wait for `a`.
fn ledger() -> Ledger {
    let mut ledger = load(Box::new(MemoryEngine::default()), CheckpointBounds::default());
    commit(&mut ledger, vec![opened("a"), subscribed("a", "$share/g/#")]);
    for id in 1..10 {
        commit(&mut ledger, vec![queued(MessageId(id), b"x", &["a"])]);
    }
    ledger
}

fn commit(ledger: &mut Ledger, changes: Vec<Change>) {
    ledger.commit([&changes], MessageId(20), NOW).unwrap();
}

/// Brings what waits behind `after` down to three messages; gives what is left.
fn trim(ledger: &mut Ledger, after: u64) -> Vec<u64> {
    let after = MessageId(after);
    commit(ledger, vec![Change::Trimmed { queue: key(), messages: 3, bytes: 1 << 20, after }]);
    ledger.index().queue(&key()).unwrap().iter().map(|it| it.id().0).collect()
}

#[test]
fn the_oldest_that_wait_go() {
    assert_eq!(trim(&mut ledger(), 0), [7, 8, 9]);
}

#[test]
fn what_the_connection_was_given_in_memory_stays() {
    assert_eq!(trim(&mut ledger(), 2), [1, 2, 7, 8, 9]);
    assert_eq!(trim(&mut ledger(), 8), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
}

#[test]
fn what_the_connection_has_fetched_stays_until_the_client_has_gone() {
    let mut ledger = ledger();
    let request = PageRequest { queue: key(), after: MessageId(0), messages: 4, bytes: 1 << 20 };
    assert_eq!(ledger.page(&request).deliveries.len(), 4);
    assert_eq!(trim(&mut ledger, 0), [1, 2, 3, 4, 7, 8, 9]);
    let closed = Change::SessionClosed {
        session: session("a"),
        at: UnixMillis(NOW.0),
        expiry_interval: 3600,
    };
    commit(&mut ledger, vec![closed]);
    assert_eq!(trim(&mut ledger, 0), [7, 8, 9]);
}

#[test]
fn what_the_connection_has_from_elsewhere_stays() {
    let mut ledger = ledger();
    let from = QueueKey::Shared(shared("$share/g/#"));
    let shared = crate::scenes::copy(from.clone());
    let record = crate::scenes::record(MessageId(10), b"x");
    commit(&mut ledger, vec![Change::Queued { record, copies: vec![shared] }]);
    commit(&mut ledger, vec![Change::Moved { from, to: key(), id: MessageId(10) }]);
    commit(&mut ledger, vec![Change::Taken { session: session("a"), id: MessageId(3) }]);
    for id in 11..14 {
        commit(&mut ledger, vec![queued(MessageId(id), b"x", &["a"])]);
    }
    assert_eq!(trim(&mut ledger, 0), [3, 10, 11, 12, 13]);
    commit(&mut ledger, vec![Change::Dequeued { queue: key(), id: MessageId(3) }]);
    assert_eq!(trim(&mut ledger, 0), [10, 11, 12, 13]);
}
