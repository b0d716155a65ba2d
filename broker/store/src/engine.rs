//! What holds bytes: three tables with numbered records, and transactions.
//!
//! An engine knows nothing of messages. What it is asked for is little, so that there can be several:
//! SQLite for the disk, memory, and in the tests one whose disk is simulated.

mod memory;
mod sqlite;

use std::ops::RangeInclusive;

pub use memory::MemoryEngine;
pub use sqlite::{SqliteEngine, Synchronous};

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Table {
    /// The head: one record, under key 0.
    Head = 0,
    /// Messages, under their ids.
    Body = 1,
    /// Operations, under the last commit that they belong to.
    Log = 2,
    /// The checkpoint, in pieces, under generation and number.
    Checkpoint = 3,
}

impl Table {
    pub const ALL: [Self; 4] = [Self::Head, Self::Body, Self::Log, Self::Checkpoint];
}

/// One transaction: deletions first, then records.
#[derive(Debug, Default)]
pub struct Batch {
    pub deletions: Vec<(Table, RangeInclusive<u64>)>,
    pub trim: Option<Trim>,
    /// A record replaces the one under its key.
    pub records: Vec<(Table, u64, Vec<u8>)>,
}

/// Of the records in `keys`, the first `limit` go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trim {
    pub table: Table,
    pub keys: RangeInclusive<u64>,
    pub limit: usize,
}

/// Why an engine did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Nothing of the transaction is there, and the engine goes on.
    #[error("the disk is full: {0}")]
    Full(String),
    /// What the engine holds is not what it wrote.
    #[error("the store's file is damaged: {0}")]
    Damaged(String),
    /// What is on disk is unknown; nothing may be tried again before a restart.
    #[error("{0}")]
    Failed(String),
}

/// Bytes that an engine takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EngineStats {
    /// On disk, or in memory.
    pub bytes: u64,
    /// Of these, free for records to come.
    pub free_bytes: u64,
}

/// Is given key and record; false ends the scan.
pub type Visit<'a> = dyn FnMut(u64, &[u8]) -> bool + 'a;

/// Records on disk. One thread uses it.
pub trait Engine: Send {
    /// Writes the transaction and makes it durable as far as the engine does so: all of it or nothing.
    /// Gives how many records the trim has deleted.
    ///
    /// # Errors
    /// After [`EngineError::Full`] the same batch may be written again.
    fn write(&mut self, batch: &Batch) -> Result<usize, EngineError>;

    /// The record under `key`.
    fn read(&mut self, table: Table, key: u64) -> Result<Option<Vec<u8>>, EngineError>;

    /// The records with these keys, in their order.
    fn scan(
        &mut self,
        table: Table,
        keys: RangeInclusive<u64>,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError>;

    /// Makes what is on disk tidy, before a graceful end. An engine that is dropped without it leaves its
    /// files as they are: after an error nothing is tried again, and what is refused is not touched.
    ///
    /// # Errors
    /// As [`Self::write`], but for a full disk, on which it stays untidy.
    fn settle(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    /// Gives space that is not used back to the file system.
    fn compact(&mut self) -> Result<(), EngineError>;

    fn stats(&mut self) -> Result<EngineStats, EngineError>;

    /// Whether the engine's own structures are whole; what is wrong, as text.
    fn verify(&mut self) -> Result<Vec<String>, EngineError>;
}
