//! The rule's host: what the broker lends to this plugin.

use std::time::Duration;

use hookmq_hooks::{Emission, KeyValueError};
use hookmq_plugin::{clock, emit, log, metric};
use hookmq_script::{LogLevel, Owner, RuleHost};

/// The broker knows which rule and tenant an instance serves, so owners are not passed on.
pub struct World;

impl RuleHost for World {
    fn now(&self) -> u64 {
        clock::now()
    }

    fn value(&self, _: Owner<'_>, key: &str) -> Option<Vec<u8>> {
        kept::value(key)
    }

    fn keep(
        &self,
        _: Owner<'_>,
        key: &str,
        value: Vec<u8>,
        lifetime: Option<Duration>,
    ) -> Result<(), KeyValueError> {
        kept::keep(key, &value, lifetime)
    }

    fn forget(&self, _: Owner<'_>, key: &str) {
        kept::forget(key);
    }

    fn increase(
        &self,
        _: Owner<'_>,
        key: &str,
        by: i64,
        lifetime: Option<Duration>,
    ) -> Result<i64, KeyValueError> {
        kept::increase(key, by, lifetime)
    }

    fn count(&self, _: Owner<'_>, figure: &str, by: u64) {
        metric::count(figure, by);
    }

    fn set(&self, _: Owner<'_>, figure: &str, value: f64) {
        metric::set(figure, value);
    }
}

mod kept {
    use std::time::Duration;

    use hookmq_hooks::{KeyValueError, KeyValueLimits};
    use hookmq_plugin::kv;

    pub fn value(key: &str) -> Option<Vec<u8>> {
        kv::get(key)
    }

    pub fn keep(key: &str, value: &[u8], lifetime: Option<Duration>) -> Result<(), KeyValueError> {
        kv::set(key, value, lifetime).map_err(refusal)
    }

    pub fn forget(key: &str) {
        kv::delete(key);
    }

    pub fn increase(key: &str, by: i64, lifetime: Option<Duration>) -> Result<i64, KeyValueError> {
        kv::increase(key, by, lifetime).map_err(refusal)
    }

    /// The engine's own bound on calls is below the host's, so that one is never reached.
    fn refusal(error: kv::Error) -> KeyValueError {
        let limits = KeyValueLimits::default();
        match error {
            kv::Error::KeyTooLong => KeyValueError::KeyTooLong(limits.key_size),
            kv::Error::ValueTooLong => KeyValueError::ValueTooLong(limits.value_size),
            kv::Error::NotANumber => KeyValueError::NotANumber,
            kv::Error::Full | kv::Error::TooManyCalls => KeyValueError::Full,
        }
    }
}

/// Hands a message of the rule to the broker.
pub fn emit(emission: Emission) -> Result<(), String> {
    let message = emit::Emission {
        topic: emission.topic,
        payload: emission.payload,
        qos: crate::answer::qos(emission.qos),
        retain: emission.retain,
    };
    emit::publish(&message).map_err(|error| match error {
        emit::Error::Topic => "the rule may not emit on this topic".into(),
        emit::Error::TooMany => "the rule emits too much in one call".into(),
        emit::Error::NotHere => "only publish may emit messages".into(),
    })
}

pub fn log(level: LogLevel, text: &str) {
    let level = match level {
        LogLevel::Debug => log::Level::Debug,
        LogLevel::Info => log::Level::Info,
        LogLevel::Warn => log::Level::Warn,
        LogLevel::Error => log::Level::Error,
    };
    log::write(level, text);
}
