//! More than the broker has room for, for as long as is asked for: publishers at full speed, subscribers
//! that are slow or away, and two clients that have nothing to do with it.
//!
//! `HOOKMQ_OVERLOAD_SECONDS` says how long, and `HOOKMQ_OVERLOAD_PRLIMIT` that the process may have no
//! more data than the bound.

#![allow(clippy::unwrap_used)]

mod bystanders;
mod flood;
mod slow;

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::scope;
use std::time::{Duration, Instant};

use hookmq_codec::{ProtocolVersion, Qos};
use hookmq_tests::broker::{Broker, OPEN_LISTENER, directory};
use hookmq_tests::client::{Client, connect_to_session};
use hookmq_tests::wait::wait_until;

use bystanders::Bystanders;
use flood::flood;
use slow::{Slow, drain};

/// What the whole process may take, and what the broker is told to keep to.
const BOUND: u64 = 512 << 20;
const MEMORY_BYTES: u64 = 192 << 20;

/// What may come between two looks of the broker at its memory.
const LEEWAY: u64 = 128 << 20;

/// What may wait for one session, on disk or in memory.
const QUEUE_BYTES: u64 = 48 << 20;

const SECONDS: u64 = 3;

/// Subscribers of each kind: slow ones of QoS 0 and 1, and sessions that are away.
const SLOW: usize = flood::TOPICS;
const SLOW_AT_LEAST_ONCE: usize = 4;
const AWAY: usize = 6;

/// Publishers of QoS 0 and of QoS 1.
const FLOODS: [Qos; 4] = [Qos::AtMostOnce, Qos::AtMostOnce, Qos::AtLeastOnce, Qos::AtLeastOnce];

fn broker() -> Broker {
    let yaml = format!(
        "data_dir: data
listeners: [{{name: {OPEN_LISTENER}, bind: \"tcp://127.0.0.1:0\"}}]
admin: {{bind: \"127.0.0.1:0\"}}
limits:
  memory_bytes: {MEMORY_BYTES}
  queue_bytes: {QUEUE_BYTES}
  write_timeout_ms: 600000
pipeline:
  connect: [{{builtin: anonymous}}]
  authorize: [{{builtin: open}}]
"
    );
    match std::env::var_os("HOOKMQ_OVERLOAD_PRLIMIT") {
        None => Broker::with_config(&yaml, directory()),
        Some(_) => {
            let mut broker = Broker::with_config(&yaml, directory());
            broker.kill();
            let mut prlimit = Command::new("prlimit");
            prlimit.arg(format!("--data={BOUND}"));
            broker.start_under(prlimit);
            broker
        }
    }
}

/// What a run has shown, for the report.
#[derive(Debug, Default)]
struct Figures {
    published: [u64; 2],
    got: u64,
    overflowed: u64,
    exchanged: u64,
    slowest: Duration,
    peak: u64,
    /// Exchanges behind which memory was short.
    short: u64,
}

#[test]
fn what_is_too_much_is_dropped_and_counted_and_others_notice_nothing() {
    let seconds = std::env::var("HOOKMQ_OVERLOAD_SECONDS").ok();
    let seconds = seconds.map_or(SECONDS, |it| it.parse().expect("a number of seconds"));
    let broker = broker();
    let address = broker.address(OPEN_LISTENER);
    for number in 0..AWAY {
        away(&broker, number).leave();
    }
    let mut figures = Figures::default();
    let (over, published) = (AtomicBool::new(false), [AtomicU64::new(0), AtomicU64::new(0)]);
    scope(|threads| {
        let slow: Vec<Slow> = (0..SLOW + SLOW_AT_LEAST_ONCE)
            .map(|number| {
                let qos = if number < SLOW { Qos::AtMostOnce } else { Qos::AtLeastOnce };
                Slow::subscribe(address, number, qos)
            })
            .collect();
        let over = &over;
        let slow: Vec<_> =
            slow.into_iter().map(|it| threads.spawn(move || it.dawdle(over))).collect();
        let floods: Vec<_> = FLOODS
            .iter()
            .enumerate()
            .map(|(number, qos)| {
                let published = &published[*qos as usize];
                threads.spawn(move || flood(address, number, *qos, over, published))
            })
            .collect();
        let mut bystanders = Bystanders::new(address);
        let end = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < end {
            figures.slowest = figures.slowest.max(bystanders.exchange());
            figures.exchanged += 1;
            figures.short += broker.admin().metric("memory_short");
        }
        over.store(true, Relaxed);
        floods.into_iter().for_each(|it| it.join().unwrap());
        let slow: Vec<Slow> = slow.into_iter().map(|it| it.join().unwrap()).collect();
        let drained: Vec<_> =
            slow.into_iter().map(|it| threads.spawn(|| drain(it, &broker))).collect();
        figures.got = drained.into_iter().map(|it| it.join().unwrap()).sum();
        bystanders.exchange();
    });
    figures.published = published.map(|it| it.load(Relaxed));
    finish(&broker, &mut figures);
}

/// Those who were away come back; then each message was got or counted.
fn finish(broker: &Broker, figures: &mut Figures) {
    figures.peak = broker.peak_bytes();
    wait_until("memory is there again", || {
        (broker.admin().metric("memory_short") == 0).then_some(())
    });
    for number in 0..AWAY {
        figures.got += drain(away(broker, number), broker);
    }
    figures.overflowed = broker.admin().metric("messages_overflowed_total");
    let [once, guaranteed] = figures.published;
    eprintln!("{figures:#?}");
    // One of the slow ones of QoS 0, and all others.
    let everybody = 1 + SLOW_AT_LEAST_ONCE as u64;
    let due = (once + guaranteed) * everybody + guaranteed * AWAY as u64;
    assert_eq!(figures.got + figures.overflowed, due, "each is delivered, or counted as dropped");
    assert!(figures.overflowed > 0, "there was room for everything: this is no overload");
    assert!(figures.peak < MEMORY_BYTES + LEEWAY, "{} bytes", figures.peak);
    assert!(figures.exchanged > 0);
}

/// A session that is due what is guaranteed.
fn away(broker: &Broker, number: usize) -> Slow {
    let client_id = format!("away {number}");
    let connect = connect_to_session(ProtocolVersion::V5, &client_id, 36_000);
    let (mut client, answer) = Client::connect(broker.address(OPEN_LISTENER), connect);
    if !answer.session_present() {
        client.subscribe("flood/1/#", Qos::AtLeastOnce);
    }
    Slow::of(client_id, client)
}
