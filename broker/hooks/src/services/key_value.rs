//! Small values that a program keeps for a tenant, in memory, for a time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::rehearsal::{self, is_rehearsed};

/// Bounds of a [`KeyValueStore`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyValueLimits {
    /// Bytes of one key.
    pub key_size: usize,
    /// Bytes of one value.
    pub value_size: usize,
    /// Of one tenant, all programs together.
    pub entries: usize,
    /// Keys and values of one tenant, in bytes.
    pub bytes: usize,
}

impl Default for KeyValueLimits {
    fn default() -> Self {
        Self { key_size: 256, value_size: 64 << 10, entries: 10_000, bytes: 4 << 20 }
    }
}

/// Why a value is not kept. What was there before stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyValueError {
    #[error("the key is longer than {0} bytes")]
    KeyTooLong(usize),
    #[error("the value is longer than {0} bytes")]
    ValueTooLong(usize),
    #[error("the tenant's store is full")]
    Full,
    #[error("the value is not a number")]
    NotANumber,
}

/// Values by tenant, program and key. A program sees its own keys of the tenant that it is called for,
/// and no others; nothing survives the broker.
#[derive(Debug, Default)]
pub struct KeyValueStore {
    limits: KeyValueLimits,
    tenants: Mutex<HashMap<Arc<str>, Arc<Mutex<Shelf>>>>,
}

/// What one tenant's programs keep.
#[derive(Debug, Default)]
struct Shelf {
    programs: HashMap<Arc<str>, HashMap<Box<str>, Entry>>,
    entries: usize,
    bytes: usize,
    /// When expired entries were last looked for.
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    value: Vec<u8>,
    expires_at: Option<Instant>,
}

/// How often a full shelf is searched for what has expired.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

impl KeyValueStore {
    pub fn new(limits: KeyValueLimits) -> Self {
        Self { limits, tenants: Mutex::default() }
    }

    /// The value, if there is one that has not expired.
    pub fn get(&self, tenant: &str, program: &str, key: &str, now: Instant) -> Option<Vec<u8>> {
        if is_rehearsed()
            && let Some(value) = rehearsal::overlaid(tenant, program, key)
        {
            return value;
        }
        let shelf = self.tenants.lock().get(tenant).cloned()?;
        let shelf = shelf.lock();
        let entry = shelf.programs.get(program)?.get(key)?;
        entry.is_alive(now).then(|| entry.value.clone())
    }

    /// Puts a value in the place of what was there; it is forgotten after `lifetime`.
    ///
    /// # Errors
    /// Where a bound is reached.
    pub fn set(
        &self,
        tenant: &str,
        program: &str,
        key: &str,
        value: Vec<u8>,
        lifetime: Option<Duration>,
        now: Instant,
    ) -> Result<(), KeyValueError> {
        self.change(tenant, program, key, now, |_| {
            Ok(Entry { value, expires_at: expiry(lifetime, now) })
        })
    }

    /// Adds to a number, which begins at 0 and is kept as decimal text; gives the sum. `lifetime` counts
    /// from the beginning, so that a number with one is a count in a window of time.
    ///
    /// # Errors
    /// Where a bound is reached, or the value is something else. Sums saturate.
    pub fn increase(
        &self,
        tenant: &str,
        program: &str,
        key: &str,
        by: i64,
        lifetime: Option<Duration>,
        now: Instant,
    ) -> Result<i64, KeyValueError> {
        let mut sum = by;
        self.change(tenant, program, key, now, |old| {
            let mut expires_at = expiry(lifetime, now);
            if let Some(old) = old {
                let text = std::str::from_utf8(&old.value).ok();
                let number: Option<i64> = text.and_then(|text| text.parse().ok());
                sum = number.ok_or(KeyValueError::NotANumber)?.saturating_add(by);
                expires_at = old.expires_at;
            }
            Ok(Entry { value: sum.to_string().into_bytes(), expires_at })
        })?;
        Ok(sum)
    }

    pub fn delete(&self, tenant: &str, program: &str, key: &str) {
        if is_rehearsed() {
            // Nothing is kept under a longer key. Without room the real value shows through.
            if key.len() <= self.limits.key_size {
                rehearsal::overlay(tenant, program, key, None, self.limits.bytes);
            }
            return;
        }
        let Some(shelf) = self.tenants.lock().get(tenant).cloned() else { return };
        shelf.lock().remove(program, key);
    }

    /// Entries and bytes of a tenant.
    pub fn usage(&self, tenant: &str) -> (usize, usize) {
        let shelf = self.tenants.lock().get(tenant).cloned();
        shelf.map_or((0, 0), |shelf| {
            let shelf = shelf.lock();
            (shelf.entries, shelf.bytes)
        })
    }

    fn change(
        &self,
        tenant: &str,
        program: &str,
        key: &str,
        now: Instant,
        make: impl FnOnce(Option<&Entry>) -> Result<Entry, KeyValueError>,
    ) -> Result<(), KeyValueError> {
        let limits = &self.limits;
        if key.len() > limits.key_size {
            return Err(KeyValueError::KeyTooLong(limits.key_size));
        }
        if is_rehearsed() {
            let old = self.get(tenant, program, key, now);
            let old = old.map(|value| Entry { value, expires_at: None });
            let value = make(old.as_ref())?.value;
            if value.len() > limits.value_size {
                return Err(KeyValueError::ValueTooLong(limits.value_size));
            }
            return match rehearsal::overlay(tenant, program, key, Some(value), limits.bytes) {
                true => Ok(()),
                false => Err(KeyValueError::Full),
            };
        }
        let shelf = self.shelf(tenant);
        let mut shelf = shelf.lock();
        let old = shelf.programs.get(program).and_then(|entries| entries.get(key));
        let freed = old.map_or(0, |old| key.len() + old.value.len());
        let entry = make(old.filter(|old| old.is_alive(now)))?;
        if entry.value.len() > limits.value_size {
            return Err(KeyValueError::ValueTooLong(limits.value_size));
        }
        let size = key.len() + entry.value.len();
        let fits = |shelf: &Shelf| {
            let more_entries = usize::from(freed == 0);
            shelf.entries + more_entries <= limits.entries
                && shelf.bytes - freed + size <= limits.bytes
        };
        if !fits(&shelf) {
            shelf.sweep(now, (program, key));
            if !fits(&shelf) {
                return Err(KeyValueError::Full);
            }
        }
        shelf.put(program, key, entry);
        Ok(())
    }

    fn shelf(&self, tenant: &str) -> Arc<Mutex<Shelf>> {
        let mut tenants = self.tenants.lock();
        match tenants.get(tenant) {
            Some(shelf) => shelf.clone(),
            None => tenants.entry(tenant.into()).or_default().clone(),
        }
    }
}

impl Shelf {
    fn put(&mut self, program: &str, key: &str, entry: Entry) {
        self.remove(program, key);
        self.entries += 1;
        self.bytes += key.len() + entry.value.len();
        if !self.programs.contains_key(program) {
            self.programs.insert(program.into(), HashMap::new());
        }
        if let Some(entries) = self.programs.get_mut(program) {
            entries.insert(key.into(), entry);
        }
    }

    fn remove(&mut self, program: &str, key: &str) {
        let entries = self.programs.get_mut(program);
        if let Some(old) = entries.and_then(|entries| entries.remove(key)) {
            self.entries -= 1;
            self.bytes -= key.len() + old.value.len();
        }
    }

    /// Forgets what has expired, but for the entry that is about to be replaced.
    fn sweep(&mut self, now: Instant, keep: (&str, &str)) {
        if self.swept.is_some_and(|swept| now < swept + SWEEP_INTERVAL) {
            return;
        }
        self.swept = Some(now);
        let (mut entries, mut bytes) = (0, 0);
        for (program, values) in &mut self.programs {
            values.retain(|key, entry| {
                let stays = entry.is_alive(now) || (&**program, &**key) == keep;
                if stays {
                    entries += 1;
                    bytes += key.len() + entry.value.len();
                }
                stays
            });
        }
        (self.entries, self.bytes) = (entries, bytes);
    }
}

impl Entry {
    fn is_alive(&self, now: Instant) -> bool {
        self.expires_at.is_none_or(|expiry| now < expiry)
    }
}

/// What lives longer than the clock can tell does not expire.
fn expiry(lifetime: Option<Duration>, now: Instant) -> Option<Instant> {
    now.checked_add(lifetime?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn store(entries: usize, bytes: usize) -> KeyValueStore {
        KeyValueStore::new(KeyValueLimits { entries, bytes, ..KeyValueLimits::default() })
    }

    #[test]
    fn each_program_of_each_tenant_sees_its_own() {
        let (store, now) = (store(10, 1000), Instant::now());
        store.set("a", "p", "k", b"1".to_vec(), None, now).unwrap();
        assert_eq!(store.get("a", "p", "k", now), Some(b"1".to_vec()));
        for (tenant, program, key) in [("b", "p", "k"), ("a", "q", "k"), ("a", "p", "l")] {
            assert_eq!(store.get(tenant, program, key, now), None);
        }
        store.delete("a", "q", "k");
        assert_eq!(store.usage("a"), (1, 2));
        store.delete("a", "p", "k");
        assert_eq!((store.get("a", "p", "k", now), store.usage("a")), (None, (0, 0)));
    }

    #[test]
    fn values_are_forgotten_in_time_and_make_room() {
        let (store, now) = (store(2, 1000), Instant::now());
        store.set("a", "p", "1", vec![], Some(SECOND), now).unwrap();
        store.set("a", "p", "2", vec![], None, now).unwrap();
        assert_eq!(store.set("a", "p", "3", vec![], None, now), Err(KeyValueError::Full));
        store.set("a", "p", "2", vec![0; 10], None, now).unwrap();
        assert_eq!(store.get("a", "p", "1", now + SECOND), None);
        store.set("a", "p", "3", vec![], None, now + 2 * SECOND).unwrap();
        assert_eq!(store.usage("a"), (2, 12));
    }

    #[test]
    fn the_bounds_hold_and_what_was_there_stays() {
        let (store, now) = (store(10, 20), Instant::now());
        store.set("a", "p", "k", vec![1; 10], None, now).unwrap();
        for size in [20, 64 << 10, (64 << 10) + 1] {
            assert!(store.set("a", "p", "k", vec![2; size], None, now).is_err());
        }
        let long = "k".repeat(257);
        let refused = store.set("a", "p", &long, vec![], None, now);
        assert_eq!(refused, Err(KeyValueError::KeyTooLong(256)));
        assert_eq!(store.get("a", "p", "k", now), Some(vec![1; 10]));
        assert_eq!(store.usage("a"), (1, 11));
        store.set("b", "p", "k", vec![1; 19], None, now).unwrap();
    }

    #[test]
    fn a_rehearsal_sees_what_it_writes_and_leaves_nothing() {
        let (store, now) = (store(10, 1000), Instant::now());
        let add = || store.increase("a", "p", "n", 1, None, now);
        add().unwrap();
        store.set("a", "p", "k", b"real".to_vec(), None, now).unwrap();
        let (seen, _) = rehearsal::rehearse(|| {
            store.set("a", "p", "k", b"rehearsed".to_vec(), None, now).unwrap();
            let written = store.get("a", "p", "k", now);
            store.delete("a", "p", "k");
            (written, store.get("a", "p", "k", now), add(), add())
        });
        assert_eq!(seen, (Some(b"rehearsed".to_vec()), None, Ok(2), Ok(3)));
        assert_eq!(store.get("a", "p", "k", now), Some(b"real".to_vec()));
        assert_eq!(add(), Ok(2));
    }

    #[test]
    fn a_rehearsal_keeps_no_more_than_a_tenant_may() {
        let (store, now) = (KeyValueStore::default(), Instant::now());
        let set = |key: &str, size| store.set("a", "p", key, vec![0; size], None, now);
        let (kept, _) = rehearsal::rehearse(|| {
            assert_eq!(set("k", (64 << 10) + 1), Err(KeyValueError::ValueTooLong(64 << 10)));
            (0..1000).filter(|n| set(&n.to_string(), 60_000).is_ok()).count()
        });
        assert_eq!(kept, (4 << 20) / 60_000);
        assert_eq!(rehearsal::rehearse(|| set("k", 60_000)).0, Ok(()), "each begins anew");
    }

    #[test]
    fn a_number_counts_in_a_window() {
        let (store, now) = (store(10, 1000), Instant::now());
        let add = |by, now| store.increase("a", "p", "n", by, Some(10 * SECOND), now);
        assert_eq!(add(2, now), Ok(2));
        assert_eq!(add(3, now + 9 * SECOND), Ok(5));
        assert_eq!(add(1, now + 10 * SECOND), Ok(1));
        assert_eq!(add(i64::MAX, now + 11 * SECOND), Ok(i64::MAX));
        assert_eq!(store.increase("a", "p", "ever", 1, Some(Duration::MAX), now), Ok(1));
        store.set("a", "p", "n", b"x".to_vec(), None, now).unwrap();
        assert_eq!(add(1, now), Err(KeyValueError::NotANumber));
    }
}
