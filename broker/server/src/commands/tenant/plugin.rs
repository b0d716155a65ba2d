//! `hookmq tenant plugin`: the plugins that a tenant owns.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Subcommand;
use serde_json::Value;

use super::program::{Kind, ProgramCommand, read};
use super::{Named, segment};

#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// Put a plugin in force, once the broker has checked, compiled and configured it; print it as JSON.
    Push {
        #[command(flatten)]
        named: Named,
        /// The artefact (`.wasm`).
        file: PathBuf,
        /// What it is called; without it, as the file is.
        #[arg(long = "name", value_name = "PLUGIN")]
        plugin: Option<String>,
        /// Its configuration, JSON; without it, it has its defaults.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    #[command(flatten)]
    Other(ProgramCommand),
}

impl PluginCommand {
    pub fn run(&self) -> Result<()> {
        match self {
            Self::Push { named, file, plugin, config } => {
                let query = match config {
                    None => String::new(),
                    Some(config) => format!("?config={}", segment(&configuration(config)?)),
                };
                Kind::Plugins.push(named, file, plugin.as_deref(), &query)
            }
            Self::Other(command) => command.run(Kind::Plugins),
        }
    }
}

/// A configuration as it is sent: without what only people need.
fn configuration(file: &Path) -> Result<String> {
    let config: Value = serde_json::from_slice(&read(file)?)
        .with_context(|| format!("{} is not JSON", file.display()))?;
    Ok(config.to_string())
}
