//! The operations on one JSON object.

use serde_json::{Map, Value};

use crate::path::Path;
use crate::template::{self, Facts};

/// The digits that a 64-bit float holds reliably.
const MAX_DIGITS: u32 = 15;

/// One change of an object. A field that is absent, or of a type that does not fit, is left alone.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Operation {
    /// Moves a field, over what is there.
    Rename {
        from: Path,
        to: Path,
    },
    Remove {
        field: Path,
    },
    /// Sets a field, whatever it held.
    Set {
        field: Path,
        value: Value,
    },
    /// Sets a field that is absent or null.
    Default {
        field: Path,
        value: Value,
    },
    /// Makes a number `number * factor + offset`, rounded to so many digits after the point; 0
    /// digits make an integer.
    Scale {
        field: Path,
        #[serde(default = "one")]
        factor: f64,
        #[serde(default)]
        offset: f64,
        digits: Option<u32>,
    },
    /// Sets a field to the milliseconds since 1970.
    Timestamp {
        field: Path,
    },
    /// Removes all fields but these.
    Keep {
        fields: Vec<Path>,
    },
}

impl Operation {
    /// What the types alone do not say about the configuration.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Set { value, .. } | Self::Default { value, .. } => {
                template::check(value).map_err(|error| format!("value: {error}"))
            }
            Self::Scale { digits: Some(digits), .. } if *digits > MAX_DIGITS => {
                Err(format!("digits: at most {MAX_DIGITS} are possible"))
            }
            Self::Keep { fields } if fields.is_empty() => {
                Err("fields: at least one is needed".into())
            }
            _ => Ok(()),
        }
    }

    /// Whether the object has been changed.
    pub fn apply(&self, object: &mut Map<String, Value>, facts: &Facts) -> bool {
        match self {
            Self::Rename { from, to } => rename(object, from, to),
            Self::Remove { field } => field.remove(object).is_some(),
            Self::Set { field, value } => set(object, field, value, facts),
            Self::Default { field, value } => match field.value(object) {
                None | Some(Value::Null) => set(object, field, value, facts),
                Some(_) => false,
            },
            Self::Scale { field, factor, offset, digits } => {
                let Some(value) = field.value_mut(object) else { return false };
                let Some(scaled) = scale(value, *factor, *offset, *digits) else { return false };
                *value = scaled;
                true
            }
            Self::Timestamp { field } => field.insert(object, (facts.now)().into()),
            Self::Keep { fields } => {
                let mut kept = Map::new();
                for field in fields {
                    if let Some(value) = field.value(object) {
                        field.insert(&mut kept, value.clone());
                    }
                }
                let changed = kept != *object;
                *object = kept;
                changed
            }
        }
    }
}

fn one() -> f64 {
    1.0
}

fn rename(object: &mut Map<String, Value>, from: &Path, to: &Path) -> bool {
    let Some(value) = from.value(object).cloned() else { return false };
    if from == to || !to.insert(object, value) {
        return false;
    }
    from.remove(object);
    true
}

fn set(object: &mut Map<String, Value>, field: &Path, value: &Value, facts: &Facts) -> bool {
    match template::render(value, facts) {
        Ok(value) => field.insert(object, value),
        // `check` has rendered it once.
        Err(_) => false,
    }
}

/// None where the value is no number, or the result none that JSON can hold.
fn scale(value: &Value, factor: f64, offset: f64, digits: Option<u32>) -> Option<Value> {
    let scaled = value.as_f64()? * factor + offset;
    let Some(digits) = digits else { return Some(serde_json::Number::from_f64(scaled)?.into()) };
    let shift = 10_f64.powi(digits as i32);
    let shifted = scaled * shift;
    // Beyond this a float has no digits after the point that could be rounded.
    let rounded = if shifted.abs() < 2_f64.powi(53) { shifted.round() / shift } else { scaled };
    if digits == 0 && rounded.abs() < 2_f64.powi(53) {
        return Some((rounded as i64).into());
    }
    Some(serde_json::Number::from_f64(rounded)?.into())
}
