//! The payload of Sparkplug B 3.0, section 6.4, as its published protobuf schema has it.

use crate::wire::{Fields, Malformed, Value as Wire};

/// More would make a JSON copy of hundreds of megabytes.
const MAX_METRICS: usize = 20_000;

#[derive(Debug, Default, PartialEq)]
pub struct Payload<'a> {
    /// Milliseconds since 1970.
    pub timestamp: Option<u64>,
    pub seq: Option<u64>,
    pub metrics: Vec<Metric<'a>>,
}

#[derive(Debug, Default, PartialEq)]
pub struct Metric<'a> {
    pub name: Option<&'a str>,
    pub alias: Option<u64>,
    /// Milliseconds since 1970.
    pub timestamp: Option<u64>,
    pub datatype: Option<u32>,
    pub is_historical: bool,
    pub is_null: bool,
    pub value: Option<Value<'a>>,
}

/// What stands in a metric, not yet read by its data type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    Int(u32),
    Long(u64),
    Float(f32),
    Double(f64),
    Boolean(bool),
    Text(&'a str),
    Bytes(&'a [u8]),
    /// A data set, a template or an extension, which are not looked into.
    Structure,
}

impl<'a> Payload<'a> {
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut payload = Self::default();
        for field in Fields(bytes) {
            match field? {
                (1, value) => payload.timestamp = Some(value.varint()?),
                (2, _) if payload.metrics.len() >= MAX_METRICS => return Err(Malformed),
                (2, value) => payload.metrics.push(Metric::decode(value.bytes()?)?),
                (3, value) => payload.seq = Some(value.varint()?),
                (4, value) => _ = value.text()?,
                (5, value) => _ = value.bytes()?,
                _ => {}
            }
        }
        Ok(payload)
    }

    /// The sequence number, if it is there and one.
    pub fn sequence(&self) -> Option<u8> {
        self.seq?.try_into().ok()
    }

    /// The number that ties a death to its birth.
    pub fn bd_seq(&self) -> Option<u64> {
        let metric = self.metrics.iter().find(|metric| metric.name == Some("bdSeq"))?;
        match metric.value? {
            Value::Long(number) => Some(number),
            Value::Int(number) => Some(number.into()),
            _ => None,
        }
    }
}

impl<'a> Metric<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut metric = Self::default();
        for field in Fields(bytes) {
            match field? {
                (1, value) => metric.name = Some(value.text()?),
                (2, value) => metric.alias = Some(value.varint()?),
                (3, value) => metric.timestamp = Some(value.varint()?),
                (4, value) => metric.datatype = Some(uint32(value)?),
                (5, value) => metric.is_historical = value.varint()? != 0,
                (6, value) => _ = value.varint()?,
                (7, value) => metric.is_null = value.varint()? != 0,
                (8 | 9, value) => _ = value.bytes()?,
                (10, value) => metric.value = Some(Value::Int(uint32(value)?)),
                (11, value) => metric.value = Some(Value::Long(value.varint()?)),
                (12, value) => metric.value = Some(Value::Float(value.float()?)),
                (13, value) => metric.value = Some(Value::Double(value.double()?)),
                (14, value) => metric.value = Some(Value::Boolean(value.varint()? != 0)),
                (15, value) => metric.value = Some(Value::Text(value.text()?)),
                (16, value) => metric.value = Some(Value::Bytes(value.bytes()?)),
                (17..=19, value) => {
                    value.bytes()?;
                    metric.value = Some(Value::Structure);
                }
                _ => {}
            }
        }
        Ok(metric)
    }
}

/// Encoders write negative numbers in ten bytes, of which 32 bits count.
fn uint32(value: Wire<'_>) -> Result<u32, Malformed> {
    Ok(value.varint()? as u32)
}
