//! Figures for the operator's monitoring, by rule, tenant and name.

use rhai::Engine;

use super::Facilities;
use crate::fault::{Fallible, fault};

/// Bytes of a name.
const LONGEST_NAME: usize = 64;

pub(super) fn register(engine: &mut Engine, facilities: &Facilities) {
    let (one, many, whole, gauge) =
        (facilities.clone(), facilities.clone(), facilities.clone(), facilities.clone());
    engine
        .register_fn("metric_count", move |name: &str| count(&one, name, 1))
        .register_fn("metric_count", move |name: &str, by: i64| count(&many, name, by))
        .register_fn("metric_set", move |name: &str, value: i64| set(&whole, name, value as f64))
        .register_fn("metric_set", move |name: &str, value: f64| set(&gauge, name, value));
}

fn count(facilities: &Facilities, name: &str, by: i64) -> Fallible<()> {
    let by = u64::try_from(by).map_err(|_| fault("a counter does not go back"))?;
    check_name(name)?;
    facilities.ask(|host, owner| host.count(owner, name, by))
}

fn set(facilities: &Facilities, name: &str, value: f64) -> Fallible<()> {
    check_name(name)?;
    facilities.ask(|host, owner| host.set(owner, name, value))
}

fn check_name(name: &str) -> Fallible<()> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    match !name.is_empty() && name.len() <= LONGEST_NAME && name.bytes().all(fits) {
        true => Ok(()),
        false => Err(fault("a metric's name is of 1 to 64 characters a-z, 0-9 and _")),
    }
}
