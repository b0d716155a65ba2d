//! What calls take and give back, and had better not hand from thread to thread.

use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;

static NEXT: AtomicU32 = AtomicU32::new(0);

thread_local! {
    static NUMBER: u32 = NEXT.fetch_add(1, Ordering::Relaxed);
}

/// A number that no other thread has had, from 0 on, until there have been 2³² threads.
#[inline]
pub fn thread_number() -> u32 {
    NUMBER.with(|number| *number)
}

/// Values that are not in use, each with the thread that has used it last.
pub struct Kept<T>(Mutex<Vec<(u32, T)>>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Kept<T> {
    /// The one that this thread has used last, for it is in this processor's cache; or else any.
    pub fn take(&self) -> Option<T> {
        let thread = thread_number();
        let mut kept = self.0.lock();
        let own = kept.iter().rposition(|(last, _)| *last == thread);
        let taken = match own {
            Some(place) => Some(kept.swap_remove(place)),
            None => kept.pop(),
        };
        taken.map(|(_, value)| value)
    }

    pub fn give_back(&self, value: T) {
        self.0.lock().push((thread_number(), value));
    }

    /// Drops all.
    pub fn clear(&self) {
        let kept = std::mem::take(&mut *self.0.lock());
        drop(kept);
    }
}
