//! Every order in which two append, wait and ask while the store's thread commits.

use std::sync::Mutex as Plain;
use std::task::Wake;

use loom::thread;

use super::*;
use crate::Opening;
use crate::engine::MemoryEngine;
use crate::ledger::{CheckpointBounds, Verify};

/// In words. The model's own threads have too little for the ledger.
const STACK: usize = 1 << 14;

/// What a connection's waker is: its thread, which the model lets sleep for ever where nobody wakes it,
/// and then fails.
struct Task(thread::Thread);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn waker() -> Waker {
    Arc::new(Task(thread::current())).into()
}

fn await_commit(store: &DurableStore, commit: CommitSequence) {
    store.wake_when_durable(commit, &waker());
    thread::park();
    assert!(store.durable() >= commit, "woken before its commit is durable");
}

fn await_room(store: &DurableStore) {
    while store.room() != Room::Open {
        store.wake_when_room(&waker());
        thread::park();
    }
}

fn session(name: &str) -> SessionKey {
    SessionKey { tenant: "t".into(), client_id: name.into() }
}

fn opened(name: &str) -> Change {
    let session = session(name);
    let (username, opening) = ("".into(), Opening::Clean);
    Change::SessionOpened { session, username, expiry_interval: 60, epoch: 1, opening }
}

type Look = Box<dyn FnMut() -> std::io::Result<Space> + Send>;

/// A store whose transactions have one change each, and its thread.
fn start(
    durability: Durability,
    queued_changes: usize,
    look: Option<Look>,
) -> (Arc<DurableStore>, thread::JoinHandle<Committer>) {
    let engine = Box::new(MemoryEngine::default());
    let (ledger, _) =
        Ledger::load(engine, CheckpointBounds::default(), 0, Verify::All).expect("an empty engine");
    let bounds = StoreBounds { batch_changes: 1, queued_changes, ..StoreBounds::default() };
    let mut committer = Committer::new(ledger, None, durability, bounds, look);
    let shared = committer.shared.clone();
    committer.watch_space();
    let run = move || {
        committer.run().expect("memory does not fail");
        committer
    };
    let thread = thread::Builder::new().stack_size(STACK).spawn(run).expect("a thread");
    (Arc::new(DurableStore { shared, thread: Mutex::new(None) }), thread)
}

/// Ends the thread, and gives the last commit and how many of the sessions the store has.
fn end(
    store: &DurableStore,
    thread: thread::JoinHandle<Committer>,
    names: &[&str],
) -> (u64, usize) {
    store.close();
    let committer = thread.join().expect("the store's thread");
    let index = committer.ledger.index();
    let known = names.iter().filter(|name| index.session(&session(name)).is_some());
    (committer.ledger.last_commit(), known.count())
}

/// Three threads that wait for each other have too many orders: these are those in which threads are
/// interrupted at most three times where they could have gone on.
fn explore(check: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(check);
}

#[test]
fn two_who_wait_for_their_commits_are_woken_when_these_are_written() {
    explore(|| {
        let (store, thread) = start(Durability::Os, 10, None);
        let append = |store: &DurableStore, name| {
            let commit = store.append(vec![opened(name)]);
            await_commit(store, commit);
            let written = store.shared.tally.commits.load(Ordering::Relaxed);
            assert!(written >= commit.0, "commit {} of {written} is durable", commit.0);
            commit.0
        };
        let other = store.clone();
        let other = thread::spawn(move || append(&other, "a"));
        let mine = append(&store, "b");
        let mut commits = [mine, other.join().expect("who appends")];
        commits.sort_unstable();
        assert_eq!(commits, [1, 2], "commits are dense");
        assert_eq!(end(&store, thread, &["a", "b"]), (2, 2));
    });
}

#[test]
fn commits_of_one_thread_are_written_in_its_order() {
    loom::model(|| {
        let (store, thread) = start(Durability::Os, 10, None);
        let commits = [opened("a"), Change::SessionEnded { session: session("a") }]
            .map(|change| store.append(vec![change]).0);
        assert_eq!(commits, [1, 2]);
        await_commit(&store, CommitSequence(2));
        assert_eq!(end(&store, thread, &["a"]), (2, 0));
    });
}

#[test]
fn answers_take_in_what_was_appended_before_they_were_asked_for() {
    explore(|| {
        let (store, thread) = start(Durability::Os, 10, None);
        let other = store.clone();
        let other = thread::spawn(move || other.append(vec![opened("a")]));
        store.append(vec![opened("b")]);
        let answered = Arc::new(Plain::new(None));
        let answer = answered.clone();
        let answer = move |it: WaitingAnswer| *answer.lock().expect("unpoisoned") = Some(it);
        store.ask(Question::Waiting(session("b"), Box::new(answer)));
        other.join().expect("who appends");
        assert_eq!(end(&store, thread, &["a", "b"]), (2, 2));
        let answered = answered.lock().expect("unpoisoned").take();
        assert_eq!(answered, Some(Some((0, 0))), "the session is known, and nothing waits");
    });
}

#[test]
fn who_waits_for_room_is_woken_when_half_of_the_queue_is_written() {
    loom::model(|| {
        let (store, thread) = start(Durability::Os, 1, None);
        let other = store.clone();
        let other = thread::spawn(move || other.append(vec![opened("a")]));
        store.append(vec![opened("b")]);
        await_room(&store);
        other.join().expect("who appends");
        assert_eq!(end(&store, thread, &["a", "b"]), (2, 2));
    });
}

#[test]
fn who_waits_for_room_is_woken_when_the_disk_has_some_again() {
    loom::model(|| {
        let mut free = [0].into_iter();
        let look = move || Ok(Space { free: free.next().unwrap_or(90) << 30, total: 100 << 30 });
        let (store, thread) = start(Durability::Os, 10, Some(Box::new(look)));
        await_room(&store);
        assert_eq!(end(&store, thread, &[]), (0, 0));
    });
}

#[test]
fn memory_is_durable_at_once_however_late_it_is_written() {
    explore(|| {
        let (store, thread) = start(Durability::Memory, 10, None);
        let append = |store: &DurableStore, name: &str| {
            let commit = store.append(vec![opened(name)]);
            assert!(store.durable() >= commit, "who appends need not wait");
        };
        let other = store.clone();
        let other = thread::spawn(move || append(&other, "a"));
        append(&store, "b");
        other.join().expect("who appends");
        assert_eq!(end(&store, thread, &["a", "b"]), (2, 2));
    });
}
