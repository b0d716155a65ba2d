//! The list of mutants, `tests/mutants/*.yaml`: each file is a group.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::edit::Edit;
use super::suite::Suite;

const LISTS: &str = "tests/mutants";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutant {
    pub name: String,
    /// What it breaks that somebody was promised.
    pub breaks: String,
    pub edits: Vec<Edit>,
    /// The tests that fail with it, by the test target or crate that has them.
    tests: BTreeMap<String, Vec<String>>,
    /// Why no test fails: what else keeps the promise. Another mutant takes that away, too.
    pub covered_by: Option<String>,
    #[serde(skip)]
    pub group: String,
}

impl Mutant {
    pub fn tests(&self) -> impl Iterator<Item = (&str, &str)> {
        self.tests.iter().flat_map(|(suite, tests)| tests.iter().map(|it| (&**suite, &**it)))
    }
}

/// All mutants, in the order of their groups and lists.
pub fn read(root: &Path) -> Result<Vec<Mutant>> {
    let entries = fs::read_dir(root.join(LISTS)).context(LISTS)?;
    let mut files = entries.map(|it| Ok(it?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    let mut mutants = Vec::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|it| it == "yaml")) {
        let shown = file.strip_prefix(root).unwrap_or(file).display();
        let text = fs::read_to_string(file).with_context(|| format!("read {shown}"))?;
        let mut group: Vec<Mutant> =
            serde_yaml::from_str(&text).with_context(|| format!("{shown}"))?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        group.iter_mut().for_each(|it| it.group = name.to_string());
        mutants.extend(group);
    }
    Ok(mutants)
}

/// Whether each mutant still fits the code, and each test that it names is there. Builds nothing.
pub fn check(root: &Path) -> Result<()> {
    let mutants = read(root)?;
    let mut problems = Vec::new();
    let mut names = BTreeSet::new();
    for mutant in &mutants {
        let told = |problem: String| format!("the mutant {}: {problem}", mutant.name);
        if !names.insert(&mutant.name) {
            problems.push(told("another one has this name".into()));
        }
        let fits = mutated(root, mutant).map(drop);
        let tested = tests_exist(root, mutant);
        let wrong = [fits, tested].into_iter().filter_map(Result::err);
        problems.extend(wrong.map(|error| told(format!("{error:#}"))));
    }
    ensure!(
        problems.is_empty(),
        "{}\nmutants follow the code: change them in {LISTS}",
        problems.join("\n")
    );
    Ok(())
}

/// The files that the mutant changes, as they are with it.
pub fn mutated(root: &Path, mutant: &Mutant) -> Result<BTreeMap<String, String>> {
    ensure!(!mutant.edits.is_empty(), "it changes nothing");
    let mut files = BTreeMap::new();
    for edit in &mutant.edits {
        let text = match files.remove(&edit.file) {
            Some(text) => text,
            None => fs::read_to_string(root.join(&edit.file)).with_context(|| edit.file.clone())?,
        };
        files.insert(edit.file.clone(), edit.apply(&text)?);
    }
    Ok(files)
}

fn tests_exist(root: &Path, mutant: &Mutant) -> Result<()> {
    ensure!(mutant.tests().next().is_some(), "it names no test");
    for (suite, test) in mutant.tests() {
        let sources = Suite::find(root, suite)?.sources()?;
        let found = sources.iter().any(|source| source.has(test));
        ensure!(found, "{suite} has no test {test}");
    }
    Ok(())
}
