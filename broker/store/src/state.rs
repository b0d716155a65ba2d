//! What the store knows of a session, a shared subscription and a retained message: the units that a
//! checkpoint consists of, that the broker is given when it starts, and that an export shows.

use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::sync::Arc;

use hookmq_codec::TopicFilter;
use hookmq_core::Subscription;
use serde::{Deserialize, Serialize};

use crate::index::Queue;
use crate::{MessageId, Reference, SessionKey, SharedKey, UnixMillis, filter_text, granted};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionState {
    pub session: SessionKey,
    pub username: Arc<str>,
    /// Seconds that the session outlives its connection.
    pub expiry_interval: u32,
    pub epoch: u32,
    #[serde(with = "as_closed_at", rename = "closed_at")]
    pub presence: Presence,
    pub will: Option<StoredWill>,
    pub subscriptions: Vec<StoredSubscription>,
    /// Packet ids of QoS 2 that the client has not released, in ascending order.
    pub received: Vec<NonZeroU16>,
    /// Messages with a packet id, in the order in which they got it.
    pub in_flight: VecDeque<InFlight>,
    /// Messages without one.
    pub queue: Queue,
}

/// Whether a session's client is connected. On disk it looks as an optional time did, which it was
/// before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Presence {
    /// It was when the store was last written.
    Connected,
    /// Its connection ended, and what it had been sent is in flight here.
    Left(UnixMillis),
    /// The broker ended under it: what it had been sent of QoS 1 is not known.
    Lost(UnixMillis),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredSubscription {
    #[serde(with = "filter_text")]
    pub filter: TopicFilter,
    #[serde(with = "granted")]
    pub subscription: Subscription,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlight {
    pub packet_id: NonZeroU16,
    /// None once PUBREC has come, and for a second copy of one message: PUBCOMP is awaited.
    pub message: Option<Reference>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredWill {
    pub id: MessageId,
    /// Seconds after the end of the connection.
    pub delay: u32,
    /// Seconds that the message lives once it is published.
    pub expiry_interval: Option<u32>,
    /// Known once the connection is lost.
    pub due_at: Option<UnixMillis>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SharedState {
    pub shared: SharedKey,
    /// Sessions known to the store that subscribe. The queue ends with the last one.
    pub members: u32,
    pub queue: Queue,
}

/// Where a message is retained.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RetainedKey {
    pub tenant: Arc<str>,
    pub topic: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RetainedState {
    pub retained: RetainedKey,
    pub message: Reference,
}

impl SessionState {
    pub(crate) fn new(session: SessionKey) -> Self {
        Self {
            session,
            username: "".into(),
            expiry_interval: 0,
            epoch: 0,
            presence: Presence::Connected,
            will: None,
            subscriptions: Vec::new(),
            received: Vec::new(),
            in_flight: VecDeque::new(),
            queue: Queue::default(),
        }
    }

    pub(crate) fn is_subscribed(&self, filter: &TopicFilter) -> bool {
        self.subscriptions.iter().any(|it| it.filter == *filter)
    }

    /// Every message that the session refers to.
    pub(crate) fn message_ids(&self) -> impl Iterator<Item = MessageId> {
        let in_flight = self.in_flight.iter().filter_map(|it| it.message.as_ref());
        let references = in_flight.chain(self.queue.iter()).map(Reference::id);
        references.chain(self.will.iter().map(|will| will.id))
    }
}

/// In an export: nothing, a time, or a time that is called lost.
mod as_closed_at {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{Presence, UnixMillis};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Told {
        Left(UnixMillis),
        Lost { lost: UnixMillis },
    }

    pub(super) fn serialize<S: Serializer>(it: &Presence, to: S) -> Result<S::Ok, S::Error> {
        if !to.is_human_readable() {
            return it.serialize(to);
        }
        let told = match *it {
            Presence::Connected => None,
            Presence::Left(at) => Some(Told::Left(at)),
            Presence::Lost(lost) => Some(Told::Lost { lost }),
        };
        told.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Presence, D::Error> {
        if !from.is_human_readable() {
            return Presence::deserialize(from);
        }
        Ok(match Option::deserialize(from)? {
            None => Presence::Connected,
            Some(Told::Left(at)) => Presence::Left(at),
            Some(Told::Lost { lost }) => Presence::Lost(lost),
        })
    }
}
