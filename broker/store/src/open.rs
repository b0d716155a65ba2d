//! Opening a store: what it holds is read, judged, shown to the broker, and only then served.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;
use tracing::warn;

use crate::committer::{Committer, DurableStore, Steps, StoreFailure};
use crate::directory::{Directory, DirectoryError, Space};
use crate::engine::{Engine, EngineError, MemoryEngine, SqliteEngine, Synchronous};
use crate::index::Index;
use crate::ledger::{CheckpointBounds, Damage, Ledger, OnDamage, Verify};
use crate::record::{StoredInFlight, StoredMessage};
use crate::{MessageId, RetainedKey, SessionKey, UnixMillis};

/// What "acknowledged" promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// It survives the machine: every commit waits for the disk.
    #[default]
    Fsync,
    /// It survives the process: every commit waits for the operating system.
    Os,
    /// Nothing: it ends with the process, and nobody waits.
    Memory,
}

impl Durability {
    /// As the configuration has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fsync => "fsync",
            Self::Os => "os",
            Self::Memory => "memory",
        }
    }
}

/// How a store is run.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    pub directory: PathBuf,
    pub durability: Durability,
    pub bounds: StoreBounds,
    pub verify: Verify,
    pub on_damage: OnDamage,
}

/// Bounds on what waits and on what is written at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreBounds {
    /// Changes of one transaction; one commit may have more.
    pub batch_changes: usize,
    /// Bytes of one transaction; one commit may have more.
    pub batch_bytes: usize,
    /// Changes that may wait for the disk before publishers are asked to pause.
    pub queued_changes: usize,
    /// Bytes that may wait for the disk before publishers are asked to pause.
    pub queued_bytes: usize,
    /// Of the file system, in percent: with less free, no new messages are taken.
    pub nearly_full: u8,
    pub checkpoint: CheckpointBounds,
}

/// Why a store is not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error("{}: there is no store", .0.display())]
    Missing(PathBuf),
    #[error("the store cannot be opened: {0}")]
    Engine(#[from] EngineError),
    /// All that is wrong with it.
    #[error("the store is damaged: {}", list(.0))]
    Damaged(Vec<Damage>),
    #[error("the store's thread cannot be started: {0}")]
    Thread(#[source] std::io::Error),
}

/// A store that was read and is not served yet: the broker takes from it what it needs to begin.
pub struct Recovery {
    ledger: Ledger,
    damages: Vec<Damage>,
    directory: Option<Directory>,
    durability: Durability,
    bounds: StoreBounds,
    space: Option<Box<dyn FnMut() -> std::io::Result<Space> + Send>>,
}

impl Default for StoreBounds {
    fn default() -> Self {
        Self {
            batch_changes: 1024,
            batch_bytes: 1 << 20,
            queued_changes: 1 << 16,
            queued_bytes: 64 << 20,
            nearly_full: 5,
            checkpoint: CheckpointBounds::default(),
        }
    }
}

impl StoreOptions {
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            durability: Durability::default(),
            bounds: StoreBounds::default(),
            verify: Verify::default(),
            on_damage: OnDamage::default(),
        }
    }
}

impl Recovery {
    /// Opens the store with the engine that ships.
    ///
    /// # Errors
    /// Where the directory is in use or cannot be used, and where something that was written is not
    /// there as it was, unless the rest is to be served.
    pub fn open(options: &StoreOptions) -> Result<Self, OpenError> {
        if options.durability == Durability::Memory {
            let engine = Box::new(MemoryEngine::default());
            return Self::with_engine(engine, options);
        }
        let directory = Directory::open(&options.directory)?;
        let (synchronous, durable) = match options.durability {
            Durability::Fsync => (Synchronous::Full, directory.durable()),
            Durability::Os | Durability::Memory => (Synchronous::Normal, directory.durable()),
        };
        let engine = Box::new(SqliteEngine::open(&directory.database(), synchronous)?);
        let mut recovery = Self::read(engine, options, durable)?;
        if options.durability == Durability::Os {
            let path = options.directory.clone();
            let failed = |source| DirectoryError::Io { path, source };
            directory.forget_durable().map_err(failed)?;
        }
        if let Err(error) = directory.reserve() {
            warn!(%error, "no space can be set aside for a full disk");
        }
        recovery.directory = Some(directory);
        Ok(recovery)
    }

    /// Opens the store with another engine, of whose durability the caller knows.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn with_engine(engine: Box<dyn Engine>, options: &StoreOptions) -> Result<Self, OpenError> {
        Self::read(engine, options, 0)
    }

    fn read(
        engine: Box<dyn Engine>,
        options: &StoreOptions,
        durable: u64,
    ) -> Result<Self, OpenError> {
        let StoreOptions { bounds, verify, on_damage, durability, .. } = options;
        let (mut ledger, damages) = Ledger::load(engine, bounds.checkpoint, durable, *verify)?;
        if *on_damage == OnDamage::Refuse && !damages.iter().all(Damage::is_harmless) {
            return Err(OpenError::Damaged(damages));
        }
        if !damages.is_empty() {
            ledger.give_up(&damages)?;
            ledger.finish(UnixMillis::now())?;
        }
        let (durability, bounds) = (*durability, *bounds);
        Ok(Self { ledger, damages, directory: None, durability, bounds, space: None })
    }

    /// What was wrong and is given up.
    pub fn damages(&self) -> &[Damage] {
        &self.damages
    }

    /// Sessions with subscriptions, queues and wills; shared subscriptions; where what is retained.
    pub fn index(&self) -> &Index {
        self.ledger.index()
    }

    /// The first id that is given next.
    pub fn next_id(&self) -> MessageId {
        self.ledger.next_id().max(MessageId(1))
    }

    /// A message that the index names, such as a will.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn message(&mut self, id: MessageId) -> Result<StoredMessage, Damage> {
        self.ledger.message(id)
    }

    /// What a session had under way towards its client, and what of it cannot be read.
    pub fn in_flight(&mut self, session: &SessionKey) -> (Vec<StoredInFlight>, Vec<Damage>) {
        self.ledger.in_flight(session)
    }

    /// Gives every retained message, one after the other.
    ///
    /// # Errors
    /// The first one that cannot be read ends it.
    pub fn for_each_retained(
        &mut self,
        mut take: impl FnMut(&RetainedKey, StoredMessage),
    ) -> Result<(), Damage> {
        let places: Vec<_> = self.ledger.index().retained().map(|it| it.message.id()).collect();
        let keys: Vec<_> = self.ledger.index().retained().map(|it| it.retained.clone()).collect();
        for (key, id) in keys.iter().zip(places) {
            take(key, self.ledger.message(id)?);
        }
        Ok(())
    }

    /// Asks this for the space on the disk in place of the system.
    pub fn with_space(
        mut self,
        space: impl FnMut() -> std::io::Result<Space> + Send + 'static,
    ) -> Self {
        self.space = Some(Box::new(space));
        self
    }

    /// Takes changes from now on. `on_failure` is called once, on the store's thread, when the disk has
    /// failed: nothing is acknowledged from then on, and the process had better end.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub fn serve(
        self,
        on_failure: impl FnOnce(StoreFailure) + Send + 'static,
    ) -> Result<Arc<DurableStore>, OpenError> {
        let Self { ledger, directory, durability, bounds, space, .. } = self;
        let committer = Committer::new(ledger, directory, durability, bounds, space);
        committer.start(Box::new(on_failure)).map_err(OpenError::Thread)
    }

    /// As [`Self::serve`], without a thread: what it would do is done when the caller says so.
    pub fn serve_in_steps(self) -> (Arc<DurableStore>, Steps) {
        let Self { ledger, directory, durability, bounds, space, .. } = self;
        Committer::new(ledger, directory, durability, bounds, space).into_steps()
    }

    /// A store without a directory that was read already.
    pub(crate) fn of(ledger: Ledger) -> Self {
        let (durability, bounds) = (Durability::default(), StoreBounds::default());
        Self { ledger, damages: Vec::new(), directory: None, durability, bounds, space: None }
    }

    pub(crate) fn ledger(&mut self) -> &mut Ledger {
        &mut self.ledger
    }
}

fn list(damages: &[Damage]) -> String {
    const SHOWN: usize = 20;
    let mut lines: Vec<String> = damages.iter().take(SHOWN).map(Damage::to_string).collect();
    if damages.len() > SHOWN {
        lines.push(format!("and {} more", damages.len() - SHOWN));
    }
    lines.join("; ")
}
