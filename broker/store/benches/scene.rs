//! A store with offline sessions, and those who publish to them.

#![allow(dead_code, clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Wake, Waker};
use std::thread::Thread;

use hookmq_codec::{Qos, TopicName};
use hookmq_core::{CommitSequence, Message, NewMessage};
use hookmq_store::engine::Engine;
use hookmq_store::{
    Change, DurableStore, NewRecord, Opening, QueueKey, QueuedCopy, Recovery, SessionKey, Store,
    StoreOptions,
};
use tempfile::TempDir;

pub const SESSIONS: u64 = 1000;

/// Bytes of a message's payload.
pub const PAYLOAD: usize = 200;

/// A directory on the disk that the project is on, for `/tmp` may be memory.
pub fn scratch() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

pub fn serve(engine: Box<dyn Engine>) -> Arc<DurableStore> {
    let options = StoreOptions::new("unused");
    Recovery::with_engine(engine, &options).unwrap().serve(|it| panic!("{it}")).unwrap()
}

pub struct Connections<'a> {
    pub store: &'a dyn Store,
    payload: [u8; PAYLOAD],
    next: AtomicU64,
    waker: Waker,
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

pub fn session(number: u64) -> SessionKey {
    SessionKey { tenant: "default".into(), client_id: format!("device-{number}").into() }
}

pub fn opened(number: u64) -> Change {
    Change::SessionOpened {
        session: session(number),
        username: "".into(),
        expiry_interval: u32::MAX,
        epoch: 0,
        opening: Opening::Clean,
    }
}

impl<'a> Connections<'a> {
    pub fn new(store: &'a dyn Store) -> Self {
        let waker = Arc::new(Unpark(std::thread::current())).into();
        let connections = Self { store, payload: [7; PAYLOAD], next: AtomicU64::new(0), waker };
        connections.wait(store.append((0..SESSIONS).map(opened).collect()));
        connections
    }

    /// A message to the next session; the one before the last thousand is acknowledged.
    pub fn publish(&self) -> Vec<Change> {
        let id = self.store.next_id();
        let number = self.next.fetch_add(1, Ordering::Relaxed) % SESSIONS;
        let queue = QueueKey::Session(session(number));
        let mut changes = vec![self.queued(id, queue.clone())];
        if let Some(old) = id.0.checked_sub(SESSIONS).filter(|it| *it > 0) {
            changes.push(Change::Dequeued { queue, id: hookmq_store::MessageId(old) });
        }
        changes
    }

    pub fn queued(&self, id: hookmq_store::MessageId, queue: QueueKey) -> Change {
        let message = Message::new(NewMessage {
            topic: TopicName::new("devices/17/telemetry").unwrap(),
            forwarded_properties: &[],
            payload: &self.payload,
            qos: Qos::AtLeastOnce,
            retain: false,
            expires_at: None,
            publisher: 1,
        });
        let record = NewRecord { id, message, expires_at: None };
        let (qos, retain) = (Qos::AtLeastOnce, false);
        let copy = QueuedCopy { queue, qos, retain, subscription_identifiers: None };
        Change::Queued { record, copies: vec![copy] }
    }

    pub fn one_commit(&self, messages: usize) {
        let changes = (0..messages).flat_map(|_| self.publish()).collect();
        self.wait(self.store.append(changes));
    }

    pub fn many_commits(&self, messages: usize) {
        let last = (0..messages).map(|_| self.store.append(self.publish())).last();
        self.wait(last.unwrap());
    }

    pub fn wait(&self, commit: CommitSequence) {
        loop {
            self.store.wake_when_durable(commit, &self.waker);
            if self.store.durable() >= commit {
                return;
            }
            std::thread::park();
        }
    }
}

/// The least that group commit costs: rows of the same size, put in and taken out, and one sync.
pub mod bare {
    use std::path::Path;

    use rusqlite::{Connection, params};

    pub struct Database {
        connection: Connection,
        next: i64,
    }

    impl Database {
        pub fn open(place: &Path) -> Self {
            let connection = Connection::open(place.join("bare")).unwrap();
            connection.pragma_update(None, "locking_mode", "EXCLUSIVE").unwrap();
            connection.pragma_update(None, "journal_mode", "WAL").unwrap();
            connection.pragma_update(None, "synchronous", "FULL").unwrap();
            connection.pragma_update(None, "wal_autocheckpoint", 4096).unwrap();
            let table = "CREATE TABLE body (key INTEGER PRIMARY KEY, record BLOB NOT NULL)";
            connection.execute(table, []).unwrap();
            Self { connection, next: 1 }
        }

        pub fn commit(&mut self, rows: usize) {
            let transaction = self.connection.transaction().unwrap();
            let row = [7u8; super::PAYLOAD + 40];
            for _ in 0..rows {
                let sql = "INSERT INTO body VALUES (?1, ?2)";
                let mut insert = transaction.prepare_cached(sql).unwrap();
                insert.execute(params![self.next, &row[..]]).unwrap();
                self.next += 1;
            }
            let gone = self.next - super::SESSIONS as i64;
            let sql = "DELETE FROM body WHERE key BETWEEN ?1 AND ?2";
            let range = params![gone - rows as i64, gone - 1];
            transaction.prepare_cached(sql).unwrap().execute(range).unwrap();
            transaction.commit().unwrap();
        }
    }
}
