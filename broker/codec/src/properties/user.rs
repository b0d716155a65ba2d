//! User properties: pairs that are read where they stand, and a buffer to build them in.

use std::fmt;

use crate::reader::Reader;
use crate::sink::{MAXIMUM_STRING, Sink};
use crate::{EncodeError, Property};

/// Name and value pairs in the order of the wire, repeated names kept `[MQTT-3.3.2-18]`.
///
/// Holds the properties as encoded, checked when they were decoded. Two are equal when their pairs
/// are.
#[derive(Clone, Copy, Default)]
pub struct UserProperties<'a> {
    /// From the first user property to the last; other properties may stand between them.
    encoded: &'a [u8],
}

impl<'a> UserProperties<'a> {
    /// `encoded` has been read before: well-formed properties that begin with a user property.
    pub(super) fn from_checked(encoded: &'a [u8]) -> Self {
        Self { encoded }
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.encoded.is_empty()
    }

    /// Names and values in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.pairs().filter_map(|(name, value)| {
            Some((std::str::from_utf8(name).ok()?, std::str::from_utf8(value).ok()?))
        })
    }

    fn pairs(&self) -> Pairs<'a> {
        Pairs(Reader::new(self.encoded))
    }

    pub(super) fn write(&self, sink: &mut impl Sink) {
        for (name, value) in self.pairs() {
            sink.byte(Property::UserProperty as u8);
            sink.sized(name);
            sink.sized(value);
        }
    }
}

impl PartialEq for UserProperties<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.pairs().eq(other.pairs())
    }
}

impl Eq for UserProperties<'_> {}

impl fmt::Debug for UserProperties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// The pairs as bytes, other properties skipped.
struct Pairs<'a>(Reader<'a>);

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match Property::from_byte(self.0.byte().ok()?)? {
                Property::UserProperty => {
                    return Some((self.0.binary().ok()?, self.0.binary().ok()?));
                }
                other => other.skip(&mut self.0).ok()?,
            }
        }
    }
}

/// User properties being built, for packets that do not come from the wire.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserPropertiesBuf {
    encoded: Vec<u8>,
}

impl UserPropertiesBuf {
    /// # Errors
    /// A name or value above 65535 bytes or with U+0000; the pair is left out then.
    pub fn push(&mut self, name: &str, value: &str) -> Result<(), EncodeError> {
        for text in [name, value] {
            if text.len() > MAXIMUM_STRING {
                return Err(EncodeError::StringTooLong);
            }
            if text.as_bytes().contains(&0) {
                return Err(EncodeError::NulCharacter);
            }
        }
        self.encoded.byte(Property::UserProperty as u8);
        self.encoded.sized(name.as_bytes());
        self.encoded.sized(value.as_bytes());
        Ok(())
    }

    /// All of `pairs`, in their order.
    ///
    /// # Errors
    /// Those of [`UserPropertiesBuf::push`], for the first pair that has one.
    pub fn try_from_pairs<N: AsRef<str>, V: AsRef<str>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, EncodeError> {
        let mut built = Self::default();
        for (name, value) in pairs {
            built.push(name.as_ref(), value.as_ref())?;
        }
        Ok(built)
    }

    pub fn as_user_properties(&self) -> UserProperties<'_> {
        UserProperties::from_checked(&self.encoded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_keep_their_order_and_repeated_names() {
        let pairs = [("b", "1"), ("a", ""), ("b", "2")];
        let built = UserPropertiesBuf::try_from_pairs(pairs).unwrap();
        assert!(built.as_user_properties().iter().eq(pairs));
        assert!(!built.as_user_properties().is_empty());
    }

    #[test]
    fn other_properties_between_pairs_do_not_count() {
        let interleaved = b"\x26\0\x01a\0\x01b\x01\x01\x26\0\x01c\0\x01d";
        let built = UserPropertiesBuf::try_from_pairs([("a", "b"), ("c", "d")]).unwrap();
        let user_properties = UserProperties::from_checked(interleaved);
        assert_eq!(user_properties, built.as_user_properties());
        assert_eq!(format!("{user_properties:?}"), r#"[("a", "b"), ("c", "d")]"#);
        let mut written = Vec::new();
        user_properties.write(&mut written);
        assert_eq!(written, built.encoded);
    }

    #[test]
    fn a_pair_that_cannot_be_sent_is_refused_whole() {
        let mut built = UserPropertiesBuf::default();
        let long = "x".repeat(MAXIMUM_STRING + 1);
        assert_eq!(built.push("name", &long), Err(EncodeError::StringTooLong));
        assert_eq!(built.push("na\0me", "value"), Err(EncodeError::NulCharacter));
        assert!(built.as_user_properties().is_empty());
        assert_eq!(built.push("name", &long[1..]), Ok(()));
    }
}
