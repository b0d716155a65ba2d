//! Units by their key, each in a numbered slot that it keeps, so that they can be gone through in
//! pieces while they come and go.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::num::NonZeroU32;

use crate::{RetainedKey, RetainedState, SessionKey, SessionState, SharedKey, SharedState};

pub(super) trait Keyed {
    type Key: Hash + Eq + Clone + std::fmt::Debug;
    fn key(&self) -> &Self::Key;

    /// When the first message that waits in it expires, in seconds since 1970.
    fn next_expiry(&self) -> Option<NonZeroU32>;
}

impl Keyed for SessionState {
    type Key = SessionKey;
    fn key(&self) -> &SessionKey {
        &self.session
    }

    fn next_expiry(&self) -> Option<NonZeroU32> {
        self.queue.next_expiry()
    }
}

impl Keyed for SharedState {
    type Key = SharedKey;
    fn key(&self) -> &SharedKey {
        &self.shared
    }

    fn next_expiry(&self) -> Option<NonZeroU32> {
        self.queue.next_expiry()
    }
}

impl Keyed for RetainedState {
    type Key = RetainedKey;
    fn key(&self) -> &RetainedKey {
        &self.retained
    }

    fn next_expiry(&self) -> Option<NonZeroU32> {
        self.message.expires_at()
    }
}

#[derive(Debug)]
pub(super) struct Slots<T: Keyed> {
    places: HashMap<T::Key, u32>,
    slots: Vec<Option<Box<Slot<T>>>>,
    free: Vec<u32>,
    /// Those with messages that expire: when the first does, and where they are. It is no part of the
    /// state, and may say too early a time: of a message that has gone meanwhile.
    expiries: BTreeSet<(NonZeroU32, u32)>,
}

#[derive(Debug)]
struct Slot<T> {
    /// Everything up to this commit is in the unit.
    as_of: u64,
    /// As `expiries` has it.
    expiry: Option<NonZeroU32>,
    unit: T,
}

impl<T: Keyed> Default for Slots<T> {
    fn default() -> Self {
        let expiries = BTreeSet::new();
        Self { places: HashMap::new(), slots: Vec::new(), free: Vec::new(), expiries }
    }
}

impl<T: Keyed> Slots<T> {
    pub(super) fn find(&self, key: &T::Key) -> Option<&T> {
        self.slot(*self.places.get(key)? as usize)
    }

    /// The unit, unless it has `commit` already.
    pub(super) fn at(&mut self, commit: u64, key: &T::Key) -> Option<&mut T> {
        self.place(commit, key).map(|(_, unit)| unit)
    }

    /// As [`Self::at`], with its place.
    pub(super) fn place(&mut self, commit: u64, key: &T::Key) -> Option<(u32, &mut T)> {
        let place = *self.places.get(key)?;
        let slot = self.slots[place as usize].as_mut()?;
        (slot.as_of < commit).then_some((place, &mut slot.unit))
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
        let Some((place, held)) = self.place(commit, unit.key()) else { return Err(unit) };
        let old = std::mem::replace(held, unit);
        self.settle(place);
        Ok(Some(old))
    }

    /// Takes in a unit as it stood as of `commit`. Gives the older one, where there are two.
    pub(super) fn restore(&mut self, commit: u64, unit: T) -> Option<T> {
        let Some(slot) = self.places.get(unit.key()).map(|it| &self.slots[*it as usize]) else {
            self.add(commit, unit);
            return None;
        };
        if slot.as_ref().is_some_and(|slot| slot.as_of >= commit) {
            return Some(unit);
        }
        let old = self.remove(unit.key());
        self.add(commit, unit);
        old
    }

    pub(super) fn remove(&mut self, key: &T::Key) -> Option<T> {
        let place = self.places.remove(key)?;
        self.free.push(place);
        let slot = self.slots[place as usize].take()?;
        slot.expiry.map(|expiry| self.expiries.remove(&(expiry, place)));
        Some(slot.unit)
    }

    /// When the first message may expire, in seconds since 1970.
    pub(super) fn next_expiry(&self) -> Option<NonZeroU32> {
        self.expiries.first().map(|(expiry, _)| *expiry)
    }

    /// Those in which something expires by `second`, the first one first.
    pub(super) fn expiring(&self, second: u32) -> impl Iterator<Item = &T> {
        let due = self.expiries.iter().take_while(move |it| it.0.get() <= second);
        due.filter_map(|(_, place)| self.slot(*place as usize))
    }

    /// Leaves none among the expiring in which nothing expires by `second`.
    pub(super) fn settle_until(&mut self, second: u32) {
        let due = self.expiries.iter().take_while(|it| it.0.get() <= second);
        let places: Vec<u32> = due.map(|(_, place)| *place).collect();
        places.into_iter().for_each(|place| self.settle(place));
    }

    /// A message that expires then has come to the unit at `place`.
    pub(super) fn expires(&mut self, place: u32, expiry: NonZeroU32) {
        let Some(slot) = &mut self.slots[place as usize] else { return };
        if slot.expiry.is_none_or(|it| expiry < it) {
            slot.expiry.map(|it| self.expiries.remove(&(it, place)));
            slot.expiry = Some(expiry);
            self.expiries.insert((expiry, place));
        }
    }

    /// Looks when the first message of the unit at `place` really expires.
    pub(super) fn settle(&mut self, place: u32) {
        let Some(slot) = &mut self.slots[place as usize] else { return };
        let expiry = slot.unit.next_expiry();
        if slot.expiry != expiry {
            slot.expiry.map(|it| self.expiries.remove(&(it, place)));
            slot.expiry = expiry;
            self.expiries.extend(expiry.map(|it| (it, place)));
        }
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
        let expiry = unit.next_expiry();
        let slot = Some(Box::new(Slot { as_of, expiry, unit }));
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
        self.expiries.extend(expiry.map(|it| (it, place)));
        self.places.insert(key, place);
    }
}
