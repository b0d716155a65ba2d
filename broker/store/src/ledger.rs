//! The store without its thread: an engine, the index over it, and how both stay one.

mod checkpoint;
mod load;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::engine::{Batch, Engine, EngineError, Table};
use crate::index::{Index, StoredUnit};
use crate::operation::Operation;
use crate::record::{self, Body, RecordError, StoredDelivery, StoredInFlight, StoredMessage};
use crate::{Change, MessageId, NewRecord, NewWill, QueueKey, Reference, SessionKey, UnixMillis};

use checkpoint::Checkpoint;
pub use checkpoint::CheckpointBounds;
pub use load::{Damage, OnDamage, Verify};

/// Turns changes into transactions, and the records of an engine back into the index.
///
/// It is a function of what it is given: no clock, no thread. A transaction holds one log record with
/// the operations of all its commits, the messages that are new, and deletions of those that nobody
/// refers to any more. A message that comes and goes within one transaction never reaches the disk.
pub struct Ledger {
    engine: Box<dyn Engine>,
    index: Index,
    head: Head,
    checkpoint: Checkpoint,
    /// Made, and not written yet.
    held: Option<Batch>,
    /// Bytes of all records that were written.
    written: u64,
    /// Sessions that have lost messages for their age, since they were last taken.
    swept: BTreeSet<SessionKey>,
}

/// The first record, written anew in each transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub last_commit: u64,
    /// Above every id that was ever given.
    pub next_id: MessageId,
    /// Of the checkpoint that counts; 0 for none.
    pub generation: u64,
    /// The checkpoint stands for the log up to here.
    pub start: u64,
    /// Pieces of the checkpoint.
    pub pieces: u32,
    /// For the next checkpoint, so that it meets no remains of one that was not finished.
    pub next_generation: u64,
}

impl Head {
    /// A generation is half of a key: pieces of one that does not fit would stand under another's.
    fn is_possible(&self) -> bool {
        self.generation <= self.next_generation && self.next_generation < u64::from(u32::MAX)
    }
}

/// A part of a queue.
#[derive(Debug)]
pub struct Page {
    pub deliveries: Vec<StoredDelivery>,
    /// Messages that are due and cannot be read.
    pub damaged: Vec<Damage>,
    /// Where the next page goes on; none where the queue has no more.
    pub next: Option<MessageId>,
}

/// Which part of a queue is wanted.
#[derive(Debug, Clone)]
pub struct PageRequest {
    pub queue: QueueKey,
    /// The messages behind this one, whether it is still there or not; `MessageId(0)` for the first.
    pub after: MessageId,
    pub messages: usize,
    /// At least one message is given, however long.
    pub bytes: usize,
}

impl Ledger {
    /// Commits lists of changes, each atomic, in one transaction. `next_id` is above all ids in them.
    ///
    /// # Errors
    /// After [`EngineError::Full`] the transaction is held: [`Self::write`] tries again, and nothing
    /// else may be committed before. After any other error the ledger is of no use.
    pub fn commit<'a>(
        &mut self,
        commits: impl IntoIterator<Item = &'a Vec<Change>>,
        next_id: MessageId,
        now: UnixMillis,
    ) -> Result<(), EngineError> {
        self.prepare(commits, next_id, now);
        self.write()
    }

    /// The last commit, written or held.
    pub fn last_commit(&self) -> u64 {
        self.head.last_commit
    }

    /// Above every id that was given when the last transaction was written.
    pub fn next_id(&self) -> MessageId {
        self.head.next_id
    }

    /// The sessions out of whose queues messages have gone for their age since this was last asked.
    pub(crate) fn take_swept(&mut self) -> Vec<SessionKey> {
        std::mem::take(&mut self.swept).into_iter().collect()
    }

    /// Bytes of the log that a checkpoint is yet to stand for.
    pub(crate) fn log_bytes(&self) -> u64 {
        self.checkpoint.log_bytes() as u64
    }

    /// Bytes of the records that were written since the start.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    pub fn index(&self) -> &Index {
        &self.index
    }

    pub(crate) fn engine(&mut self) -> &mut dyn Engine {
        &mut *self.engine
    }

    pub(crate) fn parts(&mut self) -> (&mut dyn Engine, &Index) {
        (&mut *self.engine, &self.index)
    }

    /// Gives no id below `next` any more.
    pub(crate) fn reserve_ids(&mut self, next: MessageId) {
        self.head.next_id = self.head.next_id.max(next);
    }

    /// Takes in a unit as it stood before the first commit.
    pub(crate) fn restore(&mut self, unit: StoredUnit) {
        self.index.restore(0, unit);
    }

    /// Writes what is held.
    pub fn write(&mut self) -> Result<(), EngineError> {
        let Some(batch) = &self.held else { return Ok(()) };
        let trimmed = self.engine.write(batch)?;
        if let Some(trim) = &batch.trim {
            self.checkpoint.trimmed(trim, trimmed);
        }
        self.written += batch.records.iter().map(|(.., it)| it.len() as u64).sum::<u64>();
        self.held = None;
        Ok(())
    }

    /// Whether a checkpoint is under way: transactions without changes would finish it.
    pub fn is_busy(&self) -> bool {
        self.checkpoint.is_busy()
    }

    /// Leaves nothing but a checkpoint, from which the next start is quick.
    pub fn finish(&mut self, now: UnixMillis) -> Result<(), EngineError> {
        self.write()?;
        if self.head.last_commit > self.head.start || self.head.generation == 0 {
            self.checkpoint.ask();
        }
        while self.is_busy() {
            self.commit([], self.head.next_id, now)?;
        }
        self.engine.settle()
    }

    /// The message under `id`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn message(&mut self, id: MessageId) -> Result<StoredMessage, Damage> {
        let reading = self.engine.read(Table::Body, id.0);
        let record = match reading {
            Ok(Some(record)) => record,
            Ok(None) => return Err(Damage::missing(id, self.index.holders(id))),
            Err(error) => return Err(Damage::Engine(error.to_string())),
        };
        let body = Body::unseal(id, &record).and_then(|body| body.message(id));
        body.map_err(|error| Damage::body(id, error, self.index.holders(id)))
    }

    /// A part of a queue, with messages. The connection of the session has them from now on.
    pub fn page(&mut self, request: &PageRequest) -> Page {
        let mut page = Page { deliveries: Vec::new(), damaged: Vec::new(), next: None };
        let mut bytes = 0;
        let mut wanted: Vec<Reference> = Vec::new();
        let references = self.index.queue(&request.queue).map(|it| it.behind(request.after));
        for reference in references.into_iter().flatten() {
            bytes += reference.size();
            let enough = wanted.len() >= request.messages.max(1) || bytes > request.bytes;
            if enough && !wanted.is_empty() {
                page.next = wanted.last().map(Reference::id);
                break;
            }
            wanted.push(reference.clone());
        }
        for reference in wanted {
            if let QueueKey::Session(session) = &request.queue {
                self.index.take(session, reference.id());
            }
            match self.message(reference.id()) {
                Ok(stored) => page.deliveries.push(StoredDelivery::new(stored, &reference)),
                Err(damage) => page.damaged.push(damage),
            }
        }
        page
    }

    /// What a session had under way towards its client, in the order of the first sending, with what
    /// cannot be read.
    pub fn in_flight(&mut self, session: &SessionKey) -> (Vec<StoredInFlight>, Vec<Damage>) {
        let slots = self.index.session(session).map(|it| it.in_flight.clone()).unwrap_or_default();
        let (mut found, mut damaged) = (Vec::new(), Vec::new());
        for slot in slots {
            let delivery = match slot.message.clone() {
                None => None,
                Some(reference) => match self.message(reference.id()) {
                    Ok(stored) => Some(StoredDelivery::new(stored, &reference)),
                    Err(damage) => {
                        damaged.push(damage);
                        continue;
                    }
                },
            };
            found.push(StoredInFlight { slot, delivery });
        }
        (found, damaged)
    }

    /// Applies the changes to the index and makes the transaction that says so on disk.
    fn prepare<'a>(
        &mut self,
        commits: impl IntoIterator<Item = &'a Vec<Change>>,
        next_id: MessageId,
        now: UnixMillis,
    ) {
        debug_assert!(self.held.is_none(), "what is held is written first");
        let commits: Vec<&Vec<Change>> = commits.into_iter().collect();
        let first = self.head.last_commit + 1;
        let last = self.head.last_commit + commits.len() as u64;
        let mut draft = Draft::default();
        for change in commits.iter().flat_map(|it| it.iter()) {
            self.apply(last, change, now, &mut draft);
        }
        let mut batch = draft.batch();
        if !commits.is_empty() {
            let log = record::seal(Table::Log, last, |to| {
                record::write(&first, to);
                to.append(&mut draft.operations);
            });
            self.checkpoint.logged(log.len());
            batch.records.push((Table::Log, last, log));
        }
        self.head.last_commit = last;
        self.head.next_id = self.head.next_id.max(next_id);
        self.checkpoint.advance(&self.index, &mut self.head, &mut batch);
        let head = record::seal(Table::Head, 0, |to| record::write(&self.head, to));
        batch.records.push((Table::Head, 0, head));
        self.held = Some(batch);
    }

    fn apply(&mut self, commit: u64, change: &Change, now: UnixMillis, draft: &mut Draft) {
        let record = record_of(change);
        let is_new = record.is_some_and(|it| !self.index.is_live(it.id));
        if let Change::Expired { at } = change {
            self.index.settle_expiries(*at);
        }
        if let Change::Taken { session, id } = change {
            self.index.take(session, *id);
        }
        self.index.plan(change, &mut draft.planned);
        for operation in draft.planned.drain(..) {
            record::write(&operation, &mut draft.operations);
            if let Operation::Expire { queue: QueueKey::Session(session), .. } = &operation {
                self.swept.insert(session.clone());
            }
            self.index.apply(commit, operation);
        }
        if let Some(record) = record.filter(|it| is_new && self.index.is_live(it.id)) {
            draft.bodies.insert(record.id, Body::of(record, now).seal(record.id));
        }
        // One that moves is nowhere for an instant.
        let freed = self.index.take_freed().into_iter().filter(|id| !self.index.is_live(*id));
        for id in freed.collect::<BTreeSet<_>>() {
            if draft.bodies.remove(&id).is_none() {
                draft.doomed.insert(id.0);
            }
        }
    }
}

/// A transaction in the making.
#[derive(Default)]
struct Draft {
    planned: Vec<Operation>,
    operations: Vec<u8>,
    bodies: BTreeMap<MessageId, Vec<u8>>,
    doomed: BTreeSet<u64>,
}

impl Draft {
    fn batch(&mut self) -> Batch {
        let deletions = ranges(&self.doomed).into_iter().map(|ids| (Table::Body, ids)).collect();
        let bodies = std::mem::take(&mut self.bodies).into_iter();
        let records = bodies.map(|(id, body)| (Table::Body, id.0, body)).collect();
        Batch { deletions, trim: None, records }
    }
}

fn record_of(change: &Change) -> Option<&NewRecord> {
    match change {
        Change::Queued { record, .. }
        | Change::Retained { record, .. }
        | Change::WillSet { will: NewWill { record, .. }, .. } => Some(record),
        _ => None,
    }
}

/// Neighbours become one deletion.
fn ranges(ids: &BTreeSet<u64>) -> Vec<RangeInclusive<u64>> {
    let mut ranges: Vec<RangeInclusive<u64>> = Vec::new();
    for &id in ids {
        match ranges.last_mut() {
            Some(last) if last.end() + 1 == id => *last = *last.start()..=id,
            _ => ranges.push(id..=id),
        }
    }
    ranges
}

/// The head, where the engine has one that can be read.
pub(crate) fn read_head(engine: &mut dyn Engine) -> Result<Option<Head>, Damage> {
    let record = engine.read(Table::Head, 0).map_err(|it| Damage::Engine(it.to_string()))?;
    let read = |record: &Vec<u8>| -> Result<Head, RecordError> {
        let head: Head = record::read_whole(record::unseal(Table::Head, 0, record)?)?;
        if head.is_possible() { Ok(head) } else { Err(RecordError::Content) }
    };
    record.as_ref().map(read).transpose().map_err(Damage::Head)
}
