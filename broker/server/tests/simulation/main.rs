//! The whole broker in a deterministic simulation: one thread, a simulated network, clock and disk. A
//! seed decides everything, and what clients were promised is judged from the packets.
//!
//! `cargo xtask simulate` runs many seeds; see docs/decisions/0083-the-whole-broker-simulated.md.

mod client;
mod defects;
mod disk;
mod history;
mod judge;
mod network;
mod seed;
mod world;

use std::env;
use std::time::Instant;

use crate::defects::Defect;
use crate::history::lines;
use crate::seed::Outcome;

/// Seeds that are run where nothing is said.
const SEEDS: u64 = 800;

fn number(variable: &str) -> Option<u64> {
    let value = env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable}={value}: not a number")))
}

#[test]
fn every_seed_keeps_every_promise() {
    let first = number("HOOKMQ_SIMULATION_SEED");
    let count =
        number("HOOKMQ_SIMULATION_SEEDS").unwrap_or(if first.is_some() { 1 } else { SEEDS });
    let (first, began) = (first.unwrap_or(0), Instant::now());
    let (mut events, mut failed) = (0, Vec::new());
    for seed in first..first + count {
        let outcome = seed::run(seed, None);
        events += outcome.events.len();
        if !outcome.violations.is_empty() {
            tell(seed, &outcome);
            failed.push(seed);
        }
    }
    println!("{count} seeds, {events} events in {:.1} s", began.elapsed().as_secs_f64());
    assert!(failed.is_empty(), "of {count} seeds from {first} on, these fail: {failed:?}");
}

#[test]
fn a_seed_decides_everything() {
    for seed in 0..20 {
        let [one, other] = [(); 2].map(|()| lines(&seed::run(seed, None).events));
        let different = one.lines().zip(other.lines()).find(|(one, other)| one != other);
        assert_eq!(different, None, "seed {seed}");
        assert_eq!(one.len(), other.len(), "seed {seed}");
    }
}

/// A judge who finds nothing in what is right must find something in what is wrong.
#[test]
fn every_planted_defect_is_found() {
    for defect in Defect::ALL {
        let violation = |seed| seed::run(seed, Some(defect)).violations.into_iter().next();
        let found = (0..SEEDS).find_map(|seed| Some((seed, violation(seed)?)));
        let (seed, violation) =
            found.unwrap_or_else(|| panic!("{defect:?} is not found by {SEEDS} seeds"));
        println!("{defect:?}: seed {seed}: {violation}");
    }
}

/// Says what is wrong, and leaves all that has happened in a file.
fn tell(seed: u64, Outcome { violations, events }: &Outcome) {
    let file = env::temp_dir().join(format!("hookmq-simulation-{seed}.txt"));
    for violation in violations {
        println!("seed {seed}: {violation}");
    }
    match std::fs::write(&file, lines(events)) {
        Ok(()) => println!("seed {seed}: all that has happened is in {}", file.display()),
        Err(error) => println!("seed {seed}: {}: {error}", file.display()),
    }
}
