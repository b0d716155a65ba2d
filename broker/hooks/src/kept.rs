//! What calls take and give back, and had better not hand from thread to thread.

use parking_lot::Mutex;

use crate::Places;

/// Values that are not in use, each with the thread that has used it last.
pub struct Kept<T>(Places<Mutex<Vec<T>>>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Places::default())
    }
}

impl<T> Kept<T> {
    /// The one that this thread has used last, for it is in this processor's cache; or else any.
    pub fn take(&self) -> Option<T> {
        self.0.own_first().find_map(|kept| kept.lock().pop())
    }

    pub fn give_back(&self, value: T) {
        self.0.own().lock().push(value);
    }

    /// Drops all.
    pub fn clear(&self) {
        for kept in self.0.iter() {
            let values = std::mem::take(&mut *kept.lock());
            drop(values);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_thread_has_given_back_is_found_too() {
        let kept = Kept::default();
        std::thread::scope(|threads| {
            for value in 0..40 {
                threads.spawn({
                    let kept = &kept;
                    move || kept.give_back(value)
                });
            }
        });
        kept.give_back(40);
        assert_eq!(kept.take(), Some(40), "its own comes first");
        let mut others: Vec<_> = std::iter::from_fn(|| kept.take()).collect();
        others.sort_unstable();
        assert_eq!(others, Vec::from_iter(0..40));
        kept.give_back(1);
        kept.clear();
        assert_eq!(kept.take(), None);
    }
}
