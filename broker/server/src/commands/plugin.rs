//! `hookmq plugin`: plugins from the first line to the last version.

mod build;
mod new;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use clap::{Args, Subcommand};
use hookmq_hooks::{ProgramKind, Secret};
use hookmq_wasm::{Limits, Manifest};

use self::build::BuildOptions;
use self::new::NewOptions;
use super::bench::{BenchOptions, text_or_file};
use super::version::{CanaryOptions, PushOptions, Target};
use crate::programs::{ProgramError, alone};

#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// Make a crate to begin with.
    New(NewOptions),
    /// Compile a plugin's crate to its artefact.
    Build(BuildOptions),
    /// Run the tests of a plugin's crate.
    Test(BuildOptions),
    /// Show what an artefact says of itself, without running it.
    Inspect(InspectOptions),
    /// Measure what a call of a plugin costs, without a broker.
    Bench(PluginBenchOptions),
    /// Show how a plugin stands on a broker.
    Show(Target),
    /// Upload a version; the broker compiles and checks it.
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
pub struct InspectOptions {
    /// The artefact.
    file: PathBuf,
}

#[derive(Debug, Args)]
pub struct PluginBenchOptions {
    /// The artefact. It is granted all that it asks for, but there is no network.
    file: PathBuf,
    /// The plugin's configuration as JSON or YAML, or @FILE.
    #[arg(long, value_name = "TEXT", default_value = "null")]
    config: String,
    /// A secret of the plugin; may be repeated.
    #[arg(long, value_name = "NAME=FILE")]
    secret: Vec<String>,
    /// The most that an instance may hold, as `plugins.memory_bytes` says for the broker.
    #[arg(long, value_name = "N", default_value_t = Limits::default().memory_bytes)]
    memory_bytes: usize,
    #[command(flatten)]
    bench: BenchOptions,
}

impl PluginCommand {
    /// Carries the command out.
    ///
    /// # Errors
    /// What is wrong with the plugin, or why the broker refuses.
    pub fn run(&self) -> Result<()> {
        let kind = ProgramKind::Plugin;
        match self {
            Self::New(options) => options.run(),
            Self::Build(options) => options.build(),
            Self::Test(options) => options.test(),
            Self::Inspect(options) => options.run(),
            Self::Bench(options) => options.run(),
            Self::Show(target) => target.show(kind),
            Self::Push(options) => options.run(kind),
            Self::Shadow(target) => target.shadow(kind),
            Self::Canary(options) => options.run(kind),
            Self::Replay(target) => target.replay(kind),
            Self::Promote(target) => target.promote(kind),
            Self::Rollback(target) => target.roll_back(kind),
            Self::Withdraw(target) => target.withdraw(kind),
        }
    }
}

impl InspectOptions {
    fn run(&self) -> Result<()> {
        let file = self.file.display();
        let bytes = fs::read(&self.file).with_context(|| format!("read {file}"))?;
        let manifest = Manifest::of_artefact(&bytes).map_err(|error| refused(error.into()))?;
        println!("{}", serde_json::to_string_pretty(&manifest)?);
        Ok(())
    }
}

impl PluginBenchOptions {
    fn run(&self) -> Result<()> {
        let file = self.file.display();
        let bytes = fs::read(&self.file).with_context(|| format!("read {file}"))?;
        let config = serde_yaml::from_slice(&text_or_file(&self.config)?).context("--config")?;
        let secrets = self.secret.iter().map(|it| secret(it)).collect::<Result<_>>()?;
        let plugin = alone::plugin(&bytes, config, secrets, self.memory_bytes).map_err(refused)?;
        self.bench.run(&file.to_string(), &plugin)
    }
}

fn refused(error: ProgramError) -> anyhow::Error {
    anyhow!("{}", error.told())
}

/// `NAME=FILE`, as the file's content without the end of line behind it.
fn secret(text: &str) -> Result<(String, Secret)> {
    let (name, file) = text.split_once('=').context("--secret is NAME=FILE")?;
    let content = fs::read(file).with_context(|| format!("read {file}"))?;
    let content = content.strip_suffix(b"\n").unwrap_or(&content);
    let content = content.strip_suffix(b"\r").unwrap_or(content);
    Ok((name.into(), Secret::new(content.to_vec())))
}
