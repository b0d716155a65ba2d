//! A load of clients on one broker, and what came of it.

mod client;
mod crowd;
mod engine;
mod histogram;
mod ledger;
mod plan;
mod poll;
mod stamp;
mod web_socket;
mod wire;

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hookmq_codec::Qos;

use self::client::{Publisher, Subscriber};
pub use self::crowd::{Crowd, gather};
pub use self::histogram::Histogram;
pub use self::plan::{Plan, Shape};
pub use self::poll::Poll;
pub use self::stamp::Form;
pub use self::wire::{Door, SCRATCH, Transport};
use self::wire::{Identity, Wire};
use crate::machine::{self, Processor};

/// Threads that connect and subscribe, before the load begins.
const HANDS: usize = 32;
const PASSWORD: &str = "correct horse";

/// How fast publishers go.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// As fast as their windows let them; each publisher has these.
    Windows {
        /// Messages that not all receivers have, so that no broker's queues grow.
        undelivered: u64,
        /// Messages above QoS 0 that the broker has not acknowledged.
        unacknowledged: usize,
    },
    /// Messages a second, of all publishers together, whatever the broker does.
    Rate(f64),
}

/// What user names clients have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    None,
    /// Publisher and subscriber of a pair log in as `u` and their number, with [`password`].
    Users,
    /// Pairs are dealt out to so many tenants; the name is `t` and its number.
    Tenants(usize),
}

#[derive(Clone)]
pub struct Load {
    pub plan: Plan,
    pub qos: Qos,
    pub pace: Pace,
    pub names: Names,
    pub form: Form,
    /// Bytes.
    pub payload: usize,
    /// Whether sessions outlive their connections.
    pub durable: bool,
    pub warm_up: Duration,
    pub measured: Duration,
}

/// What setting the clients up has cost the broker.
#[derive(Debug, Clone, Copy)]
pub struct SetUp {
    pub lasted: Duration,
    pub processor: Duration,
    /// Bytes.
    pub grown: u64,
}

/// Rates, latencies and processor time are of the measured time, the rest is of the whole run.
pub struct Traffic {
    pub set_up: SetUp,
    pub measured: Duration,
    /// Messages that subscribers got, in the measured time.
    pub received: u64,
    pub latencies: Histogram,
    pub processor: Processor,
    /// Bytes, at the end of the measured time.
    pub resident: u64,
    pub faults: Faults,
}

/// What a table of medians would not show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// Messages that a subscriber should have got.
    pub lost: u64,
    pub duplicates: u64,
    pub disordered: u64,
    pub unacknowledged: u64,
    /// How often a publisher has waited for a second, and given up what it waited for.
    pub stalls: u64,
    pub disconnected: u64,
    pub first_error: Option<String>,
}

/// The password of [`Names::Users`].
pub fn password() -> &'static str {
    PASSWORD
}

/// Connects one client, and lets it go.
pub fn knock(door: &Door, credentials: Option<(String, String)>) -> io::Result<()> {
    let identity = Identity { client_id: "knock".to_owned(), credentials, clean_start: true };
    Wire::open(door, 0, &identity)?.say_goodbye()
}

/// Puts the load on the broker behind the door, whose process is `broker`.
pub fn run(load: &Load, door: &Door, broker: u32) -> Result<Traffic> {
    let (resident, processor) = (machine::resident(broker)?, Processor::now(broker)?);
    let began = Instant::now();
    let plan = &load.plan;
    let subscribers = in_parallel(plan.subscribers, |number| {
        let mut wire = Wire::open(door, number, &load.identity("s", number))?;
        wire.subscribe(&plan.filters(number), load.qos)?;
        Ok(Subscriber::new(number, wire))
    });
    let subscribers = subscribers.context("a subscriber")?;
    let set_up = SetUp {
        lasted: began.elapsed(),
        processor: Processor::now(broker)?.since(&processor).broker,
        grown: machine::resident(broker)?.saturating_sub(resident),
    };
    let publishers = in_parallel(plan.publishers, |number| {
        let place = plan.subscribers + number;
        Ok(Publisher::new(load, number, Wire::open(door, place, &load.identity("p", number))?))
    });
    let publishers = publishers.context("a publisher")?;
    engine::run(load, broker, set_up, publishers, subscribers)
}

impl Load {
    fn identity(&self, kind: &str, number: usize) -> Identity {
        let credentials = match self.names {
            Names::None => None,
            Names::Users => Some((format!("u{number}"), PASSWORD.to_owned())),
            Names::Tenants(tenants) => Some((format!("t{}", number % tenants), String::new())),
        };
        let client_id = format!("{kind}{number}");
        Identity { client_id, credentials, clean_start: !self.durable }
    }
}

/// What `make` makes of 0 to `count`, in order.
fn in_parallel<T: Send>(
    count: usize,
    make: impl Fn(usize) -> io::Result<T> + Sync,
) -> io::Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let work = || -> io::Result<Vec<(usize, T)>> {
        let numbers = std::iter::from_fn(|| {
            let number = next.fetch_add(1, Ordering::Relaxed);
            (number < count).then_some(number)
        });
        numbers.map(|number| Ok((number, make(number)?))).collect()
    };
    let mut made = std::thread::scope(|scope| -> io::Result<Vec<_>> {
        let hands: Vec<_> = (0..HANDS.min(count)).map(|_| scope.spawn(work)).collect();
        let mut made = Vec::with_capacity(count);
        for hand in hands {
            made.extend(hand.join().expect("nothing in it panics")?);
        }
        Ok(made)
    })?;
    made.sort_unstable_by_key(|(number, _)| *number);
    Ok(made.into_iter().map(|(_, made)| made).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_many_hands_make_is_in_order() {
        assert_eq!(in_parallel(100, Ok).expect("numbers"), (0..100).collect::<Vec<_>>());
        assert_eq!(in_parallel(0, Ok).expect("nothing"), Vec::<usize>::new());
        let failing = |number| if number == 50 { Err(io::Error::other("no")) } else { Ok(number) };
        assert!(in_parallel(100, failing).is_err());
    }
}
