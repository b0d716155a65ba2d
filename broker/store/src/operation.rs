//! What the log holds: changes, resolved to operations that each touch one unit and need no other.

use std::num::NonZeroU16;
use std::sync::Arc;

use hookmq_codec::TopicFilter;
use serde::{Deserialize, Serialize};

use crate::{
    MessageId, Opening, QueueKey, Reference, RetainedKey, RetainedState, SessionKey, SharedKey,
    StoredSubscription, StoredWill, UnixMillis, filter_text,
};

/// One step of the state machine [`crate::Index`]. Its place in the enum is its number on disk: new
/// ones go to the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Operation {
    Open {
        session: SessionKey,
        username: Arc<str>,
        expiry_interval: u32,
        epoch: u32,
        opening: Opening,
    },
    End {
        session: SessionKey,
    },
    OfSession {
        session: SessionKey,
        step: SessionStep,
    },
    /// One more member.
    Join {
        shared: SharedKey,
    },
    /// One member less; with the last one the queue goes.
    Leave {
        shared: SharedKey,
    },
    Push {
        queue: QueueKey,
        reference: Reference,
    },
    Remove {
        queue: QueueKey,
        id: MessageId,
    },
    Retain(RetainedState),
    Forget(RetainedKey),
    /// What waits there and has expired by `at` goes.
    Expire {
        queue: QueueKey,
        at: UnixMillis,
    },
}

/// Of a packet id that is used for what is no message of its own. An earlier broker finds none under it.
pub(crate) const NO_MESSAGE: MessageId = MessageId(u64::MAX);

/// What happens within a session that goes on; as stable as [`Operation`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum SessionStep {
    Close { at: UnixMillis, expiry_interval: u32 },
    SetWill(Option<StoredWill>),
    ScheduleWill(UnixMillis),
    Subscribe(StoredSubscription),
    Unsubscribe(#[serde(with = "filter_text")] TopicFilter),
    Assign { id: MessageId, packet_id: NonZeroU16 },
    Release(NonZeroU16),
    Complete(NonZeroU16),
    Receive(NonZeroU16),
    ReleaseReceived(NonZeroU16),
    Lose { at: UnixMillis },
}
