//! `cargo xtask overload`: the broker with more than it has room for, for as long as is asked for.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::cargo::{self, Cargo};
use crate::{announce, plugins};

const TEST: &str = "what_is_too_much_is_dropped_and_counted_and_others_notice_nothing";

/// Where nothing else is said.
const MINUTES: u64 = 2;

/// Builds the broker and the test, and runs it.
pub fn overload(root: &Path, arguments: &[String]) -> Result<()> {
    let minutes = match arguments {
        [] => MINUTES,
        [option, value] if option == "--minutes" => {
            value.parse().with_context(|| format!("--minutes {value}: not a number"))?
        }
        _ => bail!("there is one option: --minutes N"),
    };
    let cargo = Cargo::new(root)?;
    let built = ["--workspace", "--bins", "--test", "overload"];
    cargo.run(&[&["build"], &built[..]].concat())?;
    let arguments = [&["test"], &built[..], &["--", "--exact", "--nocapture", TEST]].concat();
    let mut command = cargo.command(&arguments);
    command.env("HOOKMQ_BIN", plugins::target_directory(root).join("debug/hookmq"));
    command.env("HOOKMQ_OVERLOAD_SECONDS", (60 * minutes).to_string());
    match has_prlimit() {
        true => drop(command.env("HOOKMQ_OVERLOAD_PRLIMIT", "1")),
        false => announce("SKIPPED: the bound of the system, as prlimit is not installed"),
    }
    cargo::run(&mut command, &format!("more than there is room for, for {minutes} minutes"))
}

fn has_prlimit() -> bool {
    let mut command = Command::new("prlimit");
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
