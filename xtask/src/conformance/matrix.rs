//! Statements and tests, brought together.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;

use super::statements::{Binds, Specification, Statement, read_exemptions, read_specifications};
use super::tags::{self, Test};

/// Which test shows what.
pub struct Matrix {
    pub specifications: Vec<Specification>,
    pub exemptions: BTreeMap<String, String>,
    tests: Vec<Test>,
    /// Of the tags.
    problems: Vec<String>,
}

/// How the tests have ended.
pub enum Outcomes {
    /// So it is taken to be where they are not run.
    AllPassed,
    /// The names of those that passed.
    Passed(BTreeSet<String>),
}

impl Outcomes {
    fn has_passed(&self, test: &Test) -> bool {
        match self {
            Self::AllPassed => true,
            Self::Passed(names) => names.contains(&test.name),
        }
    }
}

/// What the tests say of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    Shown,
    /// Not the broker's to keep; tests may still show what the broker does where it is broken.
    Clients,
    Exempt,
    WithoutTest,
    Failed,
}

impl Matrix {
    pub fn read(root: &Path) -> Result<Self> {
        let (tests, problems) = tags::read(root)?;
        let specifications = read_specifications(root)?;
        Ok(Self { specifications, exemptions: read_exemptions(root)?, tests, problems })
    }

    /// The tests that carry the id, by file and name.
    pub fn tests_of<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a Test> {
        self.tests.iter().filter(move |test| test.ids.iter().any(|carried| carried == id))
    }

    pub fn test_names(&self) -> Vec<&str> {
        self.tests.iter().map(|test| test.name.as_str()).collect()
    }

    pub fn verdict(&self, statement: &Statement, outcomes: &Outcomes) -> Verdict {
        let has_tests = self.tests_of(&statement.id).next().is_some();
        let all_passed = self.tests_of(&statement.id).all(|test| outcomes.has_passed(test));
        match (has_tests, statement.binds) {
            (true, _) if !all_passed => Verdict::Failed,
            (_, Binds::Client) => Verdict::Clients,
            (true, _) => Verdict::Shown,
            (false, _) if self.exemptions.contains_key(&statement.id) => Verdict::Exempt,
            (false, _) => Verdict::WithoutTest,
        }
    }

    /// All that keeps the matrix from being whole, in words.
    pub fn problems(&self, outcomes: &Outcomes) -> Vec<String> {
        let mut problems = self.problems.clone();
        let statements = || self.specifications.iter().flat_map(|it| &it.statements);
        let known: BTreeMap<&str, &Statement> =
            statements().map(|statement| (statement.id.as_str(), statement)).collect();
        let mut names = BTreeSet::new();
        for test in &self.tests {
            let place = format!("{}: {}", test.file.display(), test.name);
            if !names.insert(&test.name) {
                problems.push(format!("{place}: another test that shows statements has this name"));
            }
            let unknown = test.ids.iter().filter(|id| !known.contains_key(id.as_str()));
            problems.extend(unknown.map(|id| format!("{place}: no list has {id}")));
            if !outcomes.has_passed(test) {
                problems.push(format!("{place}: did not pass"));
            }
        }
        for id in self.exemptions.keys() {
            match known.get(id.as_str()) {
                Some(statement) if statement.binds != Binds::Client => {}
                _ => problems.push(format!("exempt.tsv: {id} binds no server")),
            }
            if self.tests_of(id).next().is_some() {
                problems.push(format!("exempt.tsv: {id} has a test"));
            }
        }
        let holes = statements()
            .filter(|it| self.verdict(it, &Outcomes::AllPassed) == Verdict::WithoutTest)
            .map(|it| format!("{} has no test: {}", it.id, it.text));
        problems.extend(holes);
        problems
    }
}
