//! Publishers who admit, store and post while a connection takes, fetches pages and catches up.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::task::{Wake, Waker};

use hookmq_codec::{Qos, TopicName};
use hookmq_core::{Delivery, Message, NewMessage, QueueLimits};
use hookmq_interleavings::broker::mailbox::{Admission, InStore, Mailbox, Posted};
use hookmq_interleavings::broker::meter::QueuedBytes;
use loom::sync::{Mutex, Notify};
use loom::thread;

/// The session's queue in the store: each call is one commit, or the answer to one question.
#[derive(Default)]
struct Store(Mutex<BTreeMap<u64, Delivery>>);

struct Task(Notify);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

/// What the broker's `connection/stored.rs` does with the mailbox, without its sockets.
struct Connection {
    mailbox: Arc<Mailbox>,
    store: Arc<Store>,
    batch: VecDeque<Delivery>,
    in_flight: HashSet<u64>,
    backlog: Option<Backlog>,
    /// Whether the client acknowledges what it is sent before the next turn, or never.
    acknowledges: bool,
    received: Vec<u64>,
}

struct Backlog {
    after: u64,
    exhausted: bool,
    asked: Option<Asked>,
}

struct Asked {
    page: Vec<Delivery>,
    in_flight: HashSet<u64>,
}

/// More bytes than there are: the account has a bound, so that it counts.
const MOST: u64 = 1 << 30;

fn delivery(id: u64, qos: Qos, payload: &[u8]) -> Delivery {
    let message = Message::new(NewMessage {
        topic: TopicName::new("t").expect("a topic"),
        forwarded_properties: &[],
        payload,
        qos,
        retain: false,
        expires_at: None,
        publisher: 0,
    });
    message.set_stored(id);
    Delivery { message, qos, retain: false, subscription_identifiers: None, shared: None }
}

fn publish(mailbox: &Mailbox, store: &Store, id: u64) {
    let delivery = delivery(id, Qos::AtLeastOnce, b"payload");
    assert_eq!(mailbox.admit(delivery.message.size()), Admission::Admitted);
    store.0.lock().expect("sound").insert(id, delivery.clone());
    if mailbox.post_stored(delivery) == Posted::WakeLater {
        mailbox.wake();
    }
}

impl Connection {
    /// Turns until there is nothing to do.
    fn poll(&mut self) {
        loop {
            if self.batch.is_empty() && self.mailbox.take(&mut self.batch) && self.batch.is_empty()
            {
                self.fetch();
            }
            let answered = self.backlog.as_ref().is_some_and(|backlog| backlog.asked.is_some());
            if self.batch.is_empty() && !answered {
                return;
            }
            while let Some(delivery) = self.batch.pop_front() {
                self.send(&delivery);
            }
        }
    }

    fn send(&mut self, delivery: &Delivery) {
        let id = delivery.message.stored();
        if delivery.qos == Qos::AtMostOnce {
            return;
        }
        self.received.push(id);
        if let Some(Backlog { asked: Some(asked), .. }) = &mut self.backlog {
            asked.in_flight.insert(id);
        }
        match self.acknowledges {
            true => drop(self.store.0.lock().expect("sound").remove(&id)),
            false => drop(self.in_flight.insert(id)),
        }
    }

    fn fetch(&mut self) {
        let fresh = || Backlog { after: u64::MAX, exhausted: true, asked: None };
        let mut backlog = self.backlog.take().unwrap_or_else(fresh);
        if let Some(asked) = backlog.asked.take() {
            self.take_page(asked, &mut backlog);
        }
        if self.batch.is_empty() {
            if let Some(lowest) = self.mailbox.take_lowest() {
                backlog.after = backlog.after.min(lowest.saturating_sub(1));
                backlog.exhausted = false;
            }
            match backlog.exhausted {
                false => backlog.asked = Some(self.ask(backlog.after)),
                true if self.mailbox.catch_up() => return,
                true => {}
            }
        }
        self.backlog = Some(backlog);
    }

    /// The page is as the store is now, and is looked at in a later turn.
    fn ask(&self, after: u64) -> Asked {
        let store = self.store.0.lock().expect("sound");
        let page = store.range(after + 1..).map(|(_, delivery)| delivery.clone()).collect();
        Asked { page, in_flight: self.in_flight.clone() }
    }

    fn take_page(&mut self, Asked { page, in_flight }: Asked, backlog: &mut Backlog) {
        let lowest = self.mailbox.lowest();
        if lowest.is_some_and(|lowest| lowest <= backlog.after) {
            return;
        }
        backlog.exhausted = true;
        let last = page.last().map(|delivery| delivery.message.stored());
        backlog.after = last.map_or(backlog.after, |last| last.max(backlog.after));
        let (mut messages, mut bytes) = (0, 0);
        for delivery in page {
            if !in_flight.contains(&delivery.message.stored()) {
                (messages, bytes) = (messages + 1, bytes + delivery.message.size());
                self.batch.push_back(delivery);
            }
        }
        self.mailbox.fetched(messages, bytes);
    }

    fn receive(&mut self, messages: usize) {
        let task = Arc::new(Task(Notify::new()));
        let waker = Waker::from(task.clone());
        loop {
            self.mailbox.register(&waker);
            self.poll();
            if self.received.len() >= messages {
                return;
            }
            task.0.wait();
        }
    }
}

/// How the connection stands when the publishers begin.
#[derive(Clone, Copy, PartialEq)]
enum Start {
    /// It has come a moment ago.
    Behind,
    /// It has as much in memory as that holds.
    Full,
}

/// Each of `publishers` sends messages of these ids, in this order. Where there are too many orders of
/// threads, only those are tried in which threads are interrupted at most so often.
fn explore(
    start: Start,
    acknowledges: bool,
    publishers: &'static [&'static [u64]],
    interruptions: Option<usize>,
) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = interruptions;
    // As much as a mailbox keeps in memory of what is in the store.
    let large = delivery(0, Qos::AtMostOnce, &[0; 1 << 20]);
    model.check(move || {
        let account = Arc::new(QueuedBytes::bounded(MOST));
        let limits = QueueLimits { messages: 5000, bytes: 1 << 24 };
        let mailbox = Arc::new(Mailbox::new(limits, account.clone()));
        let store = Arc::new(Store::default());
        let mut connection = Connection {
            mailbox: mailbox.clone(),
            store: store.clone(),
            batch: VecDeque::new(),
            in_flight: HashSet::new(),
            backlog: None,
            acknowledges,
            received: Vec::new(),
        };
        mailbox.set_online(InStore::Guaranteed);
        if start == Start::Full {
            connection.poll();
            mailbox.post(large.clone());
        }
        let threads = publishers.iter().map(|ids| {
            let (mailbox, store) = (mailbox.clone(), store.clone());
            thread::spawn(move || ids.iter().for_each(|id| publish(&mailbox, &store, *id)))
        });
        let threads: Vec<_> = threads.collect();
        connection.receive(publishers.iter().map(|ids| ids.len()).sum());
        threads.into_iter().for_each(|thread| thread.join().expect("a publisher"));
        connection.poll();
        for ids in publishers {
            let own = connection.received.iter().filter(|id| ids.contains(id));
            assert!(own.eq(ids.iter()), "{ids:?} arrive as {:?}", connection.received);
        }
        assert_eq!((mailbox.queued(), mailbox.queued_bytes()), (0, 0));
        assert!(account.is_empty(MOST), "something is still on the account");
        assert!(!mailbox.take(&mut VecDeque::new()), "it has not caught up");
    });
}

#[test]
fn what_one_publisher_sends_comes_once_and_in_order_while_the_connection_catches_up() {
    for acknowledges in [true, false] {
        explore(Start::Behind, acknowledges, &[&[1]], None);
        explore(Start::Behind, acknowledges, &[&[1, 2]], Some(3));
    }
}

#[test]
fn what_one_publisher_sends_comes_once_and_in_order_while_the_connection_falls_behind() {
    for acknowledges in [true, false] {
        explore(Start::Full, acknowledges, &[&[1, 2]], None);
    }
}

#[test]
fn what_two_publishers_send_comes_once_and_in_the_order_of_each_to_who_catches_up() {
    for acknowledges in [true, false] {
        explore(Start::Behind, acknowledges, &[&[1, 3], &[2]], Some(3));
    }
}

#[test]
fn what_two_publishers_send_comes_once_and_in_the_order_of_each_to_who_falls_behind() {
    for acknowledges in [true, false] {
        explore(Start::Full, acknowledges, &[&[1, 3], &[2]], Some(3));
    }
}
