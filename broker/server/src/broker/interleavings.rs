//! The mailbox on the locks of a model that tries every order of threads. This is the root of the crate
//! `hookmq-interleavings`: under the model's settings the broker's own would be built anew with all that
//! it is made of.

#![cfg(feature = "interleavings")]

pub mod mailbox;
pub mod meter {
    //! As the broker's, without what needs tenants.

    mod queued;

    pub use self::queued::QueuedBytes;

    impl QueuedBytes {
        /// With a bound, so that everything is counted.
        pub fn bounded(most: u64) -> Self {
            let account = Self::new(Default::default());
            account.bound(Some(most));
            account
        }

        /// Whether nothing is counted of the bytes that are its bound.
        pub fn is_empty(&self, most: u64) -> bool {
            self.has_room(most as usize)
        }
    }
}

mod memory {
    //! There is always enough of it.

    pub(crate) const FRUGAL: usize = usize::MAX;

    #[derive(Debug, Default)]
    pub(crate) struct Memory;

    impl Memory {
        pub(crate) fn is_short(&self) -> bool {
            false
        }
    }
}

mod metrics {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    /// As the broker's. Nobody waits for what it says.
    #[derive(Debug, Default)]
    pub(crate) struct Counter(AtomicU64);

    impl Counter {
        pub(crate) fn add(&self, count: u64) {
            self.0.fetch_add(count, Relaxed);
        }
    }
}

/// In place of `sync.rs`: the model's atomic numbers, its lock, called as parking_lot's is, and a waker
/// behind that.
mod sync {
    use std::task::Waker;

    pub(super) use loom::sync::atomic::{AtomicBool, AtomicU64};
    use loom::sync::{self, MutexGuard};

    #[derive(Debug, Default)]
    pub(super) struct Mutex<T>(sync::Mutex<T>);

    #[derive(Debug, Default)]
    pub(super) struct AtomicWaker(Mutex<Option<Waker>>);

    const SOUND: &str = "the model's locks are not poisoned";

    impl<T> Mutex<T> {
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
}
