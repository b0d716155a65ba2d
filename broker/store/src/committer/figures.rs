//! What the store has done, and what waits for it, in numbers.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::Room;
use crate::sync::AtomicU64;

/// A snapshot. What is counted, is counted since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Packets whose changes were written.
    pub commits: u64,
    pub changes: u64,
    /// Each is one sync, where the store waits for the disk.
    pub transactions: u64,
    /// Of records, before the engine puts them into pages.
    pub bytes_written: u64,
    /// What the transactions took, from the first byte until they were durable.
    pub writing: Duration,
    /// Transactions that took no longer than this one of [`WRITING_BOUNDS`], and longer than the one
    /// before it.
    pub writing_up_to: [u64; WRITING_BOUNDS.len()],
    /// What waits for the disk.
    pub queued_commits: usize,
    pub queued_changes: usize,
    pub queued_bytes: usize,
    /// Those who wait for a commit.
    pub waiting: usize,
    pub room: Room,
    /// Of the store's files; 0 where it has none.
    pub file_bytes: u64,
}

/// Longer ones are in [`Figures::transactions`] alone.
pub const WRITING_BOUNDS: [Duration; 6] = [
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(25),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_millis(2500),
];

/// Counted by the thread that writes, and read by others.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub commits: AtomicU64,
    pub changes: AtomicU64,
    pub transactions: AtomicU64,
    pub bytes_written: AtomicU64,
    writing_us: AtomicU64,
    writing_up_to: [AtomicU64; WRITING_BOUNDS.len()],
}

impl Tally {
    pub(super) fn wrote(&self, commits: usize, changes: usize, bytes: u64, took: Duration) {
        let add = |counter: &AtomicU64, more: u64| counter.fetch_add(more, Ordering::Relaxed);
        add(&self.commits, commits as u64);
        add(&self.changes, changes as u64);
        add(&self.transactions, 1);
        add(&self.bytes_written, bytes);
        add(&self.writing_us, u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        let bound = WRITING_BOUNDS.iter().position(|bound| took <= *bound);
        bound.map(|place| add(&self.writing_up_to[place], 1));
    }

    pub(super) fn writing(&self) -> Duration {
        Duration::from_micros(self.writing_us.load(Ordering::Relaxed))
    }

    pub(super) fn writing_up_to(&self) -> [u64; WRITING_BOUNDS.len()] {
        self.writing_up_to.each_ref().map(|it| it.load(Ordering::Relaxed))
    }
}
