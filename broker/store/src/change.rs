//! What the broker tells the store: the changes that one packet makes.

use std::num::NonZeroU32;
use std::sync::Arc;

use hookmq_codec::{PacketId, Qos, TopicFilter};
use hookmq_core::{Delivery, Message, Subscription};
use serde::{Deserialize, Serialize};

use crate::{Reference, UnixMillis, WallClock, filter_text};

/// Whose session: unique within the broker.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SessionKey {
    pub tenant: Arc<str>,
    pub client_id: Arc<str>,
}

/// A shared subscription, by its whole filter.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SharedKey {
    pub tenant: Arc<str>,
    #[serde(with = "filter_text")]
    pub filter: TopicFilter,
}

/// What a message waits in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum QueueKey {
    Session(SessionKey),
    /// One of the members gets the message.
    Shared(SharedKey),
}

/// A message in the store; from [`crate::Store::next_id`], never given twice.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
pub struct MessageId(pub u64);

/// Whether a session begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Opening {
    /// It begins, or begins anew with nothing in it.
    Clean,
    /// Its client has come back to it, and the will that it left is void. Where the store does not know
    /// the session, it begins.
    Resumed,
}

/// A message on its way to disk, under the id by which queues and the retained store refer to it.
#[derive(Debug, Clone)]
pub struct NewRecord {
    pub id: MessageId,
    pub message: Message,
    /// As the message's own `expires_at`, on the wall clock.
    pub expires_at: Option<UnixMillis>,
}

impl NewRecord {
    /// A message that knows under which id it is stored, and when it expires by the clock of now.
    pub fn of(message: Message) -> Self {
        let expires_at = message.expires_at().map(|at| WallClock::now().unix(at));
        Self { id: MessageId(message.stored()), message, expires_at }
    }
}

/// What one queue is due of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedCopy {
    pub queue: QueueKey,
    /// Above 0: the lower of the message's and the subscription's.
    pub qos: Qos,
    pub retain: bool,
    /// Of every subscription that matched.
    pub subscription_identifiers: Option<Arc<[NonZeroU32]>>,
}

/// The message that is published when the client is lost.
#[derive(Debug, Clone)]
pub struct NewWill {
    pub record: NewRecord,
    /// Seconds after the end of the connection.
    pub delay: u32,
    /// Seconds that the message lives once it is published.
    pub expiry_interval: Option<u32>,
}

/// One thing that must not be forgotten once it is acknowledged. What concerns a session that the
/// store does not know changes nothing: it has ended meanwhile.
#[derive(Debug, Clone)]
pub enum Change {
    SessionOpened {
        session: SessionKey,
        username: Arc<str>,
        /// Seconds that the session outlives its connection.
        expiry_interval: u32,
        /// Counts the connections of the session; timers of an earlier one are void.
        epoch: u32,
        opening: Opening,
    },
    /// The connection is over; from `at` on the session expires.
    SessionClosed {
        session: SessionKey,
        at: UnixMillis,
        expiry_interval: u32,
    },
    /// The broker has ended under the connection; from `at` on the session expires.
    SessionLost {
        session: SessionKey,
        at: UnixMillis,
    },
    SessionEnded {
        session: SessionKey,
    },
    WillSet {
        session: SessionKey,
        will: NewWill,
    },
    /// Not to be published any more, or published in this very commit; if it is still this one.
    WillCleared {
        session: SessionKey,
        id: MessageId,
    },
    /// The connection is lost: the will is due.
    WillScheduled {
        session: SessionKey,
        at: UnixMillis,
    },
    Subscribed {
        session: SessionKey,
        filter: TopicFilter,
        subscription: Subscription,
    },
    Unsubscribed {
        session: SessionKey,
        filter: TopicFilter,
    },
    Queued {
        record: NewRecord,
        copies: Vec<QueuedCopy>,
    },
    /// Acknowledged to the end, expired or dropped.
    Dequeued {
        queue: QueueKey,
        id: MessageId,
    },
    /// The queue is longer than it may be: the oldest that wait are dropped until no more than so much is
    /// left. What the connection has does not wait: what it was given in memory, which ends with `after`,
    /// what is [taken](Self::Taken), and what it has fetched in pages.
    Trimmed {
        queue: QueueKey,
        messages: usize,
        bytes: usize,
        after: MessageId,
    },
    /// The connection of the session has the message, and may send it without saying so. Void when the
    /// connection is over, and not written down.
    Taken {
        session: SessionKey,
        id: MessageId,
    },
    /// A member has fetched the message, whose connection has it then; or, the other way round, it hands
    /// it back.
    Moved {
        from: QueueKey,
        to: QueueKey,
        id: MessageId,
    },
    /// The message is about to be sent under this id, or was: one of QoS 1 is noted when its client goes.
    PacketIdAssigned {
        session: SessionKey,
        id: MessageId,
        copy: SentCopy,
        packet_id: PacketId,
    },
    /// PUBREC has come: the message is delivered, the exchange is not over.
    Released {
        session: SessionKey,
        packet_id: PacketId,
    },
    /// The packet id is free: PUBCOMP has come, or the client has refused the message.
    Completed {
        session: SessionKey,
        packet_id: PacketId,
    },
    /// A PUBLISH of QoS 2 is accepted; one that comes again under this id is the same.
    Received {
        session: SessionKey,
        packet_id: PacketId,
    },
    /// PUBREL has come.
    ReceivedReleased {
        session: SessionKey,
        packet_id: PacketId,
    },
    /// The message replaces the one on its topic; an empty payload removes it.
    Retained {
        tenant: Arc<str>,
        record: NewRecord,
    },
    /// What waits in a queue or is retained, and has expired by `at`, goes; what is in flight goes on.
    /// Of very many messages not all go at once: [`crate::Store::next_expiry`] says so.
    ///
    /// A message that has gone is not given a packet id any more: who appends this sees to it that
    /// nobody is about to send one that was good when he looked. An `at` that lies back does it.
    Expired {
        at: UnixMillis,
    },
}

/// Which copy of a message was sent. A session may be due two of one message: as retained, or by a shared
/// subscription beside its own; its queue has it once, as it came first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentCopy {
    pub qos: Qos,
    pub retain: bool,
    /// By a shared subscription, in whose queue it was as it was published.
    pub shared: bool,
}

impl From<&Delivery> for SentCopy {
    fn from(delivery: &Delivery) -> Self {
        let Delivery { qos, retain, .. } = *delivery;
        Self { qos, retain, shared: delivery.shared.is_some() }
    }
}

impl SentCopy {
    /// Whether the queue has this one.
    pub(crate) fn is(&self, held: &Reference) -> bool {
        match self.shared {
            true => held.qos() >= self.qos,
            false => (held.qos(), held.retain()) == (self.qos, self.retain),
        }
    }
}

impl Change {
    /// Bytes that this change holds while it waits for the disk, about.
    pub(crate) fn size(&self) -> usize {
        let held = match self {
            Self::Queued { record, copies } => {
                record.message.size() + copies.len() * size_of::<QueuedCopy>()
            }
            Self::Retained { record, .. } | Self::WillSet { will: NewWill { record, .. }, .. } => {
                record.message.size()
            }
            _ => 0,
        };
        size_of::<Self>() + held
    }
}
