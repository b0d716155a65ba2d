//! What a broker knows, without I/O: messages, sessions, the topic tree, retained messages.
//!
//! Time, randomness and bytes are arguments here; sockets, clocks and tasks are the server's.

mod message;
mod retained;
mod session;
mod shared;
mod topic_tree;

pub use message::{Message, NewMessage};
pub use retained::{RetainedFull, RetainedLimits, RetainedMessages};
pub use session::{
    Acknowledgement, AcknowledgementKind, CommitSequence, Delivery, Incoming, NEVER_EXPIRES,
    Outgoing, PacketIdNotFound, QueueLimits, ReceiveMaximumExceeded, Received, Recovered,
    Redelivery, Release, Resumed, Session, Subscription,
};
pub use shared::{Shared, SharedId, SharedQueue};
pub use topic_tree::TopicTree;
