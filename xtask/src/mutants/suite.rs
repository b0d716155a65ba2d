//! The suites that tests are in: test targets, and the unit tests of a crate.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Where tests are, and how they are built.
#[derive(Debug)]
pub struct Suite {
    pub name: String,
    pub kind: Kind,
    /// The crate's directory, from the repository's root; tests are run there.
    pub package: PathBuf,
    /// What its modules lie in.
    modules: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The unit tests of the crate that the suite is named for.
    Unit,
    /// A test target of a crate of the broker.
    Library,
    /// A test target that starts the real binary.
    Binary,
}

/// A file with tests.
pub struct Source {
    /// The module that it is, as tests are named by it; empty for the root.
    module: String,
    text: String,
}

impl Suite {
    /// `hookmq-core` is the unit tests of that crate; any other name is that of a test target.
    ///
    /// # Errors
    /// Where there is none of this name.
    pub fn find(root: &Path, name: &str) -> Result<Self> {
        let suite = |kind, package: PathBuf, modules: &str| {
            let modules = root.join(&package).join(modules);
            Ok(Self { name: name.to_owned(), kind, package, modules })
        };
        if let Some(crate_name) = name.strip_prefix("hookmq") {
            let directory = crate_name.strip_prefix('-').unwrap_or("server");
            return suite(Kind::Unit, Path::new("broker").join(directory), "src");
        }
        if root.join("tests").join(name).join("main.rs").is_file() {
            return suite(Kind::Binary, "tests".into(), name);
        }
        for entry in fs::read_dir(root.join("broker")).context("broker")? {
            let package = Path::new("broker").join(entry?.file_name());
            let modules = format!("tests/{name}");
            let within = root.join(&package).join(&modules);
            if within.join("main.rs").is_file() || within.with_extension("rs").is_file() {
                return suite(Kind::Library, package, &modules);
            }
        }
        bail!("there are no tests {name}")
    }

    pub fn sources(&self) -> Result<Vec<Source>> {
        let mut sources = Vec::new();
        let file = self.modules.with_extension("rs");
        if file.is_file() {
            sources.push(Source { module: String::new(), text: fs::read_to_string(file)? });
        }
        if self.modules.is_dir() {
            add_sources(&self.modules, "", &mut sources)?;
        }
        Ok(sources)
    }
}

/// Adds the files of the module `parent`, which lie in `directory`.
fn add_sources(directory: &Path, parent: &str, sources: &mut Vec<Source>) -> Result<()> {
    let shown = directory.display();
    for entry in fs::read_dir(directory).with_context(|| format!("read {shown}"))? {
        let path = entry?.path();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let is_root = parent.is_empty() && (stem == "main" || stem == "lib");
        let module = if is_root { String::new() } else { format!("{parent}{stem}::") };
        if path.is_dir() {
            add_sources(&path, &module, sources)?;
        } else if path.extension().is_some_and(|it| it == "rs") {
            sources.push(Source { module, text: fs::read_to_string(&path)? });
        }
    }
    Ok(())
}

impl Source {
    /// Whether `test`, a path of modules and a name, is a test of this file.
    pub fn has(&self, test: &str) -> bool {
        let name = test.rsplit("::").next().unwrap_or(test);
        let Some(inside) = test.strip_prefix(&self.module) else { return false };
        let is_here = |line: &str| {
            let line = line.trim().trim_start_matches("async ");
            line.strip_prefix("fn ")
                .and_then(|it| it.strip_prefix(name))
                .is_some_and(|rest| rest.starts_with('('))
        };
        let lines: Vec<&str> = self.text.lines().collect();
        let Some(place) = lines.iter().position(|line| is_here(line)) else { return false };
        let above = lines[..place].iter().rev().map(|line| line.trim());
        let attributes = above.take_while(|line| line.starts_with("#[") || line.starts_with("///"));
        let is_marked =
            attributes.into_iter().any(|it| it.starts_with("#[") && it.contains("test"));
        // A macro may make tests of functions that it is given the names of, in modules of its own.
        let is_listed = inside != name && lines.iter().any(|line| line.trim() == name);
        is_marked || is_listed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_is_found_in_the_file_that_its_path_names_and_only_as_a_test() {
        let text = "/// Shown.\n#[test]\nfn a() {}\n#[tokio::test]\nasync fn b() {}\nfn c() {}\n\
                    for_every_engine! {\n    d\n}\nfn d(disk: &dyn Disk) {}\n";
        let source = Source { module: "x::".into(), text: text.into() };
        for test in ["x::a", "x::b", "x::memory::d"] {
            assert!(source.has(test), "{test}");
        }
        for none in ["a", "y::a", "x::c", "x::d", "x::e"] {
            assert!(!source.has(none), "{none}");
        }
    }
}
