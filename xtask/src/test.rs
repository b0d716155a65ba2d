//! `cargo xtask test`: every test that there is.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::cargo::Cargo;
use crate::{announce, cargo, check, clients, languages, packages, plugins};

/// Runs all tests and checks; with a `filter`, only the tests of the workspace that it names.
pub fn test(root: &Path, filter: &[String]) -> Result<()> {
    if filter.is_empty() {
        // What takes seconds comes before what takes minutes.
        check::check_quickly(&Cargo::new(root)?, root)?;
    }
    let cargo = prepare(root)?;
    cargo::run(workspace_tests(&cargo, root)?.args(filter), "the tests of the workspace")?;
    if !filter.is_empty() {
        return Ok(());
    }
    cargo.run(&["test", "--workspace", "--doc"])?;
    run_guest_tests(&cargo, root)?;
    check::lint(&cargo, root)?;
    announce("all tests and checks have passed");
    Ok(())
}

/// Builds all that the tests of the workspace call, and installs the clients that they drive.
pub fn prepare(root: &Path) -> Result<Cargo<'_>> {
    packages::require_c_compiler()?;
    packages::install_for_tests()?;
    clients::install(root)?;
    let cargo = Cargo::new(root)?;
    announce("build the plugins");
    plugins::build(root)?;
    languages::build(root)?;
    // One build for the binary and the tests, so that dependencies are built once.
    cargo.run(&["build", "--workspace", "--bins", "--tests"])?;
    Ok(cargo)
}

/// The tests of the workspace, with nextest where it is installed; takes filters by name.
pub fn workspace_tests(cargo: &Cargo<'_>, root: &Path) -> Result<Command> {
    let arguments: &[&str] = match cargo.has("nextest") {
        true => &["nextest", "run", "--workspace", "--no-fail-fast"],
        false => &["test", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast"],
    };
    let target = plugins::target_directory(root);
    let mut command = cargo.command(arguments);
    command
        .env("HOOKMQ_BIN", target.join("debug/hookmq"))
        .env("HOOKMQ_PLUGINS_DIR", target.join("plugins"))
        .env("HOOKMQ_CLIENTS_DIR", clients::directory()?);
    Ok(command)
}

/// The tests of the plugins and of the crate that they are written with run natively.
fn run_guest_tests(cargo: &Cargo<'_>, root: &Path) -> Result<()> {
    let arguments = ["test", "--quiet", "--workspace", "--manifest-path", check::GUESTS];
    let mut command = in_guest_directory(cargo.command(&arguments), root);
    cargo::run(&mut command, &format!("cargo {}", arguments.join(" ")))
}

/// Guests are another workspace, with build outputs of its own.
pub fn in_guest_directory(mut command: Command, root: &Path) -> Command {
    command.env("CARGO_TARGET_DIR", plugins::target_directory(root).join("plugins/native"));
    // Whether the broker's packages are here says nothing about the guests'.
    command.env_remove("CARGO_NET_OFFLINE");
    command
}
