//! The entries of one filter.

use std::hash::Hash;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use smallvec::{SmallVec, smallvec};

/// Most filters have one entry, and a popular filter must not make removal slow.
#[derive(Debug)]
pub enum Entries<K, V> {
    None,
    One(K, V),
    /// At most [`FEW`].
    Few(Box<SmallVec<[(K, V); 4]>>),
    Many(Box<HashMap<K, V, FxBuildHasher>>),
}

/// From here on a scan costs more than a hash.
const FEW: usize = 16;

impl<K: Eq + Hash + Copy, V> Entries<K, V> {
    pub fn is_empty(&self) -> bool {
        match self {
            Self::None => true,
            Self::One(..) => false,
            Self::Few(entries) => entries.is_empty(),
            Self::Many(entries) => entries.is_empty(),
        }
    }

    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self {
            Self::None => *self = Self::One(key, value),
            Self::One(other, old) if *other == key => return Some(std::mem::replace(old, value)),
            Self::One(..) => {
                if let Self::One(other, first) = std::mem::replace(self, Self::None) {
                    *self = Self::Few(Box::new(smallvec![(other, first), (key, value)]));
                }
            }
            Self::Few(entries) => {
                if let Some((_, old)) = entries.iter_mut().find(|(other, _)| *other == key) {
                    return Some(std::mem::replace(old, value));
                }
                entries.push((key, value));
                if entries.len() > FEW {
                    *self = Self::Many(Box::new(entries.drain(..).collect()));
                }
            }
            Self::Many(entries) => return entries.insert(key, value),
        }
        None
    }

    pub fn remove(&mut self, key: K) -> Option<V> {
        match self {
            Self::One(other, _) if *other == key => match std::mem::replace(self, Self::None) {
                Self::One(_, value) => Some(value),
                _ => None,
            },
            Self::None | Self::One(..) => None,
            Self::Few(entries) => {
                let place = entries.iter().position(|(other, _)| *other == key)?;
                Some(entries.swap_remove(place).1)
            }
            Self::Many(entries) => entries.remove(&key),
        }
    }

    #[inline]
    pub fn for_each<'t>(&'t self, visit: &mut impl FnMut(K, &'t V)) {
        match self {
            Self::None => {}
            Self::One(key, value) => visit(*key, value),
            Self::Few(entries) => entries.iter().for_each(|(key, value)| visit(*key, value)),
            Self::Many(entries) => entries.iter().for_each(|(key, value)| visit(*key, value)),
        }
    }
}
