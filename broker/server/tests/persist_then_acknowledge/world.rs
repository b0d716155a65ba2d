//! A broker, its store, and what the store is told, as short texts.

use std::sync::Arc;
use std::time::Duration;

use hookmq::broker::Broker;
use hookmq::broker::limits::Limits;
use hookmq::broker::protocol::ProtocolOptions;
use hookmq_access::{AnonymousProgram, AnonymousSettings, OpenProgram};
use hookmq_codec::ProtocolVersion;
use hookmq_hooks::{Blueprint, Hook, Pipeline, Program, ProgramKind, StepSpec};
use hookmq_store::{Change, HeldStore, Opening, QueueKey};

use crate::emitting::Alarm;
use crate::peer::{Keep, Peer};

pub const VERSIONS: [ProtocolVersion; 2] = [ProtocolVersion::V311, ProtocolVersion::V5];
pub const DEADLINE: Duration = Duration::from_secs(10);

pub struct World {
    pub broker: Arc<Broker>,
    pub store: Arc<HeldStore>,
    pub version: ProtocolVersion,
    /// Commits that the test has looked at.
    seen: usize,
}

impl World {
    pub fn new(version: ProtocolVersion) -> Self {
        Self::with_store(version, HeldStore::default())
    }

    pub fn with_store(version: ProtocolVersion, store: HeldStore) -> Self {
        Self::with(version, store, Limits::default())
    }

    pub fn with_limits(version: ProtocolVersion, limits: Limits) -> Self {
        Self::with(version, HeldStore::default(), limits)
    }

    fn with(version: ProtocolVersion, store: HeldStore, limits: Limits) -> Self {
        let store = Arc::new(store);
        let seen = store.commits().len();
        Self { broker: broker(store.clone(), limits), store, version, seen }
    }

    /// The next commit that the broker has handed to the store.
    pub async fn commit(&mut self) -> String {
        let waiting = async {
            while self.store.commits().len() <= self.seen {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, waiting).await.expect("a commit in time");
        self.seen += 1;
        let commit = self.store.commits()[self.seen - 1].iter().map(shown).collect::<Vec<_>>();
        commit.join(", ")
    }

    /// Asserts that nothing else is handed to the store.
    pub async fn expect_no_commit(&self) {
        settle().await;
        let more: Vec<_> = self.store.commits()[self.seen..].to_vec();
        assert!(more.is_empty(), "{more:?}");
    }

    /// Releases the commits that were looked at, and not those behind them.
    pub fn release_seen(&self) {
        self.store.release_first(self.seen);
    }

    /// Asserts that the next commit is `expected`, and that `peer` is answered when it is durable and
    /// not before; gives the answer.
    pub async fn answer_behind(&mut self, expected: &str, peer: &mut Peer) -> String {
        assert_eq!(self.commit().await, expected);
        peer.expect_nothing().await;
        self.release_seen();
        peer.receive().await
    }

    /// A client with its CONNACK.
    pub async fn client(&mut self, client_id: &str, keep: Keep) -> Peer {
        let mut client = Peer::new(&self.broker, self.version);
        client.connect(client_id, keep, None).await;
        if keep == Keep::Session {
            self.commit().await;
            self.release_seen();
        }
        assert!(client.receive().await.starts_with("CONNACK"));
        client
    }

    /// The client comes back to its session, and has its CONNACK.
    pub async fn back(&mut self, client_id: &str) -> Peer {
        let mut client = Peer::new(&self.broker, self.version);
        client.connect(client_id, Keep::Session, None).await;
        let resumed = format!("Resumed {client_id}");
        assert_eq!(self.answer_behind(&resumed, &mut client).await, "CONNACK present");
        client
    }

    /// A client that is subscribed to `filter` at QoS 2, with its answers.
    pub async fn subscriber(&mut self, client_id: &str, keep: Keep, filter: &str) -> Peer {
        let mut client = self.client(client_id, keep).await;
        client.subscribe(filter, 2).await;
        if keep == Keep::Session {
            self.commit().await;
            self.release_seen();
        }
        assert!(client.receive().await.starts_with("SUBACK"));
        client
    }
}

/// Lets all that can go on without the disk or a peer go on. There is one thread.
pub async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

fn broker(store: Arc<HeldStore>, limits: Limits) -> Arc<Broker> {
    let step = |name: &str| StepSpec::new(ProgramKind::Builtin, name);
    let blueprint = Blueprint {
        connect: vec![step("anonymous")],
        authorize: vec![step("open")],
        publish: vec![step("alarm")],
        ..Blueprint::default()
    };
    let pipeline = Pipeline::assemble(1, &blueprint, |hook, _, _| -> Arc<dyn Program> {
        match hook {
            Hook::Connect => Arc::new(AnonymousProgram::new(AnonymousSettings::default())),
            Hook::Publish => Arc::new(Alarm::new()),
            _ => Arc::new(OpenProgram::new()),
        }
    });
    let (protocol, rights) = (ProtocolOptions::default(), Default::default());
    Broker::new(pipeline.unwrap(), limits, protocol, rights, store, None, Default::default())
}

/// A change as a text: what has happened, to which message, whose.
fn shown(change: &Change) -> String {
    match change {
        Change::SessionOpened { session, opening: Opening::Clean, .. } => {
            format!("Opened {}", session.client_id)
        }
        Change::SessionOpened { session, .. } => format!("Resumed {}", session.client_id),
        Change::SessionClosed { session, .. } => format!("Closed {}", session.client_id),
        Change::SessionLost { session, .. } => format!("Lost {}", session.client_id),
        Change::SessionEnded { session } => format!("Ended {}", session.client_id),
        Change::WillSet { session, will } => {
            format!("WillSet {} #{}", session.client_id, will.record.id.0)
        }
        Change::WillCleared { session, id } => {
            format!("WillCleared {} #{}", session.client_id, id.0)
        }
        Change::WillScheduled { session, .. } => format!("WillScheduled {}", session.client_id),
        Change::Subscribed { session, filter, .. } => {
            format!("Subscribed {} {}", session.client_id, filter.as_str())
        }
        Change::Unsubscribed { session, filter } => {
            format!("Unsubscribed {} {}", session.client_id, filter.as_str())
        }
        Change::Queued { record, copies } => {
            let copies: Vec<_> = copies.iter().map(|copy| queue(&copy.queue)).collect();
            format!("Queued #{} {}", record.id.0, copies.join("+"))
        }
        Change::Dequeued { queue: from, id } => format!("Dequeued #{} {}", id.0, queue(from)),
        Change::Taken { session, id } => format!("Taken #{} {}", id.0, session.client_id),
        Change::Trimmed { queue: of, .. } => format!("Trimmed {}", queue(of)),
        Change::Moved { from, to, id } => format!("Moved #{} {} {}", id.0, queue(from), queue(to)),
        Change::PacketIdAssigned { session, id, packet_id, .. } => {
            format!("Assigned #{} {} {}", id.0, session.client_id, packet_id.get())
        }
        Change::Released { session, packet_id } => {
            format!("Released {} {}", session.client_id, packet_id.get())
        }
        Change::Completed { session, packet_id } => {
            format!("Completed {} {}", session.client_id, packet_id.get())
        }
        Change::Received { session, packet_id } => {
            format!("Received {} {}", session.client_id, packet_id.get())
        }
        Change::ReceivedReleased { session, packet_id } => {
            format!("ReceivedReleased {} {}", session.client_id, packet_id.get())
        }
        Change::Retained { record, .. } => format!("Retained #{}", record.id.0),
        Change::Expired { .. } => "Expired".into(),
    }
}

fn queue(key: &QueueKey) -> &str {
    match key {
        QueueKey::Session(session) => &session.client_id,
        QueueKey::Shared(shared) => shared.filter.as_str(),
    }
}
