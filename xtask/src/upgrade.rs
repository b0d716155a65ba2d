//! `cargo xtask upgrade`: an older broker and this one take turns with the same data, under load.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::cargo::{self, Cargo};
use crate::{announce, plugins};

const TEST: &str = "what_was_acknowledged_survives_every_change_of_the_broker";

/// Changes of the broker where nothing else is said.
const CHANGES: u64 = 60;

/// Where there is no tag of a release.
const FALLBACK: &str = "HEAD~50";

/// Builds the broker of an older revision, and has it and this one follow one another.
pub fn upgrade(root: &Path, arguments: &[String]) -> Result<()> {
    let (mut from, mut changes) = (None, CHANGES);
    for option in arguments.chunks(2) {
        let [name, value] = option else { bail!("{} takes a value", option[0]) };
        match name.as_str() {
            "--from" => from = Some(value.clone()),
            "--changes" => {
                changes = value.parse().with_context(|| format!("{name} {value}: not a number"))?;
            }
            _ => bail!("unknown option {name}: there are --from and --changes"),
        }
    }
    let from = from.or_else(|| latest_tag(root)).unwrap_or_else(|| FALLBACK.to_owned());
    let commit = git(root, &["rev-parse", "--short", &format!("{from}^{{commit}}")])?;
    let older = build_older(root, &commit).with_context(|| format!("build {from}"))?;

    let cargo = Cargo::new(root)?;
    let built = ["--workspace", "--bins", "--test", "crash"];
    cargo.run(&[&["build"], &built[..]].concat())?;
    let arguments = [&["test"], &built[..], &["--", "--exact", "--nocapture", TEST]].concat();
    let mut command = cargo.command(&arguments);
    command.env("HOOKMQ_BIN", plugins::target_directory(root).join("debug/hookmq"));
    command.env("HOOKMQ_OLDER_BIN", older).env("HOOKMQ_CRASH_KILLS", changes.to_string());
    cargo::run(&mut command, &format!("{commit} and this broker take turns"))
}

fn latest_tag(root: &Path) -> Option<String> {
    git(root, &["describe", "--tags", "--abbrev=0"]).ok()
}

fn git(root: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new("git").current_dir(root).args(arguments).output();
    let output = output.context("start git")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "git {}: {}", arguments.join(" "), errors.trim());
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Gives the binary. It is built apart: to cargo, packages of the same names, versions and places within
/// their workspaces are the same ones, and what was built of newer sources would serve for the older.
fn build_older(root: &Path, commit: &str) -> Result<PathBuf> {
    let place = plugins::target_directory(root).join("upgrade");
    let target = place.join("target");
    let binary = place.join(format!("hookmq-{commit}"));
    if binary.is_file() {
        return Ok(binary);
    }
    let source = place.join(commit);
    unpack(root, commit, &source)?;
    let cargo = Cargo::new(&source)?;
    let mut command = cargo.command(&["build", "--workspace", "--bin", "hookmq"]);
    command.env("CARGO_TARGET_DIR", &target);
    cargo::run(&mut command, &format!("build the broker of {commit}"))?;
    fs::copy(target.join("debug/hookmq"), &binary).context("keep the older broker")?;
    fs::remove_dir_all(&source).context("remove the older sources")?;
    Ok(binary)
}

fn unpack(root: &Path, commit: &str, to: &Path) -> Result<()> {
    announce(&format!("unpack {commit}"));
    fs::create_dir_all(to)?;
    let mut archive = Command::new("git")
        .current_dir(root)
        .args(["archive", commit])
        .stdout(Stdio::piped())
        .spawn()
        .context("start git")?;
    let tar = archive.stdout.take().context("its output is piped")?;
    // As new files: cargo goes by their times.
    let unpacked =
        Command::new("tar").arg("-xmC").arg(to).stdin(tar).status().context("start tar")?;
    ensure!(archive.wait()?.success() && unpacked.success(), "{commit} cannot be unpacked");
    Ok(())
}
