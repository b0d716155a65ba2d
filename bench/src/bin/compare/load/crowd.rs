//! Many clients that connect and then say nothing.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::wire::{Door, Identity, Wire};
use super::{SetUp, in_parallel};
use crate::machine::{self, Processor};

/// How long connections are idle until the broker's memory is looked at.
const IDLE: Duration = Duration::from_secs(3);

pub struct Crowd {
    pub clients: usize,
    /// The memory is that of idle connections.
    pub set_up: SetUp,
    /// Since the first connection.
    pub processor: Processor,
}

/// Connects so many clients, as fast as the broker takes them.
pub fn gather(clients: usize, door: &Door, broker: u32) -> Result<Crowd> {
    let (resident, before) = (machine::resident(broker)?, Processor::now(broker)?);
    let began = Instant::now();
    let wires = in_parallel(clients, |number| {
        let client_id = format!("c{number}");
        Wire::open(door, number, &Identity { client_id, credentials: None, clean_start: true })
    });
    let mut wires = wires.context("a client")?;
    let lasted = began.elapsed();
    let processor = Processor::now(broker)?.since(&before);
    std::thread::sleep(IDLE);
    let grown = machine::resident(broker)?.saturating_sub(resident);
    for wire in &mut wires {
        wire.stop_waiting()?;
        let mut scratch = [0; 64];
        let said = wire.read(&mut scratch).context("an idle client was disconnected")?;
        ensure!(said.is_none(), "an idle client was told something");
        wire.say_goodbye()?;
    }
    Ok(Crowd { clients, set_up: SetUp { lasted, processor: processor.broker, grown }, processor })
}
