//! `cargo xtask conformance`: which test shows which normative statement of MQTT, and whether it does.

mod matrix;
mod page;
mod statements;
mod tags;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};

use self::matrix::{Matrix, Outcomes};
use crate::announce;
use crate::cargo::Cargo;
use crate::test::{prepare, workspace_tests};

const PAGE: &str = "docs/conformance.md";

/// Runs the tests that carry statements, and writes the page that says what they show.
pub fn conformance(root: &Path) -> Result<()> {
    let matrix = Matrix::read(root)?;
    let cargo = prepare(root)?;
    let outcomes = run(&cargo, root, &matrix.test_names())?;
    let page = page::write(&matrix, &outcomes);
    fs::write(root.join(PAGE), &page).with_context(|| format!("write {PAGE}"))?;
    println!("{page}");
    report(matrix.problems(&outcomes))
}

/// What can be said without running the tests: every statement has one, and the page is up to date.
pub fn check(root: &Path) -> Result<()> {
    let matrix = Matrix::read(root)?;
    let mut problems = matrix.problems(&Outcomes::AllPassed);
    let page = fs::read_to_string(root.join(PAGE)).unwrap_or_default();
    if page != page::write(&matrix, &Outcomes::AllPassed) {
        problems.push(format!("{PAGE} is out of date: `cargo xtask conformance` writes it"));
    }
    report(problems)
}

fn report(problems: Vec<String>) -> Result<()> {
    ensure!(problems.is_empty(), "conformance:\n{}", problems.join("\n"));
    Ok(())
}

/// Runs the tests of these names, and shows their output.
fn run(cargo: &Cargo<'_>, root: &Path, names: &[&str]) -> Result<Outcomes> {
    announce("the tests that carry normative statements");
    let with_nextest = cargo.has("nextest");
    let mut command = workspace_tests(cargo, root)?;
    match with_nextest {
        true => command.args(["--status-level=pass", "--color=never"]).stderr(Stdio::piped()),
        false => command.arg("--").stdout(Stdio::piped()),
    };
    let mut tests = command.args(names).spawn().context("start the tests")?;
    let lines: Box<dyn BufRead> = match (tests.stdout.take(), tests.stderr.take()) {
        (Some(stdout), _) => Box::new(BufReader::new(stdout)),
        (None, Some(stderr)) => Box::new(BufReader::new(stderr)),
        (None, None) => bail!("the tests have no output"),
    };
    let mut passed = Vec::new();
    for line in lines.lines() {
        let line = line.context("read the output of the tests")?;
        eprintln!("{line}");
        passed.extend(passed_test(&line).map(str::to_owned));
    }
    // A test that did not run or did not pass is missed by its name.
    tests.wait().context("wait for the tests")?;
    Ok(Outcomes::Passed(passed.into_iter().collect()))
}

/// The test that a line of nextest or of libtest says has passed, without its modules.
fn passed_test(line: &str) -> Option<&str> {
    let line = line.trim();
    let path = match line.strip_prefix("test ") {
        Some(rest) => rest.strip_suffix(" ... ok")?,
        None if line.starts_with("PASS [") => line.split_whitespace().last()?,
        None => return None,
    };
    path.rsplit("::").next()
}

#[cfg(test)]
mod tests {
    use super::passed_test;

    #[test]
    fn both_runners_say_what_has_passed() {
        for (line, expected) in [
            ("        PASS [   0.123s] hookmq-tests::conformance will::a_will", Some("a_will")),
            ("  PASS [   0.1s] (12/99) hookmq-core session::tests::x", Some("x")),
            ("        FAIL [   0.123s] hookmq-tests::conformance will::a_will", None),
            ("test will::a_will ... ok", Some("a_will")),
            ("test will::a_will ... FAILED", None),
            ("test result: ok. 3 passed; 0 failed", None),
        ] {
            assert_eq!(passed_test(line), expected, "{line}");
        }
    }
}
