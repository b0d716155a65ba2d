//! The references of one queue, in the order of their ids.

use std::collections::VecDeque;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::{MessageId, Reference, UnixMillis};

/// What waits, the oldest message first. Ids are given in the order in which a publisher publishes, so
/// this is each publisher's order, also for messages that come back from elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "VecDeque<Reference>", into = "VecDeque<Reference>")]
pub struct Queue {
    references: VecDeque<Reference>,
    bytes: u64,
    taken: Taken,
}

/// How much of it the connection has. It is no part of the record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Taken {
    messages: usize,
    bytes: u64,
}

impl Queue {
    pub fn len(&self) -> usize {
        self.references.len()
    }

    pub fn is_empty(&self) -> bool {
        self.references.is_empty()
    }

    /// Bytes of all messages in it.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn iter(&self) -> impl Iterator<Item = &Reference> {
        self.references.iter()
    }

    /// The references behind `after`, whether that one is still there or not.
    pub fn behind(&self, after: MessageId) -> impl Iterator<Item = &Reference> {
        let first = self.references.partition_point(|it| it.id() <= after);
        self.references.range(first..)
    }

    pub fn find(&self, id: MessageId) -> Option<&Reference> {
        let place = self.references.binary_search_by_key(&id, Reference::id).ok()?;
        self.references.get(place)
    }

    /// Notes that the connection has the message.
    pub(super) fn take(&mut self, id: MessageId) {
        let Ok(place) = self.references.binary_search_by_key(&id, Reference::id) else { return };
        let reference = &mut self.references[place];
        if !reference.is_taken() {
            reference.set_taken(true);
            self.taken.add(reference);
        }
    }

    /// The connection is over: all that is here waits.
    pub(super) fn give_back(&mut self) {
        if self.taken.messages > 0 {
            self.references.iter_mut().for_each(|it| it.set_taken(false));
            self.taken = Taken::default();
        }
    }

    /// What waits behind `after` and is too much, the oldest first.
    pub(super) fn beyond(
        &self,
        messages: usize,
        bytes: u64,
        after: MessageId,
    ) -> impl Iterator<Item = &Reference> {
        // The connection has the few messages up to there, and not many more.
        let first = self.references.partition_point(|it| it.id() <= after);
        let mut held = self.taken;
        self.references.range(..first).filter(|it| !it.is_taken()).for_each(|it| held.add(it));
        let mut left = (self.references.len() - held.messages, self.bytes - held.bytes);
        let waiting = self.references.range(first..).filter(|it| !it.is_taken());
        waiting.take_while(move |it| {
            let too_many = left.0 > messages || left.1 > bytes;
            left = (left.0 - 1, left.1 - it.size() as u64);
            too_many
        })
    }

    /// Says whether it was not there before.
    pub(super) fn insert(&mut self, mut reference: Reference) -> bool {
        let (size, taken) = (reference.size() as u64, reference.is_taken());
        if let Some(last) = self.references.back() {
            reference.share_identifiers(last);
        }
        match self.references.back() {
            Some(last) if last.id() >= reference.id() => {
                let place = self.references.binary_search_by_key(&reference.id(), Reference::id);
                let Err(place) = place else { return false };
                self.references.insert(place, reference);
            }
            _ => self.references.push_back(reference),
        }
        self.bytes += size;
        if taken {
            self.taken.messages += 1;
            self.taken.bytes += size;
        }
        true
    }

    pub(super) fn remove(&mut self, id: MessageId) -> Option<Reference> {
        let place = self.references.binary_search_by_key(&id, Reference::id).ok()?;
        let removed = self.references.remove(place)?;
        self.bytes -= removed.size() as u64;
        self.taken.subtract(&removed);
        self.give_memory_back();
        Some(removed)
    }

    /// How many messages have expired by `at`.
    pub(super) fn expired(&self, at: UnixMillis) -> usize {
        self.references.iter().filter(|it| it.is_expired(at)).count()
    }

    /// Takes out what has expired by `at`.
    pub(super) fn expire(&mut self, at: UnixMillis) -> Vec<MessageId> {
        let mut expired = Vec::new();
        self.references.retain(|it| {
            let stays = !it.is_expired(at);
            if !stays {
                self.bytes -= it.size() as u64;
                self.taken.subtract(it);
                expired.push(it.id());
            }
            stays
        });
        self.give_memory_back();
        expired
    }

    /// When the first message expires, in seconds since 1970. Looks at all.
    pub(super) fn next_expiry(&self) -> Option<NonZeroU32> {
        self.references.iter().filter_map(Reference::expires_at).min()
    }

    fn give_memory_back(&mut self) {
        if self.references.is_empty() {
            self.references = VecDeque::new();
        } else if self.references.capacity() > 4 * self.references.len().max(16) {
            self.references.shrink_to(2 * self.references.len());
        }
    }

    /// Lets neighbours share what they have in common, after they were read.
    pub(super) fn compact(&mut self) {
        let references = self.references.make_contiguous();
        for place in 1..references.len() {
            let (before, rest) = references.split_at_mut(place);
            if let (Some(last), Some(first)) = (before.last(), rest.first_mut()) {
                first.share_identifiers(last);
            }
        }
        self.references.shrink_to_fit();
    }
}

impl Taken {
    fn add(&mut self, reference: &Reference) {
        self.messages += 1;
        self.bytes += reference.size() as u64;
    }

    /// One that has gone, if it was among them.
    fn subtract(&mut self, reference: &Reference) {
        if reference.is_taken() {
            self.messages -= 1;
            self.bytes -= reference.size() as u64;
        }
    }
}

impl From<VecDeque<Reference>> for Queue {
    fn from(references: VecDeque<Reference>) -> Self {
        let bytes = references.iter().map(|it| it.size() as u64).sum();
        Self { references, bytes, taken: Taken::default() }
    }
}

impl From<Queue> for VecDeque<Reference> {
    fn from(queue: Queue) -> Self {
        queue.references
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use hookmq_codec::Qos;

    use super::*;

    fn reference(id: u64) -> Reference {
        Reference::new(MessageId(id), Qos::AtLeastOnce, false, 10)
    }

    fn ids(queue: &Queue) -> Vec<u64> {
        queue.iter().map(|it| it.id().0).collect()
    }

    #[test]
    fn what_comes_back_takes_its_old_place() {
        let mut queue = Queue::default();
        for id in [1, 2, 5, 3, 4] {
            assert!(queue.insert(reference(id)));
        }
        assert!(!queue.insert(reference(3)), "once only");
        assert_eq!((ids(&queue), queue.bytes()), (vec![1, 2, 3, 4, 5], 50));
        assert!(queue.remove(MessageId(2)).is_some());
        assert!(queue.remove(MessageId(2)).is_none());
        assert!(queue.insert(reference(2)));
        assert_eq!(ids(&queue), [1, 2, 3, 4, 5]);
        let behind = |after| queue.behind(MessageId(after)).map(|it| it.id().0).collect::<Vec<_>>();
        assert_eq!((behind(0), behind(3), behind(9)), (vec![1, 2, 3, 4, 5], vec![4, 5], vec![]));
    }

    #[test]
    fn neighbours_share_subscription_identifiers() {
        let one = [NonZeroU32::MIN];
        let mut queue = Queue::default();
        queue.insert(reference(1).with_identifiers(&one));
        queue.insert(reference(2).with_identifiers(&one));
        let places: Vec<_> =
            queue.iter().map(|it| it.subscription_identifiers().as_ptr()).collect();
        assert_eq!(places[0], places[1]);
    }
}
