//! Calls of cargo: the same toolchain, no network where none is needed.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::announce;

/// Cargo in the repository at `root`.
#[derive(Debug, Clone, Copy)]
pub struct Cargo<'a> {
    root: &'a Path,
    /// All packages that the lock file names are on this machine.
    offline: bool,
}

impl<'a> Cargo<'a> {
    /// Looks whether the network will be needed.
    pub fn new(root: &'a Path) -> Result<Self> {
        let online = Self { root, offline: false };
        let packages = online
            .command(&["metadata", "--offline", "--locked", "--format-version=1"])
            .args(["--filter-platform", &host()?])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .context("start cargo")?;
        Ok(Self { root, offline: packages.success() })
    }

    /// `cargo arguments...`; without a network, if it can do without.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
        command.current_dir(self.root).args(arguments).stdin(Stdio::null());
        if self.offline {
            command.env("CARGO_NET_OFFLINE", "true");
        }
        command
    }

    /// Runs `cargo arguments...` and shows its output.
    pub fn run(&self, arguments: &[&str]) -> Result<()> {
        run(&mut self.command(arguments), &format!("cargo {}", arguments.join(" ")))
    }

    /// What `cargo arguments...` prints.
    pub fn output(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command(arguments).output().context("start cargo")?;
        let shown = arguments.join(" ");
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "cargo {shown} failed:\n{}", errors.trim());
        String::from_utf8(output.stdout).with_context(|| format!("the output of cargo {shown}"))
    }

    /// Whether `cargo subcommand` is installed.
    pub fn has(&self, subcommand: &str) -> bool {
        let mut command = self.command(&[subcommand, "--version"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }
}

/// Runs `command`, announced as `what`.
pub fn run(command: &mut Command, what: &str) -> Result<()> {
    announce(what);
    let status = command.status().with_context(|| format!("start {what}"))?;
    ensure!(status.success(), "{what} failed");
    Ok(())
}

pub fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("start rustc")?;
    let text = String::from_utf8(output.stdout).context("the output of rustc -vV")?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc -vV does not say its host")
}
