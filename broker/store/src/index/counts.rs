//! How many references each message has.

use std::collections::HashMap;

use rustc_hash::FxBuildHasher;

use crate::MessageId;

/// Counts by message, in pages of neighbours: ids are given in turn, so a busy page is full, and one
/// message that stays for years holds a page and not all that came after it.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pages: HashMap<u64, [u8; PAGE], FxBuildHasher>,
    /// Of those that a page cannot count.
    many: HashMap<u64, u32, FxBuildHasher>,
    live: usize,
}

const PAGE: usize = 32;
/// The count is in `many`.
const MANY: u8 = u8::MAX;

impl Counts {
    pub(super) fn add(&mut self, id: MessageId) {
        let (page, place) = place(id);
        let count = &mut self.pages.entry(page).or_insert([0; PAGE])[place];
        self.live += usize::from(*count == 0);
        match *count {
            MANY => *self.many.entry(id.0).or_default() += 1,
            _ => *count += 1,
        }
        if *count == MANY {
            self.many.entry(id.0).or_insert(MANY.into());
        }
    }

    /// One reference less; says whether it was the last one.
    pub(super) fn remove(&mut self, id: MessageId) -> bool {
        let (page, place) = place(id);
        let Some(counts) = self.pages.get_mut(&page) else { return false };
        match counts[place] {
            0 => return false,
            MANY => {
                let many = self.many.entry(id.0).or_default();
                *many = many.saturating_sub(1);
                if *many < u32::from(MANY) {
                    self.many.remove(&id.0);
                    counts[place] = MANY - 1;
                }
            }
            _ => counts[place] -= 1,
        }
        let gone = counts[place] == 0;
        self.live -= usize::from(gone);
        if gone && *counts == [0; PAGE] {
            self.pages.remove(&page);
            // A backlog that has gone gives its memory back.
            if self.pages.capacity() > 1024 && self.pages.len() < self.pages.capacity() / 8 {
                self.pages.shrink_to(self.pages.len() * 2);
            }
        }
        gone
    }

    pub(super) fn contains(&self, id: MessageId) -> bool {
        let (page, place) = place(id);
        self.pages.get(&page).is_some_and(|counts| counts[place] > 0)
    }

    pub(super) fn len(&self) -> usize {
        self.live
    }

    /// In ascending order.
    pub(super) fn ids(&self) -> Vec<MessageId> {
        let mut pages: Vec<_> = self.pages.iter().collect();
        pages.sort_unstable_by_key(|(page, _)| **page);
        let ids = pages.into_iter().flat_map(|(page, counts)| {
            let live = (0..PAGE).filter(|place| counts[*place] > 0);
            live.map(move |place| MessageId(page * PAGE as u64 + place as u64))
        });
        ids.collect()
    }
}

fn place(id: MessageId) -> (u64, usize) {
    (id.0 / PAGE as u64, (id.0 % PAGE as u64) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_goes_beyond_a_byte_and_back() {
        let mut counts = Counts::default();
        for _ in 0..1_000 {
            counts.add(MessageId(40));
        }
        counts.add(MessageId(3));
        assert_eq!((counts.len(), counts.ids()), (2, vec![MessageId(3), MessageId(40)]));
        for left in (0..1_000).rev() {
            assert_eq!(counts.remove(MessageId(40)), left == 0, "{left} left");
        }
        assert!(!counts.remove(MessageId(40)), "nothing to remove");
        assert!(counts.remove(MessageId(3)));
        assert!(counts.pages.is_empty() && counts.many.is_empty());
    }
}
