//! What a mutant changes: lines of a file, which occur once.

use std::ops::Range;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// From the repository's root.
    pub file: String,
    /// Whole lines; spaces around each do not count, so that a formatter may move them.
    from: String,
    /// What stands there instead; empty: nothing.
    to: String,
}

impl Edit {
    /// The text of the file with this change.
    ///
    /// # Errors
    /// Where the lines do not occur exactly once.
    pub fn apply(&self, text: &str) -> Result<String> {
        let place = self.find(text).with_context(|| format!("{}: {:?}", self.file, self.from))?;
        Ok(format!("{}{}{}", &text[..place.start], self.to.trim_end(), &text[place.end..]))
    }

    fn find(&self, text: &str) -> Result<Range<usize>> {
        let wanted: Vec<&str> = self.from.trim().lines().map(str::trim).collect();
        ensure!(!wanted.is_empty(), "there is nothing to look for");
        ensure!(self.from.trim() != self.to.trim(), "nothing would be changed");
        let lines: Vec<&str> = text.split('\n').collect();
        let mut found = lines.windows(wanted.len()).enumerate().filter(|(_, lines)| {
            lines.iter().zip(&wanted).all(|(line, wanted)| line.trim() == *wanted)
        });
        let Some((first, present)) = found.next() else {
            bail!("this text does not occur any more")
        };
        ensure!(found.next().is_none(), "this text occurs more than once");
        let start: usize = lines[..first].iter().map(|line| line.len() + 1).sum();
        Ok(start..start + present.join("\n").len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(from: &str, to: &str) -> Edit {
        Edit { file: "a.rs".into(), from: from.into(), to: to.into() }
    }

    #[test]
    fn lines_that_occur_once_are_replaced_however_they_are_indented() {
        let text = "fn a() {\n    if b {\n        c();\n    }\n}\n";
        let changed = edit("if b {\n    c();\n}\n", "d();\n").apply(text).unwrap();
        assert_eq!(changed, "fn a() {\nd();\n}\n");
        assert_eq!(edit("}\n}", "").apply(text).unwrap(), "fn a() {\n    if b {\n        c();\n\n");
    }

    #[test]
    fn what_is_gone_or_there_twice_or_a_part_of_a_line_is_not_replaced() {
        let text = "a\n b\na\n";
        for from in ["c", "a", "a\na", ""] {
            assert!(edit(from, "d").apply(text).is_err(), "{from:?}");
        }
        assert!(edit("b", "b").apply(text).is_err(), "nothing is changed");
        assert!(edit("b", "d").apply(text).is_ok());
        assert!(edit("b", "d").apply("a\n bb\n").is_err());
    }
}
