//! What waits for the sessions of a tenant, in bytes.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::super::memory::{FRUGAL, Memory};
use super::super::metrics::Counter;
use super::super::sync::{AtomicBool, AtomicU64};

/// Bytes that wait in the mailboxes and shared subscriptions of a tenant. They are counted only
/// while there is a bound.
#[derive(Debug, Default)]
pub struct QueuedBytes {
    bounded: AtomicBool,
    most: AtomicU64,
    queued: AtomicU64,
    pub(super) refused: Counter,
    /// Of the whole broker.
    memory: Arc<Memory>,
}

impl QueuedBytes {
    pub(super) fn new(memory: Arc<Memory>) -> Self {
        Self { memory, ..Self::default() }
    }

    /// Whether a queue that holds `bytes` in memory is to grow no more.
    #[inline]
    pub(crate) fn is_short(&self, bytes: usize) -> bool {
        bytes > FRUGAL && self.memory.is_short()
    }

    /// Sets the bound. Each queue is to recount then.
    pub(crate) fn bound(&self, most: Option<u64>) {
        self.most.store(most.unwrap_or(u64::MAX), Relaxed);
        self.bounded.store(most.is_some(), Relaxed);
    }

    #[cfg(test)]
    pub(crate) fn queued(&self) -> u64 {
        self.queued.load(Relaxed)
    }

    #[inline]
    pub(crate) fn is_bounded(&self) -> bool {
        self.bounded.load(Relaxed)
    }

    /// Whether so many bytes could wait now.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        let queued = self.queued.load(Relaxed).saturating_add(bytes as u64);
        !self.is_bounded() || queued <= self.most.load(Relaxed)
    }

    /// Counts bytes that are to wait, if there is room for them.
    pub(crate) fn admits(&self, bytes: usize) -> bool {
        let bytes = bytes as u64;
        let before = self.queued.fetch_add(bytes, Relaxed);
        let admits = before.saturating_add(bytes) <= self.most.load(Relaxed);
        if !admits {
            self.queued.fetch_sub(bytes, Relaxed);
            self.refused.add(1);
        }
        admits
    }

    /// Counts so many bytes where `counted` were, whether or not there is room.
    pub(crate) fn recount(&self, counted: usize, bytes: usize) {
        self.queued.fetch_add(bytes as u64, Relaxed);
        self.queued.fetch_sub(counted as u64, Relaxed);
    }
}
