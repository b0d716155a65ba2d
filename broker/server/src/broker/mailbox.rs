//! What waits for one session: filled by publishers, emptied by the session's connection.

use std::collections::VecDeque;
use std::task::Waker;

use atomic_waker::AtomicWaker;
use hookmq_codec::Qos;
use hookmq_core::{Delivery, QueueLimits};
use parking_lot::Mutex;

/// A bounded queue of deliveries and the waker of the connection that empties it.
///
/// At the bound a new delivery is dropped and counted: a slow consumer costs itself. While the client
/// is away, QoS 0 is not kept. The connection holds at most one batch that it has taken but not sent.
#[derive(Debug)]
pub struct Mailbox {
    state: Mutex<State>,
    waker: AtomicWaker,
    limits: QueueLimits,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Delivery>,
    bytes: usize,
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
    pub fn new(limits: QueueLimits) -> Self {
        Self { state: Mutex::default(), waker: AtomicWaker::new(), limits }
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
        state.notified = false;
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
        before - queue.len()
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
    }

    /// The session is over: nothing is queued any more.
    pub fn close(&self) {
        *self.state.lock() = State { condition: Condition::Closed, ..State::default() };
    }

    /// Deliveries that wait.
    pub fn queued(&self) -> usize {
        self.state.lock().queue.len()
    }

    /// Gives memory back when nothing waits.
    pub fn shrink(&self) {
        let mut state = self.state.lock();
        if state.queue.is_empty() {
            state.queue = VecDeque::new();
        }
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
        Mailbox::new(QueueLimits { messages, bytes })
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
