//! What waits in the store: admitted before it is stored, posted behind that, and fetched page by page
//! by a connection that is behind.

use hookmq_core::{Delivery, QueueLimits};

use super::{Condition, Mailbox, Posted};

/// What waits in the store, and not in memory.
#[derive(Debug, Default)]
pub(super) struct Stored {
    /// Whether new messages stay there, for the connection to fetch them.
    pub(super) behind: bool,
    /// The lowest id that came since the connection last asked for a page: it may be below others that
    /// it has seen, since ids are given before messages are stored. What its publisher has sent behind it
    /// may be in that page.
    pub(super) lowest: Option<u64>,
    /// Messages that are admitted, and not posted yet. They may be in the store already.
    pub(super) admitted: usize,
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

/// Whether there is room for a message that is about to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is to be posted once it is stored, or to be renounced.
    Admitted,
    Overflow,
    Unwanted,
}

/// What a message takes the place of that there was no room for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Displaced {
    /// Messages that were here, by their ids in the store.
    pub ids: Vec<u64>,
    /// What waits in the store behind this one is to be brought back to the bound.
    pub trims_behind: Option<u64>,
}

/// What of a stored queue is cached at the most while the client keeps up.
const CACHED: QueueLimits = QueueLimits { messages: 1000, bytes: 1 << 20 };

impl Mailbox {
    /// Makes room for a message that is stored next, and posted then.
    pub fn admit(&self, size: usize) -> Admission {
        let mut state = self.state.lock();
        if state.condition == Condition::Closed {
            return Admission::Unwanted;
        }
        if !self.has_room(&mut state, size) {
            return Admission::Overflow;
        }
        state.generation += 1;
        state.stored.admitted += 1;
        state.stored.count(1, size);
        Admission::Admitted
    }

    /// As [`Self::admit`] where that has said `Overflow`: what has waited longest makes room.
    pub fn admit_for_oldest(&self, size: usize) -> Displaced {
        let mut state = self.state.lock();
        let mut displaced = Displaced::default();
        if state.condition == Condition::Closed {
            state.stored.admitted += 1;
            return displaced;
        }
        while !self.is_within(&state, size)
            && let Some(place) = state.queue.iter().position(Delivery::is_stored)
            && let Some(oldest) = state.queue.remove(place)
        {
            state.bytes -= oldest.message.size();
            displaced.ids.push(oldest.message.stored());
        }
        if !self.is_within(&state, size) {
            displaced.trims_behind = Some(state.shown);
            state.stored.discount(1, size);
        }
        state.generation += 1;
        state.stored.admitted += 1;
        state.stored.count(1, size);
        self.settle(&mut state);
        displaced
    }

    /// A message of this size that was admitted is not stored after all.
    pub fn renounce(&self, size: usize) {
        let mut state = self.state.lock();
        state.stored.admitted -= 1;
        state.stored.discount(1, size);
        self.settle(&mut state);
    }

    /// Posts a message that was admitted and is stored.
    pub fn post_stored(&self, delivery: Delivery) -> Posted {
        let mut state = self.state.lock();
        state.stored.admitted -= 1;
        let size = delivery.message.size();
        let keeps_up = !state.stored.behind
            && state.queue.len() < CACHED.messages
            && state.bytes < CACHED.bytes
            && !self.account.is_short(state.bytes);
        match state.condition {
            Condition::Closed => Posted::Unwanted,
            Condition::Online if keeps_up => {
                state.stored.discount(1, size);
                state.shown = state.shown.max(delivery.message.stored());
                state.push(delivery)
            }
            Condition::Online | Condition::Offline => {
                let id = delivery.message.stored();
                let lowest = state.stored.lowest.map_or(id, |lowest| lowest.min(id));
                (state.stored.behind, state.stored.lowest) = (true, Some(lowest));
                match state.condition {
                    Condition::Online => state.notify(),
                    Condition::Offline | Condition::Closed => Posted::Queued,
                }
            }
        }
    }

    /// Where what came since this was last taken begins, in the store.
    pub fn lowest(&self) -> Option<u64> {
        self.state.lock().stored.lowest
    }

    /// As [`Self::lowest`], which is none from now on.
    pub fn take_lowest(&self) -> Option<u64> {
        self.state.lock().stored.lowest.take()
    }

    /// The connection has fetched this much from the store.
    pub fn fetched(&self, messages: usize, bytes: usize) {
        let mut state = self.state.lock();
        state.stored.discount(messages, bytes);
        self.settle(&mut state);
    }

    /// The store had no more for the connection. From now on messages are posted here again, unless
    /// more have come meanwhile; says which.
    pub fn catch_up(&self) -> bool {
        let mut state = self.state.lock();
        let caught_up = state.stored.lowest.is_none() && state.stored.admitted == 0;
        if caught_up {
            state.stored = Stored::default();
            self.settle(&mut state);
        }
        caught_up
    }
}

impl Stored {
    pub(super) fn count(&mut self, messages: usize, bytes: usize) {
        self.messages += messages;
        self.bytes += bytes;
    }

    /// A message may be fetched a moment before it is posted, and counts once.
    fn discount(&mut self, messages: usize, bytes: usize) {
        self.messages = self.messages.saturating_sub(messages);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}
