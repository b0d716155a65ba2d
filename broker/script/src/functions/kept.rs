//! Small values that a rule keeps for a tenant, and counts in windows of time. A value is kept as JSON.

use std::time::Duration;

use hookmq_hooks::KeyValueError;
use rhai::{Dynamic, Engine};

use super::Facilities;
use crate::fault::{Fallible, fault};
use crate::json::{encode, from_dynamic};
use crate::objects::json::Document;
use crate::{RuleLimits, call};

/// Before a window's key. No other key begins with it, whatever a client has put into one.
const WINDOW: &str = "rate:";

pub(super) fn register(engine: &mut Engine, limits: &RuleLimits, facilities: &Facilities) {
    register_values(engine, limits, facilities);
    let (one, many, limited) = (facilities.clone(), facilities.clone(), facilities.clone());
    engine
        .register_fn("kv_increase", move |key: &str| increase(&one, plain(key)?, 1, None))
        .register_fn("kv_increase", move |key: &str, by: i64| {
            increase(&many, plain(key)?, by, None)
        })
        .register_fn("kv_increase", move |key: &str, by: i64, ttl_ms: i64| {
            increase(&limited, plain(key)?, by, Some(lifetime(ttl_ms)?))
        });
    let window = facilities.clone();
    engine.register_fn("rate", move |key: &str, window_ms: i64| {
        increase(&window, &format!("{WINDOW}{}", short(key)?), 1, Some(lifetime(window_ms)?))
    });
}

fn register_values(engine: &mut Engine, limits: &RuleLimits, facilities: &Facilities) {
    let limits = *limits;
    let (read, forget) = (facilities.clone(), facilities.clone());
    let (keep, lend) = (facilities.clone(), facilities.clone());
    engine
        .register_fn("kv_get", move |key: &str| -> Fallible<Dynamic> {
            let key = plain(key)?;
            let Some(value) = read.ask(|host, owner| host.value(owner, key))? else {
                return Ok(Dynamic::UNIT);
            };
            let document = Document::parse(&value, &limits)?;
            Ok(document.map_or(Dynamic::UNIT, |document| document.root()))
        })
        .register_fn("kv_set", move |key: &str, value: Dynamic| set(&keep, key, &value, None))
        .register_fn("kv_set", move |key: &str, value: Dynamic, ttl_ms: i64| {
            set(&lend, key, &value, Some(lifetime(ttl_ms)?))
        })
        .register_fn("kv_delete", move |key: &str| {
            let key = plain(key)?;
            forget.ask(|host, owner| host.forget(owner, key))
        });
}

fn set(
    facilities: &Facilities,
    key: &str,
    value: &Dynamic,
    lifetime: Option<Duration>,
) -> Fallible<()> {
    let (key, value) = (plain(key)?, encode(&from_dynamic(value)?));
    facilities.ask(|host, owner| host.keep(owner, key, value, lifetime))?.map_err(refused)
}

fn increase(
    facilities: &Facilities,
    key: &str,
    by: i64,
    lifetime: Option<Duration>,
) -> Fallible<i64> {
    facilities.ask(|host, owner| host.increase(owner, key, by, lifetime))?.map_err(refused)
}

/// A key that is no window's; a test may fill one.
fn plain(key: &str) -> Fallible<&str> {
    match key.starts_with(WINDOW) && !call::is_test() {
        true => Err(fault(format!("a key must not begin with `{WINDOW}`"))),
        false => Ok(key),
    }
}

/// Longer keys are refused by every store; this one is copied first.
fn short(key: &str) -> Fallible<&str> {
    let most = hookmq_hooks::KeyValueLimits::default().key_size;
    if key.len() > most { Err(refused(KeyValueError::KeyTooLong(most))) } else { Ok(key) }
}

/// What a rule gets to know, and may catch.
fn refused(error: KeyValueError) -> Box<rhai::EvalAltResult> {
    fault(error.to_string())
}

fn lifetime(milliseconds: i64) -> Fallible<Duration> {
    match u64::try_from(milliseconds) {
        Ok(milliseconds @ 1..) => Ok(Duration::from_millis(milliseconds)),
        _ => Err(fault("a time to live must be at least 1 ms")),
    }
}
