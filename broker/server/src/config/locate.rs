//! Finds the line of a key path in a YAML text.
//!
//! The parser tells positions only in errors. So this reads the text once more, down to the place,
//! and raises an error there.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::error::{Position, Segment};

/// Where `path`, or as much of it as exists, stands in `text`, which must be valid YAML. A value in a
/// map is located by its key.
pub(super) fn locate(text: &str, path: &[Segment]) -> Option<Position> {
    (1..=path.len()).rev().find_map(|length| {
        let probe = Probe { path: path.get(..length)? };
        let found = probe.deserialize(serde_yaml::Deserializer::from_str(text)).err()?;
        found.location().map(|at| Position { line: at.line(), column: at.column() })
    })
}

/// Reads the value that `path` starts from.
#[derive(Clone, Copy)]
struct Probe<'a> {
    path: &'a [Segment],
}

impl<'de> DeserializeSeed<'de> for Probe<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.path.first() {
            None => deserializer.deserialize_any(Here),
            Some(Segment::Key(_)) => deserializer.deserialize_map(self),
            Some(Segment::Index(_)) => deserializer.deserialize_seq(self),
        }
    }
}

impl<'de> Visitor<'de> for Probe<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value on the way")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((Segment::Key(key), rest)) = self.path.split_first() else { return Ok(()) };
        while let Some(fits) = map.next_key_seed(KeyProbe { key, is_last: rest.is_empty() })? {
            match fits {
                true => map.next_value_seed(Probe { path: rest })?,
                false => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        let Some((Segment::Index(index), rest)) = self.path.split_first() else { return Ok(()) };
        for _ in 0..*index {
            if sequence.next_element::<IgnoredAny>()?.is_none() {
                return Ok(());
            }
        }
        sequence.next_element_seed(Probe { path: rest })?;
        while sequence.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

/// Says whether a key is `key`; raises the error there if the path ends with it.
struct KeyProbe<'a> {
    key: &'a str,
    is_last: bool,
}

impl<'de> DeserializeSeed<'de> for KeyProbe<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyProbe<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<bool, E> {
        match key == self.key {
            true if self.is_last => Err(E::custom("here")),
            fits => Ok(fits),
        }
    }
}

/// The place itself. As this takes no type of value, whatever stands there is an error.
struct Here;

impl Visitor<'_> for Here {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the place")
    }
}
