//! `hookmq tenant plugin`: the plugins that a tenant owns.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::Value;

use super::rule::tell;
use super::{Named, print, segment};

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
    /// Name the plugins in the order in which they are asked, with what they have done.
    List(Named),
    /// Print a plugin as JSON: its configuration, its last failure, and what it has logged last.
    Show(Chosen),
    /// Put the version before in force again, with its configuration.
    Rollback(Chosen),
    /// Take a plugin away, with what it has kept.
    Delete(Chosen),
}

#[derive(Debug, Args)]
pub struct Chosen {
    #[command(flatten)]
    named: Named,
    /// The plugin.
    plugin: String,
}

impl PluginCommand {
    pub fn run(&self) -> Result<()> {
        match self {
            Self::Push { named, file, plugin, config } => {
                let stem = file.file_stem().and_then(|it| it.to_str());
                let plugin = plugin.as_deref().or(stem).context("what is it called? add --name")?;
                let query = match config {
                    None => String::new(),
                    Some(config) => format!("?config={}", segment(&configuration(config)?)),
                };
                let (path, artefact) = (path(named, plugin, &query), read(file)?);
                print(&named.api.request(Method::PUT, &path, artefact)?)
            }
            Self::List(named) => {
                let path = format!("{}/plugins", named.path());
                let listed = named.api.request(Method::GET, &path, vec![])?;
                listed["items"].as_array().into_iter().flatten().for_each(tell);
                Ok(())
            }
            Self::Show(chosen) => chosen.ask(Method::GET, ""),
            Self::Rollback(chosen) => chosen.ask(Method::POST, "/rollback"),
            Self::Delete(Chosen { named, plugin }) => {
                named.api.request(Method::DELETE, &path(named, plugin, ""), vec![])?;
                Ok(())
            }
        }
    }
}

impl Chosen {
    fn ask(&self, method: Method, rest: &str) -> Result<()> {
        print(&self.named.api.request(method, &path(&self.named, &self.plugin, rest), vec![])?)
    }
}

fn path(named: &Named, plugin: &str, rest: &str) -> String {
    format!("{}/plugins/{}{rest}", named.path(), segment(plugin))
}

fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("read {}", file.display()))
}

/// A configuration as it is sent: without what only people need.
fn configuration(file: &Path) -> Result<String> {
    let config: Value = serde_json::from_slice(&read(file)?)
        .with_context(|| format!("{} is not JSON", file.display()))?;
    Ok(config.to_string())
}
