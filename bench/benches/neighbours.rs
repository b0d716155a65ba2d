//! A tenant that sends ten times what it may, and what a client of another tenant notices.
//!
//! `cargo bench -p hookmq-bench --bench neighbours` with `HOOKMQ_BIN` naming a release build. The noisy
//! clients run on the same machine, at a lower priority, as if they were elsewhere.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use hookmq_bench::lower_priority;
use hookmq_bench::steady::{beside, steady};
use hookmq_bench::trusting::{send, subscribe};
use hookmq_codec::{Connect, Packet, PacketType, ProtocolVersion, Qos};
use hookmq_tests::broker::{Broker, add_rules, directory};
use hookmq_tests::client::{connect, publish};

const V5: ProtocolVersion = ProtocolVersion::V5;
/// Messages in a second that the noisy tenant may send.
const QUOTA: u32 = 5_000;
/// Clients of the noisy tenant.
const CLIENTS: u32 = 20;
/// How often each sends.
const INTERVAL: Duration = Duration::from_millis(10);
const LASTS: Duration = Duration::from_secs(8);
const PAYLOAD: usize = 64;

const RULE: &str = "//! The user name is the tenant's name.
fn connect(client) { accept(#{ tenant: client.claimed_username, username: \"anybody\" }) }
";

fn main() {
    println!("| sent in a second | quota | received in a second | p50 of the other client | p99 |");
    println!("|---|---|---|---|---|");
    for (sent, quota) in [(0, None), (10 * QUOTA, None), (10 * QUOTA, Some(QUOTA))] {
        let broker = serve(quota);
        let calm = Connect { username: Some("calm"), ..steady() };
        let (received, [latencies]) =
            beside([(broker.address("plain"), calm)], || noise(&broker, sent));
        let quota = quota.map_or("none".to_owned(), |quota| quota.to_string());
        println!("| {sent} | {quota} | {received:.0} | {latencies} |");
    }
}

fn serve(quota: Option<u32>) -> Broker {
    let directory = directory();
    add_rules(directory.path(), &[("tenants", RULE)]);
    let quotas = quota.map_or(String::new(), |quota| {
        format!("quotas: {{tenants: {{noisy: {{messages_in_per_s: {quota}}}}}}}\n")
    });
    let yaml = format!(
        "data_dir: data
listeners: [{{name: plain, bind: \"tcp://127.0.0.1:0\"}}]
rules: {{dir: rules}}
{quotas}pipeline:
  connect: [{{rule: tenants}}]
  authorize: [{{builtin: open}}]
"
    );
    Broker::with_config(&yaml, directory)
}

/// Publishes for a while from all noisy clients, and gives the messages per second that one of them
/// receives of this.
fn noise(broker: &Broker, sent_per_s: u32) -> f64 {
    let address = broker.address("plain");
    let publishers: Vec<_> = (0..CLIENTS).map(|it| noisy(address, &format!("{it}"))).collect();
    let mut subscriber = noisy(address, "subscriber");
    subscribe(&mut subscriber, &["noise"]);
    let end = Instant::now() + LASTS;
    let each = sent_per_s / CLIENTS * INTERVAL.as_millis() as u32 / 1000;
    std::thread::scope(|scope| {
        let received = scope.spawn(|| received(&subscriber, end));
        for publisher in publishers {
            scope.spawn(move || publish_until(publisher, each, end));
        }
        received.join().expect("the subscriber goes on") as f64 / LASTS.as_secs_f64()
    })
}

/// Sends so many messages at each interval, fewer where the broker does not read them.
fn publish_until(mut socket: TcpStream, each: u32, end: Instant) {
    lower_priority();
    let mut message = Vec::new();
    let publish = publish("noise", &[b'x'; PAYLOAD], Qos::AtMostOnce);
    Packet::Publish(publish).encode(V5, &mut message).expect("a short packet");
    let messages = message.repeat(each as usize);
    socket.set_nonblocking(true).expect("a socket");
    let mut rest: &[u8] = &[];
    let mut due = Instant::now();
    while due < end {
        if rest.is_empty() {
            rest = &messages;
        }
        match socket.write(rest) {
            Ok(length) => rest = &rest[length..],
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
        }
        due += INTERVAL;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

/// How many messages come up to the end.
fn received(mut socket: &TcpStream, end: Instant) -> usize {
    lower_priority();
    let mut bytes = 0;
    let mut buffer = vec![0; 1 << 20];
    socket.set_read_timeout(Some(INTERVAL)).expect("a socket");
    while Instant::now() < end {
        match socket.read(&mut buffer) {
            Ok(0) => panic!("the subscriber was disconnected"),
            Ok(length) => bytes += length,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
        }
    }
    // Fixed header, topic, no properties.
    bytes / (2 + 2 + "noise".len() + 1 + PAYLOAD)
}

/// A client of the noisy tenant.
fn noisy(address: SocketAddr, client_id: &str) -> TcpStream {
    let mut socket = TcpStream::connect(address).expect("the broker listens");
    let connect = Connect { username: Some("noisy"), ..connect(V5, client_id) };
    send(&mut socket, &Packet::Connect(Box::new(connect)));
    let mut connack = [0; 256];
    assert!(socket.read(&mut connack).expect("an answer") > 2);
    assert_eq!(connack[0] >> 4, PacketType::ConnAck as u8);
    socket
}
