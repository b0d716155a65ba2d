//! A JSON object of plain values, read without building a tree of it: what most devices send.

use std::ops::Range;

use rhai::Dynamic;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::Value;

/// A field is looked for among all of them.
const MOST_FIELDS: usize = 32;

/// Where an object turns out not to be flat, what was read of it so far is read again.
const LONGEST: usize = 2048;

/// The text of an object, and where its fields are in it.
pub(super) struct Flat {
    text: Box<str>,
    fields: Vec<(Range<usize>, Plain)>,
}

enum Plain {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Range<usize>),
}

/// As it is read from a text, of which it borrows.
enum Borrowed<'de> {
    Plain(Plain),
    Text(&'de str),
}

impl Flat {
    /// Nothing where `text` is anything else, which may still be JSON.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() > LONGEST || !text.starts_with('{') {
            return None;
        }
        let Fields(fields) = serde_json::from_str(text).ok()?;
        // The strings are parts of the text.
        let range = |part: &str| {
            let start = part.as_ptr().addr() - text.as_ptr().addr();
            start..start + part.len()
        };
        let fields = fields.into_iter().map(|(name, value)| match value {
            Borrowed::Plain(plain) => (range(name), plain),
            Borrowed::Text(value) => (range(name), Plain::Text(range(value))),
        });
        Some(Self { fields: fields.collect(), text: text.into() })
    }

    /// The value of the field, as [`super::scalar`] gives it.
    pub(super) fn field(&self, name: &str) -> Option<Dynamic> {
        // Of fields with one name the last counts.
        let mut fields = self.fields.iter().rev();
        let (_, value) = fields.find(|(range, _)| &self.text[range.clone()] == name)?;
        Some(match value {
            Plain::Null => Dynamic::UNIT,
            Plain::Bool(flag) => (*flag).into(),
            Plain::Int(number) => (*number).into(),
            Plain::Float(number) => (*number).into(),
            Plain::Text(range) => self.text[range.clone()].into(),
        })
    }

    pub(super) fn to_tree(&self) -> Value {
        serde_json::from_str(&self.text).expect("it was read once")
    }
}

struct Fields<'de>(Vec<(&'de str, Borrowed<'de>)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object of plain values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::with_capacity(8);
        while let Some(field) = map.next_entry()? {
            if fields.len() == MOST_FIELDS {
                return Err(A::Error::custom("too many fields"));
            }
            fields.push(field);
        }
        Ok(Fields(fields))
    }
}

impl<'de> Deserialize<'de> for Borrowed<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PlainVisitor)
    }
}

struct PlainVisitor;

/// What has no method here is not plain: objects, arrays, and texts with escapes.
impl<'de> Visitor<'de> for PlainVisitor {
    type Value = Borrowed<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a plain value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(Borrowed::Plain(Plain::Null))
    }

    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Self::Value, E> {
        Ok(Borrowed::Plain(Plain::Bool(flag)))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Borrowed::Plain(Plain::Int(number)))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
        let plain = i64::try_from(number).map_or(Plain::Float(number as f64), Plain::Int);
        Ok(Borrowed::Plain(plain))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Borrowed::Plain(Plain::Float(number)))
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Borrowed::Text(text))
    }
}

#[cfg(test)]
mod tests {
    use super::super::scalar;
    use super::*;

    #[test]
    fn it_reads_as_the_tree_does() {
        let texts = [
            r#"{"a":1,"b":-2.5,"c":"é","d":null,"e":true,"":0}"#,
            r#"{ "a" : 18446744073709551615 , "b" : 1e300, "c": "" }"#,
            r#"{"a":1,"a":"again"}"#,
            "{}",
        ];
        for text in texts {
            let (flat, tree) =
                (Flat::parse(text).unwrap(), serde_json::from_str::<Value>(text).unwrap());
            assert_eq!(flat.to_tree(), tree, "{text}");
            for name in ["a", "b", "c", "d", "e", "", "f"] {
                let read = |value: Dynamic| format!("{value:?}");
                let expected = tree.get(name).and_then(scalar).map(read);
                assert_eq!(flat.field(name).map(read), expected, "{text} {name}");
            }
        }
    }

    #[test]
    fn what_is_not_flat_or_not_json_is_left_to_the_tree() {
        let many = (0..=MOST_FIELDS).map(|at| format!("\"f{at}\":0")).collect::<Vec<_>>();
        let many = format!("{{{}}}", many.join(","));
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(LONGEST));
        let others = [
            "",
            "1",
            "[1]",
            r#"{"a":{}}"#,
            r#"{"a":[]}"#,
            r#"{"a":"\n"}"#,
            r#"{"\u0061":1}"#,
            r#"{"a":1e999}"#,
            r#"{"a":1"#,
            r#"{"a":1} x"#,
            r#"{"a":01}"#,
            &many,
            &long,
        ];
        for text in others {
            assert!(Flat::parse(text).is_none(), "{text}");
        }
    }
}
