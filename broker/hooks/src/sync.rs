//! What threads share without a lock: as it is, and as the model of interleavings needs it.

#[cfg(not(feature = "interleavings"))]
pub(crate) use arc_swap::ArcSwap;
#[cfg(not(feature = "interleavings"))]
pub(crate) use std::sync::atomic::AtomicU64;

#[cfg(feature = "interleavings")]
pub(crate) use self::model::ArcSwap;
#[cfg(feature = "interleavings")]
pub(crate) use loom::sync::atomic::AtomicU64;

#[cfg(feature = "interleavings")]
mod model {
    use std::sync::{Arc, Mutex, PoisonError};

    use loom::sync::atomic::{AtomicUsize, Ordering};

    /// Promises what `arc_swap` documents and no more: whoever loads a value has what was done before
    /// it was stored, and may still load an older one meanwhile.
    pub(crate) struct ArcSwap<T> {
        /// A place in `stored`.
        current: AtomicUsize,
        /// All that ever was in force. The model does not know this lock, so it orders nothing.
        stored: Mutex<Vec<Arc<T>>>,
    }

    impl<T> ArcSwap<T> {
        pub(crate) fn from_pointee(first: T) -> Self {
            Self { current: AtomicUsize::new(0), stored: Mutex::new(vec![Arc::new(first)]) }
        }

        pub(crate) fn load_full(&self) -> Arc<T> {
            let place = self.current.load(Ordering::Acquire);
            self.stored.lock().unwrap_or_else(PoisonError::into_inner)[place].clone()
        }

        pub(crate) fn store(&self, next: Arc<T>) {
            let place = {
                let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
                stored.push(next);
                stored.len() - 1
            };
            self.current.store(place, Ordering::Release);
        }
    }
}
