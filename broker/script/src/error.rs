//! Why a rule is kept out, told as a compiler tells it.

use std::fmt;

/// All that is wrong with one rule file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize)]
pub struct RuleError {
    /// At least one, in the order of the file.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong, and where; line and column count from 1.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    pub file: String,
    pub line: usize,
    pub column: usize,
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The line of the file, for display.
    pub source_line: String,
}

/// How one of a rule's own tests came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestOutcome {
    pub name: String,
    /// Why it failed.
    pub problem: Option<Problem>,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let indent = " ".repeat(self.column.saturating_sub(1).min(self.source_line.len()));
        writeln!(f, "error: {}", self.message)?;
        writeln!(f, "{margin}--> {}:{}:{}", self.file, self.line, self.column)?;
        writeln!(f, "{margin} |")?;
        writeln!(f, "{number} | {}", self.source_line)?;
        write!(f, "{margin} | {indent}^")?;
        match &self.hint {
            Some(hint) => write!(f, "\n{margin} = hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// A rule's text, for pointing into it.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) file: &'a str,
    pub(crate) text: &'a str,
}

impl Source<'_> {
    pub(crate) fn problem(&self, position: rhai::Position, message: impl Into<String>) -> Problem {
        let line = position.line().unwrap_or(1);
        let text = self.text.lines().nth(line - 1).unwrap_or_default();
        Problem {
            file: self.file.into(),
            line,
            column: position.position().unwrap_or(1),
            message: message.into(),
            hint: None,
            // Tabs would shift the mark below the line.
            source_line: text.replace('\t', " ").chars().take(200).collect(),
        }
    }

    /// Where the function `name` is defined: the first line that begins so.
    pub(crate) fn position_of_function(&self, name: &str) -> rhai::Position {
        let is_definition = |line: &str| {
            let rest = line.trim_start();
            let rest = rest.strip_prefix("private ").unwrap_or(rest);
            let rest = rest.strip_prefix("fn ").map(str::trim_start).unwrap_or_default();
            rest.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with('('))
        };
        let line = self.text.lines().position(is_definition).unwrap_or(0) + 1;
        rhai::Position::new(u16::try_from(line).unwrap_or(u16::MAX), 1)
    }
}

impl Problem {
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
