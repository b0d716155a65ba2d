//! `cargo xtask bench`: HookMQ beside Mosquitto, measured by the project's own load.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::cargo::{self, Cargo};
use crate::{announce, packages, plugins};

/// What the measurement calls, and the packages that hold it.
const PROGRAMS: [(&str, &str); 2] = [("mosquitto", "mosquitto"), ("sqlite3", "sqlite3")];

/// Builds all in release, and measures; `arguments` are those of the program in `bench`.
pub fn bench(root: &Path, arguments: &[String]) -> Result<()> {
    packages::require_c_compiler()?;
    packages::install_programs("the comparison needs", &PROGRAMS)?;
    announce("build the plugins");
    plugins::build(root)?;
    let cargo = Cargo::new(root)?;
    // One after the other: the load's features of dependencies are not to be the broker's.
    cargo.run(&["build", "--release", "--package", "hookmq"])?;
    cargo.run(&["build", "--release", "--package", "hookmq-bench", "--bin", "compare"])?;
    let mut compare = Command::new(plugins::target_directory(root).join("release/compare"));
    cargo::run(compare.current_dir(root).args(arguments), "measure")
}
