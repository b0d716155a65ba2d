//! JSON between rules and payloads: bounded in size and depth, whatever a rule builds.

use hookmq_hooks::Emission;
use rhai::{Array, Dynamic, ImmutableString, Map};
use serde_json::{Map as Object, Number, Value};

use crate::call;
use crate::fault::{Fallible, fault, too_large};
use crate::objects::bytes::Bytes;
use crate::objects::json::Json;

/// Levels of objects and arrays inside one another; serde_json refuses to read more.
pub(crate) const MAX_DEPTH: usize = 128;

/// The most that one conversion makes, as [`size`] counts: views of a document are cheap to hold
/// many times, their copies are not.
const MAX_SIZE: usize = 1024 * 1024;

/// The JSON form of any value that has one.
pub(crate) fn from_dynamic(value: &Dynamic) -> Fallible<Value> {
    call::check_deadline()?;
    convert(value, 0, &mut MAX_SIZE.clone())
}

fn convert(value: &Dynamic, level: usize, room: &mut usize) -> Fallible<Value> {
    if level > MAX_DEPTH {
        return Err(too_large("nesting of JSON"));
    }
    if let Ok(number) = value.as_int() {
        return Ok(number.into());
    }
    if let Ok(number) = value.as_float() {
        let number = Number::from_f64(number);
        return number.map(Value::Number).ok_or_else(|| fault("JSON has no such number"));
    }
    if let Ok(flag) = value.as_bool() {
        return Ok(Value::Bool(flag));
    }
    if value.is_unit() {
        return Ok(Value::Null);
    }
    if let Some(text) = value.read_lock::<ImmutableString>() {
        return Ok(Value::String(text.as_str().into()));
    }
    if let Ok(letter) = value.as_char() {
        return Ok(Value::String(letter.into()));
    }
    if let Some(view) = value.read_lock::<Json>() {
        let copy = view.copy_within(room)?;
        return match level + depth(&copy) > MAX_DEPTH {
            true => Err(too_large("nesting of JSON")),
            false => Ok(copy),
        };
    }
    if let Some(elements) = value.read_lock::<Array>() {
        let elements = elements.iter().map(|element| convert(element, level + 1, room));
        return Ok(Value::Array(elements.collect::<Fallible<_>>()?));
    }
    if let Some(entries) = value.read_lock::<Map>() {
        let entries = entries
            .iter()
            .map(|(name, value)| Ok((name.to_string(), convert(value, level + 1, room)?)));
        return Ok(Value::Object(entries.collect::<Fallible<Object<_, _>>>()?));
    }
    let kind = value.type_name().rsplit("::").next().unwrap_or_default().to_lowercase();
    Err(fault(format!("{kind} has no JSON form")))
}

/// The bytes that a rule means by `value`: a text and bytes as they are, anything else as JSON.
pub(crate) fn payload(value: &Dynamic) -> Fallible<Vec<u8>> {
    if let Some(text) = value.read_lock::<ImmutableString>() {
        return Ok(text.as_bytes().to_vec());
    }
    if let Some(bytes) = value.read_lock::<Bytes>() {
        return Ok(bytes.as_slice().to_vec());
    }
    if value.is_unit() {
        return Err(fault("a payload must not be (); an empty one is \"\""));
    }
    Ok(encode(&from_dynamic(value)?))
}

/// Compact JSON text.
pub(crate) fn encode(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("a JSON value has text keys only and cannot fail to encode")
}

/// Levels of objects and arrays inside one another; 0 for a plain value.
pub(crate) fn depth(value: &Value) -> usize {
    match value {
        Value::Array(elements) => 1 + elements.iter().map(depth).max().unwrap_or(0),
        Value::Object(entries) => 1 + entries.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// About the bytes of the text that `value` makes.
pub(crate) fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len() + 8,
        Value::Array(elements) => 8 + elements.iter().map(size).sum::<usize>(),
        Value::Object(entries) => {
            8 + entries.iter().map(|(name, value)| name.len() + size(value)).sum::<usize>()
        }
    }
}

/// Equality as a rule writer means it: 21 and 21.0 are the same number.
pub(crate) fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            left == right || left.as_f64() == right.as_f64()
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(l, r)| equal(l, r))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(name, l)| right.get(name).is_some_and(|r| equal(l, r)))
        }
        _ => left == right,
    }
}

/// An emission with a payload as [`payload`] makes it.
pub(crate) fn emission(topic: &str, value: &Dynamic) -> Fallible<Emission> {
    hookmq_codec::TopicName::new(topic).map_err(|error| fault(format!("`{topic}`: {error}")))?;
    Ok(Emission { topic: topic.into(), payload: payload(value)?, ..Emission::default() })
}
