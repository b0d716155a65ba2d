//! `hookmq tenant rule`: the rules that a tenant owns.

use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;

use super::Named;
use super::program::{Kind, ProgramCommand};

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
    #[command(flatten)]
    Other(ProgramCommand),
}

impl RuleCommand {
    pub fn run(&self) -> Result<()> {
        match self {
            Self::Push { named, file, rule } => Kind::Rules.push(named, file, rule.as_deref(), ""),
            Self::Other(command) => command.run(Kind::Rules),
        }
    }
}
