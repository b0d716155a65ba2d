//! The walls between the crates: who may depend on whom, and on which engines.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use crate::cargo::Cargo;

/// What a crate may and must not reach, directly or not.
struct Wall {
    package: &'static str,
    /// The crates of this project that it may depend on.
    below: &'static [&'static str],
    /// Other people's crates that it must do without.
    without: &'static [&'static str],
}

const CODEC: &str = "hookmq-codec";
const CORE: &str = "hookmq-core";
const HOOKS: &str = "hookmq-hooks";
const ENGINES: &[&str] = &["tokio", "wasmtime", "rhai", "sqlx", "axum", "rustls"];

const WALLS: [Wall; 7] = [
    Wall { package: CODEC, below: &[], without: ENGINES },
    Wall { package: CORE, below: &[CODEC], without: ENGINES },
    Wall { package: "hookmq-store", below: &[CODEC, CORE], without: ENGINES },
    Wall { package: HOOKS, below: &[CODEC, CORE], without: ENGINES },
    Wall {
        package: "hookmq-script",
        below: &[CODEC, CORE, HOOKS],
        without: &["tokio", "wasmtime", "sqlx", "axum", "rustls"],
    },
    Wall {
        package: "hookmq-wasm",
        below: &[CODEC, CORE, HOOKS],
        without: &["tokio", "rhai", "sqlx", "axum", "rustls"],
    },
    Wall {
        package: "hookmq-access",
        below: &[CODEC, CORE, HOOKS],
        without: &["wasmtime", "rhai", "axum"],
    },
];

pub fn check(cargo: &Cargo<'_>) -> Result<()> {
    for Wall { package, below, without } in WALLS {
        let tree = ["tree", "--package", package, "--edges", "normal", "--prefix", "none"];
        let tree = cargo.output(&tree)?;
        let reached: BTreeSet<&str> =
            tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
        ensure!(reached.contains(package), "cargo tree does not show {package} itself");
        for name in reached {
            let is_ours = name == "hookmq" || name.starts_with("hookmq-");
            ensure!(
                !is_ours || name == package || below.contains(&name),
                "{package} depends on {name}, which stands above it"
            );
            ensure!(
                !without.contains(&name),
                "{package} depends on {name}: `cargo tree -p {package} -e normal -i {name}` says \
                 through what"
            );
        }
    }
    Ok(())
}
