//! `hookmq tenant rule`: the rules that a tenant owns.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::Value;

use super::{Named, print, segment};

#[derive(Debug, Subcommand)]
pub enum RuleCommand {
    /// Put a rule in force, once the broker has checked it and run its tests; print it as JSON.
    Push {
        #[command(flatten)]
        named: Named,
        /// The rule (`.rhai`).
        file: PathBuf,
        /// What it is called; without it, as the file is.
        #[arg(long = "name", value_name = "RULE")]
        rule: Option<String>,
    },
    /// Name the rules in the order in which they are asked, with what they have done.
    List(Named),
    /// Print a rule as JSON: its text, its last failure, and what it has logged last.
    Show(Chosen),
    /// Put the text before in force again.
    Rollback(Chosen),
    /// Take a rule away, with what it has kept.
    Delete(Chosen),
}

#[derive(Debug, Args)]
pub struct Chosen {
    #[command(flatten)]
    named: Named,
    /// The rule.
    rule: String,
}

impl RuleCommand {
    pub fn run(&self) -> Result<()> {
        match self {
            Self::Push { named, file, rule } => {
                let shown = file.display();
                let text = std::fs::read(file).with_context(|| format!("read {shown}"))?;
                let stem = file.file_stem().and_then(|it| it.to_str());
                let rule = rule.as_deref().or(stem).context("what is it called? add --name")?;
                print(&named.api.request(Method::PUT, &path(named, rule, ""), text)?)
            }
            Self::List(named) => {
                let path = format!("{}/rules", named.path());
                let listed = named.api.request(Method::GET, &path, vec![])?;
                listed["items"].as_array().into_iter().flatten().for_each(tell);
                Ok(())
            }
            Self::Show(chosen) => chosen.ask(Method::GET, ""),
            Self::Rollback(chosen) => chosen.ask(Method::POST, "/rollback"),
            Self::Delete(Chosen { named, rule }) => {
                named.api.request(Method::DELETE, &path(named, rule, ""), vec![])?;
                Ok(())
            }
        }
    }
}

impl Chosen {
    fn ask(&self, method: Method, rest: &str) -> Result<()> {
        print(&self.named.api.request(method, &path(&self.named, &self.rule, rest), vec![])?)
    }
}

fn path(named: &Named, rule: &str, rest: &str) -> String {
    format!("{}/rules/{}{rest}", named.path(), segment(rule))
}

/// One line of a list, of rules or of plugins.
pub(super) fn tell(rule: &Value) {
    let texts = |value: &Value| {
        let texts = value.as_array().into_iter().flatten().filter_map(Value::as_str);
        texts.collect::<Vec<_>>().join(" ")
    };
    let why = match (&rule["problem"], &rule["last_failure"]["message"]) {
        (Value::String(problem), _) => format!("\tdoes not load: {}", problem.escape_debug()),
        (_, Value::String(failure)) => format!("\tlast failure: {}", failure.escape_debug()),
        _ => String::new(),
    };
    let (name, hooks) = (rule["name"].as_str().unwrap_or_default(), texts(&rule["hooks"]));
    println!("{name}\t{hooks}\t{} calls, {} failures{why}", rule["calls"], rule["failures"]);
}
