//! From an engine's records back to the index, and what may be wrong with them.

use std::collections::HashSet;
use std::ops::Range;

use serde::Deserialize;

use crate::MessageId;
use crate::engine::{Engine, EngineError, Table};
use crate::index::{Index, StoredUnit};
use crate::operation::Operation;
use crate::record::{self, Body, RecordError};

use super::checkpoint::{Checkpoint, CheckpointBounds, key};
use super::{Head, Ledger, read_head};

/// Something that was written and is not there as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    #[error("the head of the store: {0}")]
    Head(RecordError),
    #[error("the head of the store is missing, and other records are there")]
    NoHead,
    #[error("the log up to commit {commit}: {error}")]
    Log { commit: u64, error: RecordError },
    /// Whatever these commits changed is forgotten.
    #[error("the log has nothing between the commits {after} and {found}")]
    Gap { after: u64, found: u64 },
    /// The end of the log is lost.
    #[error("the store ends with commit {stored}, and commit {durable} was durable")]
    LostTail { stored: u64, durable: u64 },
    #[error("piece {piece} of the checkpoint: {error}")]
    Checkpoint { piece: u32, error: RecordError },
    #[error("piece {piece} of the checkpoint is missing")]
    NoCheckpoint { piece: u32 },
    #[error("message {}: {error}; {}", .id.0, due_to(.holders))]
    Message { id: MessageId, error: RecordError, holders: Vec<String> },
    #[error("message {} is missing; {}", .id.0, due_to(.holders))]
    NoMessage { id: MessageId, holders: Vec<String> },
    /// Space that is lost, and no message.
    #[error("message {} is due to nobody", .id.0)]
    Orphan { id: MessageId },
    #[error("{0}")]
    Engine(String),
}

/// What happens to a store with damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDamage {
    /// It is not opened.
    #[default]
    Refuse,
    /// What can be read is served; the rest is forgotten.
    ServeRest,
}

/// What is looked at before the store is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verify {
    /// Sessions, queues, subscriptions. A damaged message is found when it is read.
    Index,
    /// Every message, too.
    #[default]
    All,
}

impl Damage {
    /// Whether nothing is lost by it that anybody is due.
    pub fn is_harmless(&self) -> bool {
        matches!(self, Self::Orphan { .. })
    }

    pub(super) fn body(id: MessageId, error: RecordError, holders: Vec<String>) -> Self {
        Self::Message { id, error, holders }
    }

    pub(super) fn missing(id: MessageId, holders: Vec<String>) -> Self {
        Self::NoMessage { id, holders }
    }
}

impl Ledger {
    /// Reads what the engine holds, and tells what is wrong with it: of that, nothing is in the index.
    /// `durable` is a commit that is known to have been durable, or 0.
    ///
    /// # Errors
    /// Where the engine cannot read at all.
    pub fn load(
        mut engine: Box<dyn Engine>,
        bounds: CheckpointBounds,
        durable: u64,
        verify: Verify,
    ) -> Result<(Self, Vec<Damage>), EngineError> {
        let mut damages = Vec::new();
        let mut index = Index::default();
        let head = match read_head(&mut *engine) {
            Ok(Some(head)) => head,
            Ok(None) => {
                if is_written(&mut *engine)? {
                    damages.push(Damage::NoHead);
                }
                Head::default()
            }
            Err(damage) => {
                damages.push(damage);
                Head::default()
            }
        };
        read_checkpoint(&mut *engine, &head, &mut index, &mut damages)?;
        let log = read_log(&mut *engine, &head, &mut index, &mut damages)?;
        if head.last_commit < durable {
            damages.push(Damage::LostTail { stored: head.last_commit, durable });
        }
        index.take_freed();
        if verify == Verify::All {
            read_messages(&mut *engine, &index, &mut damages)?;
        }
        let checkpoint = Checkpoint::new(bounds, &head, log, &mut *engine)?;
        Ok((
            Self {
                engine,
                index,
                head,
                checkpoint,
                held: None,
                written: 0,
                swept: Default::default(),
            },
            damages,
        ))
    }

    /// Lets go of what is damaged, so that the rest can be served: commits are counted on from behind
    /// every one that ever was, and a checkpoint replaces all that was read.
    pub fn give_up(&mut self, damages: &[Damage]) -> Result<(), EngineError> {
        let mut orphans = HashSet::new();
        let mut durable = self.head.last_commit;
        for damage in damages {
            match damage {
                Damage::Message { id, .. } | Damage::NoMessage { id, .. } => {
                    self.index.drop_message(*id);
                    orphans.insert(*id);
                }
                Damage::Orphan { id } => {
                    orphans.insert(*id);
                }
                Damage::LostTail { durable: lost, .. } => durable = durable.max(*lost),
                _ => {}
            }
        }
        self.index.take_freed();
        let (mut last_id, mut last_commit, mut last_piece) = (MessageId(0), durable, 0);
        self.engine.scan(Table::Body, 0..=u64::MAX, &mut |id, _| {
            last_id = last_id.max(MessageId(id));
            if !self.index.is_live(MessageId(id)) {
                orphans.insert(MessageId(id));
            }
            true
        })?;
        self.engine.scan(Table::Log, 0..=u64::MAX, &mut |commit, _| {
            last_commit = last_commit.max(commit);
            true
        })?;
        self.engine.scan(Table::Checkpoint, 0..=u64::MAX, &mut |key, _| {
            last_piece = key;
            true
        })?;
        let live = self.index.live().last().copied().unwrap_or_default();
        self.head.next_id = self.head.next_id.max(MessageId(last_id.max(live).0 + 1));
        self.head.last_commit = last_commit;
        self.head.next_generation = self.head.next_generation.max(last_piece >> 32);
        let mut batch = crate::engine::Batch::default();
        let orphans = orphans.into_iter().map(|id| (Table::Body, id.0..=id.0));
        batch.deletions.extend(orphans);
        self.engine.write(&batch)?;
        self.checkpoint.ask();
        Ok(())
    }
}

fn due_to(holders: &[String]) -> String {
    match holders {
        [] => "to whom it is due was not looked for, as there are many".into(),
        holders => format!("it is due to {}", holders.join(", ")),
    }
}

fn is_written(engine: &mut dyn Engine) -> Result<bool, EngineError> {
    let mut written = false;
    for table in Table::ALL {
        engine.scan(table, 0..=u64::MAX, &mut |_, _| {
            written = true;
            false
        })?;
    }
    Ok(written)
}

fn read_checkpoint(
    engine: &mut dyn Engine,
    head: &Head,
    index: &mut Index,
    damages: &mut Vec<Damage>,
) -> Result<(), EngineError> {
    if head.generation == 0 {
        return Ok(());
    }
    let first = key(head.generation, 0);
    let mut expected = 0;
    engine.scan(Table::Checkpoint, first..=key(head.generation, u32::MAX), &mut |at, record| {
        let piece = (at - first) as u32;
        damages.extend(missing(expected..piece));
        expected = piece.saturating_add(1);
        if let Err(error) = read_piece(at, record, index) {
            damages.push(Damage::Checkpoint { piece, error });
        }
        true
    })?;
    damages.extend(missing(expected..head.pieces));
    Ok(())
}

/// The first of the pieces: a head that is not ours may count any number.
fn missing(pieces: Range<u32>) -> impl Iterator<Item = Damage> {
    const TOLD: usize = 100;
    pieces.take(TOLD).map(|piece| Damage::NoCheckpoint { piece })
}

fn read_piece(key: u64, record: &[u8], index: &mut Index) -> Result<(), RecordError> {
    let content = record::unseal(Table::Checkpoint, key, record)?;
    let (as_of, mut rest) = record::read::<u64>(content)?;
    while !rest.is_empty() {
        let unit: StoredUnit;
        (unit, rest) = record::read(rest)?;
        index.restore(as_of, unit);
    }
    Ok(())
}

/// Applies the log behind the checkpoint; gives its bytes.
fn read_log(
    engine: &mut dyn Engine,
    head: &Head,
    index: &mut Index,
    damages: &mut Vec<Damage>,
) -> Result<usize, EngineError> {
    let mut bytes = 0;
    let mut last = head.start;
    engine.scan(Table::Log, head.start + 1..=u64::MAX, &mut |commit, record| {
        bytes += record.len();
        match read_operations(commit, record, index) {
            Ok(first) if first == last + 1 => {}
            Ok(found) => damages.push(Damage::Gap { after: last, found }),
            Err(error) => damages.push(Damage::Log { commit, error }),
        }
        last = commit;
        true
    })?;
    if last != head.last_commit {
        damages.push(Damage::LostTail { stored: last, durable: head.last_commit });
    }
    Ok(bytes)
}

/// Gives the first commit of the record.
fn read_operations(commit: u64, record: &[u8], index: &mut Index) -> Result<u64, RecordError> {
    let content = record::unseal(Table::Log, commit, record)?;
    let (first, mut rest) = record::read::<u64>(content)?;
    while !rest.is_empty() {
        let operation: Operation;
        (operation, rest) = record::read(rest)?;
        index.apply(commit, operation);
    }
    Ok(first)
}

/// Compares the messages that are there with those that somebody is due.
fn read_messages(
    engine: &mut dyn Engine,
    index: &Index,
    damages: &mut Vec<Damage>,
) -> Result<(), EngineError> {
    // Looking for the holders of one goes through the whole index.
    const LOOKED_FOR: usize = 100;
    let holders = |id, damages: &[Damage]| match damages.len() < LOOKED_FOR {
        true => index.holders(id),
        false => Vec::new(),
    };
    let live = index.live();
    let mut due = live.iter().copied().peekable();
    engine.scan(Table::Body, 0..=u64::MAX, &mut |id, record| {
        let id = MessageId(id);
        while let Some(missing) = due.next_if(|it| *it < id) {
            damages.push(Damage::missing(missing, holders(missing, damages)));
        }
        if due.next_if_eq(&id).is_none() {
            damages.push(Damage::Orphan { id });
        } else if let Err(error) = Body::unseal(id, record) {
            damages.push(Damage::body(id, error, holders(id, damages)));
        }
        true
    })?;
    for id in due {
        damages.push(Damage::missing(id, holders(id, damages)));
    }
    Ok(())
}
