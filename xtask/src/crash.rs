//! `cargo xtask crash`: the broker under load, killed again and again, for as long as is asked for.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::cargo::{self, Cargo};
use crate::plugins;

const TEST: &str = "what_was_acknowledged_survives_every_kill";

/// Minutes where nothing else is said.
const MINUTES: &str = "10";

/// Builds the broker and the test, and runs it; `arguments` are options with a number each.
pub fn crash(root: &Path, arguments: &[String]) -> Result<()> {
    let mut variables = Vec::new();
    for option in arguments.chunks(2) {
        let [name, value] = option else { bail!("{} takes a number", option[0]) };
        let variable = match name.as_str() {
            "--minutes" => "HOOKMQ_CRASH_MINUTES",
            "--kills" => "HOOKMQ_CRASH_KILLS",
            "--seed" => "HOOKMQ_CRASH_SEED",
            _ => bail!("unknown option {name}: there are --minutes, --kills and --seed"),
        };
        value.parse::<u64>().with_context(|| format!("{name} {value}: not a number"))?;
        variables.push((variable, value.as_str()));
    }
    if !variables.iter().any(|(name, _)| *name != "HOOKMQ_CRASH_SEED") {
        variables.push(("HOOKMQ_CRASH_MINUTES", MINUTES));
    }
    let cargo = Cargo::new(root)?;
    let built = ["--workspace", "--bins", "--test", "crash"];
    cargo.run(&[&["build"], &built[..]].concat())?;
    let arguments = [&["test"], &built[..], &["--", "--exact", "--nocapture", TEST]].concat();
    let mut command = cargo.command(&arguments);
    command.env("HOOKMQ_BIN", plugins::target_directory(root).join("debug/hookmq"));
    cargo::run(command.envs(variables), "kill the broker and look what it remembers")
}
