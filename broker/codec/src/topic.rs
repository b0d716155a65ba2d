//! Topic names, topic filters and the one matcher (MQTT 5.0 section 4.7).

use std::borrow::Borrow;
use std::fmt;

/// Longest topic name or filter that a two-byte length can carry.
pub const MAX_TOPIC_LENGTH: usize = u16::MAX as usize;

/// Why a string is not a topic name or filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    #[error("a topic must hold at least one character")]
    Empty,
    #[error("a topic must not be longer than 65535 bytes")]
    TooLong,
    #[error("a topic must not hold U+0000")]
    Nul,
    #[error("a topic name must not hold a wildcard")]
    Wildcard,
    #[error("a wildcard must stand for a whole level, and # only for the last")]
    MisplacedWildcard,
    #[error("a shared subscription is $share/name/filter, its name without / + #")]
    BadShare,
}

/// A valid topic name: not empty, without NUL and wildcards `[MQTT-4.7.1-1]` `[MQTT-4.7.3-1]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicName<'a>(&'a str);

impl<'a> TopicName<'a> {
    /// Checks `text`; the error says which rule it breaks.
    #[inline]
    pub fn new(text: &'a str) -> Result<Self, TopicError> {
        check_length(text)?;
        for byte in text.bytes() {
            match byte {
                0 => return Err(TopicError::Nul),
                b'+' | b'#' => return Err(TopicError::Wildcard),
                _ => {}
            }
        }
        Ok(Self(text))
    }

    /// The name, if it is valid and at least eight bytes of ASCII: the common case, in one pass.
    #[inline]
    #[allow(unsafe_code)]
    pub(crate) fn from_plain_ascii(bytes: &'a [u8]) -> Option<Self> {
        // The last word overlaps the one before it where the length is no multiple of eight.
        let last = bytes.last_chunk()?;
        let words = bytes.as_chunks().0;
        if bytes.len() > MAX_TOPIC_LENGTH || !words.iter().chain([last]).all(is_plain_ascii) {
            return None;
        }
        // SAFETY: every byte lies in one of the words, and they hold ASCII alone.
        Some(Self(unsafe { std::str::from_utf8_unchecked(bytes) }))
    }

    /// For text that `new` has accepted before and that was stored since.
    pub fn from_checked(text: &'a str) -> Self {
        debug_assert!(Self::new(text).is_ok(), "a checked topic name stays valid");
        Self(text)
    }

    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// The levels between slashes; there is always at least one, and it may be empty.
    pub fn levels(self) -> std::str::Split<'a, char> {
        self.0.split('/')
    }

    /// Whether a leading wildcard must not match this topic `[MQTT-4.7.2-1]`.
    pub fn is_reserved(self) -> bool {
        self.0.starts_with('$')
    }
}

impl fmt::Display for TopicName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A valid topic filter, the `$share/name/` prefix of a shared subscription included.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicFilter(Box<str>);

impl TopicFilter {
    /// Checks `text` `[MQTT-4.7.1-2]` `[MQTT-4.7.1-3]` `[MQTT-4.8.2-1]` `[MQTT-4.8.2-2]`.
    pub fn new(text: impl Into<Box<str>>) -> Result<Self, TopicError> {
        let text = text.into();
        check_length(&text)?;
        let bare = match text.strip_prefix("$share/") {
            None => &*text,
            Some(rest) => {
                let (name, bare) = rest.split_once('/').ok_or(TopicError::BadShare)?;
                if name.is_empty() || bare.is_empty() || name.contains(['+', '#']) {
                    return Err(TopicError::BadShare);
                }
                bare
            }
        };
        check_filter(bare)?;
        Ok(Self(text))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the shared subscription's group, if this is one.
    pub fn share_name(&self) -> Option<&str> {
        Some(self.0.strip_prefix("$share/")?.split_once('/')?.0)
    }

    /// The filter that topics are matched with: without `$share/name/`.
    pub fn bare(&self) -> &str {
        match self.share_name() {
            None => &self.0,
            Some(name) => &self.0["$share/".len() + name.len() + 1..],
        }
    }

    pub fn has_wildcard(&self) -> bool {
        self.bare().contains(['+', '#'])
    }

    /// Whether a message on `topic` is due to this filter.
    pub fn matches(&self, topic: TopicName<'_>) -> bool {
        filter_matches(self.bare(), topic)
    }

    /// Whether every topic that `other` matches is matched by this filter, too.
    pub fn covers(&self, other: &TopicFilter) -> bool {
        filter_covers(self.bare(), other.bare())
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for TopicFilter {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for TopicFilter {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        Self::new(text)
    }
}

/// Whether `topic` matches `filter`, a valid bare filter.
pub fn filter_matches(filter: &str, topic: TopicName<'_>) -> bool {
    if topic.is_reserved() && filter.starts_with(['+', '#']) {
        return false;
    }
    levels_match(filter, Some(topic.as_str()))
}

/// Whether levels of a topic match those of a filter, behind others that do. None: none are left.
#[inline]
pub fn levels_match(filter: &str, topic: Option<&str>) -> bool {
    let mut levels = topic.into_iter().flat_map(|topic| topic.split('/'));
    for wanted in filter.split('/') {
        if wanted == "#" {
            return true;
        }
        match levels.next() {
            Some(level) if wanted == "+" || wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

/// Whether `wide` matches every topic that `narrow` matches; both are valid bare filters.
pub fn filter_covers(wide: &str, narrow: &str) -> bool {
    // A leading wildcard never reaches the reserved topics that `narrow` names outright.
    if narrow.starts_with('$') && wide.starts_with(['+', '#']) {
        return false;
    }
    // Every topic has a first level: these two match the same.
    if wide == "+/#" && narrow == "#" {
        return true;
    }
    let mut levels = narrow.split('/');
    for wanted in wide.split('/') {
        if wanted == "#" {
            return true;
        }
        match levels.next() {
            Some("#") | None => return false,
            Some(level) if wanted == "+" || wanted == level => {}
            Some(_) => return false,
        }
    }
    levels.next().is_none()
}

/// Whether some topic is matched by both `a` and `b`, valid bare filters.
pub fn filter_intersects(a: &str, b: &str) -> bool {
    // A leading wildcard never reaches the reserved topics that the other names outright.
    let wild = |filter: &str| filter.starts_with(['+', '#']);
    if (wild(a) && b.starts_with('$')) || (wild(b) && a.starts_with('$')) {
        return false;
    }
    let (mut a, mut b) = (a.split('/'), b.split('/'));
    loop {
        match (a.next(), b.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (None, Some(_)) | (Some(_), None) => return false,
            (Some(one), Some(other)) if one == "+" || other == "+" || one == other => {}
            (Some(_), Some(_)) => return false,
        }
    }
}

fn check_length(text: &str) -> Result<(), TopicError> {
    match text.len() {
        0 => Err(TopicError::Empty),
        1..=MAX_TOPIC_LENGTH => Ok(()),
        _ => Err(TopicError::TooLong),
    }
}

/// Whether all eight bytes are ASCII, none of them NUL, + or #.
#[inline]
fn is_plain_ascii(word: &[u8; 8]) -> bool {
    let word = u64::from_ne_bytes(*word);
    // + and # differ in one bit. A borrow can mark a byte too much, never one too few.
    let wildcards = (word | repeat(8)) ^ repeat(b'+');
    let nul_or_wildcard = word.wrapping_sub(repeat(1)) | wildcards.wrapping_sub(repeat(1));
    (word | nul_or_wildcard) & repeat(0x80) == 0
}

#[inline]
fn repeat(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

fn check_filter(bare: &str) -> Result<(), TopicError> {
    if bare.contains('\0') {
        return Err(TopicError::Nul);
    }
    let mut levels = bare.split('/').peekable();
    while let Some(level) = levels.next() {
        let misplaced = match level {
            "#" => levels.peek().is_some(),
            "+" => false,
            _ => level.contains(['+', '#']),
        };
        if misplaced {
            return Err(TopicError::MisplacedWildcard);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_as_the_specification_says() {
        let table = [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
            ("sport/#", "sport", true),
            ("#", "a/b", true),
            ("sport/tennis/+", "sport/tennis/player1", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("#", "$SYS/x", false),
            ("+/monitor/Clients", "$SYS/monitor/Clients", false),
            ("$SYS/#", "$SYS/x", true),
            ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
            ("a/b", "a/B", false),
            ("$share/g/a/+", "a/b", true),
        ];
        for (filter, topic, expected) in table {
            let filter = TopicFilter::new(filter).unwrap();
            let topic = TopicName::new(topic).unwrap();
            assert_eq!(filter.matches(topic), expected, "{filter} {topic}");
        }
    }

    #[test]
    fn covering_is_matching_of_whole_filters() {
        let table = [
            ("a/#", "a/b/#", true),
            ("a/#", "a", true),
            ("a/#", "a/#", true),
            ("a/+", "a/#", false),
            ("a/+", "a/+", true),
            ("a/b", "a/+", false),
            ("+/b", "a/b", true),
            ("#", "$SYS/#", false),
            ("#", "+/a", true),
            ("+/#", "#", true),
            ("+/#", "$SYS/#", false),
            ("+/+/#", "#", false),
            ("a/+/#", "a/#", false),
            ("a/+/c", "a/b/c", true),
            ("a/+/c", "a/+/+", false),
        ];
        for (wide, narrow, expected) in table {
            assert_eq!(filter_covers(wide, narrow), expected, "{wide} over {narrow}");
        }
    }

    #[test]
    fn filters_intersect_where_one_topic_is_due_to_both() {
        let table = [
            ("a/#", "a", true),
            ("a/#", "+/b", true),
            ("a/#", "b/#", false),
            ("a/+", "+/b", true),
            ("a/+", "a", false),
            ("a/+", "a/b/c", false),
            ("a/+/c", "a/b/#", true),
            ("+", "/", false),
            ("#", "+", true),
            ("#", "$SYS/#", false),
            ("+/x", "$SYS/x", false),
            ("$SYS/#", "$SYS/x", true),
        ];
        for (one, other, expected) in table {
            assert_eq!(filter_intersects(one, other), expected, "{one} and {other}");
            assert_eq!(filter_intersects(other, one), expected, "{other} and {one}");
        }
    }

    #[test]
    fn bad_names_and_filters_are_refused_with_the_rule() {
        assert_eq!(TopicName::new(""), Err(TopicError::Empty));
        assert_eq!(TopicName::new("a/+"), Err(TopicError::Wildcard));
        assert_eq!(TopicName::new("a\0"), Err(TopicError::Nul));
        for filter in ["a/#/b", "a#", "a/b+", "#/"] {
            assert_eq!(TopicFilter::new(filter), Err(TopicError::MisplacedWildcard), "{filter}");
        }
        for filter in ["$share/g", "$share//a", "$share/g/", "$share/g+/a"] {
            assert_eq!(TopicFilter::new(filter), Err(TopicError::BadShare), "{filter}");
        }
    }

    #[test]
    fn the_short_way_accepts_what_the_long_way_accepts_and_nothing_else() {
        for length in 0..40 {
            for position in 0..length {
                for byte in 0..=255u8 {
                    let mut bytes = vec![b'x'; length];
                    bytes[position] = byte;
                    let text = std::str::from_utf8(&bytes).ok();
                    let plain = text.filter(|text| text.is_ascii() && length >= 8);
                    let expected = plain.and_then(|text| TopicName::new(text).ok());
                    assert_eq!(TopicName::from_plain_ascii(&bytes), expected, "{bytes:?}");
                }
            }
        }
    }

    #[test]
    fn a_shared_filter_knows_its_group_and_its_bare_filter() {
        let filter = TopicFilter::new("$share/group/a/#").unwrap();
        assert_eq!((filter.share_name(), filter.bare()), (Some("group"), "a/#"));
    }
}
