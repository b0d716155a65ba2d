//! Which thread this is, for what had better stay where it is than be handed from thread to thread.

use std::sync::atomic::{AtomicU32, Ordering};

static NEXT: AtomicU32 = AtomicU32::new(0);

thread_local! {
    static NUMBER: u32 = NEXT.fetch_add(1, Ordering::Relaxed);
}

/// A number that no other thread has had, from 0 on, until there have been 2³² threads.
#[inline]
pub fn thread_number() -> u32 {
    NUMBER.with(|number| *number)
}
