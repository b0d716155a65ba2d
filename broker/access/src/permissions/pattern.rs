//! Topic filters with placeholders: how they are read, compared and filled in.

use std::collections::BTreeMap;
use std::sync::Arc;

use hookmq_codec::{TopicError, TopicFilter};
use hookmq_hooks::{Attribute, Voucher};

use super::{Holder, NotApplied};

/// The filter of a permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterPattern {
    text: Box<str>,
    pieces: Pieces,
    /// One rank per level, the higher the more specific.
    ranks: Box<[u8]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pieces {
    /// No placeholder: the text is the filter.
    Literal,
    Template(Box<[Piece]>),
    Unreadable(PatternError),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Username,
    ClientId,
    Tenant,
    Attribute(Box<str>),
}

/// Why a text is not the filter of a permission.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("{0}")]
    Topic(#[from] TopicError),
    #[error(
        "a brace belongs to {{username}}, {{client_id}}, {{tenant}} or {{attribute:NAME}} alone"
    )]
    Placeholder,
    #[error("permissions are for topics: write the filter without $share/name/")]
    Shared,
}

mod rank {
    pub const MULTI_LEVEL: u8 = 0;
    /// Stands behind the last level of a filter without `#`.
    pub const END: u8 = 1;
    pub const SINGLE_LEVEL: u8 = 2;
    pub const PLACEHOLDER: u8 = 3;
    pub const LITERAL: u8 = 4;
    /// What cannot be read might mean anything, so it is asked first.
    pub const UNREADABLE: u8 = 5;
}

impl FilterPattern {
    /// Reads `text`.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        let pieces = parse(text)?;
        Ok(Self { text: text.into(), pieces, ranks: ranks(text) })
    }

    /// As [`FilterPattern::new`]; what cannot be read stays, and denies if its permission does.
    pub fn lenient(text: &str) -> Self {
        Self::new(text).unwrap_or_else(|error| Self {
            text: text.into(),
            pieces: Pieces::Unreadable(error),
            ranks: [rank::UNREADABLE].into(),
        })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Compares as "more specific": level by level from the left.
    pub(super) fn specificity(&self) -> &[u8] {
        &self.ranks
    }

    /// The filter with the holder's values; none where the text is the filter already.
    pub(super) fn fill(&self, holder: &Holder<'_>) -> Result<Option<Box<str>>, NotApplied> {
        let pieces = match &self.pieces {
            Pieces::Literal => return Ok(None),
            Pieces::Unreadable(error) => return Err(NotApplied::Unreadable(error.clone())),
            Pieces::Template(pieces) => pieces,
        };
        let mut filled = String::new();
        for piece in pieces {
            let (name, value) = match piece {
                Piece::Text(text) => {
                    filled.push_str(text);
                    continue;
                }
                Piece::Username => ("username", holder.username),
                Piece::Tenant => ("tenant", holder.tenant),
                Piece::ClientId => {
                    ("client_id", holder.client_id.ok_or(NotApplied::ClientIdNotBound)?)
                }
                Piece::Attribute(name) => (&**name, vouched(holder.attributes, name)?),
            };
            // At the start of a filter, a $ would reach the reserved topics.
            let reserved = filled.is_empty() && value.starts_with('$');
            if value.is_empty() || value.contains(['+', '#', '/', '\0']) || reserved {
                return Err(NotApplied::ValueDoesNotFit { placeholder: name.into() });
            }
            filled.push_str(value);
        }
        match TopicFilter::new(&*filled) {
            Ok(filter) if filter.share_name().is_none() => Ok(Some(filled.into())),
            Ok(_) => Err(NotApplied::Unreadable(PatternError::Shared)),
            Err(error) => Err(NotApplied::Unreadable(error.into())),
        }
    }
}

fn vouched<'a>(
    attributes: &'a BTreeMap<Arc<str>, Attribute>,
    name: &str,
) -> Result<&'a str, NotApplied> {
    match attributes.get(name) {
        None => Err(NotApplied::NoAttribute { name: name.into() }),
        Some(attribute) if attribute.vouched_by == Voucher::Claim => {
            Err(NotApplied::AttributeNotVouched { name: name.into() })
        }
        Some(attribute) => Ok(&attribute.value),
    }
}

fn parse(text: &str) -> Result<Pieces, PatternError> {
    if text.starts_with("$share/") {
        return Err(PatternError::Shared);
    }
    let mut pieces = Vec::new();
    // The shape is checked with a value in every placeholder's place.
    let mut shape = String::new();
    let mut rest = text;
    while let Some(brace) = rest.find(['{', '}']) {
        let (before, placeholder) = rest.split_at(brace);
        let inner = placeholder.strip_prefix('{').ok_or(PatternError::Placeholder)?;
        let (name, behind) = inner.split_once('}').ok_or(PatternError::Placeholder)?;
        if !before.is_empty() {
            pieces.push(Piece::Text(before.into()));
        }
        pieces.push(placeholder_named(name)?);
        shape.push_str(before);
        shape.push('x');
        rest = behind;
    }
    shape.push_str(rest);
    TopicFilter::new(shape)?;
    if pieces.is_empty() {
        return Ok(Pieces::Literal);
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.into()));
    }
    Ok(Pieces::Template(pieces.into()))
}

fn placeholder_named(name: &str) -> Result<Piece, PatternError> {
    match name {
        "username" => Ok(Piece::Username),
        "client_id" => Ok(Piece::ClientId),
        "tenant" => Ok(Piece::Tenant),
        _ => match name.strip_prefix("attribute:") {
            Some(name) if !name.is_empty() && !name.contains(['{', '/', '+', '#']) => {
                Ok(Piece::Attribute(name.into()))
            }
            _ => Err(PatternError::Placeholder),
        },
    }
}

fn ranks(text: &str) -> Box<[u8]> {
    let mut ranks: Vec<u8> = text
        .split('/')
        .map(|level| match level {
            "#" => rank::MULTI_LEVEL,
            "+" => rank::SINGLE_LEVEL,
            level if level.contains('{') => rank::PLACEHOLDER,
            _ => rank::LITERAL,
        })
        .collect();
    if ranks.last() != Some(&rank::MULTI_LEVEL) {
        ranks.push(rank::END);
    }
    ranks.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_with_their_placeholders_or_refused() {
        for text in ["a/b", "#", "{username}/#", "x-{client_id}/{attribute:site}/+", "$SYS/#"] {
            assert!(FilterPattern::new(text).is_ok(), "{text}");
        }
        for text in
            ["{user}", "{", "}", "{attribute:}", "{attribute:a/b}", "a{username", "{{username}}"]
        {
            assert_eq!(FilterPattern::new(text), Err(PatternError::Placeholder), "{text}");
        }
        let misplaced = Err(PatternError::Topic(TopicError::MisplacedWildcard));
        for text in ["a/#/b", "{username}#", "+{username}"] {
            assert_eq!(FilterPattern::new(text), misplaced, "{text}");
        }
        assert_eq!(FilterPattern::new("$share/g/a"), Err(PatternError::Shared));
        assert_eq!(FilterPattern::new(""), Err(PatternError::Topic(TopicError::Empty)));
    }

    #[test]
    fn literals_are_more_specific_than_placeholders_than_wildcards() {
        let ascending =
            ["#", "+/#", "+", "+/b", "{username}", "a/#", "a", "a/+/c", "a/{tenant}", "a/b"];
        for (less, more) in ascending.iter().zip(&ascending[1..]) {
            let [less, more] = [less, more].map(|text| FilterPattern::new(text).unwrap());
            assert!(less.specificity() < more.specificity(), "{less:?} {more:?}");
        }
        let [one, other] =
            ["{username}/x", "{client_id}/y"].map(|text| FilterPattern::new(text).unwrap());
        assert_eq!(one.specificity(), other.specificity());
    }

    #[test]
    fn values_that_could_widen_a_filter_never_fit() {
        let attributes = BTreeMap::new();
        let fill = |text: &str, username: &str| {
            let holder =
                Holder { tenant: "acme", username, client_id: None, attributes: &attributes };
            FilterPattern::new(text).unwrap().fill(&holder)
        };
        let filled = |text: &str| Ok(Some(text.into()));
        assert_eq!(fill("a/{username}/#", "pump"), filled("a/pump/#"));
        assert_eq!(fill("{tenant}-{username}", "$x"), filled("acme-$x"));
        assert_eq!(fill("a/{username}", "{tenant}"), filled("a/{tenant}"), "filled in once");
        let refused = Err(NotApplied::ValueDoesNotFit { placeholder: "username".into() });
        for username in ["", "+", "#", "a/b", "a+", "a\0", "/"] {
            assert_eq!(fill("a/{username}", username), refused, "{username:?}");
        }
        assert_eq!(fill("{username}/#", "$SYS"), refused);
    }

    #[test]
    fn placeholders_take_only_what_somebody_vouched_for() {
        let attribute = |vouched_by| Attribute { value: "north".into(), vouched_by };
        let attributes = BTreeMap::from([
            ("site".into(), attribute(Voucher::Tls)),
            ("said".into(), attribute(Voucher::Claim)),
        ]);
        let fill = |text: &str, client_id| {
            let holder =
                Holder { tenant: "acme", username: "pump", client_id, attributes: &attributes };
            FilterPattern::new(text).unwrap().fill(&holder)
        };
        assert_eq!(fill("{attribute:site}", None), Ok(Some("north".into())));
        let refused = Err(NotApplied::AttributeNotVouched { name: "said".into() });
        assert_eq!(fill("{attribute:said}", None), refused);
        let missing = Err(NotApplied::NoAttribute { name: "none".into() });
        assert_eq!(fill("{attribute:none}", None), missing);
        assert_eq!(fill("{client_id}", None), Err(NotApplied::ClientIdNotBound));
        assert_eq!(fill("{client_id}", Some("c1")), Ok(Some("c1".into())));
    }
}
