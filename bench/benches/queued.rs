//! A million messages for a hundred thousand sessions whose clients are away: what they take of memory, how
//! soon the broker serves again after it was killed, and how all of the clients come back at once.
//!
//! `cargo bench -p hookmq-bench --bench queued` with `HOOKMQ_BIN` naming a release build, and `TMPDIR` a
//! directory on the disk that is meant. Each message has 200 bytes and QoS 1. While the clients come back,
//! each of them taking and acknowledging what waits for it, another one is asked how long it is answered.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use hookmq_bench::run_when_idle;
use hookmq_bench::steady::{beside, steady};
use hookmq_codec::{Packet, ProtocolVersion, Qos};
use hookmq_tests::broker::{Broker, directory};
use hookmq_tests::client::{Client, connect, connect_to_session, packet_id, publish};

const SESSIONS: usize = 100_000;
/// For each session.
const MESSAGES: usize = 10;
const PAYLOAD: [u8; 200] = [b'x'; 200];
/// Clients at once, each on a thread.
const HANDS: usize = 50;
/// Messages that a publisher has unacknowledged.
const WINDOW: usize = 500;
/// Until what the broker puts off is done.
const REST: Duration = Duration::from_secs(3);

const CONFIGURATION: &str = r#"data_dir: data
listeners: [{name: plain, bind: "tcp://127.0.0.1:0"}]
pipeline:
  connect: [{builtin: anonymous}]
  authorize: [{builtin: open}]
"#;

fn main() {
    let mut broker = Broker::with_config(CONFIGURATION, directory());
    let address = broker.address("plain");
    let empty = broker.resident_bytes();
    println!("| | |\n|---|---|");

    let took = by_all_hands(|sessions| sessions.for_each(|number| begin(address, number)));
    let idle = rested(&broker);
    row("sessions begun a second", rate(SESSIONS, took));
    row("an idle session, bytes of RSS", (idle - empty) / SESSIONS as u64);

    let took = by_all_hands(|sessions| fill(address, sessions));
    let full = rested(&broker);
    row("messages stored a second", rate(SESSIONS * MESSAGES, took));
    row("all messages, MB of RSS", format!("{:.1}", (full - idle) as f64 / 1e6));

    broker.kill();
    let killed = Instant::now();
    broker.start();
    let address = broker.address("plain");
    row("from its start until it listens", format!("{:.2?}", killed.elapsed()));
    row("MB of RSS then", format!("{:.1}", rested(&broker) as f64 / 1e6));

    let (_, [before]) = beside([(address, steady())], || std::thread::sleep(REST));
    let all_back =
        || by_all_hands(|sessions| sessions.for_each(|number| come_back(address, number)));
    let (took, [meanwhile]) = beside([(address, steady())], all_back);
    row("sessions that came back a second, with all that waited", rate(SESSIONS, took));
    row("p99 of another client before", format!("{:.2?}", before.percentile(99)));
    row("p99 of another client meanwhile", format!("{:.2?}", meanwhile.percentile(99)));
}

fn row(what: &str, figure: impl Display) {
    println!("| {what} | {figure} |");
}

fn rate(count: usize, took: Duration) -> String {
    format!("{:.0}", count as f64 / took.as_secs_f64())
}

fn rested(broker: &Broker) -> u64 {
    std::thread::sleep(REST);
    broker.resident_bytes()
}

/// How long it takes when each hand does its part of the sessions.
fn by_all_hands(work: impl Fn(Range<usize>) + Sync) -> Duration {
    let began = Instant::now();
    std::thread::scope(|scope| {
        for hand in 0..HANDS {
            let (work, part) = (&work, SESSIONS / HANDS);
            scope.spawn(move || {
                run_when_idle();
                work(hand * part..(hand + 1) * part);
            });
        }
    });
    began.elapsed()
}

fn device(number: usize) -> String {
    format!("device-{number}")
}

fn topic(number: usize) -> String {
    format!("commands/{number}")
}

fn begin(address: SocketAddr, number: usize) {
    let name = device(number);
    let mut client =
        Client::connect(address, connect_to_session(ProtocolVersion::V311, &name, 0)).0;
    client.subscribe(&topic(number), Qos::AtLeastOnce);
    client.disconnect();
}

/// Publishes one message to each session, and again.
fn fill(address: SocketAddr, sessions: Range<usize>) {
    let name = format!("publisher-{}", sessions.start);
    let mut client = Client::connect(address, connect(ProtocolVersion::V311, &name)).0;
    let numbers: Vec<_> = (0..MESSAGES).flat_map(|_| sessions.clone()).collect();
    for window in numbers.chunks(WINDOW) {
        let mut bytes = Vec::new();
        for (id, number) in (1..).zip(window) {
            let topic = topic(*number);
            let mut message = publish(&topic, &PAYLOAD, Qos::AtLeastOnce);
            message.packet_id = Some(packet_id(id));
            bytes.extend(client.encode(&Packet::Publish(message)));
        }
        client.send_raw(&bytes);
        for _ in window {
            let answer = client.receive();
            assert!(matches!(answer.packet(), Packet::PubAck(_)), "{:?}", answer.packet());
        }
    }
}

fn come_back(address: SocketAddr, number: usize) {
    let name = device(number);
    let connect = connect_to_session(ProtocolVersion::V311, &name, 0);
    let (mut client, answer) = Client::connect(address, connect);
    assert!(answer.session_present(), "{name} has its session");
    for _ in 0..MESSAGES {
        let message = client.receive();
        assert_eq!(message.publish().payload, PAYLOAD);
        client.acknowledge(&message);
    }
    client.disconnect();
}
