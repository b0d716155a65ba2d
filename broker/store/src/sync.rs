//! What threads share: as it is, and as the model of interleavings needs it.

#[cfg(not(feature = "interleavings"))]
pub(crate) use parking_lot::{Condvar, Mutex};
#[cfg(not(feature = "interleavings"))]
pub(crate) use std::sync::atomic::{AtomicU8, AtomicU64};

#[cfg(feature = "interleavings")]
pub(crate) use self::model::{Condvar, Mutex};
#[cfg(feature = "interleavings")]
pub(crate) use loom::sync::atomic::{AtomicU8, AtomicU64};

/// The model's locks, called as parking_lot's are.
#[cfg(feature = "interleavings")]
mod model {
    use std::ops::{Deref, DerefMut};
    use std::time::Duration;

    use loom::sync;

    #[derive(Default)]
    pub(crate) struct Mutex<T>(sync::Mutex<T>);

    /// Empty only while it waits.
    pub(crate) struct MutexGuard<'a, T>(&'a sync::Mutex<T>, Option<sync::MutexGuard<'a, T>>);

    #[derive(Default)]
    pub(crate) struct Condvar(sync::Condvar);

    pub(crate) struct TimedOut;

    const HELD: &str = "the guard holds the lock";
    const SOUND: &str = "the model's locks are not poisoned";

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            MutexGuard(&self.0, Some(self.0.lock().expect(SOUND)))
        }
    }

    impl Condvar {
        pub(crate) fn new() -> Self {
            Self::default()
        }

        pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
            let held = guard.1.take().expect(HELD);
            guard.1 = Some(self.0.wait(held).expect(SOUND));
        }

        /// The model has no clock: the time is over once the others have had a turn.
        pub(crate) fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, _: Duration) -> TimedOut {
            drop(guard.1.take());
            loom::thread::yield_now();
            guard.1 = Some(guard.0.lock().expect(SOUND));
            TimedOut
        }

        pub(crate) fn notify_one(&self) {
            self.0.notify_one();
        }
    }

    impl TimedOut {
        pub(crate) fn timed_out(&self) -> bool {
            true
        }
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            self.1.as_deref().expect(HELD)
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.1.as_deref_mut().expect(HELD)
        }
    }
}
