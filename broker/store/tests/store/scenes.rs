//! Changes, and a store to give them to.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use hookmq_codec::{Qos, SubscriptionOptions, TopicFilter, TopicName};
use hookmq_core::{CommitSequence, Message, NewMessage, Subscription};
use hookmq_store::engine::Engine;
use hookmq_store::{
    Change, CheckpointBounds, DurableStore, Ledger, MessageId, NewRecord, Opening, Page,
    PageRequest, Question, QueueKey, QueuedCopy, Recovery, SentCopy, SessionKey, SharedKey, Store,
    StoreOptions, UnixMillis, Verify,
};

pub const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

pub fn session(client_id: &str) -> SessionKey {
    SessionKey { tenant: "t".into(), client_id: client_id.into() }
}

pub fn shared(filter: &str) -> SharedKey {
    SharedKey { tenant: "t".into(), filter: filter_of(filter) }
}

pub fn filter_of(filter: &str) -> TopicFilter {
    TopicFilter::new(filter).unwrap()
}

pub fn opened(client_id: &str) -> Change {
    Change::SessionOpened {
        session: session(client_id),
        username: "user".into(),
        expiry_interval: 3600,
        epoch: 1,
        opening: Opening::Clean,
    }
}

pub fn subscribed(client_id: &str, filter: &str) -> Change {
    let options =
        SubscriptionOptions { maximum_qos: Qos::ExactlyOnce, ..SubscriptionOptions::default() };
    let subscription = Subscription { options, identifier: NonZeroU32::new(7) };
    Change::Subscribed { session: session(client_id), filter: filter_of(filter), subscription }
}

pub fn record(id: MessageId, payload: &[u8]) -> NewRecord {
    let message = Message::new(NewMessage {
        topic: TopicName::new("a/b").unwrap(),
        forwarded_properties: &[1, 1],
        payload,
        qos: Qos::AtLeastOnce,
        retain: false,
        expires_at: None,
        publisher: 3,
    });
    NewRecord { id, message, expires_at: None }
}

/// How [`copy`] is sent.
pub const QOS_1: SentCopy = SentCopy { qos: Qos::AtLeastOnce, retain: false, shared: false };

pub fn copy(queue: QueueKey) -> QueuedCopy {
    let subscription_identifiers = Some([NonZeroU32::MIN, NonZeroU32::MAX].into());
    QueuedCopy { queue, qos: Qos::AtLeastOnce, retain: false, subscription_identifiers }
}

/// A message for each of the sessions.
pub fn queued(id: MessageId, payload: &[u8], clients: &[&str]) -> Change {
    let copies = clients.iter().map(|it| copy(QueueKey::Session(session(it)))).collect();
    Change::Queued { record: record(id, payload), copies }
}

pub fn dequeued(id: MessageId, client_id: &str) -> Change {
    Change::Dequeued { queue: QueueKey::Session(session(client_id)), id }
}

pub fn retained(id: MessageId, payload: &[u8]) -> Change {
    Change::Retained { tenant: "t".into(), record: record(id, payload) }
}

pub fn options() -> StoreOptions {
    StoreOptions::new("unused")
}

/// A ledger that must be whole.
pub fn load(engine: Box<dyn Engine>, bounds: CheckpointBounds) -> Ledger {
    let (ledger, damages) = Ledger::load(engine, bounds, 0, Verify::All).unwrap();
    assert_eq!(damages, []);
    ledger
}

pub fn serve(engine: Box<dyn Engine>) -> Arc<DurableStore> {
    let recovery = Recovery::with_engine(engine, &options()).unwrap();
    recovery.serve(|failure| panic!("{failure}")).unwrap()
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

pub fn waker() -> Waker {
    Arc::new(Unpark(std::thread::current())).into()
}

/// Waits until `ready`, which is to register the waker.
pub fn wait(mut ready: impl FnMut(&Waker) -> bool) {
    let (waker, deadline) = (waker(), Instant::now() + Duration::from_secs(20));
    while !ready(&waker) {
        assert!(Instant::now() < deadline, "it comes true in time");
        std::thread::park_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

/// Waits for what wakes nobody.
pub fn until(mut ready: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !ready() {
        assert!(Instant::now() < deadline, "it comes true in time");
        std::thread::yield_now();
    }
}

pub fn wait_durable(store: &dyn Store, commit: CommitSequence) {
    wait(|waker| {
        store.wake_when_durable(commit, waker);
        store.durable() >= commit
    });
}

pub fn append_durably(store: &dyn Store, changes: Vec<Change>) -> CommitSequence {
    let commit = store.append(changes);
    wait_durable(store, commit);
    commit
}

pub fn page(store: &dyn Store, queue: QueueKey, after: MessageId, messages: usize) -> Page {
    let (answer, answered) = std::sync::mpsc::channel();
    let request = PageRequest { queue, after, messages, bytes: 1 << 20 };
    store.ask(Question::Page(request, Box::new(move |page| answer.send(page).unwrap())));
    answered.recv_timeout(Duration::from_secs(20)).unwrap()
}

pub fn payloads(page: &Page) -> Vec<String> {
    let text = |payload: &[u8]| String::from_utf8(payload.to_vec()).unwrap();
    page.deliveries.iter().map(|it| text(it.stored.message.payload())).collect()
}
