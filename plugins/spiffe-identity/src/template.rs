//! Paths with placeholders, and texts made of what these stood for.

use crate::spiffe_id::{SpiffeId, check_segment};

const MAX_SEGMENTS: usize = 32;

/// The pattern of a path: `/ns/{tenant}/sa/{name}`.
#[derive(Debug)]
pub struct PathPattern(Vec<Segment>);

#[derive(Debug)]
enum Segment {
    Literal(String),
    /// Any one segment.
    Placeholder(String),
}

impl PathPattern {
    /// # Errors
    /// Where no path could ever fit, or a placeholder occurs twice.
    pub fn parse(text: &str) -> Result<Self, String> {
        let path = text.strip_prefix('/').ok_or("it begins with /")?;
        let mut segments: Vec<Segment> = Vec::new();
        for segment in path.split('/') {
            let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            let Some(name) = name else {
                check_segment(segment).map_err(|why| format!("{segment:?}: {why}"))?;
                segments.push(Segment::Literal(segment.to_owned()));
                continue;
            };
            if !is_placeholder_name(name) {
                return Err(format!("{segment:?}: a placeholder's name holds a-z 0-9 _"));
            }
            let twice = segments.iter().any(|s| matches!(s, Segment::Placeholder(n) if n == name));
            if twice || FACTS.contains(&name) {
                return Err(format!("{segment:?}: that placeholder has a meaning already"));
            }
            segments.push(Segment::Placeholder(name.to_owned()));
        }
        if segments.len() > MAX_SEGMENTS {
            return Err(format!("at most {MAX_SEGMENTS} segments are possible"));
        }
        Ok(Self(segments))
    }

    pub fn matches(&self, id: &SpiffeId) -> bool {
        self.0.len() == id.segments.len()
            && self.0.iter().zip(&id.segments).all(|(wanted, found)| match wanted {
                Segment::Literal(literal) => literal == found,
                Segment::Placeholder(_) => true,
            })
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|segment| matches!(segment, Segment::Placeholder(n) if n == name))
    }
}

/// Placeholders that every text may hold.
const FACTS: [&str; 2] = ["trust_domain", "spiffe_id"];

/// A text with placeholders of a pattern: `{tenant}-{name}`.
#[derive(Debug)]
pub struct Template(Vec<Part>);

#[derive(Debug)]
enum Part {
    Literal(String),
    Segment(usize),
    TrustDomain,
    SpiffeId,
}

impl Template {
    /// # Errors
    /// Where the text is empty, or a brace belongs to no placeholder of the pattern.
    pub fn parse(text: &str, pattern: &PathPattern) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((literal, behind)) = rest.split_once('{') {
            let (name, after) = behind.split_once('}').ok_or("a brace is not closed")?;
            if !literal.is_empty() {
                parts.push(literal_part(literal)?);
            }
            parts.push(match name {
                "trust_domain" => Part::TrustDomain,
                "spiffe_id" => Part::SpiffeId,
                _ => Part::Segment(
                    pattern.position(name).ok_or(format!("the path has no {{{name}}}"))?,
                ),
            });
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(literal_part(rest)?);
        }
        if parts.is_empty() {
            return Err("it is empty".into());
        }
        Ok(Self(parts))
    }

    /// `text` is the ID as a whole, and the pattern has matched it.
    pub fn render<'a>(&'a self, text: &'a str, id: &SpiffeId<'a>) -> String {
        let part = |part: &'a Part| match part {
            Part::Segment(position) => id.segments.get(*position).copied().unwrap_or_default(),
            Part::Literal(literal) => literal,
            Part::TrustDomain => id.trust_domain,
            Part::SpiffeId => text,
        };
        self.0.iter().map(part).collect()
    }
}

fn literal_part(literal: &str) -> Result<Part, String> {
    match literal.contains('}') {
        true => Err("a brace is not opened".into()),
        false => Ok(Part::Literal(literal.to_owned())),
    }
}

fn is_placeholder_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    !name.is_empty() && name.bytes().all(fits)
}
