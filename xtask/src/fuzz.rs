//! `cargo xtask fuzz`: each fuzz target for a while, and how many inputs it has tried.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::cargo::{self, Cargo};
use crate::{announce, packages, plugins};

/// The workspace of the targets.
pub const MANIFEST: &str = "broker/fuzz/Cargo.toml";

/// For each target, where nothing else is said.
const SECONDS: u64 = 60;

/// Coverage for libfuzzer, as `cargo fuzz` asks for it, without a sanitizer: these flags are stable.
const FLAGS: &[&str] = &[
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
];

/// An input that takes longer, in seconds, hangs.
const HANG: u32 = 20;

/// What is in the repository that a target can begin with.
const BEGINNINGS: [(&str, &[&str]); 2] =
    [("rule", &["rules"]), ("configuration", &["broker/server/src/demo"])];

/// Builds the targets and runs `--seconds N` of all, or of the one that is named.
pub fn fuzz(root: &Path, arguments: &[String]) -> Result<()> {
    let (seconds, only) = read(arguments)?;
    let targets = targets(root)?;
    let targets: Vec<&String> =
        targets.iter().filter(|name| only.as_ref().is_none_or(|only| only == *name)).collect();
    ensure!(!targets.is_empty(), "there is no such target: {} lists them", MANIFEST);
    packages::require_c_compiler()?;
    let built = build(root, only.as_deref())?;
    let mut runs = Vec::new();
    for name in targets {
        announce(&format!("{name}, for {seconds} seconds"));
        let run = run(root, &built, name, seconds)?;
        println!("{name:<15}{run}");
        runs.push((name, run));
    }
    println!("\n{:<15}runs", "target");
    for (name, run) in &runs {
        println!("{name:<15}{run}");
    }
    let fallen: Vec<&str> =
        runs.iter().filter(|(_, run)| run.input.is_some()).map(|(name, _)| name.as_str()).collect();
    ensure!(fallen.is_empty(), "inputs that bring a target down: {}", fallen.join(", "));
    Ok(())
}

/// How a target has fared.
struct Run {
    /// Inputs that were tried.
    tried: u64,
    /// The one that it did not survive.
    input: Option<String>,
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.tried)?;
        self.input.as_ref().map_or(Ok(()), |input| write!(f, ", and falls with {input}"))
    }
}

fn read(arguments: &[String]) -> Result<(u64, Option<String>)> {
    let (mut seconds, mut target) = (SECONDS, None);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seconds" => {
                let value = arguments.next().context("--seconds takes a number")?;
                seconds = value.parse().with_context(|| format!("--seconds {value}"))?;
                ensure!(seconds > 0, "0 seconds would be for ever");
            }
            option if option.starts_with('-') => bail!("unknown option {option}"),
            _ if target.is_some() => bail!("name one target, or none for all"),
            name => target = Some(name.to_owned()),
        }
    }
    Ok((seconds, target))
}

/// The names of the targets, as the manifest has them.
fn targets(root: &Path) -> Result<Vec<String>> {
    let manifest = fs::read_to_string(root.join(MANIFEST)).context(MANIFEST)?;
    let behind_bin = manifest.split("[[bin]]").skip(1);
    let names =
        behind_bin.filter_map(|it| it.lines().find_map(|line| line.strip_prefix("name = ")));
    Ok(names.map(|name| name.trim_matches('"').to_owned()).collect())
}

/// Gives the directory of the programs.
fn build(root: &Path, only: Option<&str>) -> Result<PathBuf> {
    let target = plugins::target_directory(root).join("fuzz");
    let host = cargo::host()?;
    let cargo = Cargo::new(root)?;
    // With a target named, build scripts and macros do without the flags.
    let mut command = cargo.command(&["build", "--release", "--manifest-path", MANIFEST]);
    command.args(["--target", &host, "--target-dir"]).arg(&target);
    match only {
        Some(name) => command.args(["--bin", name]),
        None => command.arg("--bins"),
    };
    // Whether the broker's packages are here says nothing about those of the targets.
    command.env_remove("CARGO_NET_OFFLINE");
    command.env_remove("RUSTFLAGS").env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"));
    cargo::run(&mut command, "build the fuzz targets")?;
    Ok(target.join(host).join("release"))
}

fn run(root: &Path, built: &Path, name: &str, seconds: u64) -> Result<Run> {
    let place = plugins::target_directory(root).join("fuzz");
    let (corpus, artifacts) = (place.join("corpus").join(name), place.join("artifacts").join(name));
    fs::create_dir_all(&corpus).context("make a place for what is found")?;
    fs::create_dir_all(&artifacts)?;
    let mut command = Command::new(built.join(name));
    command.arg(format!("-max_total_time={seconds}")).arg(format!("-timeout={HANG}"));
    command.args(["-max_len=4096", "-rss_limit_mb=2048", "-print_final_stats=1"]);
    command.arg(format!("-artifact_prefix={}/", artifacts.display()));
    command.arg(corpus).args(beginnings(root, name));
    let dictionary = root.join("broker/fuzz/words").join(name);
    if dictionary.exists() {
        command.arg(format!("-dict={}", dictionary.display()));
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {name}"))?;
    let told = BufReader::new(child.stderr.take().context("its standard error is piped")?);
    let mut run = Run { tried: 0, input: None };
    let mut said = Vec::new();
    for line in told.split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        run.note(&line);
        // What it says of new inputs is of interest to nobody here.
        if !line.starts_with('#') && said.len() < 200 {
            said.push(line);
        }
    }
    let status = child.wait()?;
    if !status.success() {
        said.iter().for_each(|line| eprintln!("{line}"));
        ensure!(run.input.is_some(), "{name} ended with {status} and left no input");
    }
    Ok(run)
}

impl Run {
    fn note(&mut self, line: &str) {
        if let Some(count) = line.strip_prefix("stat::number_of_executed_units:") {
            self.tried = count.trim().parse().unwrap_or(self.tried);
        } else if let Some(count) = line.strip_prefix('#') {
            let digits = count.split(|it: char| !it.is_ascii_digit()).next().unwrap_or_default();
            self.tried = digits.parse().unwrap_or(self.tried);
        } else if let Some((_, file)) = line.split_once("Test unit written to ") {
            self.input = Some(file.trim().to_owned());
        }
    }
}

fn beginnings(root: &Path, name: &str) -> Vec<PathBuf> {
    let own = root.join("broker/fuzz/seeds").join(name);
    let others = BEGINNINGS.iter().filter(|(target, _)| *target == name).flat_map(|(_, it)| *it);
    let all = others.map(|directory| root.join(directory)).chain([own]);
    all.filter(|directory| directory.is_dir()).collect()
}
