//! What is queued, dropped, counted and given back.

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
fn several_are_posted_as_one_after_the_other() {
    let mailbox = mailbox(2, 10_000);
    let posted = mailbox.post_all(std::iter::repeat_n(delivery(Qos::AtMostOnce), 3));
    assert_eq!(posted, PostedAll { wakes: true, overflowed: 1 });
    assert_eq!((mailbox.queued(), mailbox.post(delivery(Qos::AtMostOnce))), (2, Posted::Overflow));
    mailbox.take(&mut VecDeque::new());
    mailbox.set_offline(VecDeque::new(), InStore::Nothing);
    mailbox.post_all([Qos::AtMostOnce, Qos::AtLeastOnce].map(delivery).into_iter());
    assert_eq!(mailbox.queued(), 1, "QoS 0 is not kept for a client that is away");
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
    boxes[1].set_offline(VecDeque::from([delivery(Qos::AtLeastOnce)]), InStore::Nothing);
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
    mailbox.set_offline(unsent, InStore::Nothing);
    assert_eq!(mailbox.post(delivery(Qos::AtMostOnce)), Posted::Unwanted);
    mailbox.post(delivery(Qos::AtLeastOnce));
    mailbox.set_online(InStore::Nothing);
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

#[test]
fn what_the_store_counts_holds_unless_more_has_come_or_the_client_has_been_there() {
    let account = Arc::new(QueuedBytes::default());
    account.bound(Some(1000));
    let mailbox = Mailbox::new(QueueLimits { messages: 3, bytes: 10_000 }, account.clone());
    mailbox.set_offline(VecDeque::new(), InStore::Guaranteed);
    let size = delivery(Qos::AtLeastOnce).message.size();
    let wait = || {
        assert_eq!(mailbox.admit(size), Admission::Admitted);
        mailbox.post_stored(delivery(Qos::AtLeastOnce));
    };
    (0..3).for_each(|_| wait());
    assert_eq!(mailbox.admit(size), Admission::Overflow);
    let mark = mailbox.mark().unwrap();
    assert!(mailbox.correct(mark, 1, size));
    assert_eq!((mailbox.queued(), account.queued()), (1, size as u64));
    wait();
    assert!(!mailbox.correct(mark, 0, 0), "one has come");
    assert_eq!(mailbox.admit(size), Admission::Admitted);
    assert_eq!(mailbox.mark(), None, "one is about to be stored");
    mailbox.renounce(size);
    let mark = mailbox.mark().unwrap();
    mailbox.set_online(InStore::Guaranteed);
    assert_eq!(mailbox.mark(), None);
    mailbox.set_offline(VecDeque::new(), InStore::Guaranteed);
    assert!(!mailbox.correct(mark, 0, 0), "the client has been there");
    assert_eq!((mailbox.queued(), account.queued()), (2, 2 * size as u64));
}
