//! Texts with claims in them: `{sub}`, `device-{serial}`, `{/realm/site}`.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::braces::{LONGEST, Piece, Unbalanced, pieces};
use crate::name::ambiguity;

/// A text with at least one part.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(String),
}

/// Why a text is no template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    #[error("it must not be empty")]
    Empty,
    #[error("a brace is not closed, or not opened, or has nothing in it")]
    Brace,
}

impl Template {
    /// The names in braces.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Field(name) => Some(&**name),
        })
    }

    /// The template with `value` in the place of each name.
    ///
    /// # Errors
    /// Where there is no value, or one that could mean two things: in words for an operator, with the
    /// name and without the value.
    pub(crate) fn fill<'a>(
        &self,
        value: impl Fn(&str) -> Option<Cow<'a, str>>,
    ) -> Result<String, String> {
        let mut filled = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Field(name) => {
                    let value = value(name).filter(|value| !value.is_empty());
                    let value = value.ok_or_else(|| format!("there is no {name}"))?;
                    if let Some(what) = ambiguity(&value) {
                        return Err(format!("{name} holds {what}"));
                    }
                    filled.push_str(&value);
                }
            }
        }
        match filled.len() <= LONGEST {
            true => Ok(filled),
            false => Err(format!("it is longer than {LONGEST} bytes")),
        }
    }

    /// As [`Template::fill`], with claims.
    pub(super) fn fill_from(&self, claims: &Map<String, Value>) -> Result<String, String> {
        self.fill(|name| text(claim(claims, name)?))
    }
}

impl TryFrom<String> for Template {
    type Error = TemplateError;

    fn try_from(text: String) -> Result<Self, TemplateError> {
        let part = |piece| match piece {
            Ok(Piece::Text(text)) => Ok(Part::Text(text.to_owned())),
            Ok(Piece::Name(name)) if !name.is_empty() && !name.contains('{') => {
                Ok(Part::Field(name.to_owned()))
            }
            Ok(Piece::Name(_)) | Err(Unbalanced) => Err(TemplateError::Brace),
        };
        let parts: Vec<_> = pieces(&text).map(part).collect::<Result<_, _>>()?;
        if parts.is_empty() { Err(TemplateError::Empty) } else { Ok(Self(parts)) }
    }
}

/// The claim of this name, or where it begins with a slash, what the JSON pointer (RFC 6901) leads to.
pub(super) fn claim<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let Some(pointer) = name.strip_prefix('/') else { return claims.get(name) };
    let mut levels = pointer.split('/').map(|level| level.replace("~1", "/").replace("~0", "~"));
    let first = claims.get(&levels.next()?)?;
    levels.try_fold(first, |value, level| match value {
        Value::Object(object) => object.get(&level),
        Value::Array(items) => items.get(level.parse::<usize>().ok()?),
        _ => None,
    })
}

/// A value that is written in one way only.
pub(super) fn text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(text.into()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string().into()),
        Value::Bool(truth) => Some(truth.to_string().into()),
        _ => None,
    }
}
