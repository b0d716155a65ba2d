//! `cargo xtask check`: format, lints, walls and links.

mod documents;
mod walls;

use std::path::Path;

use anyhow::Result;

use crate::cargo::Cargo;
use crate::test::in_guest_directory;
use crate::{announce, cargo, conformance, fuzz, mutants};

pub use self::documents::text_files;

/// The workspace of the plugins and of the crate that they are written with.
pub const GUESTS: &str = "plugins/Cargo.toml";

pub fn check(root: &Path) -> Result<()> {
    let cargo = Cargo::new(root)?;
    check_quickly(&cargo, root)?;
    lint(&cargo, root)
}

/// What needs no compilation.
pub fn check_quickly(cargo: &Cargo<'_>, root: &Path) -> Result<()> {
    announce("links and paths in documents and sources");
    documents::check(root)?;
    announce("normative statements and the tests that carry them");
    conformance::check(root)?;
    announce("mutants and the code that they change");
    mutants::check(root)?;
    announce("walls between crates");
    walls::check(cargo)?;
    if !cargo.has("fmt") {
        announce("SKIPPED: the format, as rustfmt is not installed");
        return Ok(());
    }
    cargo.run(&["fmt", "--all", "--check"])?;
    cargo.run(&["fmt", "--all", "--check", "--manifest-path", GUESTS])?;
    cargo.run(&["fmt", "--check", "--manifest-path", fuzz::MANIFEST])
}

pub fn lint(cargo: &Cargo<'_>, root: &Path) -> Result<()> {
    if !cargo.has("clippy") {
        announce("SKIPPED: the lints, as clippy is not installed");
        return Ok(());
    }
    cargo.run(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    let guests = ["clippy", "--quiet", "--workspace", "--all-targets", "--manifest-path", GUESTS];
    let mut command = in_guest_directory(cargo.command(&guests), root);
    command.args(["--", "-D", "warnings"]);
    cargo::run(&mut command, &format!("cargo {}", guests.join(" ")))
}
