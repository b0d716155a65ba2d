//! What documents and sources point to: files of the repository, not of somebody's machine.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// Where other things than sources are kept.
const SKIPPED: [&str; 4] = [".git", "target", "data", "node_modules"];

const TEXT: [&str; 9] = ["md", "rs", "toml", "yaml", "yml", "sql", "rhai", "wit", "json"];

/// Beginnings of paths that exist on one machine. Written in two halves, as this file is read, too.
const PRIVATE: [&str; 3] = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];

pub fn check(root: &Path) -> Result<()> {
    let mut problems = Vec::new();
    for file in text_files(root)? {
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        let shown = file.strip_prefix(root).unwrap_or(&file).display();
        for (number, line) in (1..).zip(text.lines()) {
            for private in PRIVATE.iter().filter(|private| line.contains(*private)) {
                problems.push(format!("{shown}:{number}: {private}... is a path of one machine"));
            }
        }
        if file.extension().is_some_and(|extension| extension == "md") {
            let dead = links(&text).filter(|(_, link)| !leads_somewhere(&file, link));
            problems.extend(dead.map(|(line, link)| format!("{shown}:{line}: no file {link}")));
        }
    }
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(())
}

/// The files that are read, without those of other kinds and of others' making.
pub fn text_files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        let entries =
            fs::read_dir(&directory).with_context(|| format!("read {}", directory.display()))?;
        for entry in entries {
            let entry = entry?;
            let path = entry.path();
            let is_skipped = SKIPPED.iter().any(|name| entry.file_name() == *name);
            if entry.file_type()?.is_dir() && !is_skipped {
                directories.push(path);
            } else if path.extension().is_some_and(|found| TEXT.iter().any(|text| found == *text)) {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The targets of all `[text](target)`, by line.
fn links(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines()).flat_map(|(number, line)| {
        let targets = line.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        targets.map(move |(target, _)| (number, target))
    })
}

fn leads_somewhere(file: &Path, link: &str) -> bool {
    let path = link.split('#').next().unwrap_or_default();
    if path.is_empty() || path.contains("://") || path.starts_with("mailto:") {
        return true;
    }
    file.parent().is_some_and(|directory| directory.join(path).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_with_their_lines() {
        let found: Vec<_> = links("[a](b.md) and [c](d#e)\n\n![f](g.png \"h\") [i]\n").collect();
        assert_eq!(found, [(1, "b.md"), (1, "d#e"), (3, "g.png \"h\"")]);
    }

    #[test]
    fn links_to_files_that_do_not_exist_are_dead() {
        let here = std::env::var_os("CARGO_MANIFEST_DIR").unwrap();
        let file = Path::new(&here).join("Cargo.toml");
        for alive in ["src", "src/main.rs#top", "#here", "https://example.org/x", "../Cargo.toml"] {
            assert!(leads_somewhere(&file, alive), "{alive}");
        }
        assert!(!leads_somewhere(&file, "src/nowhere.rs"));
    }
}
