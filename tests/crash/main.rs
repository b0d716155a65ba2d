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

use campaign::{Campaign, Fault};
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

fn run(settings: Settings, fault: Fault) {
    eprintln!("HOOKMQ_CRASH_SEED={}", settings.seed);
    let (summary, broken) = Campaign::new(settings, fault).run();
    eprintln!("{summary}");
    if let Some(broken) = broken {
        panic!("{broken}");
    }
}
