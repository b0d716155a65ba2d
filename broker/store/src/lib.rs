//! What must survive a crash, and when it does.
//!
//! A [`Store`] takes the changes of one packet as one commit and says which commits are durable.
//! Acknowledgements wait for that ([`hookmq_core::Incoming`]); the engine decides how long it takes.
//! [`MemoryStore`] keeps nothing beyond the process and so makes nobody wait.

mod held;
mod memory;

use std::sync::Arc;
use std::task::Waker;

use hookmq_codec::{Qos, TopicFilter};
use hookmq_core::{CommitSequence, Message, Subscription};

pub use held::HeldStore;
pub use memory::MemoryStore;

/// Whose session: unique within the broker.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionKey {
    pub tenant: Arc<str>,
    pub client_id: Arc<str>,
}

/// What a message waits in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum QueueKey {
    Session(SessionKey),
    /// A shared subscription, by its whole filter; one of its members gets the message.
    Shared {
        tenant: Arc<str>,
        filter: TopicFilter,
    },
}

/// One thing that must not be forgotten once it is acknowledged.
#[derive(Debug, Clone)]
pub enum Change {
    /// The session begins, or begins anew with nothing in it.
    SessionOpened {
        session: SessionKey,
        username: Arc<str>,
        expiry_interval: u32,
    },
    SessionEnded {
        session: SessionKey,
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
    /// The message is due from these queues at these QoS, which are above 0.
    Queued {
        message: Message,
        queues: Vec<(QueueKey, Qos)>,
    },
    /// The message replaces the one on its topic; an empty payload removes it.
    Retained {
        tenant: Arc<str>,
        message: Message,
    },
}

/// An engine. Calls come from many connections at once and do not block on the disk.
pub trait Store: Send + Sync {
    /// Queues `changes` as one atomic commit, behind all earlier ones.
    fn append(&self, changes: Vec<Change>) -> CommitSequence;

    /// Everything up to here is durable.
    fn durable(&self) -> CommitSequence;

    /// Wakes `waker` once `commit` is durable, or at once when it is.
    fn wake_when_durable(&self, commit: CommitSequence, waker: &Waker);
}
