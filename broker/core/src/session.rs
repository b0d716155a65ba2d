//! One client's session: what outlives its connections (MQTT 5.0 section 4.1).

mod incoming;
mod outgoing;

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use hookmq_codec::{Qos, SubscriptionOptions, TopicFilter};

pub use incoming::{
    Acknowledgement, AcknowledgementKind, CommitSequence, Incoming, ReceiveMaximumExceeded,
    Received,
};
pub use outgoing::{Outgoing, PacketIdNotFound, Redelivery, Release, Resumed};

use crate::{Message, SharedId};

/// The session state of a client. It has one owner at a time: its connection, or, while the client
/// is away, the place where it waits.
#[derive(Debug)]
pub struct Session {
    /// Messages on their way to the client.
    pub outgoing: Outgoing,
    /// Messages on their way from the client.
    pub incoming: Incoming,
    pub subscriptions: HashMap<TopicFilter, Subscription>,
    /// Seconds that the session outlives its connection; [`NEVER_EXPIRES`] for ever.
    pub expiry_interval: u32,
    /// The broker has been started since the client was here: what was in flight is not in `outgoing`,
    /// but in the store.
    pub recovered: Option<Recovered>,
    /// Whether the client may have been sent any of the messages of QoS 1 that were there when the broker was
    /// started.
    pub perhaps_sent: bool,
}

/// How the client of a session was found when the broker started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovered {
    /// It was away.
    Away,
    /// It was connected. What it was sent of QoS 1 meanwhile is not known.
    Connected,
}

/// The session expiry interval that means "never".
pub const NEVER_EXPIRES: u32 = u32::MAX;

/// What a client asked for with one filter, as it was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscription {
    pub options: SubscriptionOptions,
    pub identifier: Option<NonZeroU32>,
}

/// One message due to one session.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub message: Message,
    /// The lower of the message's and the subscription's.
    pub qos: Qos,
    pub retain: bool,
    /// Of every subscription that matched.
    pub subscription_identifiers: Option<Arc<[NonZeroU32]>>,
    /// The shared subscription that another member of may have it instead.
    pub shared: Option<SharedId>,
}

impl Delivery {
    /// Whether the store has it for a session that is guaranteed its messages.
    #[inline]
    pub fn is_stored(&self) -> bool {
        self.qos > Qos::AtMostOnce && self.message.stored() > 0
    }
}

/// Bounds on what waits.
#[derive(Debug, Clone, Copy)]
pub struct QueueLimits {
    pub messages: usize,
    pub bytes: usize,
}

impl Session {
    pub fn new(receive_maximum: u16) -> Self {
        Self {
            outgoing: Outgoing::default(),
            incoming: Incoming::new(receive_maximum),
            subscriptions: HashMap::new(),
            expiry_interval: 0,
            recovered: None,
            perhaps_sent: false,
        }
    }

    /// Whether the session goes on when its connection ends.
    pub fn outlives_connection(&self) -> bool {
        self.expiry_interval > 0
    }
}
