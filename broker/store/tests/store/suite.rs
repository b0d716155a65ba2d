//! What every engine's store does, one suite for all.

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};

use hookmq_codec::PacketId;
use hookmq_store::engine::{
    Batch, Engine, EngineError, EngineStats, MemoryEngine, SqliteEngine, Synchronous, Table, Trim,
    Visit,
};
use hookmq_store::{Change, MessageId, Presence, QueueKey, Recovery, Store, WallClock};
use tempfile::TempDir;

use crate::expiry::{expired_messages_hold_no_disk, what_expires_is_known_after_a_restart};
use crate::model::Disk;
use crate::scenes::{
    QOS_1, append_durably, dequeued, opened, options, page, payloads, queued, retained, serve,
    session, shared, subscribed,
};
use crate::simulated::SimulatedDisk;

/// Memory that outlives the engines on it.
#[derive(Default)]
pub struct MemoryDisk(Arc<Mutex<MemoryEngine>>);

struct SharedMemory(Arc<Mutex<MemoryEngine>>);

pub struct SqliteDisk(pub TempDir);

impl Default for SqliteDisk {
    fn default() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

impl Disk for MemoryDisk {
    fn engine(&self) -> Box<dyn Engine> {
        Box::new(SharedMemory(self.0.clone()))
    }
}

impl Disk for SqliteDisk {
    fn engine(&self) -> Box<dyn Engine> {
        let path = self.0.path().join("store.sqlite");
        // What a process leaves behind does not depend on syncs.
        Box::new(SqliteEngine::open(&path, Synchronous::Normal).unwrap())
    }
}

impl Engine for SharedMemory {
    fn write(&mut self, batch: &Batch) -> Result<usize, EngineError> {
        self.0.lock().unwrap().write(batch)
    }

    fn read(&mut self, table: Table, key: u64) -> Result<Option<Vec<u8>>, EngineError> {
        self.0.lock().unwrap().read(table, key)
    }

    fn scan(
        &mut self,
        table: Table,
        keys: RangeInclusive<u64>,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError> {
        self.0.lock().unwrap().scan(table, keys, visit)
    }

    fn compact(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    fn stats(&mut self) -> Result<EngineStats, EngineError> {
        self.0.lock().unwrap().stats()
    }

    fn verify(&mut self) -> Result<Vec<String>, EngineError> {
        Ok(Vec::new())
    }
}

/// Runs a scene with each engine.
macro_rules! for_every_engine {
    ($($scene:ident)*) => {
        mod memory {
            $(#[test] fn $scene() { super::$scene(&super::MemoryDisk::default()) })*
        }
        mod sqlite {
            $(#[test] fn $scene() { super::$scene(&super::SqliteDisk::default()) })*
        }
        mod redb {
            $(#[test] fn $scene() { super::$scene(&super::SimulatedDisk::default()) })*
        }
    };
}

for_every_engine! {
    records_come_back_in_the_order_of_their_keys
    a_trim_deletes_the_first_records_and_says_how_many
    what_is_durable_is_there_after_a_restart
    a_resuming_session_gets_its_queue_in_pages
    a_page_holds_what_was_appended_a_moment_ago
    what_was_in_flight_comes_back_in_order_and_state
    a_message_goes_when_nobody_refers_to_it
    a_member_fetches_from_a_shared_subscription
    ids_are_never_given_twice
    retained_messages_are_given_one_by_one
    a_graceful_end_leaves_a_checkpoint_and_no_log
    many_threads_append_at_once
    expired_messages_hold_no_disk
    what_expires_is_known_after_a_restart
}

fn records_come_back_in_the_order_of_their_keys(disk: &dyn Disk) {
    let mut engine = disk.engine();
    let record = |key: u64, text: &str| (Table::Body, key, text.as_bytes().to_vec());
    let records = vec![record(3, "c"), record(1, "a"), record(2, "b"), record(9, "z")];
    engine.write(&Batch { records, ..Batch::default() }).unwrap();
    let again = Batch {
        deletions: vec![(Table::Body, 2..=2), (Table::Body, 7..=8)],
        records: vec![record(3, "C"), record(2, "B")],
        trim: None,
    };
    assert_eq!(engine.write(&again).unwrap(), 0);
    drop(engine);
    let mut engine = disk.engine();
    let mut found = Vec::new();
    engine
        .scan(Table::Body, 1..=8, &mut |key, record| {
            found.push((key, record.to_vec()));
            true
        })
        .unwrap();
    assert_eq!(found, [(1, b"a".to_vec()), (2, b"B".to_vec()), (3, b"C".to_vec())]);
    assert_eq!(engine.read(Table::Body, 9).unwrap().unwrap(), b"z");
    assert_eq!(engine.read(Table::Log, 9).unwrap(), None);
    assert_eq!(engine.verify().unwrap(), [""; 0]);
}

fn a_trim_deletes_the_first_records_and_says_how_many(disk: &dyn Disk) {
    let mut engine = disk.engine();
    let records = (1..=5).map(|key| (Table::Log, key, vec![1])).collect();
    engine.write(&Batch { records, ..Batch::default() }).unwrap();
    let trim = Trim { table: Table::Log, keys: 0..=4, limit: 3 };
    let batch = Batch { trim: Some(trim), ..Batch::default() };
    assert_eq!(engine.write(&batch).unwrap(), 3);
    assert_eq!(engine.write(&batch).unwrap(), 1);
    assert_eq!(engine.write(&batch).unwrap(), 0);
    assert!(engine.read(Table::Log, 5).unwrap().is_some());
}

fn what_is_durable_is_there_after_a_restart(disk: &dyn Disk) {
    let store = serve(disk.engine());
    store.append(vec![opened("a"), subscribed("a", "a/#")]);
    let id = store.next_id();
    let last = append_durably(&*store, vec![queued(id, b"hello", &["a"])]);
    drop(store);
    let mut recovery = Recovery::with_engine(disk.engine(), &options()).unwrap();
    let state = recovery.index().session(&session("a")).unwrap();
    assert_eq!((&*state.username, state.expiry_interval), ("user", 3600));
    assert_eq!(state.presence, Presence::Connected);
    assert_eq!(state.subscriptions[0].filter.as_str(), "a/#");
    assert_eq!((state.queue.len(), state.queue.iter().next().unwrap().id()), (1, id));
    let message = recovery.message(id).unwrap().into_message(&WallClock::now());
    assert_eq!((message.topic().as_str(), message.payload()), ("a/b", &b"hello"[..]));
    assert_eq!(message.properties().unwrap().payload_format_indicator, Some(true));
    let store = recovery.serve(|_| {}).unwrap();
    assert_eq!(store.durable(), last);
    assert_eq!(append_durably(&*store, vec![]).0, last.0 + 1);
}

fn a_resuming_session_gets_its_queue_in_pages(disk: &dyn Disk) {
    let store = serve(disk.engine());
    store.append(vec![opened("a"), opened("b")]);
    let ids: Vec<_> = (0..5).map(|_| store.next_id()).collect();
    for (number, id) in ids.iter().enumerate() {
        let payload = number.to_string();
        append_durably(&*store, vec![queued(*id, payload.as_bytes(), &["a", "b"])]);
    }
    drop(store);
    let store = serve(disk.engine());
    let queue = QueueKey::Session(session("a"));
    let first = page(&*store, queue.clone(), MessageId(0), 2);
    assert_eq!((payloads(&first), first.next), (vec!["0".into(), "1".into()], Some(ids[1])));
    // What is acknowledged meanwhile does not move the place where the next page goes on.
    append_durably(&*store, vec![dequeued(ids[0], "a"), dequeued(ids[1], "a")]);
    let second = page(&*store, queue.clone(), ids[1], 2);
    assert_eq!((payloads(&second), second.next), (vec!["2".into(), "3".into()], Some(ids[3])));
    let last = page(&*store, queue, ids[3], 2);
    assert_eq!((payloads(&last), last.next), (vec!["4".into()], None));
    let identifiers = &last.deliveries[0].subscription_identifiers;
    assert_eq!(identifiers.iter().map(|it| it.get()).collect::<Vec<_>>(), [1, u32::MAX]);
}

fn a_page_holds_what_was_appended_a_moment_ago(disk: &dyn Disk) {
    let store = serve(disk.engine());
    store.append(vec![opened("a")]);
    for round in 1..=50 {
        store.append(vec![queued(store.next_id(), b"x", &["a"])]);
        let queue = QueueKey::Session(session("a"));
        assert_eq!(page(&*store, queue, MessageId(0), 100).deliveries.len(), round);
    }
}

fn what_was_in_flight_comes_back_in_order_and_state(disk: &dyn Disk) {
    let store = serve(disk.engine());
    let packet_id = |number| PacketId::new(number).unwrap();
    let ids: Vec<_> = (0..3).map(|_| store.next_id()).collect();
    let messages = ids.iter().map(|id| queued(*id, id.0.to_string().as_bytes(), &["a"]));
    store.append([opened("a")].into_iter().chain(messages).collect());
    let key = session("a");
    // Sent in another order than they were queued in.
    let assigned = |place: usize, number| Change::PacketIdAssigned {
        session: key.clone(),
        id: ids[place],
        copy: QOS_1,
        packet_id: packet_id(number),
    };
    store.append(vec![assigned(1, 8), assigned(0, 9)]);
    store.append(vec![Change::Released { session: key.clone(), packet_id: packet_id(8) }]);
    let received = Change::Received { session: key.clone(), packet_id: packet_id(77) };
    append_durably(&*store, vec![received]);
    drop(store);
    let mut recovery = Recovery::with_engine(disk.engine(), &options()).unwrap();
    let (in_flight, damaged) = recovery.in_flight(&key);
    assert_eq!(damaged, []);
    let shown: Vec<_> = in_flight
        .iter()
        .map(|it| (it.slot.packet_id.get(), it.delivery.as_ref().map(|it| it.stored.id)))
        .collect();
    assert_eq!(shown, [(8, None), (9, Some(ids[0]))]);
    let state = recovery.index().session(&key).unwrap();
    assert_eq!(state.received.iter().map(|it| it.get()).collect::<Vec<_>>(), [77]);
    assert_eq!(state.queue.len(), 1);
    assert!(recovery.message(ids[1]).is_err(), "PUBREC has come: the message is the client's");
}

fn a_message_goes_when_nobody_refers_to_it(disk: &dyn Disk) {
    let store = serve(disk.engine());
    let id = store.next_id();
    store.append(vec![opened("a"), opened("b"), queued(id, b"x", &["a", "b"]), retained(id, b"x")]);
    let gone = |engine: &mut dyn Engine| engine.read(Table::Body, id.0).unwrap().is_none();
    let unretained = retained(store.next_id(), b"");
    let ended = Change::SessionEnded { session: session("b") };
    for change in [dequeued(id, "a"), unretained, ended] {
        append_durably(&*store, vec![change]);
    }
    let short_lived = store.next_id();
    append_durably(&*store, vec![queued(short_lived, b"y", &["a"]), dequeued(short_lived, "a")]);
    drop(store);
    let mut engine = disk.engine();
    assert!(gone(&mut *engine));
    assert!(engine.read(Table::Body, short_lived.0).unwrap().is_none());
}

fn a_member_fetches_from_a_shared_subscription(disk: &dyn Disk) {
    let store = serve(disk.engine());
    let filter = "$share/g/a/b";
    let queue = QueueKey::Shared(shared(filter));
    store.append(vec![opened("a"), subscribed("a", filter), opened("b"), subscribed("b", filter)]);
    let ids = [store.next_id(), store.next_id()];
    for id in ids {
        let copies = vec![crate::scenes::copy(queue.clone())];
        let record = crate::scenes::record(id, b"x");
        store.append(vec![Change::Queued { record, copies }]);
    }
    let (from, to) = (queue.clone(), QueueKey::Session(session("a")));
    append_durably(&*store, vec![Change::Moved { from, to: to.clone(), id: ids[0] }]);
    assert_eq!(page(&*store, queue.clone(), MessageId(0), 9).deliveries[0].stored.id, ids[1]);
    // Handed back it takes its old place.
    append_durably(&*store, vec![Change::Moved { from: to, to: queue.clone(), id: ids[0] }]);
    assert_eq!(page(&*store, queue.clone(), MessageId(0), 9).deliveries[0].stored.id, ids[0]);
    let unsubscribed =
        Change::Unsubscribed { session: session("a"), filter: shared(filter).filter };
    append_durably(&*store, vec![unsubscribed]);
    assert_eq!(page(&*store, queue.clone(), MessageId(0), 9).deliveries.len(), 2);
    append_durably(&*store, vec![Change::SessionEnded { session: session("b") }]);
    assert_eq!(page(&*store, queue, MessageId(0), 9).deliveries.len(), 0, "the last member went");
    drop(store);
    assert!(disk.engine().read(Table::Body, ids[1].0).unwrap().is_none());
}

fn ids_are_never_given_twice(disk: &dyn Disk) {
    let mut last = MessageId(0);
    for _ in 0..3 {
        let store = serve(disk.engine());
        for _ in 0..5 {
            let id = store.next_id();
            assert!(id > last, "{id:?} after {last:?}");
            last = id;
        }
        // Nothing that used the last ids has stayed, and still they are gone.
        let id = store.next_id();
        append_durably(&*store, vec![opened("a"), queued(id, b"x", &["a"]), dequeued(id, "a")]);
        last = id;
    }
}

fn retained_messages_are_given_one_by_one(disk: &dyn Disk) {
    let store = serve(disk.engine());
    store.append(vec![retained(store.next_id(), b"old")]);
    append_durably(&*store, vec![retained(store.next_id(), b"new")]);
    drop(store);
    let mut recovery = Recovery::with_engine(disk.engine(), &options()).unwrap();
    let mut found = Vec::new();
    let each = |key: &hookmq_store::RetainedKey, stored: hookmq_store::StoredMessage| {
        found.push((key.topic.to_string(), stored.message.payload().to_vec()));
    };
    recovery.for_each_retained(each).unwrap();
    assert_eq!(found, [("a/b".to_string(), b"new".to_vec())]);
}

fn a_graceful_end_leaves_a_checkpoint_and_no_log(disk: &dyn Disk) {
    let store = serve(disk.engine());
    for _ in 0..3 {
        append_durably(&*store, vec![opened("a"), queued(store.next_id(), b"x", &["a"])]);
    }
    drop(store);
    let mut engine = disk.engine();
    let mut log = 0;
    let mut count = |_, _: &[u8]| {
        log += 1;
        true
    };
    engine.scan(Table::Log, 0..=u64::MAX, &mut count).unwrap();
    assert_eq!(log, 0);
}

fn many_threads_append_at_once(disk: &dyn Disk) {
    const THREADS: usize = 8;
    const EACH: usize = 50;
    let store = serve(disk.engine());
    store.append((0..THREADS).map(|it| opened(&it.to_string())).collect());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let store = &*store;
            scope.spawn(move || {
                let client = thread.to_string();
                let mut last = 0;
                for _ in 0..EACH {
                    let id = store.next_id();
                    let commit = store.append(vec![queued(id, b"x", &[&client])]);
                    assert!(commit.0 > last);
                    last = commit.0;
                    if id.0.is_multiple_of(7) {
                        crate::scenes::wait_durable(store, commit);
                    }
                }
                crate::scenes::wait_durable(store, hookmq_core::CommitSequence(last));
            });
        }
    });
    drop(store);
    let recovery = Recovery::with_engine(disk.engine(), &options()).unwrap();
    assert!(recovery.index().sessions().all(|it| it.queue.len() == EACH));
    assert_eq!(recovery.index().messages(), THREADS * EACH);
}
