//! What the programs of one tenant keep.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Keeper;

/// What one tenant's programs keep.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    /// By kind and name.
    programs: [HashMap<Arc<str>, Values>; 3],
    pub(super) entries: usize,
    pub(super) bytes: usize,
    /// When expired entries were last looked for.
    swept: Option<Instant>,
}

type Values = HashMap<Box<str>, Entry>;

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) value: Vec<u8>,
    pub(super) expires_at: Option<Instant>,
}

/// How often a full shelf is searched for what has expired.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

impl Shelf {
    pub(super) fn entry(&self, keeper: Keeper<'_>, key: &str) -> Option<&Entry> {
        self.programs[keeper.kind as usize].get(keeper.name)?.get(key)
    }

    pub(super) fn put(&mut self, keeper: Keeper<'_>, key: &str, entry: Entry) {
        let programs = &mut self.programs[keeper.kind as usize];
        if !programs.contains_key(keeper.name) {
            programs.insert(keeper.name.into(), Values::new());
        }
        let Some(values) = programs.get_mut(keeper.name) else { return };
        self.bytes += key.len() + entry.value.len();
        match values.insert(key.into(), entry) {
            None => self.entries += 1,
            Some(old) => self.bytes -= key.len() + old.value.len(),
        }
    }

    pub(super) fn remove_all(&mut self, keeper: Keeper<'_>) {
        let values = self.programs[keeper.kind as usize].remove(keeper.name);
        for (key, old) in values.into_iter().flatten() {
            self.entries -= 1;
            self.bytes -= key.len() + old.value.len();
        }
    }

    pub(super) fn remove(&mut self, keeper: Keeper<'_>, key: &str) {
        let programs = &mut self.programs[keeper.kind as usize];
        let Some(values) = programs.get_mut(keeper.name) else { return };
        if let Some(old) = values.remove(key) {
            self.entries -= 1;
            self.bytes -= key.len() + old.value.len();
        }
        if values.is_empty() {
            programs.remove(keeper.name);
        }
    }

    /// Forgets what has expired, but for the entry that is about to be replaced.
    pub(super) fn sweep(&mut self, now: Instant, keep: Option<(Keeper<'_>, &str)>) {
        if self.swept.is_some_and(|swept| now < swept + SWEEP_INTERVAL) {
            return;
        }
        self.swept = Some(now);
        let (mut entries, mut bytes) = (0, 0);
        for (kind, programs) in self.programs.iter_mut().enumerate() {
            programs.retain(|name, values| {
                values.retain(|key, entry| {
                    let kept = keep.is_some_and(|(keeper, kept)| {
                        (keeper.kind as usize, keeper.name, kept) == (kind, &**name, &**key)
                    });
                    let stays = kept || entry.is_alive(now);
                    if stays {
                        entries += 1;
                        bytes += key.len() + entry.value.len();
                    }
                    stays
                });
                !values.is_empty()
            });
        }
        (self.entries, self.bytes) = (entries, bytes);
    }
}

impl Entry {
    pub(super) fn is_alive(&self, now: Instant) -> bool {
        self.expires_at.is_none_or(|expiry| now < expiry)
    }
}
