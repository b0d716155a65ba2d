//! The host of a test: a clock that the test sets, a store and figures that end with it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use hookmq_hooks::{KeyValueError, KeyValueLimits};
use rhai::{Dynamic, Engine};

use crate::call::with_pretence;
use crate::fault::fault;
use crate::host::{Owner, RuleHost};

/// 2026-01-01T00:00:00Z.
const START: u64 = 1_767_225_600_000;

/// Entries of a test's store, and figures.
const MOST: usize = 1000;

#[derive(Default)]
pub(crate) struct Pretence {
    /// Milliseconds since [`START`].
    passed: Cell<i64>,
    values: RefCell<BTreeMap<String, Kept>>,
    figures: RefCell<BTreeMap<String, f64>>,
}

struct Kept {
    value: Vec<u8>,
    /// Milliseconds since 1970.
    expires_at: Option<u64>,
}

impl Pretence {
    pub(crate) fn now(&self) -> u64 {
        START.saturating_add_signed(self.passed.get())
    }

    fn put(&self, key: &str, value: Vec<u8>, expires_at: Option<u64>) -> Result<(), KeyValueError> {
        let limits = KeyValueLimits::default();
        let mut values = self.values.borrow_mut();
        if key.len() > limits.key_size {
            return Err(KeyValueError::KeyTooLong(limits.key_size));
        }
        if value.len() > limits.value_size {
            return Err(KeyValueError::ValueTooLong(limits.value_size));
        }
        let bytes: usize = values.values().map(|kept| kept.value.len()).sum();
        if values.len() >= MOST || bytes + value.len() > limits.bytes {
            return Err(KeyValueError::Full);
        }
        values.insert(key.into(), Kept { value, expires_at });
        Ok(())
    }

    fn expiry(&self, lifetime: Option<Duration>) -> Option<u64> {
        let milliseconds = lifetime.map(|it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX));
        milliseconds.map(|it| self.now().saturating_add(it))
    }
}

/// Every test is its own owner.
impl RuleHost for Pretence {
    fn now(&self) -> u64 {
        self.now()
    }

    fn value(&self, _: Owner<'_>, key: &str) -> Option<Vec<u8>> {
        let mut values = self.values.borrow_mut();
        let now = self.now();
        values.retain(|_, kept| kept.expires_at.is_none_or(|expiry| now < expiry));
        values.get(key).map(|kept| kept.value.clone())
    }

    fn keep(
        &self,
        _: Owner<'_>,
        key: &str,
        value: Vec<u8>,
        lifetime: Option<Duration>,
    ) -> Result<(), KeyValueError> {
        self.put(key, value, self.expiry(lifetime))
    }

    fn forget(&self, _: Owner<'_>, key: &str) {
        self.values.borrow_mut().remove(key);
    }

    fn increase(
        &self,
        owner: Owner<'_>,
        key: &str,
        by: i64,
        lifetime: Option<Duration>,
    ) -> Result<i64, KeyValueError> {
        let Some(old) = self.value(owner, key) else {
            self.put(key, by.to_string().into_bytes(), self.expiry(lifetime))?;
            return Ok(by);
        };
        let number = std::str::from_utf8(&old).ok().and_then(|text| text.parse::<i64>().ok());
        let sum = number.ok_or(KeyValueError::NotANumber)?.saturating_add(by);
        let expires_at = self.values.borrow().get(key).and_then(|kept| kept.expires_at);
        self.put(key, sum.to_string().into_bytes(), expires_at)?;
        Ok(sum)
    }

    fn count(&self, owner: Owner<'_>, figure: &str, by: u64) {
        let sum = self.figures.borrow().get(figure).copied().unwrap_or_default() + by as f64;
        self.set(owner, figure, sum);
    }

    fn set(&self, _: Owner<'_>, figure: &str, value: f64) {
        let mut figures = self.figures.borrow_mut();
        if figures.contains_key(figure) || figures.len() < MOST {
            figures.insert(figure.into(), value);
        }
    }
}

pub(super) fn register(engine: &mut Engine) {
    engine
        .register_fn("test_time", |milliseconds: i64| {
            let wanted = u64::try_from(milliseconds);
            let wanted = wanted.map_err(|_| fault("a test's time begins with 1970"))?;
            with_pretence(|it| {
                it.passed
                    .set(wanted.saturating_sub(START) as i64 - START.saturating_sub(wanted) as i64)
            })
        })
        .register_fn("test_wait", |milliseconds: i64| {
            with_pretence(|it| it.passed.set(it.passed.get().saturating_add(milliseconds.max(0))))
        })
        .register_fn("test_metric", |name: &str| {
            with_pretence(|it| {
                it.figures.borrow().get(name).map_or(Dynamic::UNIT, |value| (*value).into())
            })
        });
}
