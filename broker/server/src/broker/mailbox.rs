//! What waits for one session: filled by publishers, emptied by the session's connection.

mod counts;
mod stored;

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use hookmq_codec::Qos;
use hookmq_core::{Delivery, QueueLimits};

use super::meter::QueuedBytes;
use super::sync::{AtomicWaker, Mutex};
pub use counts::Mark;
use stored::Stored;
pub use stored::{Admission, Displaced};

/// A bounded queue of deliveries and the waker of the connection that empties it.
///
/// At the bound, its own or that of all the tenant's mailboxes together, a new delivery is dropped and
/// counted: a slow consumer costs itself. While the client is away, QoS 0 is not kept. The connection
/// holds at most one batch that it has taken but not sent.
///
/// What a session that outlives its connection is guaranteed is in the store before it is posted here,
/// and this is a cache of the queue's end. While the client is away, or has much behind it, the cache
/// is empty and messages are only counted: the mailbox is *behind*. The connection then fetches pages
/// from the store until it has caught up.
#[derive(Debug)]
pub struct Mailbox {
    state: Mutex<State>,
    waker: AtomicWaker,
    limits: QueueLimits,
    /// Of all mailboxes of the tenant.
    account: Arc<QueuedBytes>,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Delivery>,
    bytes: usize,
    stored: Stored,
    /// Of all bytes that wait, what the tenant's account has.
    counted: usize,
    condition: Condition,
    /// Somebody has taken it on to wake the connection and it has not looked since.
    notified: bool,
    /// Counts what changes `stored`, but for what is taken out of it.
    generation: u64,
    /// The highest id in the store that was ever in `queue`: the connection may have all up to it.
    shown: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Condition {
    #[default]
    Online,
    Offline,
    /// The session is over; nobody will ever look.
    Closed,
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Posted {
    /// Queued, and the caller is to call [`Mailbox::wake`] when it has posted all it has.
    WakeLater,
    /// Queued behind others, or in the store for a client that is away.
    Queued,
    /// Not queued: the bound is reached.
    Overflow,
    /// Not queued: QoS 0 for a client that is away, or a session that is over.
    Unwanted,
}

/// What became of several deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PostedAll {
    /// The caller is to call [`Mailbox::wake`].
    pub wakes: bool,
    /// How many there was no room for.
    pub overflowed: u64,
}

impl Mailbox {
    pub fn new(limits: QueueLimits, account: Arc<QueuedBytes>) -> Self {
        Self { state: Mutex::default(), waker: AtomicWaker::new(), limits, account }
    }

    #[inline]
    pub fn post(&self, delivery: Delivery) -> Posted {
        self.put(&mut self.state.lock(), delivery)
    }

    /// Posts several.
    #[inline]
    pub fn post_all(&self, deliveries: impl Iterator<Item = Delivery>) -> PostedAll {
        let mut all = PostedAll::default();
        let mut state = self.state.lock();
        for delivery in deliveries {
            match self.put(&mut state, delivery) {
                Posted::WakeLater => all.wakes = true,
                Posted::Overflow => all.overflowed += 1,
                Posted::Queued | Posted::Unwanted => {}
            }
        }
        all
    }

    #[inline]
    fn put(&self, state: &mut State, delivery: Delivery) -> Posted {
        match state.condition {
            Condition::Online => {}
            Condition::Offline if delivery.qos > Qos::AtMostOnce => {}
            Condition::Offline | Condition::Closed => return Posted::Unwanted,
        }
        if self.account.is_short(state.bytes) || !self.has_room(state, delivery.message.size()) {
            return Posted::Overflow;
        }
        state.push(delivery)
    }

    /// Wakes the connection, if there is one.
    pub fn wake(&self) {
        self.waker.wake();
    }

    /// Whom `wake` wakes from now on.
    pub fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Exchanges the queue for `batch`, which must be empty. Says whether more is in the store.
    #[inline]
    pub fn take(&self, batch: &mut VecDeque<Delivery>) -> bool {
        debug_assert!(batch.is_empty(), "a batch is sent before the next is taken");
        let mut state = self.state.lock();
        std::mem::swap(&mut state.queue, batch);
        state.bytes = 0;
        if state.counted > 0 {
            self.settle(&mut state);
        }
        state.notified = false;
        state.stored.behind
    }

    #[inline]
    fn has_room(&self, state: &mut State, size: usize) -> bool {
        if !self.is_within(state, size) {
            return false;
        }
        if self.account.is_bounded() {
            if !self.account.admits(size) {
                return false;
            }
            state.counted += size;
        }
        true
    }

    /// Whether the session's own bound leaves room.
    #[inline]
    fn is_within(&self, State { queue, bytes, stored, .. }: &State, size: usize) -> bool {
        queue.len() + stored.messages < self.limits.messages
            && bytes + stored.bytes + size <= self.limits.bytes
    }

    fn settle(&self, state: &mut State) {
        let waits = state.bytes + state.stored.bytes;
        let due = if self.account.is_bounded() { waits } else { 0 };
        self.account.recount(std::mem::replace(&mut state.counted, due), due);
    }

    /// Takes out what is `lost` to the client, and gives it.
    pub fn withhold(&self, lost: impl Fn(&Delivery) -> bool) -> Vec<Delivery> {
        let mut state = self.state.lock();
        let (withheld, kept): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut state.queue).into_iter().partition(lost);
        state.bytes = kept.iter().map(|delivery| delivery.message.size()).sum();
        state.queue = kept;
        self.settle(&mut state);
        withheld.into()
    }

    /// Bytes that wait here, and not in the store alone.
    pub fn bytes_in_memory(&self) -> usize {
        self.state.lock().bytes
    }

    /// Lets go of QoS 0 that waits; gives how many messages, and bytes, these were.
    pub fn shed(&self) -> (u64, u64) {
        let shed = self.withhold(|delivery| delivery.qos == Qos::AtMostOnce);
        let bytes = shed.iter().map(|delivery| delivery.message.size() as u64).sum();
        (shed.len() as u64, bytes)
    }

    /// A connection has come. With `in_store` it fetches what waits from there.
    pub fn set_online(&self, in_store: InStore) {
        let mut state = self.state.lock();
        state.condition = Condition::Online;
        state.generation += 1;
        if in_store == InStore::Guaranteed {
            (state.stored.behind, state.stored.lowest) = (true, Some(0));
        }
    }

    /// The connection has gone and gives back what it did not send; QoS 0 is forgotten, and what is in
    /// the store stays there alone.
    pub fn set_offline(&self, mut unsent: VecDeque<Delivery>, in_store: InStore) {
        let mut state = self.state.lock();
        unsent.append(&mut state.queue);
        unsent.retain(|delivery| {
            let stored = in_store == InStore::Guaranteed && delivery.is_stored();
            if stored {
                state.stored.count(1, delivery.message.size());
            }
            delivery.qos > Qos::AtMostOnce && !stored
        });
        state.bytes = unsent.iter().map(|delivery| delivery.message.size()).sum();
        state.queue = unsent;
        state.queue.shrink_to_fit();
        state.stored.behind |= in_store == InStore::Guaranteed;
        state.condition = Condition::Offline;
        state.notified = false;
        self.settle(&mut state);
    }

    /// The session is over: nothing is queued any more.
    pub fn close(&self) {
        let mut state = self.state.lock();
        let counted = state.counted;
        // Publishers still have in their hands what they were admitted with.
        let stored = Stored { admitted: state.stored.admitted, ..Stored::default() };
        *state = State { condition: Condition::Closed, counted, stored, ..State::default() };
        self.settle(&mut state);
    }

    /// Deliveries that wait.
    pub fn queued(&self) -> usize {
        let state = self.state.lock();
        state.queue.len() + state.stored.messages
    }

    /// Bytes that wait.
    pub fn queued_bytes(&self) -> usize {
        let state = self.state.lock();
        state.bytes + state.stored.bytes
    }

    /// Gives memory back when nothing waits.
    pub fn shrink(&self) {
        let mut state = self.state.lock();
        if state.queue.is_empty() {
            state.queue = VecDeque::new();
        }
    }
}

/// Whether the store holds what the session is guaranteed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InStore {
    Guaranteed,
    Nothing,
}

impl State {
    #[inline]
    fn push(&mut self, delivery: Delivery) -> Posted {
        self.bytes += delivery.message.size();
        self.queue.push_back(delivery);
        self.notify()
    }

    #[inline]
    fn notify(&mut self) -> Posted {
        match std::mem::replace(&mut self.notified, true) {
            true => Posted::Queued,
            false => Posted::WakeLater,
        }
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.account.recount(self.state.get_mut().counted, 0);
    }
}

#[cfg(test)]
mod tests;
