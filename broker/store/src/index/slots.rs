//! Units by their key, each in a numbered slot that it keeps, so that they can be gone through in
//! pieces while they come and go.

use std::collections::HashMap;
use std::hash::Hash;

use crate::{RetainedKey, RetainedState, SessionKey, SessionState, SharedKey, SharedState};

pub(super) trait Keyed {
    type Key: Hash + Eq + Clone + std::fmt::Debug;
    fn key(&self) -> &Self::Key;
}

impl Keyed for SessionState {
    type Key = SessionKey;
    fn key(&self) -> &SessionKey {
        &self.session
    }
}

impl Keyed for SharedState {
    type Key = SharedKey;
    fn key(&self) -> &SharedKey {
        &self.shared
    }
}

impl Keyed for RetainedState {
    type Key = RetainedKey;
    fn key(&self) -> &RetainedKey {
        &self.retained
    }
}

#[derive(Debug)]
pub(super) struct Slots<T: Keyed> {
    places: HashMap<T::Key, u32>,
    slots: Vec<Option<Box<Slot<T>>>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot<T> {
    /// Everything up to this commit is in the unit.
    as_of: u64,
    unit: T,
}

impl<T: Keyed> Default for Slots<T> {
    fn default() -> Self {
        Self { places: HashMap::new(), slots: Vec::new(), free: Vec::new() }
    }
}

impl<T: Keyed> Slots<T> {
    pub(super) fn find(&self, key: &T::Key) -> Option<&T> {
        self.slot(*self.places.get(key)? as usize)
    }

    /// The unit, unless it has `commit` already.
    pub(super) fn at(&mut self, commit: u64, key: &T::Key) -> Option<&mut T> {
        let slot = self.slots[*self.places.get(key)? as usize].as_mut()?;
        (slot.as_of < commit).then_some(&mut slot.unit)
    }

    /// As [`Self::at`]; a unit that is not there begins.
    pub(super) fn entry(
        &mut self,
        commit: u64,
        key: &T::Key,
        fresh: impl FnOnce() -> T,
    ) -> Option<&mut T> {
        if !self.places.contains_key(key) {
            self.add(0, fresh());
        }
        self.at(commit, key)
    }

    /// Puts the unit in the place of the one under its key, which it gives; or gives the unit back
    /// where the one that is there has `commit` already.
    pub(super) fn replace(&mut self, commit: u64, unit: T) -> Result<Option<T>, T> {
        if !self.places.contains_key(unit.key()) {
            self.add(0, unit);
            return Ok(None);
        }
        match self.at(commit, unit.key()) {
            Some(held) => Ok(Some(std::mem::replace(held, unit))),
            None => Err(unit),
        }
    }

    /// Takes in a unit as it stood as of `commit`. Gives the older one, where there are two.
    pub(super) fn restore(&mut self, commit: u64, unit: T) -> Option<T> {
        let Some(place) = self.places.get(unit.key()) else {
            self.add(commit, unit);
            return None;
        };
        match &mut self.slots[*place as usize] {
            Some(slot) if slot.as_of >= commit => Some(unit),
            slot => {
                let new = Some(Box::new(Slot { as_of: commit, unit }));
                std::mem::replace(slot, new).map(|old| old.unit)
            }
        }
    }

    pub(super) fn remove(&mut self, key: &T::Key) -> Option<T> {
        let place = self.places.remove(key)?;
        self.free.push(place);
        self.slots[place as usize].take().map(|slot| slot.unit)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().flatten().map(|slot| &slot.unit)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().flatten().map(|slot| &mut slot.unit)
    }

    /// How many slots there are, empty ones included.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn slot(&self, place: usize) -> Option<&T> {
        self.slots.get(place)?.as_ref().map(|slot| &slot.unit)
    }

    fn add(&mut self, as_of: u64, unit: T) {
        let key = unit.key().clone();
        let slot = Some(Box::new(Slot { as_of, unit }));
        let place = match self.free.pop() {
            Some(place) => {
                self.slots[place as usize] = slot;
                place
            }
            None => {
                self.slots.push(slot);
                (self.slots.len() - 1) as u32
            }
        };
        self.places.insert(key, place);
    }
}
