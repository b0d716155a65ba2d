//! Names that others have written, and whether they can mean one thing only.

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
