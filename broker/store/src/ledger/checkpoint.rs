//! Checkpoints: the index on disk, written piece by piece beside the commits, so that the log behind it
//! can go.
//!
//! Each piece holds some units as they stand when the piece is written, and says as of which commit
//! that is. Pieces differ in it, and together show no moment that ever was. Read back, each unit takes
//! from the log only what is behind its own commit, and what comes out is the index at the log's end.
//! A unit that ended before its turn is in no piece; what the log says of it before its end is
//! undone by that end.

use std::collections::VecDeque;

use crate::engine::{Batch, Engine, EngineError, Table, Trim};
use crate::index::{Cursor, Index};
use crate::record;

use super::Head;

/// When checkpoints are written, and in what portions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointBounds {
    /// Bytes of log that bring about a checkpoint, unless the last one was larger.
    pub log: usize,
    /// Bytes of a piece; one goes with each transaction.
    pub piece: usize,
    /// Records that are deleted with each transaction.
    pub trim: usize,
}

impl Default for CheckpointBounds {
    fn default() -> Self {
        Self { log: 16 << 20, piece: 256 << 10, trim: 512 }
    }
}

#[derive(Debug)]
pub(super) struct Checkpoint {
    bounds: CheckpointBounds,
    writing: Option<Writing>,
    /// Bytes of the log since the commit where the last checkpoint began.
    log: usize,
    /// Bytes of the last checkpoint.
    size: usize,
    /// What is of no more use.
    trims: VecDeque<Trim>,
    asked: bool,
}

#[derive(Debug)]
struct Writing {
    generation: u64,
    start: u64,
    pieces: u32,
    cursor: Cursor,
    size: usize,
}

impl Checkpoint {
    /// Behind a start that has read `log` bytes of log. What is left of earlier checkpoints is trimmed.
    pub(super) fn new(
        bounds: CheckpointBounds,
        head: &Head,
        log: usize,
        engine: &mut dyn Engine,
    ) -> Result<Self, EngineError> {
        let mut checkpoint =
            Self { bounds, writing: None, log, size: 0, trims: VecDeque::new(), asked: false };
        checkpoint.trim(head);
        for trim in std::mem::take(&mut checkpoint.trims) {
            let mut is_left = false;
            engine.scan(trim.table, trim.keys.clone(), &mut |_, _| {
                is_left = true;
                false
            })?;
            checkpoint.trims.extend(is_left.then_some(trim));
        }
        Ok(checkpoint)
    }

    pub(super) fn is_busy(&self) -> bool {
        self.asked || self.writing.is_some() || !self.trims.is_empty()
    }

    /// Begins a checkpoint with the next transaction.
    pub(super) fn ask(&mut self) {
        self.asked = true;
    }

    pub(super) fn logged(&mut self, bytes: usize) {
        self.log += bytes;
    }

    /// Bytes of the log since the commit where the last checkpoint began.
    pub(super) fn log_bytes(&self) -> usize {
        self.log
    }

    /// Adds this transaction's part, behind its operations.
    pub(super) fn advance(&mut self, index: &Index, head: &mut Head, batch: &mut Batch) {
        let due = self.log > self.bounds.log.max(self.size);
        if self.writing.is_none() && (due || self.asked) {
            self.begin(head);
        }
        if let Some(mut writing) = self.writing.take() {
            match writing.write_piece(index, head.last_commit, self.bounds.piece, batch) {
                Some(cursor) => self.writing = Some(Writing { cursor, ..writing }),
                None => {
                    head.generation = writing.generation;
                    head.start = writing.start;
                    head.pieces = writing.pieces;
                    self.size = writing.size;
                    self.trim(head);
                }
            }
        } else if let Some(trim) = self.trims.front() {
            batch.trim = Some(trim.clone());
        }
    }

    /// `records` were deleted.
    pub(super) fn trimmed(&mut self, trim: &Trim, records: usize) {
        if records < trim.limit {
            self.trims.pop_front_if(|it| it == trim);
        }
    }

    fn begin(&mut self, head: &mut Head) {
        self.asked = false;
        self.log = 0;
        head.next_generation += 1;
        self.writing = Some(Writing {
            generation: head.next_generation,
            start: head.last_commit,
            pieces: 0,
            cursor: Cursor::default(),
            size: 0,
        });
    }

    /// Lets go of all but the checkpoint that counts and the log behind it.
    fn trim(&mut self, head: &Head) {
        let limit = self.bounds.trim;
        let trim = |table, first, end: u64| {
            let keys = first..=end.checked_sub(1)?;
            (!keys.is_empty()).then_some(Trim { table, keys, limit })
        };
        self.trims.clear();
        self.trims.extend(trim(Table::Log, 0, head.start + 1));
        self.trims.extend(trim(Table::Checkpoint, 0, key(head.generation, 0)));
        let (behind, next) = (key(head.generation + 1, 0), key(head.next_generation + 1, 0));
        self.trims.extend(trim(Table::Checkpoint, behind, next));
    }
}

impl Writing {
    /// Gives where the next piece goes on; none when this was the last one.
    fn write_piece(
        &mut self,
        index: &Index,
        as_of: u64,
        bytes: usize,
        batch: &mut Batch,
    ) -> Option<Cursor> {
        let mut next = None;
        let key = key(self.generation, self.pieces);
        let piece = record::seal(Table::Checkpoint, key, |to| {
            record::write(&as_of, to);
            next = index.units(self.cursor, |unit| {
                record::write(&unit, to);
                to.len() >= bytes
            });
        });
        self.pieces += 1;
        self.size += piece.len();
        batch.records.push((Table::Checkpoint, key, piece));
        next
    }
}

/// Where a piece stands.
pub(super) fn key(generation: u64, piece: u32) -> u64 {
    generation << 32 | u64::from(piece)
}
