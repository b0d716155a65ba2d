//! `hookmq store`: the store of a broker that does not run.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Error, Result};
use clap::{Args, Subcommand};
use hookmq_store::engine::EngineError;
use hookmq_store::tools::{self, ImportError, Report, Stats};
use hookmq_store::{Damage, OpenError};
use serde_json::Value;

use crate::config::{Config, store_directory};

#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Read all of a store and tell what is damaged. Nothing is changed.
    Check(Place),
    /// Let go of what is damaged, so that the broker serves the rest.
    Repair {
        #[command(flatten)]
        place: Place,
        /// Without it, nothing is changed, and it is told what would be let go of.
        #[arg(long)]
        yes: bool,
    },
    /// Tell how much a store holds. Nothing is changed.
    Stats {
        #[command(flatten)]
        place: Place,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write a store as JSON lines. Nothing is changed.
    Export {
        #[command(flatten)]
        place: Place,
        /// A new file, for its owner alone; standard output without it.
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// Make a store from an export.
    Import {
        #[command(flatten)]
        place: Place,
        /// The export; standard input without it.
        #[arg(long, value_name = "FILE")]
        from: Option<PathBuf>,
    },
    /// Give space that is not used back to the file system.
    Compact(Place),
}

/// Where the store is.
#[derive(Debug, Args)]
pub struct Place {
    /// The broker's configuration, which names the directory.
    #[arg(long, value_name = "FILE", conflicts_with = "data_dir")]
    config: Option<PathBuf>,

    /// Where the broker keeps its data; the store is in `store` there.
    #[arg(long, value_name = "DIR", default_value = "data")]
    data_dir: PathBuf,
}

impl StoreCommand {
    /// Carries the command out.
    ///
    /// # Errors
    /// Where it cannot be done: the store is in use, or is not there, or cannot be read or written.
    pub fn run(&self) -> Result<ExitCode> {
        let done = match self {
            Self::Check(place) => check(&place.directory()?),
            Self::Repair { place, yes: true } => repair(&place.directory()?),
            Self::Repair { place, yes: false } => foretell(&place.directory()?),
            Self::Stats { place, json } => stats(&place.directory()?, *json),
            Self::Export { place, to } => export(&place.directory()?, to.as_deref()),
            Self::Import { place, from } => import(&place.directory()?, from.as_deref()),
            Self::Compact(place) => compact(&place.directory()?),
        };
        done.or_else(|error| match damages(&error) {
            Some(damages) => {
                eprintln!("{damages}");
                Ok(ExitCode::from(1))
            }
            None => Err(error),
        })
    }
}

impl Place {
    fn directory(&self) -> Result<PathBuf> {
        Ok(match &self.config {
            Some(file) => Config::load(file)?.store.directory,
            None => store_directory(&self.data_dir),
        })
    }
}

fn check(directory: &Path) -> Result<ExitCode> {
    let report = tools::check(directory)?;
    tell(&report);
    if report.is_whole() {
        println!("ok: {}", summary(&report.stats));
        return Ok(ExitCode::SUCCESS);
    }
    if !report.damages.is_empty() {
        eprintln!("`hookmq store repair --yes` lets go of what is damaged, and keeps the rest");
    }
    if !report.engine.is_empty() {
        eprintln!("the file itself is not whole: take its messages along by export and import");
    }
    Ok(ExitCode::from(1))
}

fn foretell(directory: &Path) -> Result<ExitCode> {
    let report = tools::check(directory)?;
    if report.damages.is_empty() {
        println!("nothing is damaged");
        return Ok(ExitCode::SUCCESS);
    }
    tell(&report);
    eprintln!("this would be let go of; with --yes it is, and cannot be brought back");
    Ok(ExitCode::from(1))
}

fn repair(directory: &Path) -> Result<ExitCode> {
    let damages = tools::repair(directory)?;
    damages.iter().for_each(|damage| println!("let go of: {damage}"));
    println!("{}", summary(&tools::stats(directory)?));
    Ok(ExitCode::SUCCESS)
}

fn stats(directory: &Path, json: bool) -> Result<ExitCode> {
    let stats = serde_json::to_value(tools::stats(directory)?)?;
    match stats {
        Value::Object(figures) if !json => {
            figures.iter().for_each(|(name, figure)| println!("{name}\t{figure}"));
        }
        stats => println!("{stats:#}"),
    }
    Ok(ExitCode::SUCCESS)
}

fn export(directory: &Path, to: Option<&Path>) -> Result<ExitCode> {
    let Some(path) = to else {
        tools::export(directory, &mut BufWriter::new(io::stdout().lock()))?;
        return Ok(ExitCode::SUCCESS);
    };
    let failed = || format!("write {}", path.display());
    // It holds what clients have sent.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let file = file.with_context(failed)?;
    let mut lines = BufWriter::new(&file);
    let written = tools::export(directory, &mut lines).map_err(Error::from);
    drop(lines);
    let safe = written.and_then(|()| file.sync_all().with_context(failed));
    if safe.is_err() {
        // The reason why it is of no use counts, not that it is still there.
        let _ = fs::remove_file(path);
    }
    safe.map(|()| ExitCode::SUCCESS)
}

fn import(directory: &Path, from: Option<&Path>) -> Result<ExitCode> {
    let stats = match from {
        None => tools::import(directory, &mut io::stdin().lock())?,
        Some(path) => {
            let file = File::open(path).with_context(|| format!("read {}", path.display()))?;
            tools::import(directory, &mut BufReader::new(file))?
        }
    };
    println!("{}", summary(&stats));
    Ok(ExitCode::SUCCESS)
}

fn compact(directory: &Path) -> Result<ExitCode> {
    let before = tools::stats(directory)?.bytes;
    tools::compact(directory)?;
    println!("{before} bytes, now {}", tools::stats(directory)?.bytes);
    Ok(ExitCode::SUCCESS)
}

fn tell(report: &Report) {
    let mut out = io::stdout().lock();
    let damages = report.damages.iter().map(Damage::to_string);
    let engine = report.engine.iter().map(|line| format!("the file: {line}"));
    for line in damages.chain(engine) {
        // Where nobody reads it any more, the exit code still tells.
        let _ = writeln!(out, "{line}");
    }
}

fn summary(stats: &Stats) -> String {
    let Stats { sessions, subscriptions, retained, messages, bytes, .. } = stats;
    format!(
        "{sessions} sessions, {subscriptions} subscriptions, {retained} retained, {messages} \
         messages, {bytes} bytes"
    )
}

/// What is damaged, where that is why a command was not carried out.
fn damages(error: &Error) -> Option<String> {
    let opened = match error.downcast_ref() {
        Some(ImportError::Open(error)) => Some(error),
        _ => error.downcast_ref::<OpenError>(),
    };
    match opened? {
        OpenError::Damaged(_) => Some(format!("{error}; see `hookmq store check`")),
        OpenError::Engine(EngineError::Damaged(_)) => Some(error.to_string()),
        _ => None,
    }
}
