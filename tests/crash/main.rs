//! The real binary under load, killed at random instants and started again: every promise of
//! docs/durability.md is checked against what the clients themselves have recorded.
//!
//! `HOOKMQ_CRASH_SEED` repeats the plan of a run, not the scheduling of the machine.
//! `HOOKMQ_CRASH_KILLS` and `HOOKMQ_CRASH_MINUTES` say how long.

mod bounds;
mod campaign;
mod cast;
mod fleet;
mod former;
mod link;
mod member;
mod moments;
mod record;
mod settings;

use std::path::PathBuf;

use campaign::{Campaign, Fault, Versions};
use hookmq_tests::broker::binary;
use settings::Settings;

#[test]
fn what_was_acknowledged_survives_every_kill() {
    run(Settings::from_environment(), Fault::Kill);
}

/// Shows that what the other test finds is the broker's end's doing, and not the clients'.
#[test]
fn a_broker_that_goes_on_keeps_its_promises() {
    run(Settings::short(12), Fault::Cut);
}

/// `HOOKMQ_OLDER_BIN` names the broker that this one takes turns with: an older one, or without it itself.
/// One that refuses what the other has left fails the test, with its own words in the log.
#[test]
fn what_was_acknowledged_survives_every_change_of_the_broker() {
    let older = std::env::var_os("HOOKMQ_OLDER_BIN");
    let now = older.as_ref().map_or_else(binary, PathBuf::from);
    let settings = match older {
        Some(_) => Settings::from_environment(),
        None => Settings::short(8),
    };
    run(settings, Fault::Replace(Versions { now, next: binary() }));
}

fn run(settings: Settings, fault: Fault) {
    eprintln!("HOOKMQ_CRASH_SEED={}", settings.seed);
    let (summary, broken) = Campaign::new(settings, fault).run();
    eprintln!("{summary}");
    if let Some(broken) = broken {
        panic!("{broken}");
    }
}
