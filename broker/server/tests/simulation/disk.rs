//! A disk in memory: what a transaction has written is there as a whole, what was not is lost.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use hookmq_core::CommitSequence;
use hookmq_store::engine::{Batch, Engine, EngineError, EngineStats, MemoryEngine, Table, Visit};
use hookmq_store::{
    Change, DurableStore, Figures, MessageId, Question, Room, Steps, Store, StoreFailure,
    UnixMillis,
};
use parking_lot::Mutex;
use rand::Rng;
use rand::rngs::StdRng;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::defects::Defect;

/// What outlives the broker.
#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<Platter>>);

#[derive(Default)]
struct Platter {
    records: MemoryEngine,
    failing: Option<Failing>,
    /// Milliseconds that a transaction takes at most.
    latency: u64,
}

/// The write that fails, and what it leaves.
#[derive(Debug, Clone, Copy)]
pub struct Failing {
    pub after: usize,
    pub is_written: bool,
}

impl Disk {
    pub fn fail(&self, failing: Option<Failing>) {
        self.0.lock().failing = failing;
    }

    pub fn set_latency(&self, milliseconds: u64) {
        self.0.lock().latency = milliseconds;
    }

    fn latency(&self, random: &mut StdRng) -> Duration {
        Duration::from_millis(random.random_range(0..=self.0.lock().latency))
    }
}

impl Engine for Disk {
    fn write(&mut self, batch: &Batch) -> Result<usize, EngineError> {
        let mut platter = self.0.lock();
        let failing = match &mut platter.failing {
            Some(failing) if failing.after == 0 => Some(*failing),
            Some(failing) => {
                failing.after -= 1;
                None
            }
            None => None,
        };
        let is_written = failing.is_none_or(|it| it.is_written);
        let trimmed = if is_written { platter.records.write(batch)? } else { 0 };
        match failing {
            None => Ok(trimmed),
            Some(_) => Err(EngineError::Failed("the simulation has it fail".into())),
        }
    }

    fn read(&mut self, table: Table, key: u64) -> Result<Option<Vec<u8>>, EngineError> {
        self.0.lock().records.read(table, key)
    }

    fn scan(
        &mut self,
        table: Table,
        keys: RangeInclusive<u64>,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError> {
        self.0.lock().records.scan(table, keys, visit)
    }

    fn compact(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    fn stats(&mut self) -> Result<EngineStats, EngineError> {
        self.0.lock().records.stats()
    }

    fn verify(&mut self) -> Result<Vec<String>, EngineError> {
        Ok(Vec::new())
    }
}

/// The broker's own store, which says when there is something to write.
pub struct SteppedStore {
    store: Arc<DurableStore>,
    work: Arc<Notify>,
    defect: Option<Defect>,
}

impl SteppedStore {
    pub fn new(store: Arc<DurableStore>, defect: Option<Defect>) -> Self {
        Self { store, work: Arc::default(), defect }
    }

    /// Does what the store's thread would do, for as long as there is a disk.
    pub async fn run(
        self: Arc<Self>,
        mut steps: Steps,
        disk: Disk,
        mut random: StdRng,
    ) -> Result<(), StoreFailure> {
        loop {
            self.work.notified().await;
            sleep(disk.latency(&mut random)).await;
            if !steps.step()? {
                return Ok(());
            }
            if self.store.figures().queued_commits > 0 {
                self.work.notify_one();
            }
        }
    }

    pub fn close(&self) {
        self.store.close();
        self.work.notify_one();
    }
}

impl Store for SteppedStore {
    fn next_id(&self) -> MessageId {
        self.store.next_id()
    }

    fn append(&self, changes: Vec<Change>) -> CommitSequence {
        self.work.notify_one();
        self.store.append(match self.defect {
            Some(defect) => defect.store(changes),
            None => changes,
        })
    }

    fn durable(&self) -> CommitSequence {
        match self.defect {
            Some(Defect::AcknowledgesEarly) => CommitSequence(u64::MAX),
            _ => self.store.durable(),
        }
    }

    fn wake_when_durable(&self, commit: CommitSequence, waker: &Waker) {
        self.store.wake_when_durable(commit, waker);
    }

    fn room(&self) -> Room {
        self.store.room()
    }

    fn wake_when_room(&self, waker: &Waker) {
        self.store.wake_when_room(waker);
    }

    fn next_expiry(&self) -> Option<UnixMillis> {
        self.store.next_expiry()
    }

    fn figures(&self) -> Option<Figures> {
        Some(self.store.figures())
    }

    fn ask(&self, question: Question) {
        self.store.ask(question);
        self.work.notify_one();
    }
}
