//! What happens to messages whose time is over.
//!
//! Each unit lets go of its own, by an operation of its own, so that a checkpoint and the log behind it
//! come to the same. Which units these are is known without looking at all of them.

use std::num::NonZeroU32;

use super::{Index, Queue, Slots, release, slots::Keyed};
use crate::operation::Operation;
use crate::{MessageId, QueueKey, Reference, SessionState, SharedState, UnixMillis};

/// Messages that one change lets go of, about: each is a deletion in the transaction that others wait
/// for. The rest is due with the next change.
const AT_ONCE: usize = 10_000;

/// A unit with a queue.
pub(super) trait Queueing: Keyed {
    fn queue(&mut self) -> &mut Queue;
}

impl Queueing for SessionState {
    fn queue(&mut self) -> &mut Queue {
        &mut self.queue
    }
}

impl Queueing for SharedState {
    fn queue(&mut self) -> &mut Queue {
        &mut self.queue
    }
}

impl Index {
    /// When there may be something to let go of. Not later than it is; earlier, where the message has
    /// gone meanwhile.
    pub fn next_expiry(&self) -> Option<UnixMillis> {
        let next =
            [self.sessions.next_expiry(), self.shared.next_expiry(), self.retained.next_expiry()];
        let first = next.into_iter().flatten().min()?;
        Some(UnixMillis(u64::from(first.get()) * 1000))
    }

    /// Finds out what has really expired by `at`, before it is planned.
    pub(crate) fn settle_expiries(&mut self, at: UnixMillis) {
        let second = second(at);
        self.sessions.settle_until(second);
        self.shared.settle_until(second);
        self.retained.settle_until(second);
    }

    pub(super) fn plan_expired(&self, at: UnixMillis, out: &mut Vec<Operation>) {
        let second = second(at);
        let sessions = self.sessions.expiring(second).map(|it| {
            let queue = QueueKey::Session(it.session.clone());
            (it.queue.expired(at), Operation::Expire { queue, at })
        });
        let shared = self.shared.expiring(second).map(|it| {
            let queue = QueueKey::Shared(it.shared.clone());
            (it.queue.expired(at), Operation::Expire { queue, at })
        });
        let retained = self.retained.expiring(second);
        let retained = retained.map(|it| (1, Operation::Forget(it.retained.clone())));
        let mut messages = 0;
        for (expired, operation) in sessions.chain(shared).chain(retained) {
            if messages >= AT_ONCE {
                break;
            }
            messages += expired;
            out.push(operation);
        }
    }

    pub(super) fn expire(&mut self, commit: u64, key: &QueueKey, at: UnixMillis) {
        let expired = match key {
            QueueKey::Session(key) => expire(&mut self.sessions, commit, key, at),
            QueueKey::Shared(key) => expire(&mut self.shared, commit, key, at),
        };
        expired.into_iter().for_each(|id| release(&mut self.counts, &mut self.freed, id));
    }

    pub(super) fn push(&mut self, commit: u64, key: &QueueKey, reference: Reference) {
        let id = reference.id();
        let is_new = match key {
            QueueKey::Session(key) => push(&mut self.sessions, commit, key, reference),
            QueueKey::Shared(key) => push(&mut self.shared, commit, key, reference),
        };
        if is_new {
            self.counts.add(id);
        }
    }
}

fn expire<T: Queueing>(
    slots: &mut Slots<T>,
    commit: u64,
    key: &T::Key,
    at: UnixMillis,
) -> Vec<MessageId> {
    let Some((place, unit)) = slots.place(commit, key) else { return Vec::new() };
    let expired = unit.queue().expire(at);
    slots.settle(place);
    expired
}

/// Says whether the message was not there before.
fn push<T: Queueing>(
    slots: &mut Slots<T>,
    commit: u64,
    key: &T::Key,
    reference: Reference,
) -> bool {
    let Some((place, unit)) = slots.place(commit, key) else { return false };
    let expiry: Option<NonZeroU32> = reference.expires_at();
    let is_new = unit.queue().insert(reference);
    if let Some(expiry) = expiry.filter(|_| is_new) {
        slots.expires(place, expiry);
    }
    is_new
}

/// The last second that is over, as references count.
fn second(at: UnixMillis) -> u32 {
    u32::try_from(at.0 / 1000).unwrap_or(u32::MAX)
}
