//! What many threads write at each message, and had better not share.

use std::sync::atomic::{AtomicU32, Ordering};

/// A value for each of sixteen threads, in cache lines of its own; with more threads, some share.
#[derive(Debug, Default)]
pub struct Places<T>([Place<T>; PLACES]);

#[derive(Debug, Default)]
#[repr(align(128))]
struct Place<T>(T);

const PLACES: usize = 16;

static NEXT: AtomicU32 = AtomicU32::new(0);

thread_local! {
    static OWN: usize = NEXT.fetch_add(1, Ordering::Relaxed) as usize % PLACES;
}

impl<T> Places<T> {
    /// The calling thread's.
    #[inline]
    pub fn own(&self) -> &T {
        &self.0[OWN.with(|own| *own)].0
    }

    /// All, the calling thread's first.
    #[inline]
    pub fn own_first(&self) -> impl Iterator<Item = &T> {
        let (before, from_own) = self.0.split_at(OWN.with(|own| *own));
        from_own.iter().chain(before).map(|place| &place.0)
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|place| &place.0)
    }
}
