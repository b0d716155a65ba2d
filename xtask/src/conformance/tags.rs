//! The ids of statements in the doc comments of tests: `[MQTT5-3.1.2-4]`, `[MQTT311-3.1.2-4]`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::check::text_files;

/// A test that shows statements.
#[derive(Debug, PartialEq, Eq)]
pub struct Test {
    /// From the root of the repository.
    pub file: PathBuf,
    pub name: String,
    pub ids: Vec<String>,
}

/// All tests of the repository that carry ids, and what is wrong with tags.
pub fn read(root: &Path) -> Result<(Vec<Test>, Vec<String>)> {
    let (mut tests, mut problems) = (Vec::new(), Vec::new());
    for path in text_files(root)? {
        if path.extension().is_some_and(|extension| extension == "rs") {
            let text =
                fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            let file = path.strip_prefix(root).unwrap_or(&path);
            read_file(file, &text, &mut tests, &mut problems);
        }
    }
    Ok((tests, problems))
}

fn read_file(file: &Path, text: &str, tests: &mut Vec<Test>, problems: &mut Vec<String>) {
    let mut ids: Vec<String> = Vec::new();
    let mut is_test = false;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if let Some(comment) = line.strip_prefix("///") {
            ids.extend(tags(comment).map(str::to_owned));
            continue;
        }
        if line.starts_with("#[") {
            is_test |= line == "#[test]" || line.starts_with("#[tokio::test");
            continue;
        }
        let ids = std::mem::take(&mut ids);
        let name = function(line).filter(|_| std::mem::take(&mut is_test));
        let without_version = ids.iter().find(|id| id.starts_with("MQTT-"));
        let problem = match (name, without_version) {
            (Some(_), Some(id)) => format!("which version's {id}? A test says MQTT5 or MQTT311"),
            (None, None) if !ids.is_empty() => format!("{} stands above no test", ids.join(", ")),
            (Some(name), None) if !ids.is_empty() => {
                tests.push(Test { file: file.to_owned(), name: name.to_owned(), ids });
                continue;
            }
            _ => continue,
        };
        problems.push(format!("{}:{number}: {problem}", file.display()));
    }
}

/// What stands in brackets and names a statement, of a version or of none.
fn tags(comment: &str) -> impl Iterator<Item = &str> {
    let brackets = comment.split('[').skip(1).filter_map(|rest| rest.split_once(']'));
    let prefixes = ["MQTT5-", "MQTT311-", "MQTT-"];
    brackets
        .map(|(inside, _)| inside)
        .filter(move |inside| prefixes.iter().any(|prefix| inside.starts_with(prefix)))
}

/// The name of the function that begins in this line.
fn function(line: &str) -> Option<&str> {
    let line = line.strip_prefix("async ").unwrap_or(line);
    line.strip_prefix("fn ")?.split(['(', '<']).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<Test>, Vec<String>) {
        let (mut tests, mut problems) = Default::default();
        read_file(Path::new("a.rs"), text, &mut tests, &mut problems);
        (tests, problems)
    }

    #[test]
    fn the_tags_of_a_test_stand_in_its_comment() {
        let (tests, problems) = read(concat!(
            "/// `[MQTT5-1.2.3-4]` `[MQTT311-1.2.3-5]`\n/// and a [link](x)\n#[test]\nfn one() {\n",
            "/// `[MQTT-1.2.3-4]`\nfn no_test() {}\n#[test]\nfn two() {}\n",
            "    /// `[MQTT5-1.2.3-6]`\n    #[tokio::test]\n    async fn three() {}\n",
        ));
        let found: Vec<_> = tests.iter().map(|test| (&*test.name, test.ids.join(" "))).collect();
        let expected = [("one", "MQTT5-1.2.3-4 MQTT311-1.2.3-5"), ("three", "MQTT5-1.2.3-6")];
        assert_eq!(found, expected.map(|(name, ids)| (name, ids.to_owned())));
        assert!(problems.is_empty(), "{problems:?}");
    }

    #[test]
    fn a_tag_without_version_or_without_test_is_a_problem() {
        let (tests, problems) = read(concat!(
            "/// `[MQTT-1.2.3-4]`\n#[test]\nfn one() {}\n",
            "/// `[MQTT5-1.2.3-4]`\nfn no_test() {}\n",
            "/// `[MQTT5-1.2.3-4]`\nstruct Thing;\n",
        ));
        assert!(tests.is_empty());
        let lines: Vec<_> =
            problems.iter().filter_map(|problem| problem.split(':').nth(1)).collect();
        assert_eq!(lines, ["3", "5", "7"]);
    }
}
