//! Answers that are remembered, up to a bound.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::{Answer, PrincipalKey};

/// Permissions that all answers together may hold, about 100 bytes each.
const MAX_CACHED_PERMISSIONS: usize = 1_000_000;

/// Two halves: what was asked for lately, and what was before that. When the first is full it takes
/// the place of the second, whose answers are forgotten.
pub(super) struct Cache {
    recent: HashMap<PrincipalKey, Arc<Slot>>,
    older: HashMap<PrincipalKey, Arc<Slot>>,
    /// Permissions in the answers of `recent`.
    size: usize,
    capacity: usize,
}

/// The place of one answer.
#[derive(Default)]
pub(super) struct Slot {
    /// Held by whoever asks the database, so that the others wait for that answer.
    pub(super) turn: tokio::sync::Mutex<()>,
    answer: Mutex<Option<(Answer, Instant)>>,
}

impl Cache {
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = capacity.max(2);
        Self { recent: HashMap::new(), older: HashMap::new(), size: 0, capacity }
    }

    /// The slot of `key`, new where there is none.
    pub(super) fn slot(&mut self, key: &PrincipalKey) -> Arc<Slot> {
        if let Some(slot) = self.recent.get(key) {
            return slot.clone();
        }
        if self.recent.len() >= self.capacity / 2 {
            self.turn_over();
        }
        let slot = self.older.remove(key).unwrap_or_default();
        self.recent.insert(key.clone(), slot.clone());
        slot
    }

    /// Counts an answer of so many permissions.
    pub(super) fn note_size(&mut self, permissions: usize) {
        self.size += permissions;
        if self.size >= MAX_CACHED_PERMISSIONS / 2 {
            self.turn_over();
        }
    }

    /// Forgets the answers about those whom `concerns` names.
    pub(super) fn forget(&self, concerns: impl Fn(&PrincipalKey) -> bool) {
        for (key, slot) in self.recent.iter().chain(&self.older) {
            if concerns(key) {
                *slot.answer.lock() = None;
            }
        }
    }

    fn turn_over(&mut self) {
        self.older = std::mem::take(&mut self.recent);
        self.size = 0;
    }
}

impl Slot {
    /// The answer, if it is younger than `age`.
    pub(super) fn answer_within(&self, age: Duration) -> Option<Answer> {
        let answer = self.answer.lock();
        let (answer, at) = answer.as_ref()?;
        (at.elapsed() < age).then(|| answer.clone())
    }

    pub(super) fn answer(&self) -> Option<Answer> {
        self.answer.lock().as_ref().map(|(answer, _)| answer.clone())
    }

    /// Keeps the answer if it is `current`, which no change can make untrue meanwhile.
    pub(super) fn remember_if(&self, answer: &Answer, current: impl FnOnce() -> bool) -> bool {
        let mut place = self.answer.lock();
        let current = current();
        if current {
            *place = Some((answer.clone(), Instant::now()));
        }
        current
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NotAdmitted;

    fn key(username: &str) -> PrincipalKey {
        PrincipalKey {
            tenant: "acme".into(),
            username: username.into(),
            client_id: None,
            roles: Default::default(),
        }
    }

    fn is_known(cache: &mut Cache, username: &str) -> bool {
        cache.slot(&key(username)).answer().is_some()
    }

    fn remember(cache: &mut Cache, username: &str) {
        let slot = cache.slot(&key(username));
        assert!(slot.remember_if(&Err(NotAdmitted::NoSuchPrincipal), || true));
    }

    #[test]
    fn what_is_asked_for_stays_and_what_is_not_goes() {
        let mut cache = Cache::new(4);
        remember(&mut cache, "often");
        for other in ["a", "b", "c", "d", "e"] {
            remember(&mut cache, other);
            assert!(is_known(&mut cache, "often"), "after {other}");
        }
        assert!(!is_known(&mut cache, "a"));
        assert!(cache.recent.len() + cache.older.len() <= 4);
    }

    #[test]
    fn large_answers_count_by_their_permissions() {
        let mut cache = Cache::new(1000);
        remember(&mut cache, "first");
        cache.note_size(MAX_CACHED_PERMISSIONS / 2);
        cache.note_size(MAX_CACHED_PERMISSIONS / 2);
        assert!(!is_known(&mut cache, "first"));
    }

    #[test]
    fn a_change_forgets_those_concerned_and_what_was_asked_before_it() {
        let mut cache = Cache::new(10);
        remember(&mut cache, "one");
        remember(&mut cache, "two");
        cache.forget(|key| &*key.username == "one");
        assert!(!is_known(&mut cache, "one"));
        assert!(is_known(&mut cache, "two"));
        let slot = cache.slot(&key("one"));
        assert!(!slot.remember_if(&Err(NotAdmitted::NoSuchPrincipal), || false));
        assert!(slot.answer().is_none());
    }
}
