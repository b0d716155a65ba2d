//! What a client is there for.

use hookmq_codec::{ProtocolVersion, Qos};

use super::outbox::Numbering;
use super::subscription::Subscription;
use super::will::WillHabit;

/// What a client is in the play.
#[derive(Debug)]
pub struct Role {
    pub name: String,
    pub version: ProtocolVersion,
    pub keeping: Keeping,
    /// Of the packet ids of its messages.
    pub numbering: Numbering,
    /// Streams that it publishes.
    pub streams: Vec<usize>,
    /// Retained messages that it publishes.
    pub registers: Vec<(usize, Qos)>,
    pub subscriptions: Vec<Subscription>,
    /// Whether it unsubscribes now and then.
    pub constancy: Constancy,
    /// In 5.0: how much may be in flight to it.
    pub receive_maximum: Option<u16>,
    pub will: Option<WillHabit>,
    /// How often it stays away, of 100 lives of the broker.
    pub absence: u32,
    /// How often it connects with a clean start, of 100 times. In 3.1.1 the session ends with that
    /// connection, so nothing is subscribed on it.
    pub amnesia: u32,
}

/// Whether the session outlives the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    Durable,
    Transient,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Constancy {
    Constant,
    Fickle,
}
