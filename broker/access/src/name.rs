//! Names that others have written, and whether they can mean one thing only.

use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error};

/// What about `value` could be taken for something else; nothing where it is clear. What is seen must be
/// what is compared: marks of direction, characters without a width, and characters with another
/// spelling are not.
pub(crate) fn ambiguity(value: &str) -> Option<&'static str> {
    if value.contains(['*', '+', '#']) {
        return Some("a wildcard");
    }
    if value.trim() != value {
        return Some("white space at its beginning or end");
    }
    if !stringprep::saslprep(value).is_ok_and(|prepared| prepared == *value) {
        return Some("characters that SASLprep does not leave as they are");
    }
    None
}

/// A name in the configuration that a step is to give: the pipeline refuses clients of which a step says that
/// they have none.
pub(crate) fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
    let name = Arc::<str>::deserialize(deserializer)?;
    match name.is_empty() || name.contains('\0') {
        true => Err(D::Error::custom("it must be a name, neither empty nor with U+0000")),
        false => Ok(name),
    }
}

/// The same, where there may be none.
pub(crate) fn some_name<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Arc<str>>, D::Error> {
    name(deserializer).map(Some)
}
