//! What the store is told of deliveries, and what is fetched from it for a client that is behind.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::Ordering;
use std::time::Instant;

use hookmq_codec::{Qos, filter_matches};
use hookmq_core::{CommitSequence, Delivery, Message};
use hookmq_store::{Change, MessageId, Page, PageRequest, Question, QueueKey, WallClock};
use tokio::sync::oneshot;

use super::Stream;
use super::delivery::{Dup, outgoing};
use super::driver::Driver;
use crate::broker::recovery::{delivered, report};

/// What one connection has to do with the store.
#[derive(Default)]
pub struct Owed {
    /// What the store is to be told of this turn.
    pub(super) changes: Vec<Change>,
    /// Encoded packets that wait for their commits, in order; none stands for that of this turn.
    pub(super) deferred: VecDeque<(Option<CommitSequence>, Vec<u8>)>,
    /// None while the client keeps up.
    backlog: Option<Backlog>,
}

/// How far a client that is behind has come in its queue.
struct Backlog {
    /// The last message that was fetched.
    after: MessageId,
    /// Nothing was behind it.
    exhausted: bool,
    asked: Option<Asked>,
}

/// A page that the store was asked for.
struct Asked {
    answer: oneshot::Receiver<Page>,
    /// What was in flight then, or was sent since: the page may have it.
    in_flight: HashSet<u64>,
}

/// Of one page.
const PAGE_MESSAGES: usize = 256;
const PAGE_BYTES: usize = 256 * 1024;

impl Owed {
    /// Has a packet wait for `commit` and for what this turn stores, behind all that wait already.
    pub(super) fn defer(&mut self, packet: Vec<u8>, commit: CommitSequence) {
        let awaited = self.changes.is_empty().then_some(commit);
        self.deferred.push_back((awaited, packet));
    }

    /// The next packet that may leave, now that everything up to `durable` is on disk.
    pub(super) fn poll_deferred(&mut self, durable: CommitSequence) -> Option<Vec<u8>> {
        let leaves = |deferred: &mut (Option<CommitSequence>, _)| {
            deferred.0.is_some_and(|commit| commit <= durable)
        };
        self.deferred.pop_front_if(leaves).map(|(_, bytes)| bytes)
    }

    /// The commit that the next packet waits for.
    pub(super) fn awaited_commit(&self) -> Option<CommitSequence> {
        self.deferred.front().and_then(|(commit, _)| *commit)
    }

    /// Whether it takes memory for nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.deferred.is_empty() && self.backlog.is_none()
    }
}

impl<S: Stream> Driver<S> {
    #[cold]
    pub(super) fn owed(&mut self) -> &mut Owed {
        self.owed.get_or_insert_default()
    }

    /// Whether packets wait for the store.
    #[inline]
    pub(super) fn defers(&self) -> bool {
        self.owed.as_ref().is_some_and(|owed| !owed.deferred.is_empty())
    }

    /// Whether what is sent now need not wait for anything.
    #[inline]
    pub(super) fn owes_nothing(&self) -> bool {
        let nothing = |owed: &Owed| owed.changes.is_empty() && owed.deferred.is_empty();
        self.owed.as_deref().is_none_or(nothing)
    }

    /// Whether the store has the message for this session.
    #[inline]
    pub(super) fn has_stored(&self, delivery: &Delivery) -> bool {
        delivery.is_stored() && self.opened.handle.is_durable()
    }

    /// The message is the client's, or will never be: the store need not have it any more.
    #[inline]
    pub(super) fn settle_delivery(&mut self, delivery: &Delivery) {
        if delivery.is_stored() {
            self.dequeue(delivery);
        }
    }

    #[cold]
    fn dequeue(&mut self, delivery: &Delivery) {
        let change = match delivery.shared {
            _ if self.opened.handle.is_durable() => Some(Change::Dequeued {
                queue: QueueKey::Session(self.opened.handle.key.clone()),
                id: MessageId(delivery.message.stored()),
            }),
            // A member that does not outlive its connection has it from the group's queue.
            Some(id) => self.tenant.share(id).and_then(|share| share.settled(&delivery.message)),
            None => None,
        };
        if let Some(change) = change {
            self.owed().changes.push(change);
        }
    }

    /// Stores what this turn has brought about, and `changes` behind it, in one commit.
    pub(super) fn store(&mut self, changes: impl IntoIterator<Item = Change>) -> CommitSequence {
        let mut changes = changes.into_iter().peekable();
        if changes.peek().is_some() {
            self.owed().changes.extend(changes);
        }
        let Some(owed) = self.owed.as_mut().filter(|owed| !owed.changes.is_empty()) else {
            return CommitSequence::NONE;
        };
        let commit = self.broker.store.append(std::mem::take(&mut owed.changes));
        for (awaited, _) in owed.deferred.iter_mut().rev() {
            match awaited {
                None => *awaited = Some(commit),
                Some(_) => break,
            }
        }
        commit
    }

    /// As the end of [`Self::deliver_one`], for a message of QoS 2 that must not leave before the store
    /// has what belongs to it: the message itself, and for such a session its packet id.
    #[cold]
    pub(super) fn deliver_later(
        &mut self,
        delivery: Delivery,
        published: Option<Message>,
        dup: Dup,
        now: Instant,
    ) {
        let packet_id =
            (delivery.qos > Qos::AtMostOnce).then(|| self.opened.session.outgoing.next_id());
        if let Some(packet_id) = packet_id
            && delivery.qos == Qos::ExactlyOnce
            && self.has_stored(&delivery)
        {
            let session = self.opened.handle.key.clone();
            self.owed().changes.push(Change::PacketIdAssigned {
                session,
                id: MessageId(delivery.message.stored()),
                copy: (&delivery).into(),
                packet_id,
            });
        }
        let packet = outgoing(&delivery, packet_id, dup, now);
        self.traffic.messages_sent += 1;
        self.traffic.payload_bytes_sent += packet.payload.len() as u32;
        let mut bytes = Vec::with_capacity(packet.encoded_length(self.terms.version));
        packet.encode(self.terms.version, &mut bytes);
        self.sendable.spend(1, bytes.len());
        self.owed().defer(bytes, delivery.message.onward_after());
        if packet_id.is_some() {
            self.put_in_flight(delivery, published);
        }
    }

    /// What was sent, or is deferred, with the packet id that is next. It is in flight as it was
    /// `published`, where another member may get it.
    #[inline]
    pub(super) fn put_in_flight(&mut self, mut delivery: Delivery, published: Option<Message>) {
        if let Some(published) = published {
            delivery.message = published;
        }
        self.note_in_flight(&delivery);
        self.opened.session.outgoing.assign(delivery);
    }

    /// What was sent of QoS 1 before the broker was started is not known: acknowledgements may not have been
    /// stored, so that it can be any number of messages.
    #[cold]
    pub(super) fn dup_after_restart(&self, delivery: &Delivery) -> Dup {
        let before = delivery.message.stored() < self.broker.first_id.load(Ordering::Relaxed);
        match before && delivery.qos == Qos::AtLeastOnce && self.has_stored(delivery) {
            true => Dup::Again,
            false => Dup::First,
        }
    }

    /// A page that is on its way may have what is sent now.
    #[inline]
    fn note_in_flight(&mut self, delivery: &Delivery) {
        if let Some(owed) = &mut self.owed
            && let Some(Backlog { asked: Some(asked), .. }) = &mut owed.backlog
        {
            asked.in_flight.insert(delivery.message.stored());
        }
    }

    /// Fills the batch from the store, for a client that is behind, or asks for what is next.
    #[cold]
    pub(super) fn fetch(&mut self) {
        let fresh = || Backlog { after: MessageId(u64::MAX), exhausted: true, asked: None };
        let mut backlog = self.owed().backlog.take().unwrap_or_else(fresh);
        if let Some(mut asked) = backlog.asked.take() {
            match asked.answer.try_recv() {
                Ok(page) => self.take_page(page, &asked.in_flight, &mut backlog),
                Err(oneshot::error::TryRecvError::Empty) => backlog.asked = Some(asked),
                // The store has failed, and the broker ends.
                Err(oneshot::error::TryRecvError::Closed) => {}
            }
        }
        if backlog.asked.is_none() && self.batch.is_empty() {
            let mailbox = &self.opened.handle.mailbox;
            if let Some(lowest) = mailbox.take_lowest() {
                backlog.after = backlog.after.min(MessageId(lowest.saturating_sub(1)));
                backlog.exhausted = false;
            }
            match backlog.exhausted {
                false => backlog.asked = Some(self.ask(backlog.after)),
                true if mailbox.catch_up() => {
                    // What an earlier connection may have sent has been sent again.
                    self.opened.session.perhaps_sent = false;
                    return;
                }
                true => {}
            }
        }
        self.owed().backlog = Some(backlog);
    }

    fn ask(&mut self, after: MessageId) -> Asked {
        // The answer takes in what was acknowledged before.
        self.store([]);
        let (sender, answer) = oneshot::channel();
        let handle = self.opened.handle.clone();
        let request = PageRequest {
            queue: QueueKey::Session(handle.key.clone()),
            after,
            messages: PAGE_MESSAGES,
            bytes: PAGE_BYTES,
        };
        let answered = Box::new(move |page| {
            // The client may be gone; what it was to get is still there.
            let _ = sender.send(page);
            handle.mailbox.wake();
        });
        self.broker.store.ask(Question::Page(request, answered));
        let in_flight = self.opened.session.outgoing.messages();
        let in_flight = in_flight.map(|(_, delivery)| delivery.message.stored()).collect();
        Asked { answer, in_flight }
    }

    fn take_page(&mut self, page: Page, in_flight: &HashSet<u64>, backlog: &mut Backlog) {
        let lowest = self.opened.handle.mailbox.lowest();
        if lowest.is_some_and(|lowest| lowest <= backlog.after.0) {
            // It belongs before this page, which may have what the same publisher has sent behind it.
            return;
        }
        let Page { deliveries, damaged, next } = page;
        report(&damaged);
        backlog.exhausted = next.is_none();
        let last = deliveries.last().map(|it| it.stored.id);
        backlog.after = next.or(last).map_or(backlog.after, |last| last.max(backlog.after));
        let clock = WallClock::now();
        let (mut messages, mut bytes) = (0, 0);
        for stored in deliveries {
            let delivery = delivered(stored, &clock);
            if in_flight.contains(&delivery.message.stored()) {
                continue;
            }
            (messages, bytes) = (messages + 1, bytes + delivery.message.size());
            match self.is_subscribed(&delivery) {
                true => self.batch.push_back(delivery),
                false => self.settle_delivery(&delivery),
            }
        }
        self.opened.handle.mailbox.fetched(messages, bytes);
    }

    /// Whether a subscription brings the client this message still. It may have been withdrawn since.
    fn is_subscribed(&self, delivery: &Delivery) -> bool {
        let topic = delivery.message.topic();
        let mut filters = self.opened.session.subscriptions.keys();
        filters.any(|filter| filter_matches(filter.bare(), topic))
    }
}
