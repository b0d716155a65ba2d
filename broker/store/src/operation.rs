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
    Close {
        session: SessionKey,
        at: UnixMillis,
        expiry_interval: u32,
    },
    End {
        session: SessionKey,
    },
    SetWill {
        session: SessionKey,
        will: Option<StoredWill>,
    },
    ScheduleWill {
        session: SessionKey,
        at: UnixMillis,
    },
    Subscribe {
        session: SessionKey,
        subscription: StoredSubscription,
    },
    Unsubscribe {
        session: SessionKey,
        #[serde(with = "filter_text")]
        filter: TopicFilter,
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
    Assign {
        session: SessionKey,
        id: MessageId,
        packet_id: NonZeroU16,
    },
    Release {
        session: SessionKey,
        packet_id: NonZeroU16,
    },
    Complete {
        session: SessionKey,
        packet_id: NonZeroU16,
    },
    Receive {
        session: SessionKey,
        packet_id: NonZeroU16,
    },
    ReleaseReceived {
        session: SessionKey,
        packet_id: NonZeroU16,
    },
    Retain(RetainedState),
    Forget(RetainedKey),
}
