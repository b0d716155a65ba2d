//! Compares HookMQ with Mosquitto, and with itself: `cargo xtask bench` builds and calls it.
//!
//! Each measurement has a broker of its own, which is started for it; the brokers take turns, so that noise
//! of the machine is everybody's. The load runs in this process, on one thread.

mod brokers;
mod load;
mod machine;
mod page;
mod report;
mod rows;
mod table;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;

use self::brokers::Kind;
use self::report::{Report, Run};
use self::rows::{Row, Task};

/// Open files of a broker beside its clients.
const FILES: u64 = 200;

/// Measures brokers side by side and prints tables in Markdown.
#[derive(Parser)]
#[command(name = "cargo xtask bench")]
struct Options {
    /// How often each row is measured; the tables show medians.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long each measurement of traffic is, after a second of warm-up.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Only rows whose names hold this text; may be repeated.
    #[arg(long)]
    only: Vec<String>,
    /// Where every single measurement goes.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Puts the tables into docs/performance.md.
    #[arg(long, conflicts_with = "only")]
    write: bool,
    /// Leaves out what only HookMQ is measured at.
    #[arg(long)]
    compared: bool,
    /// Becomes a relay at this port instead.
    #[arg(long, hide = true, value_name = "PORT")]
    relay: Option<u16>,
}

fn main() -> ExitCode {
    match compare(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn compare(options: &Options) -> Result<()> {
    if let Some(port) = options.relay {
        return brokers::relay::run(port);
    }
    let files = machine::allow_files()?;
    let mut rows = rows::rows(Duration::from_secs(options.seconds));
    let wanted =
        |row: &Row| options.only.is_empty() || options.only.iter().any(|it| row.name.contains(it));
    rows.retain(|row| wanted(row) && !(options.compared && row.brokers.len() == 1));
    ensure!(!rows.is_empty(), "no row has such a name");

    let mut runs: Vec<Run> = Vec::new();
    for row in &rows {
        if row.sockets() as u64 + FILES > files {
            let report = Report::failed(format!("needs more than {files} open files"));
            runs.push(Run { row: row.name.clone(), broker: row.brokers[0], round: 0, report });
            continue;
        }
        for round in 0..options.rounds {
            let first = round as usize % row.brokers.len();
            for broker in row.brokers[first..].iter().chain(&row.brokers[..first]) {
                let report = measure(row, *broker)
                    .unwrap_or_else(|error| Report::failed(format!("{error:#}")));
                let run = Run { row: row.name.clone(), broker: *broker, round, report };
                eprintln!("{run}");
                runs.push(run);
            }
        }
        if let Some(file) = &options.json {
            fs::write(file, report::json(&runs)?)
                .with_context(|| format!("write {}", file.display()))?;
        }
    }
    let page = page::Page {
        brokers: [Kind::HookMq, Kind::Mosquitto].map(Kind::version),
        rounds: options.rounds,
        seconds: options.seconds,
        runs: &runs,
    };
    let page = page.to_string();
    println!("{page}");
    if options.write {
        page::insert(&page)?;
    }
    Ok(())
}

fn measure(row: &Row, kind: Kind) -> Result<Report> {
    let mut broker = kind.start(row.setting)?;
    let report = match &row.task {
        Task::Traffic(load) => {
            Report::of_traffic(load, &load::run(load, &broker.door, broker.process())?)
        }
        Task::Connect { clients } => {
            Report::of_crowd(&load::gather(*clients, &broker.door, broker.process())?)
        }
    };
    broker.check()?;
    Ok(report)
}
