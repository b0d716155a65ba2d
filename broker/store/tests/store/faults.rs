//! What the store does while its engine is slow, full or broken.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::Duration;

use hookmq_store::engine::{Batch, Engine, EngineError, EngineStats, MemoryEngine, Table, Visit};
use hookmq_store::{
    DurableStore, MessageId, Question, Recovery, Room, Space, Store, StoreBounds, StoreOptions,
};

use crate::scenes::{append_durably, dequeued, opened, options, queued, until, wait, wait_durable};

/// The test's hand on the engine.
#[derive(Default)]
pub struct Lever {
    mood: Mutex<Mood>,
    moved: Condvar,
    /// Transactions begun.
    begun: AtomicUsize,
    written: AtomicUsize,
    largest: AtomicUsize,
    /// Of all records.
    pub bytes: AtomicUsize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mood {
    #[default]
    Well,
    /// Every write hangs, like a disk under load.
    Stuck,
    Full,
    Broken,
}

struct Moody {
    engine: MemoryEngine,
    lever: Arc<Lever>,
}

impl Lever {
    pub fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
        self.moved.notify_all();
    }

    pub fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }
}

impl Engine for Moody {
    fn write(&mut self, batch: &Batch) -> Result<usize, EngineError> {
        self.lever.begun.fetch_add(1, Ordering::SeqCst);
        let mut mood = self.lever.mood.lock().unwrap();
        // Not for ever, or a test that fails would not end.
        let limit = Duration::from_secs(30);
        let stuck = |mood: &mut Mood| *mood == Mood::Stuck;
        mood = self.lever.moved.wait_timeout_while(mood, limit, stuck).unwrap().0;
        match *mood {
            Mood::Full => Err(EngineError::Full("no space left".into())),
            Mood::Broken => Err(EngineError::Failed("input/output error".into())),
            Mood::Well | Mood::Stuck => {
                self.lever.written.fetch_add(1, Ordering::SeqCst);
                let bytes = batch.records.iter().map(|it| it.2.len()).sum();
                self.lever.bytes.fetch_add(bytes, Ordering::SeqCst);
                self.lever.largest.fetch_max(bytes, Ordering::SeqCst);
                self.engine.write(batch)
            }
        }
    }

    fn read(&mut self, table: Table, key: u64) -> Result<Option<Vec<u8>>, EngineError> {
        self.engine.read(table, key)
    }

    fn scan(
        &mut self,
        table: Table,
        keys: RangeInclusive<u64>,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError> {
        self.engine.scan(table, keys, visit)
    }

    fn compact(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    fn stats(&mut self) -> Result<EngineStats, EngineError> {
        Ok(EngineStats::default())
    }

    fn verify(&mut self) -> Result<Vec<String>, EngineError> {
        Ok(Vec::new())
    }
}

pub struct Scene {
    pub store: Arc<DurableStore>,
    pub lever: Arc<Lever>,
    failures: mpsc::Receiver<String>,
    /// Percent of the disk that are free.
    free: Arc<AtomicU64>,
}

const GB: u64 = 1_000_000_000;
const MIB: u64 = 1 << 20;

pub fn scene(bounds: StoreBounds) -> Scene {
    scene_on(100 * GB, bounds)
}

/// On a disk of `total` bytes.
fn scene_on(total: u64, bounds: StoreBounds) -> Scene {
    let lever = Arc::new(Lever::default());
    let engine = Moody { engine: MemoryEngine::default(), lever: lever.clone() };
    let options = StoreOptions { bounds, ..options() };
    let recovery = Recovery::with_engine(Box::new(engine), &options).unwrap();
    let free = Arc::new(AtomicU64::new(50));
    let percent = free.clone();
    let space = move || Ok(Space { free: total / 100 * percent.load(Ordering::SeqCst), total });
    let (report, failures) = mpsc::channel();
    let served = recovery.with_space(space).serve(move |it| report.send(it.to_string()).unwrap());
    Scene { store: served.unwrap(), lever, failures, free }
}

#[test]
fn nothing_is_durable_before_it_is_written() {
    let Scene { store, lever, .. } = scene(StoreBounds::default());
    lever.set(Mood::Stuck);
    let commit = store.append(vec![opened("a")]);
    until(|| lever.begun() == 1);
    assert!(store.durable() < commit);
    lever.set(Mood::Well);
    wait_durable(&*store, commit);
}

#[test]
fn while_the_disk_is_at_work_the_next_transaction_gathers() {
    let Scene { store, lever, .. } = scene(StoreBounds::default());
    lever.set(Mood::Stuck);
    store.append(vec![opened("a")]);
    until(|| lever.begun() == 1);
    let ids: Vec<_> = (0..500).map(|_| store.next_id()).collect();
    for id in ids {
        store.append(vec![queued(id, b"x", &["a"])]);
    }
    let last = store.append(vec![]);
    lever.set(Mood::Well);
    wait_durable(&*store, last);
    assert_eq!(lever.begun(), 2, "one for the first, one for all that came meanwhile");
}

#[test]
fn a_transaction_has_bounds() {
    let bounds = StoreBounds { batch_changes: 10, batch_bytes: 1 << 20, ..StoreBounds::default() };
    let Scene { store, lever, .. } = scene(bounds);
    lever.set(Mood::Stuck);
    store.append(vec![opened("a")]);
    until(|| lever.begun() == 1);
    for _ in 0..95 {
        store.append(vec![queued(store.next_id(), b"x", &["a"])]);
    }
    // One that is larger than the bound goes alone.
    let large = (0..30).map(|_| queued(store.next_id(), b"x", &["a"])).collect();
    let last = store.append(large);
    lever.set(Mood::Well);
    wait_durable(&*store, last);
    assert_eq!(lever.begun(), 1 + 10 + 1);
}

#[test]
fn publishers_pause_at_the_bound_and_are_woken_when_there_is_room() {
    let bounds = StoreBounds { queued_changes: 20, ..StoreBounds::default() };
    let Scene { store, lever, .. } = scene(bounds);
    lever.set(Mood::Stuck);
    store.append(vec![opened("a")]);
    until(|| lever.begun() == 1);
    for _ in 0..20 {
        store.append(vec![queued(store.next_id(), b"x", &["a"])]);
        assert_eq!(store.room(), Room::Open);
    }
    // Acknowledgements go through, at the bound and behind it.
    let last = store.append(vec![dequeued(store.next_id(), "a")]);
    assert_eq!(store.room(), Room::Busy);
    let woken = Arc::new(AtomicBool::new(false));
    struct Flag(Arc<AtomicBool>, std::thread::Thread);
    impl std::task::Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
            self.1.unpark();
        }
    }
    let flag = Arc::new(Flag(woken.clone(), std::thread::current()));
    store.wake_when_room(&flag.into());
    assert!(!woken.load(Ordering::SeqCst));
    lever.set(Mood::Well);
    wait(|_| woken.load(Ordering::SeqCst));
    assert_eq!(store.room(), Room::Open);
    wait_durable(&*store, last);
}

#[test]
fn an_error_of_the_disk_ends_all_promises_and_is_reported_once() {
    let Scene { store, lever, failures, .. } = scene(StoreBounds::default());
    let before = append_durably(&*store, vec![opened("a")]);
    lever.set(Mood::Broken);
    store.append(vec![queued(store.next_id(), b"x", &["a"])]);
    let failure = failures.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(failure.contains("input/output error"), "{failure}");
    // The disk is well again, and still nothing is tried: what it holds is unknown.
    let tried = lever.begun();
    assert_eq!(tried, 2, "the session, and the message once");
    lever.set(Mood::Well);
    let later = store.append(vec![queued(store.next_id(), b"x", &["a"])]);
    assert!(later > before);
    store.close();
    assert_eq!((store.durable(), store.room(), lever.begun()), (before, Room::Failed, tried));
    assert!(failures.try_recv().is_err());
}

#[test]
fn a_panic_of_the_store_is_a_failure_as_well() {
    let Scene { store, failures, .. } = scene(StoreBounds::default());
    let before = append_durably(&*store, vec![opened("a")]);
    store.ask(Question::Message(MessageId(0), Box::new(|_| panic!("on purpose"))));
    let failure = failures.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(failure.contains("panicked"), "{failure}");
    store.append(vec![opened("b")]);
    assert_eq!((store.durable(), store.room()), (before, Room::Failed));
}

#[test]
fn a_transaction_that_finds_the_disk_full_waits_and_is_not_lost() {
    let Scene { store, lever, failures, .. } = scene(StoreBounds::default());
    append_durably(&*store, vec![opened("a")]);
    lever.set(Mood::Full);
    let id = store.next_id();
    let commit = store.append(vec![queued(id, b"x", &["a"])]);
    until(|| store.room() == Room::Full);
    assert!(store.durable() < commit);
    let acknowledged = store.append(vec![dequeued(id, "a")]);
    lever.set(Mood::Well);
    wait_durable(&*store, acknowledged);
    wait(|waker| {
        store.wake_when_room(waker);
        store.room() == Room::Open
    });
    assert!(failures.try_recv().is_err());
}

#[test]
fn a_nearly_full_disk_refuses_messages_until_there_is_room_again() {
    let Scene { store, free, .. } = scene(StoreBounds::default());
    append_durably(&*store, vec![opened("a")]);
    assert_eq!(store.room(), Room::Open);
    free.store(4, Ordering::SeqCst);
    let id = store.next_id();
    append_durably(&*store, vec![queued(id, b"x", &["a"])]);
    until(|| store.room() == Room::Full);
    // Deletions go on.
    append_durably(&*store, vec![dequeued(id, "a")]);
    // Right at the bound it would go to and fro.
    free.store(5, Ordering::SeqCst);
    append_durably(&*store, vec![]);
    assert_eq!(store.room(), Room::Full);
    free.store(6, Ordering::SeqCst);
    wait(|waker| {
        store.wake_when_room(waker);
        store.room() == Room::Open
    });
}

#[test]
fn a_small_disk_keeps_room_for_what_empties_the_queues() {
    let Scene { store, free, .. } = scene_on(100 * MIB, StoreBounds::default());
    let become_with_free = |percent, expected| {
        free.store(percent, Ordering::SeqCst);
        // The disk is looked at behind each transaction, and so before the end of the next.
        (0..2).for_each(|_| _ = append_durably(&*store, vec![]));
        assert_eq!(store.room(), expected, "{percent}");
    };
    for _ in 0..2 {
        become_with_free(66, Room::Open);
        become_with_free(64, Room::Open);
        become_with_free(63, Room::Full);
        become_with_free(65, Room::Full);
    }
}

#[test]
fn a_bound_of_0_takes_messages_until_the_disk_is_full() {
    let bounds = StoreBounds { nearly_full: 0, ..StoreBounds::default() };
    let Scene { store, free, .. } = scene_on(100 * MIB, bounds);
    free.store(0, Ordering::SeqCst);
    for _ in 0..3 {
        append_durably(&*store, vec![]);
        assert_eq!(store.room(), Room::Open);
    }
}

#[test]
fn memory_makes_nobody_wait() {
    let options = StoreOptions {
        durability: hookmq_store::Durability::Memory,
        ..StoreOptions::new("unused")
    };
    let store = Recovery::open(&options).unwrap().serve(|_| {}).unwrap();
    let commit = store.append(vec![opened("a")]);
    assert!(store.durable() >= commit);
    let id = store.next_id();
    store.append(vec![queued(id, b"x", &["a"])]);
    let queue = hookmq_store::QueueKey::Session(crate::scenes::session("a"));
    assert_eq!(crate::scenes::page(&*store, queue, Default::default(), 5).deliveries.len(), 1);
}
