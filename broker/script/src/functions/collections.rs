//! Arrays, object maps and ranges.

use std::ops::{Range, RangeInclusive};

use rhai::{Array, Dynamic, Engine, ImmutableString, Map};

use super::position;
use crate::RuleLimits;
use crate::fault::{Fallible, too_large};
use crate::json::{equal, from_dynamic};

pub(super) fn register(engine: &mut Engine, limits: &RuleLimits) {
    register_arrays(engine, limits);
    register_maps(engine);
    engine
        .register_iterator::<Range<i64>>()
        .register_iterator::<RangeInclusive<i64>>()
        .register_fn("contains", |range: &mut Range<i64>, number: i64| range.contains(&number))
        .register_fn("contains", |range: &mut RangeInclusive<i64>, number: i64| {
            range.contains(&number)
        });
}

fn register_arrays(engine: &mut Engine, limits: &RuleLimits) {
    let (most, most_bytes) = (limits.array_size, limits.string_size);
    engine
        .register_iterator::<Array>()
        .register_fn("len", |it: &mut Array| it.len() as i64)
        .register_fn("is_empty", |it: &mut Array| it.is_empty())
        .register_fn("push", move |it: &mut Array, value: Dynamic| push(it, value, most))
        .register_fn("pop", |it: &mut Array| it.pop().unwrap_or_default())
        .register_fn("remove", |it: &mut Array, index: i64| {
            position(index, it.len()).map_or(Dynamic::UNIT, |index| it.remove(index))
        })
        .register_fn("contains", |it: &mut Array, wanted: Dynamic| {
            index_of(it, &wanted).map(|index| index >= 0)
        })
        .register_fn("index_of", |it: &mut Array, wanted: Dynamic| index_of(it, &wanted))
        .register_fn("join", move |it: &mut Array, separator: &str| join(it, separator, most_bytes))
        .register_fn("==", |left: &mut Array, right: Array| same(left.clone(), right))
        .register_fn("!=", |left: &mut Array, right: Array| {
            same(left.clone(), right).map(|same| !same)
        });
}

fn register_maps(engine: &mut Engine) {
    engine
        .register_fn("len", |it: &mut Map| it.len() as i64)
        .register_fn("is_empty", |it: &mut Map| it.is_empty())
        .register_fn("keys", |it: &mut Map| -> Array {
            it.keys().map(|name| ImmutableString::from(name.as_str()).into()).collect()
        })
        .register_fn("values", |it: &mut Map| it.values().cloned().collect::<Array>())
        .register_fn("contains", |it: &mut Map, name: &str| it.contains_key(name))
        .register_fn("remove", |it: &mut Map, name: &str| it.remove(name).unwrap_or_default())
        .register_fn("==", |left: &mut Map, right: Map| same(left.clone(), right))
        .register_fn("!=", |left: &mut Map, right: Map| {
            same(left.clone(), right).map(|same| !same)
        });
}

fn push(array: &mut Array, value: Dynamic, most: usize) -> Fallible<()> {
    if array.len() >= most {
        return Err(too_large("size of an array"));
    }
    array.push(value);
    Ok(())
}

/// The place of the first equal element, or -1.
fn index_of(array: &Array, wanted: &Dynamic) -> Fallible<i64> {
    let wanted = from_dynamic(wanted)?;
    for (index, element) in (0..).zip(array) {
        if from_dynamic(element).is_ok_and(|element| equal(&element, &wanted)) {
            return Ok(index);
        }
    }
    Ok(-1)
}

fn join(array: &Array, separator: &str, most: usize) -> Fallible<ImmutableString> {
    let mut joined = String::new();
    for (index, element) in array.iter().enumerate() {
        if index > 0 {
            joined.push_str(separator);
        }
        joined.push_str(&element.to_string());
        if joined.len() > most {
            return Err(too_large("length of a string"));
        }
    }
    Ok(joined.into())
}

/// Equality by content; what has no JSON form equals nothing.
fn same(left: impl Into<Dynamic>, right: impl Into<Dynamic>) -> Fallible<bool> {
    let (left, right) = (from_dynamic(&left.into()), from_dynamic(&right.into()));
    Ok(left.is_ok_and(|left| right.is_ok_and(|right| equal(&left, &right))))
}
