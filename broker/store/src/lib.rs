//! What must survive a crash, and when it does.
//!
//! A [`Store`] takes the changes of one packet as one commit and says which commits are durable.
//! Acknowledgements wait for that ([`hookmq_core::Incoming`]); the engine decides how long it takes.
//!
//! - [`Recovery`] opens a store, tells what is wrong with it and gives the broker what it begins with;
//! - [`DurableStore`] is the store that is served: many append, one thread commits in groups;
//! - [`Ledger`] is the same without the thread: changes to transactions, records to the [`Index`];
//! - [`engine`] is what holds the bytes: SQLite or memory;
//! - [`tools`] checks, exports, imports and compacts a store that nobody serves;
//! - [`HeldStore`] is for tests of acknowledgements.

mod change;
mod clock;
mod committer;
mod directory;
pub mod engine;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod held;
mod index;
mod ledger;
mod open;
mod operation;
mod record;
mod reference;
mod state;
mod sync;
pub mod tools;
mod wire;

use std::task::Waker;

use hookmq_core::CommitSequence;

pub use change::{
    Change, MessageId, NewRecord, NewWill, Opening, QueueKey, QueuedCopy, SentCopy, SessionKey,
    SharedKey,
};
pub use clock::{UnixMillis, WallClock, simulate_clock};
pub use committer::{
    DurableStore, Figures, InFlightAnswer, Question, Steps, StoreFailure, WRITING_BOUNDS,
    WaitingAnswer,
};
pub use directory::{DirectoryError, Space, make_directory, sync_name};
pub use held::HeldStore;
pub use index::{Index, Queue};
pub use ledger::{CheckpointBounds, Damage, Ledger, OnDamage, Page, PageRequest, Verify};
pub use open::{Durability, OpenError, Recovery, StoreBounds, StoreOptions};
pub use record::{FORMAT, RecordError, StoredDelivery, StoredInFlight, StoredMessage};
pub use reference::{Parts, Reference};
pub use state::{
    InFlight, Presence, RetainedKey, RetainedState, SessionState, SharedState, StoredSubscription,
    StoredWill,
};

pub(crate) use wire::{filter_text, granted};

/// Whether the store takes more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    Open,
    /// The disk does not keep up: sockets of publishers are left unread until there is room.
    Busy,
    /// The disk is nearly full: a message that would have to be stored is refused (0x97, quota
    /// exceeded) before it goes to anybody. Acknowledgements, deletions and sessions are taken.
    Full,
    /// The disk has failed: nothing becomes durable any more.
    Failed,
}

/// What holds the broker's promises. Calls come from many connections at once and do not block on the
/// disk.
pub trait Store: Send + Sync {
    /// An id for a message that is about to be appended: above all that were given before, by this
    /// process or an earlier one.
    fn next_id(&self) -> MessageId;

    /// Queues `changes` as one atomic commit, behind all earlier ones. Nothing is refused here: who
    /// publishes asks [`Self::room`] first, before the message goes to anybody.
    fn append(&self, changes: Vec<Change>) -> CommitSequence;

    /// Everything up to here is durable.
    fn durable(&self) -> CommitSequence;

    /// Wakes `waker` once `commit` is durable, or at once when it is.
    fn wake_when_durable(&self, commit: CommitSequence, waker: &Waker);

    /// Whether the store takes more messages.
    fn room(&self) -> Room;

    /// Wakes `waker` once there is room, or at once when there is.
    fn wake_when_room(&self, waker: &Waker);

    /// When it is worth while to append [`Change::Expired`]: not later than the first message has
    /// expired that waits or is retained, and is durable. Earlier, where that one has gone meanwhile.
    fn next_expiry(&self) -> Option<UnixMillis>;

    /// What it does and what waits, where there is anything to tell.
    fn figures(&self) -> Option<Figures> {
        None
    }

    /// Answers with what was stored, behind all that was appended before. Where the store has failed or
    /// keeps nothing, the answer is dropped.
    fn ask(&self, question: Question);
}
