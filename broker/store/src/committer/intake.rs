//! Where connections leave their changes, and the thread takes them.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Question;
use crate::open::StoreBounds;
use crate::sync::{AtomicU8, Condvar, Mutex};
use crate::{Change, Room};

/// A queue with two bounds. At either one publishers are asked to pause; what comes nevertheless is
/// taken, for it is at most what each connection had begun, and acknowledgements and deletions make
/// room. Once the store has failed, nothing is kept.
pub(super) struct Intake {
    queue: Mutex<Queue>,
    /// The thread sleeps on it.
    work: Condvar,
    /// Bits of `BUSY`, `FULL` and `FAILED`.
    state: AtomicU8,
    bounds: StoreBounds,
}

#[derive(Default)]
struct Queue {
    commits: VecDeque<(Vec<Change>, usize)>,
    /// Each with the last commit that its answer takes in. A session asks one at a time, so there are
    /// no more than connections.
    questions: VecDeque<(u64, Question)>,
    changes: usize,
    bytes: usize,
    last: u64,
    taken: u64,
    stopping: bool,
}

/// What the thread has to do next.
#[derive(Default)]
pub(super) struct Work {
    pub commits: Vec<Vec<Change>>,
    pub questions: Vec<Question>,
    /// Publishers may go on.
    pub room: bool,
    pub stopping: bool,
}

const BUSY: u8 = 1;
const FULL: u8 = 2;
const FAILED: u8 = 4;

/// Questions that are answered between two transactions.
const QUESTIONS: usize = 64;

impl Intake {
    pub(super) fn new(last: u64, bounds: StoreBounds) -> Self {
        let queue = Mutex::new(Queue { last, taken: last, ..Queue::default() });
        Self { queue, work: Condvar::new(), state: AtomicU8::new(0), bounds }
    }

    pub(super) fn append(&self, changes: Vec<Change>) -> u64 {
        let bytes: usize = changes.iter().map(Change::size).sum();
        let mut queue = self.queue.lock();
        queue.last += 1;
        let commit = queue.last;
        if self.is(FAILED) {
            return commit;
        }
        queue.changes += changes.len();
        queue.bytes += bytes;
        let first = queue.commits.is_empty();
        queue.commits.push_back((changes, bytes));
        if queue.changes > self.bounds.queued_changes || queue.bytes > self.bounds.queued_bytes {
            self.state.fetch_or(BUSY, Ordering::AcqRel);
        }
        drop(queue);
        // The thread does not sleep while something waits.
        if first {
            self.work.notify_one();
        }
        commit
    }

    pub(super) fn ask(&self, question: Question) {
        let mut queue = self.queue.lock();
        if !self.is(FAILED) {
            let last = queue.last;
            queue.questions.push_back((last, question));
        }
        drop(queue);
        self.work.notify_one();
    }

    /// Waits for something to do, unless the thread is `busy` anyhow, and no longer than `patience`.
    pub(super) fn take(&self, busy: bool, patience: Option<Duration>) -> Work {
        let mut queue = self.queue.lock();
        while !busy && queue.is_idle() {
            match patience {
                None => self.work.wait(&mut queue),
                Some(patience) => {
                    if self.work.wait_for(&mut queue, patience).timed_out() {
                        break;
                    }
                }
            }
        }
        let mut work = Work { stopping: queue.stopping, ..Work::default() };
        let (mut changes, mut bytes) = (0, 0);
        while let Some((next, size)) = queue.commits.front() {
            (changes, bytes) = (changes + next.len(), bytes + size);
            let fits = changes <= self.bounds.batch_changes && bytes <= self.bounds.batch_bytes;
            if !fits && !work.commits.is_empty() {
                break;
            }
            let Some((next, size)) = queue.commits.pop_front() else { break };
            queue.changes -= next.len();
            queue.bytes -= size;
            work.commits.push(next);
            queue.taken += 1;
        }
        let taken = queue.taken;
        while work.questions.len() < QUESTIONS
            && let Some((_, question)) = queue.questions.pop_front_if(|(last, _)| *last <= taken)
        {
            work.questions.push(question);
        }
        let half = queue.changes <= self.bounds.queued_changes / 2
            && queue.bytes <= self.bounds.queued_bytes / 2;
        if half && self.is(BUSY) {
            self.state.fetch_and(!BUSY, Ordering::AcqRel);
            work.room = true;
        }
        work
    }

    /// Commits, changes and bytes that wait.
    pub(super) fn depth(&self) -> (usize, usize, usize) {
        let queue = self.queue.lock();
        (queue.commits.len(), queue.changes, queue.bytes)
    }

    pub(super) fn room(&self) -> Room {
        match self.state.load(Ordering::Acquire) {
            0 => Room::Open,
            state if state & FAILED != 0 => Room::Failed,
            state if state & FULL != 0 => Room::Full,
            _ => Room::Busy,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.is(FULL)
    }

    /// Says whether that is news.
    pub(super) fn set_full(&self, full: bool) -> bool {
        let before = match full {
            true => self.state.fetch_or(FULL, Ordering::AcqRel),
            false => self.state.fetch_and(!FULL, Ordering::AcqRel),
        };
        (before & FULL != 0) != full
    }

    /// Nothing that waits will ever be written.
    pub(super) fn fail(&self) {
        let mut queue = self.queue.lock();
        self.state.fetch_or(FAILED, Ordering::AcqRel);
        queue.commits.clear();
        queue.questions.clear();
        (queue.changes, queue.bytes) = (0, 0);
    }

    pub(super) fn stop(&self) {
        self.queue.lock().stopping = true;
        self.work.notify_one();
    }

    /// Waits; says whether the store is to stop.
    pub(super) fn pause(&self, duration: Duration) -> bool {
        let mut queue = self.queue.lock();
        if !queue.stopping {
            self.work.wait_for(&mut queue, duration);
        }
        queue.stopping
    }

    pub(super) fn is_drained(&self) -> bool {
        let queue = self.queue.lock();
        queue.commits.is_empty() && queue.questions.is_empty()
    }

    fn is(&self, state: u8) -> bool {
        self.state.load(Ordering::Acquire) & state != 0
    }
}

impl Queue {
    fn is_idle(&self) -> bool {
        self.commits.is_empty() && self.questions.is_empty() && !self.stopping
    }
}
