//! How long, and with which seed: from the environment.

use std::time::Duration;

/// Kills where nothing else is said.
const KILLS: u32 = 200;

#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub seed: u64,
    pub length: Length,
}

#[derive(Debug, Clone, Copy)]
pub enum Length {
    Kills(u32),
    Time(Duration),
}

impl Settings {
    /// A few faults.
    pub fn short(faults: u32) -> Self {
        Self { length: Length::Kills(faults), ..Self::from_environment() }
    }

    /// `HOOKMQ_CRASH_SEED`, `HOOKMQ_CRASH_KILLS`, `HOOKMQ_CRASH_MINUTES`.
    pub fn from_environment() -> Self {
        let minutes = variable("HOOKMQ_CRASH_MINUTES");
        let kills = variable("HOOKMQ_CRASH_KILLS").and_then(|it| u32::try_from(it).ok());
        Self {
            seed: variable("HOOKMQ_CRASH_SEED").unwrap_or_else(rand::random),
            length: match minutes {
                Some(minutes) => Length::Time(Duration::from_secs(60 * minutes)),
                None => Length::Kills(kills.unwrap_or(KILLS)),
            },
        }
    }
}

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is a number, not {value:?}")))
}
