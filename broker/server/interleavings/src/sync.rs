//! In place of the broker's `sync.rs`: the model's atomic numbers, its lock, called as parking_lot's is, and
//! what stands behind that lock as tokio and `atomic_waker` document theirs.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::task::{Poll, Waker};
use std::time::Duration;

pub(super) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use loom::sync::{self, MutexGuard};

pub(super) use super::oneshot;

#[derive(Debug, Default)]
pub(super) struct Mutex<T>(sync::Mutex<T>);

#[derive(Debug, Default)]
pub(super) struct AtomicWaker(Mutex<Option<Waker>>);

/// A wait had no result before its time was over.
#[derive(Debug)]
pub(super) struct Elapsed;

const SOUND: &str = "the model's locks are not poisoned";

loom::thread_local! {
    static PATIENT: Cell<bool> = Cell::new(true);
}

/// Whether this thread waits as long as it takes. Else its time is over as soon as it would wait, which is
/// at every moment that the orders of threads have.
pub fn with_patience(patient: bool) {
    PATIENT.with(|it| it.set(patient));
}

/// As tokio's.
pub(super) async fn timeout<T>(
    _limit: Duration,
    work: impl Future<Output = T>,
) -> Result<T, Elapsed> {
    let mut work = pin!(work);
    std::future::poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(result) => Poll::Ready(Ok(result)),
        Poll::Pending if PATIENT.with(Cell::get) => Poll::Pending,
        Poll::Pending => Poll::Ready(Err(Elapsed)),
    })
    .await
}

impl<T> Mutex<T> {
    pub(super) fn new(value: T) -> Self {
        Self(sync::Mutex::new(value))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().expect(SOUND)
    }

    pub(super) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().expect(SOUND)
    }
}

impl AtomicWaker {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn register(&self, waker: &Waker) {
        *self.0.lock() = Some(waker.clone());
    }

    pub(super) fn wake(&self) {
        let waker = self.0.lock().take();
        waker.into_iter().for_each(Waker::wake);
    }
}
