//! What the store is told of deliveries, and what is fetched from it for a client that is behind.

use std::collections::HashSet;

use hookmq_codec::filter_matches;
use hookmq_core::{CommitSequence, Delivery};
use hookmq_store::{Change, MessageId, Page, PageRequest, Question, QueueKey, WallClock};
use tokio::sync::oneshot;

use super::Stream;
use super::driver::Driver;
use crate::broker::recovery::{delivered, report};

/// How far a client that is behind has come in its queue.
pub struct Backlog {
    /// The last message that was fetched.
    after: MessageId,
    /// Nothing was behind it.
    exhausted: bool,
    asked: Option<Asked>,
}

/// A page that the store was asked for.
struct Asked {
    answer: oneshot::Receiver<Page>,
    /// What was in flight then: the store has it still.
    in_flight: HashSet<u64>,
}

/// Of one page.
const PAGE_MESSAGES: usize = 256;
const PAGE_BYTES: usize = 256 * 1024;

impl<S: Stream> Driver<S> {
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
        let queue = match delivery.shared {
            _ if self.opened.handle.is_durable() => {
                QueueKey::Session(self.opened.handle.key.clone())
            }
            // A member that does not outlive its connection has it from the group's queue.
            Some(id) => match self.tenant.share(id) {
                Some(share) => share.key(),
                None => return,
            },
            None => return,
        };
        let id = MessageId(delivery.message.stored());
        self.changes.push(Change::Dequeued { queue, id });
    }

    /// Stores what this turn has brought about, and `changes` behind it, in one commit.
    pub(super) fn store(&mut self, changes: impl IntoIterator<Item = Change>) -> CommitSequence {
        self.changes.extend(changes);
        if self.changes.is_empty() {
            return CommitSequence::NONE;
        }
        let commit = self.broker.store.append(std::mem::take(&mut self.changes));
        for (awaited, _) in self.deferred.iter_mut().rev() {
            match awaited {
                None => *awaited = Some(commit),
                Some(_) => break,
            }
        }
        commit
    }

    /// Fills the batch from the store, for a client that is behind, or asks for what is next.
    #[cold]
    pub(super) fn fetch(&mut self) {
        let fresh =
            || Box::new(Backlog { after: MessageId(u64::MAX), exhausted: true, asked: None });
        let mut backlog = self.backlog.take().unwrap_or_else(fresh);
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
                true if mailbox.catch_up() => return,
                true => {}
            }
        }
        self.backlog = Some(backlog);
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
