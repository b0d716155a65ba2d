//! `hookmq rule`: rules from the first line to the last version.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use clap::{Args, Subcommand};
use hookmq_hooks::{Hook, Program, ProgramKind};
use hookmq_script::{Rule, TestOutcome};

use super::bench::BenchOptions;
use super::version::{CanaryOptions, PushOptions, Target};
use crate::programs::alone;

#[derive(Debug, Subcommand)]
pub enum RuleCommand {
    /// Write a rule to begin with.
    New(NewOptions),
    /// Check rules and run their tests, without a broker.
    Check(RuleFiles),
    /// Run the tests of rules and name each, without a broker.
    Test(RuleFiles),
    /// Measure what a call of a rule costs, without a broker.
    Bench(RuleBenchOptions),
    /// Show how a rule stands on a broker.
    Show(Target),
    /// Upload a version; the broker checks it and runs its tests.
    Push(PushOptions),
    /// Ask the candidate beside the version in force, and compare.
    Shadow(Target),
    /// Put the candidate in force for some clients.
    Canary(CanaryOptions),
    /// Put recorded questions to the candidate: what would have changed.
    Replay(Target),
    /// Put the candidate in force for everybody.
    Promote(Target),
    /// Put the version before in force again.
    Rollback(Target),
    /// Give the candidate up.
    Withdraw(Target),
}

#[derive(Debug, Args)]
pub struct NewOptions {
    /// The file to write, such as `rules/alarm.rhai`.
    file: PathBuf,
}

#[derive(Debug, Args)]
pub struct RuleFiles {
    /// The rules.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub struct RuleBenchOptions {
    /// The rule.
    file: PathBuf,
    /// Measure it in the sandbox, too, whose engine is this file: `rule-engine.wasm`.
    #[arg(long, value_name = "FILE")]
    sandboxed: Option<PathBuf>,
    #[command(flatten)]
    bench: BenchOptions,
}

/// What `new` writes.
const TEMPLATE: &str = r#"//! What this rule is for, in a sentence.

// Only messages on these topics are put to it.
const TOPICS = ["devices/+/telemetry"];

const LIMIT = 80;

fn publish(client, message) {
    if is_object(message.json) && message.json.temperature > LIMIT {
        emit(`alarms/${message.level(1)}`, message.json);
    }
    pass()
}

fn test_what_is_hot_is_reported() {
    let message = test_message("devices/pump-7/telemetry", #{ temperature: 81 });
    assert_eq(run_publish(test_client(#{}), message).emitted[0].topic, "alarms/pump-7");
}

fn test_what_is_not_passes() {
    let message = test_message("devices/pump-7/telemetry", #{ temperature: 80 });
    assert(run_publish(test_client(#{}), message).emitted.is_empty());
}

fn test_what_is_no_json_passes() {
    let message = test_message("devices/pump-7/telemetry", "hello");
    assert(run_publish(test_client(#{}), message).passed);
}
"#;

impl RuleCommand {
    /// Carries the command out; a failure is that of a rule's own test.
    ///
    /// # Errors
    /// What is wrong with the rule, or why the broker refuses.
    pub fn run(&self) -> Result<ExitCode> {
        let kind = ProgramKind::Rule;
        match self {
            Self::Test(files) => return files.test(),
            Self::New(options) => options.run(),
            Self::Check(files) => files.check(),
            Self::Bench(options) => options.run(),
            Self::Show(target) => target.show(kind),
            Self::Push(options) => options.run(kind),
            Self::Shadow(target) => target.shadow(kind),
            Self::Canary(options) => options.run(kind),
            Self::Replay(target) => target.replay(kind),
            Self::Promote(target) => target.promote(kind),
            Self::Rollback(target) => target.roll_back(kind),
            Self::Withdraw(target) => target.withdraw(kind),
        }?;
        Ok(ExitCode::SUCCESS)
    }
}

impl NewOptions {
    fn run(&self) -> Result<()> {
        let file = self.file.display();
        ensure!(!self.file.exists(), "{file} is there already");
        if let Some(directory) = self.file.parent() {
            fs::create_dir_all(directory)
                .with_context(|| format!("make the directory of {file}"))?;
        }
        fs::write(&self.file, TEMPLATE).with_context(|| format!("write {file}"))?;
        println!("wrote {file}\nrun its tests with: hookmq rule test {file}");
        Ok(())
    }
}

impl RuleFiles {
    fn check(&self) -> Result<()> {
        let mut broken = 0;
        for file in &self.files {
            let start = Instant::now();
            match check(file) {
                Ok(rule) => println!("{}: ok, {}", file.display(), outline(&rule, start)),
                Err(error) => {
                    eprintln!("{error:#}");
                    broken += 1;
                }
            }
        }
        ensure!(broken == 0, "{broken} of {} rules have problems", self.files.len());
        Ok(())
    }

    /// Prints each test's name and how it came out, and why those failed that did.
    fn test(&self) -> Result<ExitCode> {
        let (mut passed, mut failed, mut broken) = (0, 0, 0);
        for file in &self.files {
            println!("{}", file.display());
            let source = read(file)?;
            match alone::rule_engine().test(&file.to_string_lossy(), &source) {
                Ok(outcomes) => {
                    let tests = report(&outcomes);
                    failed += tests;
                    passed += outcomes.len() - tests;
                }
                Err(error) => {
                    println!("{error}");
                    broken += 1;
                }
            }
        }
        println!("\n{passed} passed, {failed} failed");
        ensure!(broken == 0, "{broken} of {} rules do not load", self.files.len());
        Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Prints the outcomes, and gives how many are failures.
fn report(outcomes: &[TestOutcome]) -> usize {
    let width = outcomes.iter().map(|it| it.name.len()).max().unwrap_or(0);
    for TestOutcome { name, problem } in outcomes {
        println!("  {name:<width$}  {}", if problem.is_none() { "ok" } else { "FAILED" });
    }
    let problems: Vec<_> = outcomes.iter().filter_map(|it| it.problem.as_ref()).collect();
    problems.iter().for_each(|problem| println!("{problem}"));
    problems.len()
}

impl RuleBenchOptions {
    fn run(&self) -> Result<()> {
        let rule = check(&self.file)?;
        self.bench.run(&format!("{}, in the broker's own engine", self.file.display()), &rule)?;
        let Some(engine) = &self.sandboxed else { return Ok(()) };
        let artefact =
            fs::read(engine).with_context(|| format!("read the engine {}", engine.display()))?;
        let (file, source) = (self.file.to_string_lossy(), read(&self.file)?);
        let rule = alone::sandboxed_rule(&file, &source, &artefact);
        let rule = rule.map_err(|error| anyhow!("{}", error.told()))?;
        self.bench.run(&format!("{file}, in the sandbox"), &rule)
    }
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("read {}", file.display()))
}

fn check(file: &Path) -> Result<Rule> {
    let source = read(file)?;
    alone::rule_engine().load(&file.to_string_lossy(), &source).map_err(|error| anyhow!("{error}"))
}

fn outline(rule: &Rule, start: Instant) -> String {
    let hooks: Vec<_> = Hook::ALL.into_iter().filter(|hook| rule.hooks().contains(*hook)).collect();
    let hooks: Vec<_> = hooks.iter().map(|hook| format!("{hook:?}").to_lowercase()).collect();
    let topics: Vec<_> = rule.topics().iter().map(|filter| filter.as_str()).collect();
    let topics = if topics.is_empty() { "all topics".into() } else { topics.join(", ") };
    format!("{} on {topics} ({} ms)", hooks.join(", "), start.elapsed().as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_passes_its_own_tests() {
        let rule =
            alone::rule_engine().load("template.rhai", TEMPLATE).map_err(|error| error.to_string());
        assert!(rule.unwrap().hooks().publish);
    }
}
