//! Payloads as JSON.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value as Json};

use crate::payload::{Metric, Payload, Value};

/// Names of metrics by their aliases, as the last birth has them.
pub type Aliases = BTreeMap<u64, String>;

/// Section 6.4.16: the names of data types, by number.
const DATATYPES: [&str; 20] = [
    "Unknown", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float",
    "Double", "Boolean", "String", "DateTime", "Text", "UUID", "DataSet", "Bytes", "File",
    "Template",
];

/// The aliases that a birth introduces.
pub fn aliases(payload: &Payload) -> Aliases {
    let pair = |metric: &Metric| Some((metric.alias?, metric.name?.to_owned()));
    payload.metrics.iter().filter_map(pair).collect()
}

pub fn json(payload: &Payload, aliases: &Aliases) -> Vec<u8> {
    let mut object = Map::new();
    insert(&mut object, "timestamp", payload.timestamp);
    insert(&mut object, "seq", payload.seq);
    let metrics = payload.metrics.iter().map(|metric| metric_json(metric, aliases)).collect();
    object.insert("metrics".into(), Json::Array(metrics));
    serde_json::to_vec(&object).expect("an object of texts is JSON")
}

fn metric_json(metric: &Metric, aliases: &Aliases) -> Json {
    let mut object = Map::new();
    let known = || aliases.get(&metric.alias?).map(String::as_str);
    match metric.name.filter(|name| !name.is_empty()).or_else(known) {
        Some(name) => insert(&mut object, "name", Some(name)),
        None => insert(&mut object, "alias", metric.alias),
    }
    insert(&mut object, "timestamp", metric.timestamp);
    let datatype = metric.datatype.and_then(|number| DATATYPES.get(number as usize));
    insert(&mut object, "datatype", datatype.copied());
    if metric.is_historical {
        object.insert("historical".into(), true.into());
    }
    object.insert("value".into(), value_json(metric));
    Json::Object(object)
}

/// Signed numbers travel as unsigned ones of the same bits; the data type tells. What JSON cannot
/// say, such as NaN and structures, is null.
fn value_json(metric: &Metric) -> Json {
    let Some(value) = metric.value.filter(|_| !metric.is_null) else { return Json::Null };
    match (value, metric.datatype) {
        (Value::Int(bits), Some(1)) => (bits as u8 as i8).into(),
        (Value::Int(bits), Some(2)) => (bits as u16 as i16).into(),
        (Value::Int(bits), Some(3)) => (bits as i32).into(),
        (Value::Int(bits), _) => bits.into(),
        (Value::Long(bits), Some(1..=4)) => (bits as i64).into(),
        (Value::Long(bits), _) => bits.into(),
        (Value::Float(number), _) => number.into(),
        (Value::Double(number), _) => number.into(),
        (Value::Boolean(truth), _) => truth.into(),
        (Value::Text(text), _) => text.into(),
        (Value::Bytes(bytes), _) => STANDARD.encode(bytes).into(),
        (Value::Structure, _) => Json::Null,
    }
}

fn insert(object: &mut Map<String, Json>, name: &str, value: Option<impl Into<Json>>) {
    if let Some(value) = value {
        object.insert(name.to_owned(), value.into());
    }
}
