//! Connections of one client, what they do with its session, and a publisher to it.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use hookmq_codec::{Qos, ReasonCode, SubscriptionOptions, TopicFilter, TopicName};
use hookmq_core::{Delivery, Message, NewMessage, Subscription};
use hookmq_hooks::Client;
use hookmq_interleavings::broker::mailbox::{Admission, Posted};
use hookmq_interleavings::broker::meter::Place;
use hookmq_interleavings::broker::publisher::Will;
use hookmq_interleavings::broker::session_handle::Asked;
use hookmq_interleavings::broker::sessions::OpenedSession;
use hookmq_interleavings::broker::tenant::Tenant;
use hookmq_interleavings::broker::{Broker, with_patience};
use hookmq_store::{
    Change, MessageId, NewRecord, NewWill, Opening, QueueKey, QueuedCopy, SessionKey, Store,
};
use loom::sync::Notify;

pub struct Scene {
    pub broker: Arc<Broker>,
    pub tenant: Arc<Tenant>,
    pub client: Arc<Client>,
    /// Connections that have the client's session.
    owners: AtomicUsize,
    /// In the order in which it happened. No part of the model: nobody decides by it.
    history: Mutex<Vec<Seen>>,
}

/// What a connection was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    Opened { claim: Claim, present: bool, session: u64 },
    Refused { claim: Claim, reason_code: ReasonCode },
}

/// A CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    pub clean_start: bool,
    /// Whether it waits for as long as the session takes to come.
    pub is_patient: bool,
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It serves its client until it is asked for the session.
    TakenOver,
    /// The client is lost, and its session and its will wait for it.
    Lost,
    /// DISCONNECT, with a session expiry interval of 0.
    Left,
}

struct Task(Notify);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let task = Arc::new(Task(Notify::new()));
    let waker = Waker::from(task.clone());
    let mut work = pin!(work);
    loop {
        match work.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(result) => return result,
            Poll::Pending => task.0.wait(),
        }
    }
}

pub fn message(store: &dyn Store) -> Message {
    let message = Message::new(NewMessage {
        topic: TopicName::new("t").expect("a topic"),
        forwarded_properties: &[],
        payload: b"payload",
        qos: Qos::AtLeastOnce,
        retain: false,
        expires_at: None,
        publisher: 0,
    });
    message.set_stored(store.next_id().0);
    message
}

pub fn queued(message: &Message, queue: QueueKey) -> Change {
    let copy =
        QueuedCopy { queue, qos: message.qos(), retain: false, subscription_identifiers: None };
    Change::Queued { record: NewRecord::of(message.clone()), copies: vec![copy] }
}

impl Scene {
    pub fn new() -> Self {
        let broker = Broker::new();
        let (tenant, client) = (broker.tenant(&"t".into()), broker.client("c"));
        Self { broker, tenant, client, owners: AtomicUsize::new(0), history: Mutex::default() }
    }

    pub fn key(&self) -> SessionKey {
        let Client { tenant, client_id, .. } = &*self.client;
        SessionKey { tenant: tenant.clone(), client_id: client_id.clone() }
    }

    pub fn history(&self) -> Vec<Seen> {
        self.history.lock().expect("sound").clone()
    }

    fn see(&self, seen: Seen) {
        self.history.lock().expect("sound").push(seen);
    }

    /// What the broker does with a CONNECT, in `connection/connect.rs` and `connect/answer.rs`, without its
    /// sockets. The session is to outlive the connection.
    pub fn connect(&self, claim: Claim) -> Option<OpenedSession> {
        let opened = self.open(&self.client, claim);
        let opened = match opened {
            Ok(opened) => opened,
            Err(reason_code) => {
                self.see(Seen::Refused { claim, reason_code });
                return None;
            }
        };
        assert_eq!(self.owners.fetch_add(1, Ordering::Relaxed), 0, "two have the session");
        let (present, session) = (opened.present, opened.handle.id);
        self.see(Seen::Opened { claim, present, session });
        Some(self.settle(opened))
    }

    pub fn open(&self, client: &Arc<Client>, claim: Claim) -> Result<OpenedSession, ReasonCode> {
        with_patience(claim.is_patient);
        let opening = self.broker.open_session(&self.tenant, client, claim.clean_start, Place);
        block_on(opening).map(|(opened, _)| opened)
    }

    pub fn settle(&self, mut opened: OpenedSession) -> OpenedSession {
        opened.session.expiry_interval = 3600;
        opened.session.outgoing.handle_connected(10);
        opened.handle.set_durable(true);
        let change = Change::SessionOpened {
            session: opened.handle.key.clone(),
            username: self.client.username.clone(),
            expiry_interval: opened.session.expiry_interval,
            epoch: 0,
            opening: if opened.present { Opening::Resumed } else { Opening::Clean },
        };
        opened.handle.set_stored();
        self.broker.store.append(vec![change]);
        opened
    }

    /// What the broker does with a SUBSCRIBE.
    pub fn subscribe(&self, opened: &mut OpenedSession, filter: &str) {
        let filter = TopicFilter::new(filter).expect("a filter");
        let options = SubscriptionOptions { maximum_qos: Qos::AtLeastOnce, ..Default::default() };
        let subscription = Subscription { options, identifier: None };
        match filter.share_name() {
            None => self.tenant.subscribe(&opened.handle),
            Some(_) => {
                let share = self.tenant.join_share(&filter, &opened.handle, Qos::AtLeastOnce);
                opened.shares.push(share);
            }
        }
        opened.session.subscriptions.insert(filter.clone(), subscription);
        let session = opened.handle.key.clone();
        self.broker.store.append(vec![Change::Subscribed { session, filter, subscription }]);
    }

    /// A will, to be published a while after the client is lost.
    pub fn will(&self) -> Will {
        let (message, session) = (message(&*self.broker.store), self.key());
        let (id, delay) = (MessageId(message.stored()), Duration::from_secs(10));
        let will = NewWill { record: NewRecord::of(message), delay: 10, expiry_interval: None };
        self.broker.store.append(vec![Change::WillSet { session: session.clone(), will }]);
        Will { delay, id, session }
    }

    /// Serves the client until the connection ends, and leaves the session as `connection/ending.rs` does.
    pub fn end(&self, mut opened: OpenedSession, will: Option<Will>, end: End) {
        let mut unsent = VecDeque::new();
        if end == End::TakenOver {
            let task = Arc::new(Task(Notify::new()));
            let waker = Waker::from(task.clone());
            loop {
                opened.handle.mailbox.register(&waker);
                match opened.control.asked() {
                    Some(Asked::TakeOver) => break,
                    Some(Asked::Disconnect(_)) => break,
                    _ => task.0.wait(),
                }
            }
            opened.handle.mailbox.take(&mut unsent);
        }
        if end == End::Left {
            opened.session.expiry_interval = 0;
        }
        let stays = end != End::Left && !opened.handle.is_doomed();
        let will = will.filter(|_| stays).map(Box::new);
        self.owners.fetch_sub(1, Ordering::Relaxed);
        self.broker.leave_session(&self.tenant, opened, unsent, will);
    }

    /// A connection of a client that connects, and is lost.
    pub fn come_and_go(&self, claim: Claim) {
        if let Some(opened) = self.connect(claim) {
            self.end(opened, None, End::Lost);
        }
    }

    /// Publishes a message to whoever subscribes.
    pub fn publish(&self) {
        for session in self.tenant.subscribers() {
            let message = message(&*self.broker.store);
            if session.mailbox.admit(message.size()) != Admission::Admitted {
                continue;
            }
            let queue = QueueKey::Session(session.key.clone());
            self.broker.store.append(vec![queued(&message, queue)]);
            let qos = message.qos();
            let delivery = Delivery {
                message,
                qos,
                retain: false,
                subscription_identifiers: None,
                shared: None,
            };
            if session.mailbox.post_stored(delivery) == Posted::WakeLater {
                session.mailbox.wake();
            }
        }
    }
}
