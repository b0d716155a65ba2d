//! What is wrong with a configuration, and where: file, line, column and key path.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_path_to_error::Segment as Tracked;

use super::locate::locate;

/// Where in the document something stands: `listeners[1].tls.key`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyPath(Vec<Segment>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    Key(String),
    Index(usize),
}

impl KeyPath {
    /// The value of the top-level key `key`.
    pub fn root(key: &str) -> Self {
        Self::default().key(key)
    }

    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.with(Segment::Key(key.into()))
    }

    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(Segment::Index(index))
    }

    /// `path`, seen from here.
    pub(super) fn join(&self, path: &serde_path_to_error::Path) -> Self {
        let segments = path.iter().filter_map(|segment| match segment {
            Tracked::Seq { index } => Some(Segment::Index(*index)),
            Tracked::Map { key } => Some(Segment::Key(key.clone())),
            // A variant is the key of its map; what is unknown is left out.
            Tracked::Enum { variant } => Some(Segment::Key(variant.clone())),
            Tracked::Unknown => None,
        });
        Self(self.0.iter().cloned().chain(segments).collect())
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.0
    }

    fn with(&self, segment: Segment) -> Self {
        Self(self.0.iter().cloned().chain([segment]).collect())
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(key) if position == 0 => f.write_str(key)?,
                Segment::Key(key) => write!(f, ".{key}")?,
            }
        }
        Ok(())
    }
}

/// A line and a column, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub line: usize,
    pub column: usize,
}

/// The text that a configuration was read from, to tell where a problem stands.
#[derive(Clone)]
pub struct Source {
    file: PathBuf,
    text: String,
}

impl Source {
    pub(super) fn new(file: &Path, text: String) -> Self {
        Self { file: file.to_owned(), text }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Where the file's relative paths start.
    pub(super) fn directory(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new(""))
    }

    /// A problem with what stands at `path`.
    pub fn problem(&self, path: &KeyPath, message: impl fmt::Display) -> Problem {
        Problem {
            position: locate(&self.text, path.segments()),
            ..self.problem_at(None, path.to_string(), message)
        }
    }

    pub(super) fn problem_at(
        &self,
        position: Option<Position>,
        key_path: String,
        message: impl fmt::Display,
    ) -> Problem {
        Problem { file: self.file.clone(), position, key_path, message: message.to_string() }
    }
}

/// Without the text: it may hold a password.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({:?})", self.file)
    }
}

/// One thing that is wrong. `Display` is one line, as compilers write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub file: PathBuf,
    pub position: Option<Position>,
    /// Empty where the document as a whole is meant.
    pub key_path: String,
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(Position { line, column }) = self.position {
            write!(f, "{line}:{column}:")?;
        }
        if !self.key_path.is_empty() {
            write!(f, " {}:", self.key_path)?;
        }
        write!(f, " {}", self.message)
    }
}

/// All that is wrong with a configuration, at least one problem.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError(pub Vec<Problem>);

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.0.iter().enumerate() {
            let separator = if position == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}
