//! One mutant: built, and the tests that it names run.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::list::Mutant;
use super::place::Place;
use super::suite::{Kind, Suite};
use crate::announce;
use crate::cargo::Cargo;

/// A test that takes longer hangs; none takes a third of it by itself.
const PATIENCE: Duration = Duration::from_secs(240);

/// Of the simulation: what mutants name it for, the first ones show.
const SEEDS: &str = "40";

/// What has become of a mutant.
pub enum Verdict {
    /// All tests that it names fail.
    Killed(Vec<Failure>),
    /// No test fails, as is said, since another layer keeps the promise.
    Covered,
    /// It says that no test fails, and these do.
    NotCovered(Vec<Failure>),
    /// These tests do not fail.
    Survived(Vec<String>),
    DoesNotBuild(String),
}

/// How a test has failed.
pub struct Failure {
    test: String,
    hung: bool,
}

impl Verdict {
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Killed(_) | Self::Covered)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.test, if self.hung { " (hung)" } else { "" })
    }
}

fn joined(items: &[impl ToString]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Killed(by) => write!(f, "killed by {}", joined(by)),
            Self::Covered => write!(f, "covered by another layer, as said"),
            Self::NotCovered(by) => write!(f, "NOT COVERED as said: killed by {}", joined(by)),
            Self::Survived(tests) => write!(f, "SURVIVED {}", joined(tests)),
            Self::DoesNotBuild(error) => write!(f, "DOES NOT BUILD: {error}"),
        }
    }
}

/// Builds the tests that `mutants` name, and has them pass.
pub fn without_mutants(place: &Place, mutants: &[Mutant]) -> Result<()> {
    let mut suites: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (suite, test) in mutants.iter().flat_map(Mutant::tests) {
        suites.entry(suite).or_default().push(test);
    }
    for (suite, mut tests) in suites {
        announce(&format!("{suite}, as it is"));
        let suite = Suite::find(&place.tree, suite)?;
        let program = build(place, &suite)?
            .map_err(|error| anyhow::anyhow!("{} does not build:\n{error}", suite.name))?;
        tests.sort();
        tests.dedup();
        for test in tests {
            let failure = run(place, &suite, &program, test, "none")?;
            let said = said(place, "none", test);
            let (name, said) = (&suite.name, said.display());
            ensure!(failure.is_none(), "{test} of {name} fails without a mutant: see {said}");
        }
    }
    Ok(())
}

/// Tries one.
///
/// # Errors
/// Where it cannot be tried, which says nothing about it.
pub fn of(place: &Place, mutant: &Mutant) -> Result<Verdict> {
    place.with(mutant, || {
        let (mut killed_by, mut survived) = (Vec::new(), Vec::new());
        let mut programs: BTreeMap<&str, (Suite, PathBuf)> = BTreeMap::new();
        for (name, test) in mutant.tests() {
            if !programs.contains_key(name) {
                let suite = Suite::find(&place.tree, name)?;
                let program = match build(place, &suite)? {
                    Ok(program) => program,
                    Err(error) => return Ok(Verdict::DoesNotBuild(error)),
                };
                programs.insert(name, (suite, program));
            }
            let (suite, program) = &programs[name];
            match run(place, suite, program, test, &mutant.name)? {
                Some(failure) => killed_by.push(failure),
                None => survived.push(test.to_owned()),
            }
        }
        Ok(match (&mutant.covered_by, &survived[..]) {
            (Some(_), _) if killed_by.is_empty() => Verdict::Covered,
            (Some(_), _) => Verdict::NotCovered(killed_by),
            (None, []) => Verdict::Killed(killed_by),
            (None, _) => Verdict::Survived(survived),
        })
    })
}

/// Gives the program with the tests, or what the compiler says.
fn build(place: &Place, suite: &Suite) -> Result<Result<PathBuf, String>> {
    let cargo = Cargo::new(&place.tree)?;
    let name = &*suite.name;
    // With the tests, for these decide with which features the packages of others are built.
    let binary = ["build", "--workspace", "--bin", "hookmq", "--test", name];
    if suite.kind == Kind::Binary
        && let Err(error) = compile(place, &cargo, &binary)?
    {
        return Ok(Err(error));
    }
    let told = match suite.kind {
        Kind::Unit => compile(place, &cargo, &["test", "--no-run", "--package", name, "--lib"])?,
        Kind::Library | Kind::Binary => {
            compile(place, &cargo, &["test", "--no-run", "--workspace", "--test", name])?
        }
    };
    let told = match told {
        Ok(told) => told,
        Err(error) => return Ok(Err(error)),
    };
    let program = told.lines().find_map(|line| {
        line.trim().strip_prefix("Executable ")?.rsplit_once('(')?.1.strip_suffix(')')
    });
    let program = program.with_context(|| format!("cargo names no program of {}", suite.name))?;
    Ok(Ok(place.tree.join(program)))
}

/// What cargo has said, or why it failed.
fn compile(place: &Place, cargo: &Cargo<'_>, arguments: &[&str]) -> Result<Result<String, String>> {
    let mut command = cargo.command(arguments);
    command.env("CARGO_TARGET_DIR", &place.target).env("CARGO_TERM_COLOR", "never");
    // Nearly all the time is the compiler's: what changes each time is built as quickly as can be.
    command.env("CARGO_PROFILE_DEV_OPT_LEVEL", "0").env("CARGO_PROFILE_DEV_DEBUG", "none");
    let output = command.output().context("start cargo")?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        return Ok(Ok(told));
    }
    let error = told.lines().find(|line| line.starts_with("error")).unwrap_or("cargo failed");
    fs::write(place.output.join("compiler"), &told).context("keep what the compiler says")?;
    Ok(Err(error.to_owned()))
}

/// Runs one test; gives its failure, if it fails. What it says is kept under the name of the mutant.
fn run(
    place: &Place,
    suite: &Suite,
    program: &Path,
    test: &str,
    mutant: &str,
) -> Result<Option<Failure>> {
    let said = said(place, mutant, test);
    let file = File::create(&said).context("keep what the test says")?;
    let package = place.tree.join(&suite.package);
    let mut child = Command::new(program)
        .args(["--exact", "--nocapture", test])
        .current_dir(&package)
        .env("CARGO_MANIFEST_DIR", &package)
        .env("HOOKMQ_BIN", place.target.join("debug/hookmq"))
        .env("HOOKMQ_PLUGINS_DIR", &place.plugins)
        .env("HOOKMQ_SIMULATION_SEEDS", SEEDS)
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        // What it starts ends with it.
        .process_group(0)
        .spawn()
        .with_context(|| format!("start {}", program.display()))?;
    let ended = wait(&mut child)?;
    let test = test.to_owned();
    let Some(status) = ended else { return Ok(Some(Failure { test, hung: true })) };
    if !status.success() {
        return Ok(Some(Failure { test, hung: false }));
    }
    let said = String::from_utf8_lossy(&fs::read(&said)?).into_owned();
    if !said.contains("running 1 test\n") {
        bail!("{} runs no test {test}", suite.name);
    }
    Ok(None)
}

/// Where it is kept what a test has said.
fn said(place: &Place, mutant: &str, test: &str) -> PathBuf {
    place.output.join(format!("{mutant}.{}", test.replace("::", ".")))
}

/// None: it did not end in time, and was ended.
fn wait(child: &mut Child) -> Result<Option<ExitStatus>> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        thread::sleep(Duration::from_millis(20));
    }
    let group = format!("-{}", child.id());
    Command::new("kill").args(["-KILL", "--", &group]).status().context("start kill")?;
    child.wait()?;
    Ok(None)
}
