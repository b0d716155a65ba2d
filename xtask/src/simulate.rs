//! `cargo xtask simulate`: the whole broker in a simulation, for as many seeds as are asked for.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::cargo::{self, Cargo};

/// Where nothing else is said.
const SEEDS: u64 = 5000;

const TEST: &str = "every_seed_keeps_every_promise";

pub fn simulate(root: &Path, arguments: &[String]) -> Result<()> {
    let (mut seeds, mut first) = (None, None);
    for pair in arguments.chunks(2) {
        match pair {
            [option, value] if option == "--seeds" => seeds = Some(number(option, value)?),
            [option, value] if option == "--seed" => first = Some(number(option, value)?),
            _ => bail!("there are two options: --seeds N and --seed N"),
        }
    }
    // One that is named is looked at alone.
    let seeds = seeds.unwrap_or(if first.is_some() { 1 } else { SEEDS });
    let first = first.unwrap_or(0);
    let cargo = Cargo::new(root)?;
    let built = ["test", "--workspace", "--test", "simulation"];
    let mut command =
        cargo.command(&[&built[..], &["--", "--exact", "--nocapture", TEST]].concat());
    command.env("HOOKMQ_SIMULATION_SEEDS", seeds.to_string());
    command.env("HOOKMQ_SIMULATION_SEED", first.to_string());
    cargo::run(&mut command, &format!("the simulation of {seeds} seeds from {first} on"))
}

fn number(option: &str, value: &str) -> Result<u64> {
    value.parse().with_context(|| format!("{option} {value}: not a number"))
}
