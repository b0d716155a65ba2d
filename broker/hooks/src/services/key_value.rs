//! Small values that a program keeps for a tenant, in memory, for a time.

mod shelf;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use self::shelf::{Entry, Shelf};
use crate::ProgramKind;
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

/// The program that keeps something: a rule and a plugin of the same name have nothing in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keeper<'a> {
    pub kind: ProgramKind,
    pub name: &'a str,
}

/// Values by tenant, program and key. A program sees its own keys of the tenant that it is called for,
/// and no others; nothing survives the broker.
#[derive(Debug, Default)]
pub struct KeyValueStore {
    limits: KeyValueLimits,
    tenants: Mutex<Tenants>,
}

/// Those who keep something, or did so lately.
#[derive(Debug, Default)]
struct Tenants {
    shelves: BTreeMap<Arc<str>, Arc<Mutex<Shelf>>>,
    /// The tenant whose shelf was looked at last.
    tidied: Option<Arc<str>>,
}

/// Shelves that are looked at whenever one is added: what has expired of tenants that do not come back
/// goes sooner than more can come.
const TIDIED: usize = 2;

impl KeyValueStore {
    pub fn new(limits: KeyValueLimits) -> Self {
        Self { limits, tenants: Mutex::default() }
    }

    /// The value, if there is one that has not expired.
    pub fn get(
        &self,
        tenant: &str,
        keeper: Keeper<'_>,
        key: &str,
        now: Instant,
    ) -> Option<Vec<u8>> {
        if is_rehearsed()
            && let Some(value) = rehearsal::overlaid(tenant, keeper, key)
        {
            return value;
        }
        let shelf = self.tenants.lock().shelves.get(tenant).cloned()?;
        let shelf = shelf.lock();
        let entry = shelf.entry(keeper, key)?;
        entry.is_alive(now).then(|| entry.value.clone())
    }

    /// Puts a value in the place of what was there; it is forgotten after `lifetime`.
    ///
    /// # Errors
    /// Where a bound is reached.
    pub fn set(
        &self,
        tenant: &str,
        keeper: Keeper<'_>,
        key: &str,
        value: Vec<u8>,
        lifetime: Option<Duration>,
        now: Instant,
    ) -> Result<(), KeyValueError> {
        self.change(tenant, keeper, key, now, |_| {
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
        keeper: Keeper<'_>,
        key: &str,
        by: i64,
        lifetime: Option<Duration>,
        now: Instant,
    ) -> Result<i64, KeyValueError> {
        let mut sum = by;
        self.change(tenant, keeper, key, now, |old| {
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

    pub fn delete(&self, tenant: &str, keeper: Keeper<'_>, key: &str) {
        if is_rehearsed() {
            // Nothing is kept under a longer key. Without room the real value shows through.
            if key.len() <= self.limits.key_size {
                rehearsal::overlay(tenant, keeper, key, None, self.limits.bytes);
            }
            return;
        }
        let shelf = self.tenants.lock().shelves.get(tenant).cloned();
        let Some(shelf) = shelf else { return };
        let is_empty = {
            let mut shelf = shelf.lock();
            shelf.remove(keeper, key);
            shelf.entries == 0
        };
        drop(shelf);
        if is_empty {
            self.tenants.lock().clear_away(tenant);
        }
    }

    /// Forgets all that a program keeps for the tenant.
    pub fn forget(&self, tenant: &str, keeper: Keeper<'_>) {
        let Some(shelf) = self.tenants.lock().shelves.get(tenant).cloned() else { return };
        shelf.lock().remove_all(keeper);
        drop(shelf);
        self.tenants.lock().clear_away(tenant);
    }

    /// Entries and bytes of a tenant.
    pub fn usage(&self, tenant: &str) -> (usize, usize) {
        let shelf = self.tenants.lock().shelves.get(tenant).cloned();
        shelf.map_or((0, 0), |shelf| {
            let shelf = shelf.lock();
            (shelf.entries, shelf.bytes)
        })
    }

    fn change(
        &self,
        tenant: &str,
        keeper: Keeper<'_>,
        key: &str,
        now: Instant,
        make: impl FnOnce(Option<&Entry>) -> Result<Entry, KeyValueError>,
    ) -> Result<(), KeyValueError> {
        let limits = &self.limits;
        if key.len() > limits.key_size {
            return Err(KeyValueError::KeyTooLong(limits.key_size));
        }
        if is_rehearsed() {
            let old = self.get(tenant, keeper, key, now);
            let old = old.map(|value| Entry { value, expires_at: None });
            let value = make(old.as_ref())?.value;
            if value.len() > limits.value_size {
                return Err(KeyValueError::ValueTooLong(limits.value_size));
            }
            return match rehearsal::overlay(tenant, keeper, key, Some(value), limits.bytes) {
                true => Ok(()),
                false => Err(KeyValueError::Full),
            };
        }
        let shelf = self.tenants.lock().shelf(tenant, now);
        let mut shelf = shelf.lock();
        let old = shelf.entry(keeper, key);
        let is_new = old.is_none();
        let freed = old.map_or(0, |old| key.len() + old.value.len());
        let entry = make(old.filter(|old| old.is_alive(now)))?;
        if entry.value.len() > limits.value_size {
            return Err(KeyValueError::ValueTooLong(limits.value_size));
        }
        let size = key.len() + entry.value.len();
        let fits = |shelf: &Shelf| {
            shelf.entries + usize::from(is_new) <= limits.entries
                && shelf.bytes - freed + size <= limits.bytes
        };
        if !fits(&shelf) {
            shelf.sweep(now, Some((keeper, key)));
            if !fits(&shelf) {
                return Err(KeyValueError::Full);
            }
        }
        shelf.put(keeper, key, entry);
        Ok(())
    }
}

impl Tenants {
    /// The tenant's shelf, new where there is none. One that stays empty goes when it is looked at next.
    fn shelf(&mut self, tenant: &str, now: Instant) -> Arc<Mutex<Shelf>> {
        if let Some(shelf) = self.shelves.get(tenant) {
            return shelf.clone();
        }
        for _ in 0..TIDIED {
            self.tidy(now);
        }
        self.shelves.entry(tenant.into()).or_default().clone()
    }

    /// Looks at the shelf behind the one that was looked at last.
    fn tidy(&mut self, now: Instant) {
        let start = self.tidied.take().map_or(Bound::Unbounded, Bound::Excluded);
        let Some((tenant, shelf)) = self.shelves.range((start, Bound::Unbounded)).next() else {
            return;
        };
        let tenant = tenant.clone();
        // One that is in use is none that was left behind.
        if let Some(mut shelf) = shelf.try_lock() {
            shelf.sweep(now, None);
        }
        self.clear_away(&tenant);
        self.tidied = Some(tenant);
    }

    /// Forgets a shelf that is empty, and that nobody is about to put anything on.
    fn clear_away(&mut self, tenant: &str) {
        let is_idle = |shelf: &Arc<Mutex<Shelf>>| {
            // Whoever wants it has to come by here.
            Arc::strong_count(shelf) == 1 && shelf.lock().entries == 0
        };
        if self.shelves.get(tenant).is_some_and(is_idle) {
            self.shelves.remove(tenant);
        }
    }
}

/// What lives longer than the clock can tell does not expire.
fn expiry(lifetime: Option<Duration>, now: Instant) -> Option<Instant> {
    now.checked_add(lifetime?)
}

#[cfg(test)]
mod tests;
