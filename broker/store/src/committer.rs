//! Group commit: one thread writes what all connections have appended, and one sync serves them all.

mod figures;
mod intake;
mod waiting;

use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hookmq_core::CommitSequence;
use tracing::{error, info, warn};

use crate::directory::{self, Directory, Space};
use crate::engine::EngineError;
use crate::ledger::{Ledger, Page, PageRequest};
use crate::open::{Durability, StoreBounds};
use crate::record::{StoredInFlight, StoredMessage};
use crate::sync::{AtomicU64, Mutex};
use crate::{Change, Damage, MessageId, Room, SessionKey, Store, UnixMillis};

use figures::Tally;
pub use figures::{Figures, WRITING_BOUNDS};
use intake::{Intake, Work};
use waiting::Waiting;

/// The store that brokers use.
///
/// Appending is a short lock. The thread takes what has been appended, at most [`StoreBounds`], writes
/// it as one transaction and wakes who waits for it; meanwhile the next transaction gathers. Where
/// little is going on, a commit leaves at once: nothing waits for company.
pub struct DurableStore {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    intake: Intake,
    durable: AtomicU64,
    next_id: AtomicU64,
    /// In milliseconds since 1970; `NEVER` where nothing expires.
    next_expiry: AtomicU64,
    waiting: Mutex<Waiting>,
    durability: Durability,
    tally: Tally,
    directory: Option<PathBuf>,
}

/// Why nothing is acknowledged any more.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the store has failed: {0}")]
pub struct StoreFailure(pub String);

/// What is asked of the thread. Answers take in all that was appended before.
pub enum Question {
    Page(PageRequest, Box<dyn FnOnce(Page) + Send>),
    InFlight(SessionKey, Box<dyn FnOnce(InFlightAnswer) + Send>),
    Message(MessageId, Box<dyn FnOnce(Result<StoredMessage, Damage>) + Send>),
    /// The sessions out of whose queues messages have gone for their age since this was last asked.
    Swept(Box<dyn FnOnce(Vec<SessionKey>) + Send>),
    Waiting(SessionKey, Box<dyn FnOnce(WaitingAnswer) + Send>),
}

/// What was under way towards a client, and what of it cannot be read.
pub type InFlightAnswer = (Vec<StoredInFlight>, Vec<Damage>);

/// What waits for a session: messages, and their bytes. None where there is no such session.
pub type WaitingAnswer = Option<(usize, usize)>;

const NEVER: u64 = u64::MAX;

/// How often a full disk is looked at.
const FULL_DISK: Duration = Duration::from_secs(1);

/// Percent of the disk that must be free beyond the bound before messages are taken again.
const HYSTERESIS: u64 = 1;

/// Bytes that the log, a checkpoint and the engine's write-ahead log take up at most beside the
/// messages: what of it they do not have yet must be free, or queues cannot be emptied. On a small disk
/// this is more than the percentage.
const FLOOR: u64 = 64 << 20;

/// As [`HYSTERESIS`], of the floor.
const FLOOR_HYSTERESIS: u64 = 2 << 20;

impl DurableStore {
    /// Writes what was appended and a checkpoint, and ends the thread. What is appended from now on is
    /// not durable.
    pub fn close(&self) {
        self.shared.intake.stop();
        let thread = self.thread.lock().take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            error!("the store's thread has panicked");
        }
    }

    /// What was done since the start, and what waits: two short locks, and a look at two files.
    pub fn figures(&self) -> Figures {
        let Shared { intake, tally, waiting, directory, .. } = &*self.shared;
        let (queued_commits, queued_changes, queued_bytes) = intake.depth();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Figures {
            commits: count(&tally.commits),
            changes: count(&tally.changes),
            transactions: count(&tally.transactions),
            bytes_written: count(&tally.bytes_written),
            writing: tally.writing(),
            writing_up_to: tally.writing_up_to(),
            queued_commits,
            queued_changes,
            queued_bytes,
            waiting: waiting.lock().len(),
            room: intake.room(),
            file_bytes: directory.as_deref().map_or(0, directory::file_bytes),
        }
    }
}

impl Drop for DurableStore {
    fn drop(&mut self) {
        self.close();
    }
}

impl Store for DurableStore {
    fn next_id(&self) -> MessageId {
        MessageId(self.shared.next_id.fetch_add(1, Ordering::Relaxed))
    }

    fn append(&self, changes: Vec<Change>) -> CommitSequence {
        let commit = self.shared.intake.append(changes);
        if self.shared.durability == Durability::Memory {
            self.shared.durable.fetch_max(commit, Ordering::AcqRel);
        }
        CommitSequence(commit)
    }

    fn durable(&self) -> CommitSequence {
        CommitSequence(self.shared.durable.load(Ordering::Acquire))
    }

    fn wake_when_durable(&self, commit: CommitSequence, waker: &Waker) {
        let mut waiting = self.shared.waiting.lock();
        // Under the lock, for the thread sets it before it takes the lock to wake.
        match commit <= self.durable() {
            true => waker.wake_by_ref(),
            false => waiting.for_commit(commit.0, waker),
        }
    }

    fn room(&self) -> Room {
        self.shared.intake.room()
    }

    fn wake_when_room(&self, waker: &Waker) {
        let mut waiting = self.shared.waiting.lock();
        match self.room() {
            Room::Open => waker.wake_by_ref(),
            _ => waiting.for_room(waker),
        }
    }

    fn next_expiry(&self) -> Option<UnixMillis> {
        let next = self.shared.next_expiry.load(Ordering::Acquire);
        (next != NEVER).then_some(UnixMillis(next))
    }

    fn figures(&self) -> Option<Figures> {
        Some(Self::figures(self))
    }

    fn ask(&self, question: Question) {
        self.shared.intake.ask(question);
    }
}

/// What the thread does, step by step, where the caller is its clock: see
/// [`Recovery::serve_in_steps`](crate::Recovery::serve_in_steps).
pub struct Steps(Committer);

impl Steps {
    /// Writes a transaction of what was appended, wakes who waits for it, and answers what was asked.
    /// It does not wait. False once the store was closed and has written all.
    ///
    /// # Errors
    /// The disk has failed: nothing is acknowledged from now on.
    pub fn step(&mut self) -> Result<bool, StoreFailure> {
        let Self(committer) = self;
        let work = committer.shared.intake.take(true, None);
        let ended = committer.turn(work);
        if !matches!(ended, Ok(true)) {
            committer.shared.intake.fail();
        }
        ended.map_err(|error| StoreFailure(error.to_string()))
    }
}

/// The thread's side.
pub(crate) struct Committer {
    shared: Arc<Shared>,
    ledger: Ledger,
    directory: Option<Directory>,
    bounds: StoreBounds,
    space: Option<Box<dyn FnMut() -> std::io::Result<Space> + Send>>,
}

impl Committer {
    pub(crate) fn new(
        ledger: Ledger,
        directory: Option<Directory>,
        durability: Durability,
        bounds: StoreBounds,
        space: Option<Box<dyn FnMut() -> std::io::Result<Space> + Send>>,
    ) -> Self {
        let shared = Arc::new(Shared {
            intake: Intake::new(ledger.last_commit(), bounds),
            durable: AtomicU64::new(ledger.last_commit()),
            next_id: AtomicU64::new(ledger.next_id().0.max(1)),
            next_expiry: AtomicU64::new(next_expiry(&ledger)),
            waiting: Mutex::default(),
            durability,
            tally: Tally::default(),
            directory: directory.as_ref().map(|it| it.path().to_owned()),
        });
        Self { shared, ledger, directory, bounds, space }
    }

    pub(crate) fn start(
        mut self,
        on_failure: Box<dyn FnOnce(StoreFailure) + Send>,
    ) -> std::io::Result<Arc<DurableStore>> {
        let shared = self.shared.clone();
        self.watch_space();
        let run = move || {
            let ended = catch_unwind(AssertUnwindSafe(|| self.run()));
            self.shared.intake.fail();
            let failure = match ended {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some("its thread has panicked".into()),
            };
            if let Some(failure) = failure.map(StoreFailure) {
                error!(%failure, "nothing is acknowledged any more");
                on_failure(failure);
            }
        };
        let thread = std::thread::Builder::new().name("store".into()).spawn(run)?;
        Ok(Arc::new(DurableStore { shared, thread: Mutex::new(Some(thread)) }))
    }

    pub(crate) fn into_steps(mut self) -> (Arc<DurableStore>, Steps) {
        self.watch_space();
        let store = DurableStore { shared: self.shared.clone(), thread: Mutex::new(None) };
        (Arc::new(store), Steps(self))
    }

    fn run(&mut self) -> Result<(), EngineError> {
        loop {
            let patience = self.shared.intake.is_full().then_some(FULL_DISK);
            let work = self.shared.intake.take(self.ledger.is_busy(), patience);
            if !self.turn(work)? {
                return Ok(());
            }
        }
    }

    /// Does what was taken; false where the store has stopped behind it.
    fn turn(&mut self, work: Work) -> Result<bool, EngineError> {
        let Work { commits, questions, room, stopping } = work;
        if !commits.is_empty() || self.ledger.is_busy() {
            self.commit(&commits)?;
        }
        self.watch_space();
        self.wake(room);
        questions.into_iter().for_each(|question| answer(&mut self.ledger, question));
        if stopping && self.shared.intake.is_drained() {
            self.ledger.finish(UnixMillis::now())?;
            return Ok(false);
        }
        Ok(true)
    }

    fn commit(&mut self, commits: &[Vec<Change>]) -> Result<(), EngineError> {
        // Read behind the commits that were taken, and so above every id in them.
        let next_id = MessageId(self.shared.next_id.load(Ordering::Acquire));
        let (began, bytes) = (Instant::now(), self.ledger.written());
        let mut written = self.ledger.commit(commits, next_id, UnixMillis::now());
        while let Err(EngineError::Full(reason)) = written {
            self.make_room(&reason)?;
            written = self.ledger.write();
        }
        written?;
        let (changes, bytes) = (commits.iter().map(Vec::len).sum(), self.ledger.written() - bytes);
        self.shared.tally.wrote(commits.len(), changes, bytes, began.elapsed());
        self.shared.next_expiry.store(next_expiry(&self.ledger), Ordering::Release);
        let durable = self.ledger.last_commit();
        if self.shared.durability != Durability::Memory {
            self.shared.durable.store(durable, Ordering::Release);
        }
        if self.shared.durability == Durability::Fsync {
            self.mark(durable)?;
        }
        Ok(())
    }

    /// Notes beside the engine what is durable. A file system that writes in other places than before may
    /// find no room for it: it waits as a transaction does.
    fn mark(&mut self, durable: u64) -> Result<(), EngineError> {
        while let Some(Err(error)) = self.directory.as_mut().map(|it| it.set_durable(durable)) {
            let reason = format!("the mark: {error}");
            match error.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => self.make_room(&reason)?,
                _ => return Err(EngineError::Failed(reason)),
            }
        }
        Ok(())
    }

    /// The disk has no room for a transaction. What is set aside for that is given up; where that is
    /// not enough, the transaction waits until somebody makes room.
    fn make_room(&mut self, reason: &str) -> Result<(), EngineError> {
        if self.shared.intake.set_full(true) {
            warn!(reason, "the disk is full: no new messages are taken");
        }
        let given_up = self.directory.as_ref().is_some_and(Directory::give_up_reserve);
        if !given_up && self.shared.intake.pause(FULL_DISK) {
            return Err(EngineError::Failed(format!("stopped while the disk is full: {reason}")));
        }
        Ok(())
    }

    /// Refuses new messages while the disk is nearly full, and takes them again when it is not.
    fn watch_space(&mut self) {
        let space = match (&mut self.space, &self.directory) {
            (Some(space), _) => space(),
            (None, Some(directory)) => directory.space(),
            (None, None) => return,
        };
        let Ok(Space { free, total }) = space else { return };
        let (share, floor) =
            to_stay_free(total, self.bounds.nearly_full, self.shared.intake.is_full());
        let full = free < share.max(floor) && {
            // What the engine's file has no more use for is as good as free.
            let free = free + self.ledger.engine().stats().map_or(0, |it| it.free_bytes);
            let logs = self.directory.as_ref().map_or(0, Directory::log_bytes);
            free < share || free + logs + self.ledger.log_bytes() < floor
        };
        if !self.shared.intake.set_full(full) {
            return;
        }
        if full {
            warn!(free, total, "the disk is nearly full: no new messages are taken");
            return;
        }
        info!(free, total, "the disk has room: messages are taken again");
        if let Some(Err(error)) = self.directory.as_ref().map(Directory::reserve) {
            warn!(%error, "no space can be set aside for a full disk");
        }
        self.wake(true);
    }

    fn wake(&self, room: bool) {
        let durable = self.shared.durable.load(Ordering::Acquire);
        let ready = self.shared.waiting.lock().ready(durable, room);
        ready.into_iter().for_each(Waker::wake);
    }
}

pub(crate) fn answer(ledger: &mut Ledger, question: Question) {
    match question {
        Question::Page(request, answer) => answer(ledger.page(&request)),
        Question::InFlight(session, answer) => answer(ledger.in_flight(&session)),
        Question::Message(id, answer) => answer(ledger.message(id)),
        Question::Swept(answer) => answer(ledger.take_swept()),
        Question::Waiting(session, answer) => {
            let queue = ledger.index().session(&session).map(|it| &it.queue);
            answer(queue.map(|it| (it.len(), it.bytes() as usize)));
        }
    }
}

/// Bytes of a disk of `total` that have to be free for messages to be taken, or to be taken again: of
/// all, and of what is not for messages.
fn to_stay_free(total: u64, percent: u8, is_full: bool) -> (u64, u64) {
    let share = |percent: u64| total / 100 * percent;
    match (u64::from(percent), is_full) {
        (0, _) => (0, 0),
        (percent, false) => (share(percent), FLOOR),
        (percent, true) => (share(percent + HYSTERESIS), FLOOR + FLOOR_HYSTERESIS),
    }
}

fn next_expiry(ledger: &Ledger) -> u64 {
    ledger.index().next_expiry().map_or(NEVER, |it| it.0)
}

#[cfg(all(test, feature = "interleavings"))]
mod interleavings;
#[cfg(test)]
mod tests;
