//! Where a node's children are found.

use hashbrown::DefaultHashBuilder;
use std::hash::{BuildHasher, Hasher};

/// The literal children of all nodes, by parent and level: a hash table with linear probing.
///
/// A look-up is mostly one visit to memory, as a slot has what tells most others apart. Which node it is
/// the caller knows: only nodes know their levels.
#[derive(Debug, Default)]
pub struct Edges {
    /// As many as a power of two, or none. A third are vacant at least.
    slots: Vec<Slot>,
    length: usize,
    hasher: DefaultHashBuilder,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    hash: EdgeHash,
    /// [`VACANT`], or the child.
    node: u32,
}

/// The root is nobody's child.
const VACANT: u32 = 0;

/// Of a parent and a level. Its lower bits say where the search begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EdgeHash(u32);

impl Edges {
    #[inline]
    pub fn hash(&self, parent: u32, level: &str) -> EdgeHash {
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u32(parent);
        hasher.write(level.as_bytes());
        EdgeHash(hasher.finish() as u32)
    }

    /// The node with this hash that is the one.
    #[inline]
    pub fn find(&self, hash: EdgeHash, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        self.place(hash, is_it).map(|place| self.slots[place].node)
    }

    pub fn insert(&mut self, hash: EdgeHash, node: u32) {
        if (self.length + 1) * 3 > self.slots.len() * 2 {
            self.grow();
        }
        self.put(Slot { hash, node });
        self.length += 1;
    }

    pub fn remove(&mut self, hash: EdgeHash, node: u32) {
        let Some(mut gap) = self.place(hash, |other| other == node) else { return };
        self.length -= 1;
        // What stands behind moves up, as no search goes on behind a vacant slot.
        let mask = self.slots.len() - 1;
        let mut next = gap;
        loop {
            next = (next + 1) & mask;
            let slot = self.slots[next];
            if slot.node == VACANT {
                break;
            }
            let from_home = next.wrapping_sub(slot.hash.0 as usize) & mask;
            let from_gap = next.wrapping_sub(gap) & mask;
            if from_home >= from_gap {
                self.slots[gap] = slot;
                gap = next;
            }
        }
        self.slots[gap] = Slot::default();
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.length == 0 && self.slots.iter().all(|slot| slot.node == VACANT)
    }

    #[inline]
    fn place(&self, hash: EdgeHash, is_it: impl Fn(u32) -> bool) -> Option<usize> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut place = hash.0 as usize & mask;
        loop {
            let slot = self.slots[place];
            if slot.node == VACANT {
                return None;
            }
            if slot.hash == hash && is_it(slot.node) {
                return Some(place);
            }
            place = (place + 1) & mask;
        }
    }

    fn put(&mut self, slot: Slot) {
        let mask = self.slots.len() - 1;
        let mut place = slot.hash.0 as usize & mask;
        while self.slots[place].node != VACANT {
            place = (place + 1) & mask;
        }
        self.slots[place] = slot;
    }

    #[cold]
    fn grow(&mut self) {
        let places = (self.slots.len() * 2).max(8);
        let old = std::mem::replace(&mut self.slots, vec![Slot::default(); places]);
        old.into_iter().filter(|slot| slot.node != VACANT).for_each(|slot| self.put(slot));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// With hashes that collide, as they would in a large table.
        #[test]
        fn what_was_put_in_is_found_until_it_is_taken_out(
            steps in prop::collection::vec((0..8_u32, 1..40_u32, any::<bool>()), 0..200),
        ) {
            let mut edges = Edges::default();
            let mut expected = std::collections::HashMap::new();
            for (hash, node, insert) in steps {
                let known = expected.contains_key(&node);
                if insert && !known {
                    edges.insert(EdgeHash(hash), node);
                    expected.insert(node, hash);
                } else if let Some(hash) = expected.remove(&node) {
                    edges.remove(EdgeHash(hash), node);
                }
                for node in 1..40 {
                    let found = (0..8).filter(|hash| edges.find(EdgeHash(*hash), |it| it == node).is_some());
                    prop_assert_eq!(found.collect::<Vec<_>>(), Vec::from_iter(expected.get(&node).copied()));
                }
            }
            prop_assert_eq!(edges.is_empty(), expected.is_empty());
        }
    }
}
