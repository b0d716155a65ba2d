//! What waits for one session: filled by publishers, emptied by the session's connection.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use atomic_waker::AtomicWaker;
use hookmq_codec::Qos;
use hookmq_core::{Delivery, QueueLimits};
use parking_lot::Mutex;

use super::meter::QueuedBytes;

/// A bounded queue of deliveries and the waker of the connection that empties it.
///
/// At the bound, its own or that of all the tenant's mailboxes together, a new delivery is dropped and
/// counted: a slow consumer costs itself. While the client is away, QoS 0 is not kept. The connection
/// holds at most one batch that it has taken but not sent.
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
    /// Of `bytes`, what the tenant's account has.
    counted: usize,
    condition: Condition,
    /// Somebody has taken it on to wake the connection and it has not looked since.
    notified: bool,
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
    /// Queued behind others.
    Queued,
    /// Not queued: the bound is reached.
    Overflow,
    /// Not queued: QoS 0 for a client that is away, or a session that is over.
    Unwanted,
}

impl Mailbox {
    pub fn new(limits: QueueLimits, account: Arc<QueuedBytes>) -> Self {
        Self { state: Mutex::default(), waker: AtomicWaker::new(), limits, account }
    }

    #[inline]
    pub fn post(&self, delivery: Delivery) -> Posted {
        let size = delivery.message.size();
        let mut state = self.state.lock();
        match state.condition {
            Condition::Online => {}
            Condition::Offline if delivery.qos > Qos::AtMostOnce => {}
            Condition::Offline | Condition::Closed => return Posted::Unwanted,
        }
        if state.queue.len() >= self.limits.messages || state.bytes + size > self.limits.bytes {
            return Posted::Overflow;
        }
        if self.account.is_bounded() {
            if !self.account.admits(size) {
                return Posted::Overflow;
            }
            state.counted += size;
        }
        state.bytes += size;
        state.queue.push_back(delivery);
        if std::mem::replace(&mut state.notified, true) {
            Posted::Queued
        } else {
            Posted::WakeLater
        }
    }

    /// Wakes the connection, if there is one.
    pub fn wake(&self) {
        self.waker.wake();
    }

    /// Whom `wake` wakes from now on.
    pub fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Exchanges the queue for `batch`, which must be empty.
    #[inline]
    pub fn take(&self, batch: &mut VecDeque<Delivery>) {
        debug_assert!(batch.is_empty(), "a batch is sent before the next is taken");
        let mut state = self.state.lock();
        std::mem::swap(&mut state.queue, batch);
        state.bytes = 0;
        if state.counted > 0 {
            self.settle(&mut state);
        }
        state.notified = false;
    }

    /// Has the tenant's account know what waits, if there is a bound now.
    pub fn recount(&self) {
        self.settle(&mut self.state.lock());
    }

    fn settle(&self, state: &mut State) {
        let due = if self.account.is_bounded() { state.bytes } else { 0 };
        self.account.recount(std::mem::replace(&mut state.counted, due), due);
    }

    /// Takes out what is `lost` to the client; gives how much that was.
    pub fn withhold(&self, lost: impl Fn(&Delivery) -> bool) -> usize {
        let mut state = self.state.lock();
        let State { queue, bytes, .. } = &mut *state;
        let before = queue.len();
        queue.retain(|delivery| {
            let lost = lost(delivery);
            if lost {
                *bytes -= delivery.message.size();
            }
            !lost
        });
        let withheld = before - queue.len();
        self.settle(&mut state);
        withheld
    }

    /// A connection has come.
    pub fn set_online(&self) {
        self.state.lock().condition = Condition::Online;
    }

    /// The connection has gone and gives back what it did not send; QoS 0 is forgotten.
    pub fn set_offline(&self, mut unsent: VecDeque<Delivery>) {
        let mut state = self.state.lock();
        unsent.append(&mut state.queue);
        unsent.retain(|delivery| delivery.qos > Qos::AtMostOnce);
        state.bytes = unsent.iter().map(|delivery| delivery.message.size()).sum();
        state.queue = unsent;
        state.queue.shrink_to_fit();
        state.condition = Condition::Offline;
        state.notified = false;
        self.settle(&mut state);
    }

    /// The session is over: nothing is queued any more.
    pub fn close(&self) {
        let mut state = self.state.lock();
        let counted = state.counted;
        *state = State { condition: Condition::Closed, counted, ..State::default() };
        self.settle(&mut state);
    }

    /// Deliveries that wait.
    pub fn queued(&self) -> usize {
        self.state.lock().queue.len()
    }

    /// Bytes that wait.
    pub fn queued_bytes(&self) -> usize {
        self.state.lock().bytes
    }

    /// Gives memory back when nothing waits.
    pub fn shrink(&self) {
        let mut state = self.state.lock();
        if state.queue.is_empty() {
            state.queue = VecDeque::new();
        }
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.account.recount(self.state.get_mut().counted, 0);
    }
}

#[cfg(test)]
mod tests {
    use hookmq_codec::TopicName;
    use hookmq_core::{Message, NewMessage};

    use super::*;

    fn delivery(qos: Qos) -> Delivery {
        let message = Message::new(NewMessage {
            topic: TopicName::new("t").unwrap(),
            forwarded_properties: &[],
            payload: &[0; 100],
            qos,
            retain: false,
            expires_at: None,
            publisher: 0,
        });
        Delivery { message, qos, retain: false, subscription_identifiers: None, shared: None }
    }

    fn mailbox(messages: usize, bytes: usize) -> Mailbox {
        Mailbox::new(QueueLimits { messages, bytes }, Arc::default())
    }

    #[test]
    fn only_the_first_of_a_batch_asks_for_a_wake() {
        let mailbox = mailbox(10, 10_000);
        assert_eq!(mailbox.post(delivery(Qos::AtMostOnce)), Posted::WakeLater);
        assert_eq!(mailbox.post(delivery(Qos::AtMostOnce)), Posted::Queued);
        let mut batch = VecDeque::new();
        mailbox.take(&mut batch);
        assert_eq!(batch.len(), 2);
        assert_eq!(mailbox.post(delivery(Qos::AtMostOnce)), Posted::WakeLater);
    }

    #[test]
    fn the_bounds_hold_in_messages_and_in_bytes() {
        for mailbox in [mailbox(1, 10_000), mailbox(10, 200)] {
            assert_eq!(mailbox.post(delivery(Qos::AtLeastOnce)), Posted::WakeLater);
            assert_eq!(mailbox.post(delivery(Qos::AtLeastOnce)), Posted::Overflow);
        }
    }

    #[test]
    fn what_waits_is_on_the_account_while_that_has_a_bound() {
        let account = Arc::new(QueuedBytes::default());
        let size = delivery(Qos::AtLeastOnce).message.size();
        let limits = QueueLimits { messages: 10, bytes: 10_000 };
        let boxes = [(); 2].map(|()| Mailbox::new(limits, account.clone()));
        boxes[0].post(delivery(Qos::AtLeastOnce));
        account.bound(Some(2 * size as u64));
        boxes.iter().for_each(Mailbox::recount);
        assert_eq!(boxes[1].post(delivery(Qos::AtLeastOnce)), Posted::WakeLater);
        assert_eq!(boxes[1].post(delivery(Qos::AtLeastOnce)), Posted::Overflow);
        boxes[0].take(&mut VecDeque::new());
        assert_eq!(boxes[1].post(delivery(Qos::AtLeastOnce)), Posted::Queued);
        assert_eq!(boxes[0].post(delivery(Qos::AtLeastOnce)), Posted::Overflow);
        boxes[1].set_offline(VecDeque::from([delivery(Qos::AtLeastOnce)]));
        assert_eq!(account.queued(), 3 * size as u64, "what a connection gives back is kept");
        account.bound(None);
        boxes.iter().for_each(Mailbox::recount);
        assert_eq!(account.queued(), 0);
        account.bound(Some(u64::MAX));
        boxes[1].recount();
        boxes[1].close();
        assert_eq!(account.queued(), 0);
        boxes[0].post(delivery(Qos::AtLeastOnce));
        drop(boxes);
        assert_eq!(account.queued(), 0);
    }

    #[test]
    fn a_client_that_is_away_is_kept_what_it_is_guaranteed() {
        let mailbox = mailbox(10, 10_000);
        mailbox.post(delivery(Qos::AtLeastOnce));
        let unsent = VecDeque::from([delivery(Qos::AtMostOnce), delivery(Qos::ExactlyOnce)]);
        mailbox.set_offline(unsent);
        assert_eq!(mailbox.post(delivery(Qos::AtMostOnce)), Posted::Unwanted);
        mailbox.post(delivery(Qos::AtLeastOnce));
        mailbox.set_online();
        let mut batch = VecDeque::new();
        mailbox.take(&mut batch);
        let order: Vec<_> = batch.iter().map(|delivery| delivery.qos).collect();
        assert_eq!(order, [Qos::ExactlyOnce, Qos::AtLeastOnce, Qos::AtLeastOnce]);
    }

    #[test]
    fn a_session_that_is_over_takes_nothing() {
        let mailbox = mailbox(10, 10_000);
        mailbox.close();
        assert_eq!(mailbox.post(delivery(Qos::AtLeastOnce)), Posted::Unwanted);
    }
}
