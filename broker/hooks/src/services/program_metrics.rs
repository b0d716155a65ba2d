//! Counters and gauges that plugins and rules name themselves.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::rehearsal::is_rehearsed;

/// A figure of one program for one tenant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ProgramMetric {
    Counter(u64),
    Gauge(f64),
}

/// The figures of all programs, by program, name and tenant. What is beyond the bounds is not kept.
#[derive(Debug)]
pub struct ProgramMetrics {
    most: usize,
    most_of_tenant: usize,
    figures: Mutex<Figures>,
}

#[derive(Debug, Default)]
struct Figures {
    all: BTreeMap<Key, ProgramMetric>,
    /// How many there are by tenant.
    of_tenants: BTreeMap<Arc<str>, usize>,
}

type Key = (Arc<str>, Arc<str>, Arc<str>);

/// Figures of all programs and tenants together, unless it is said otherwise.
const MOST: usize = 10_000;

/// Bytes of a name: a-z, 0-9 and `_`.
const LONGEST_NAME: usize = 64;

impl Default for ProgramMetrics {
    fn default() -> Self {
        Self::bounded(MOST, MOST)
    }
}

impl ProgramMetrics {
    /// Has room for so many figures in all, and for so many of one tenant.
    pub fn bounded(most: usize, most_of_tenant: usize) -> Self {
        Self { most, most_of_tenant, figures: Mutex::default() }
    }

    /// Adds to a counter; whether there was room for it, and its name is one.
    pub fn count(&self, program: &str, name: &str, tenant: &str, by: u64) -> bool {
        self.change(program, name, tenant, |old| match old {
            Some(ProgramMetric::Counter(sum)) => ProgramMetric::Counter(sum.wrapping_add(by)),
            _ => ProgramMetric::Counter(by),
        })
    }

    /// Sets a gauge; as [`Self::count`].
    pub fn set(&self, program: &str, name: &str, tenant: &str, value: f64) -> bool {
        self.change(program, name, tenant, |_| ProgramMetric::Gauge(value))
    }

    /// Calls back with program, name, tenant and figure, in this order.
    pub fn for_each(&self, mut show: impl FnMut(&str, &str, &str, ProgramMetric)) {
        for ((program, name, tenant), figure) in &self.figures.lock().all {
            show(program, name, tenant, *figure);
        }
    }

    /// Forgets what the program has counted and set.
    pub fn forget(&self, program: &str) {
        let mut figures = self.figures.lock();
        let Figures { all, of_tenants } = &mut *figures;
        all.retain(|(of, _, tenant), _| {
            let stays = **of != *program;
            if !stays && let Some(count) = of_tenants.get_mut(tenant) {
                *count -= 1;
            }
            stays
        });
        of_tenants.retain(|_, count| *count > 0);
    }

    fn change(
        &self,
        program: &str,
        name: &str,
        tenant: &str,
        change: impl FnOnce(Option<ProgramMetric>) -> ProgramMetric,
    ) -> bool {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(fits) {
            return false;
        }
        if is_rehearsed() {
            return true;
        }
        let mut figures = self.figures.lock();
        let Figures { all, of_tenants } = &mut *figures;
        let key = (program.into(), name.into(), tenant.into());
        let old = all.get(&key).copied();
        if old.is_none() {
            let of_tenant = of_tenants.get(tenant).copied().unwrap_or_default();
            if all.len() >= self.most || of_tenant >= self.most_of_tenant {
                return false;
            }
            of_tenants.insert(tenant.into(), of_tenant + 1);
        }
        all.insert(key, change(old));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_kept_by_program_name_and_tenant() {
        let metrics = ProgramMetrics::default();
        assert!(metrics.count("p", "seen", "a", 2));
        assert!(metrics.count("p", "seen", "a", 3));
        assert!(metrics.count("p", "seen", "b", 1));
        assert!(metrics.set("p", "level", "a", 0.5));
        for odd in ["", "with space", "Upper", "a{b=\"c\"}", &"x".repeat(65)] {
            assert!(!metrics.count("p", odd, "a", 1), "{odd}");
        }
        let mut shown = Vec::new();
        metrics.for_each(|program, name, tenant, figure| {
            shown.push((format!("{program} {name} {tenant}"), figure));
        });
        let expected = [
            ("p level a".to_owned(), ProgramMetric::Gauge(0.5)),
            ("p seen a".to_owned(), ProgramMetric::Counter(5)),
            ("p seen b".to_owned(), ProgramMetric::Counter(1)),
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn there_are_only_so_many() {
        let metrics = ProgramMetrics::default();
        let added = (0..MOST + 5).filter(|n| metrics.count("p", &format!("n{n}"), "a", 1));
        assert_eq!(added.count(), MOST);
        assert!(metrics.count("p", "n0", "a", 1));
    }

    #[test]
    fn one_tenant_leaves_room_for_others_and_what_is_forgotten_makes_some() {
        let metrics = ProgramMetrics::bounded(10, 3);
        let added = |program: &str, tenant: &str| {
            (0..5).filter(|n| metrics.count(program, &format!("n{n}"), tenant, 1)).count()
        };
        assert_eq!((added("a/one", "a"), added("a/two", "a"), added("b/one", "b")), (3, 0, 3));
        metrics.forget("a/one");
        assert_eq!((added("a/two", "a"), added("b/two", "b")), (3, 0));
    }
}
