//! A storm of TLS handshakes beside connected clients: how many there are in a second of the broker's
//! processor time, and what the others notice.
//!
//! `cargo bench -p hookmq-bench --bench handshakes` with `HOOKMQ_BIN` naming a release build. All clients
//! of a storm have sent their first bytes before the first handshake goes on. The clients run on the same
//! machine, when nobody else would, as if they were elsewhere.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use hookmq_bench::run_when_idle;
use hookmq_bench::steady::{Latencies, beside, steady};
use hookmq_codec::{Packet, ProtocolVersion};
use hookmq_tests::broker::{Broker, directory};
use hookmq_tests::certificates::{Authority, Validity};
use hookmq_tests::client::connect;
use hookmq_tests::wire::{tcp, tls_config};
use rustls::client::Resumption;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

type TlsClient = StreamOwned<ClientConnection, TcpStream>;

const SERVER: &str = "127.0.0.1";
const CLIENTS: usize = 2000;
/// Storms of each kind: a client that asks every 2 ms notices too little of one.
const STORMS: usize = 5;
/// Until all that a storm has left is gone.
const REST: Duration = Duration::from_secs(1);
/// Threads that go on with the handshakes.
const HANDS: usize = 8;

const CONFIGURATION: &str = r#"data_dir: data
listeners:
  - {name: plain, bind: "tcp://127.0.0.1:0"}
  - name: devices
    bind: tls://127.0.0.1:0
    tls:
      certificate: server.crt
      key: server.key
      client_certificates: required
      trust_anchors: [{name: devices, file: ca.crt}]
  - name: browsers
    bind: tls://127.0.0.1:0
    tls: {certificate: server.crt, key: server.key}
limits: {connect_timeout_ms: 60000}
pipeline:
  connect:
    - builtin: certificate
      listeners: [devices]
      config: {mappings: [{trust_anchor: devices, tenant: acme, username: "{cn}"}]}
    - {builtin: anonymous, listeners: [plain, browsers]}
  authorize: [{builtin: open}]
"#;

/// Of a broker that has nothing to do with the storm: what its client notices is the machine's.
const BYSTANDER: &str = r#"data_dir: data
listeners: [{name: plain, bind: "tcp://127.0.0.1:0"}]
pipeline:
  connect: [{builtin: anonymous}]
  authorize: [{builtin: open}]
"#;

/// What one storm was like.
struct Storm {
    lasted: Duration,
    /// Of the broker.
    processor: Duration,
    /// Clients that were closed out and had to come again.
    again: usize,
    /// Who is connected now: that they leave all at once is no part of it.
    connected: Vec<TlsClient>,
}

fn main() {
    let directory = directory();
    let authority = Authority::new("devices");
    authority.save(&directory.path().join("ca.crt"));
    authority.issue_server(&directory.path().join("server"));
    authority.issue_device(directory.path(), "acme", "device", Validity::Current);
    let ca = directory.path().join("ca.crt");
    let certificate = tls_config(&ca, Some(&directory.path().join("device")));
    let none = tls_config(&ca, None);
    let with_certificate = || ClientConfig::clone(&certificate);
    let without = |resumption| {
        let mut config = ClientConfig::clone(&none);
        config.resumption = resumption;
        config
    };
    let afresh = || without(Resumption::disabled());
    let resuming = || without(Resumption::in_memory_sessions(8));
    let broker = Broker::with_config(CONFIGURATION, directory);
    let plain = broker.address("plain");
    let bystander = Broker::with_config(BYSTANDER, ::hookmq_tests::broker::directory());
    let places = || [plain, bystander.address("plain")].map(|address| (address, steady()));
    println!(
        "| {CLIENTS} handshakes | a second | a processor second of the broker | came again | p50 of a connected client | p99 | p99 of another broker's client |"
    );
    println!("|---|---|---|---|---|---|---|");
    let (_, [here, elsewhere]) = beside(places(), || std::thread::sleep(Duration::from_secs(4)));
    println!("| none | | | | {here} | {:.2?} |", elsewhere.percentile(99));
    let rows: [(&str, &str, &dyn Fn() -> ClientConfig); 3] = [
        ("with a client certificate", "devices", &with_certificate),
        ("without", "browsers", &afresh),
        ("resumed", "browsers", &resuming),
    ];
    for (name, listener, config) in rows {
        let address = broker.address(listener);
        // Each has tickets of its own.
        let configs: Vec<_> = (0..CLIENTS).map(|_| Arc::new(config())).collect();
        if name == "resumed" {
            drop(storm(&broker, address, &configs));
            std::thread::sleep(REST);
        }
        let (storms, latencies): (Vec<_>, Vec<_>) = (0..STORMS)
            .map(|_| {
                let (mut storm, latencies) = beside(places(), || storm(&broker, address, &configs));
                storm.connected.clear();
                std::thread::sleep(REST);
                (storm, latencies)
            })
            .unzip();
        let (here, elsewhere): (Vec<_>, Vec<_>) = latencies.into_iter().map(Into::into).unzip();
        let (here, elsewhere) = (Latencies::together(here), Latencies::together(elsewhere));
        let in_a_second = |time: fn(&Storm) -> Duration| {
            (STORMS * CLIENTS) as f64 / storms.iter().map(time).sum::<Duration>().as_secs_f64()
        };
        println!(
            "| {name} | {:.0} | {:.0} | {} | {here} | {:.2?} |",
            in_a_second(|storm| storm.lasted),
            in_a_second(|storm| storm.processor),
            storms.iter().map(|storm| storm.again).sum::<usize>(),
            elsewhere.percentile(99),
        );
    }
}

/// Lets all clients begin at once, and come again until they are in.
fn storm(broker: &Broker, address: SocketAddr, configs: &[Arc<ClientConfig>]) -> Storm {
    let (began, ticks) = (Instant::now(), broker.processor_ticks());
    let again = AtomicUsize::new(0);
    let begun = Barrier::new(HANDS);
    let connected = std::thread::scope(|scope| {
        let hands: Vec<_> = configs
            .chunks(CLIENTS / HANDS)
            .enumerate()
            .map(|(hand, configs)| {
                let (again, begun) = (&again, &begun);
                scope.spawn(move || shake_hands(address, hand, configs, begun, again))
            })
            .collect();
        hands.into_iter().flat_map(|hand| hand.join().expect("all get in")).collect()
    });
    let processor = Duration::from_millis((broker.processor_ticks() - ticks) * 10);
    Storm { lasted: began.elapsed(), processor, again: again.into_inner(), connected }
}

/// Lets clients begin with those of the other hands, and takes each to its CONNACK.
fn shake_hands(
    address: SocketAddr,
    hand: usize,
    configs: &[Arc<ClientConfig>],
    begun: &Barrier,
    again: &AtomicUsize,
) -> Vec<TlsClient> {
    run_when_idle();
    let clients: Vec<_> = configs.iter().map(|config| begin(address, config)).collect();
    begun.wait();
    let take_in = |(number, (mut client, config))| {
        while admitted(&mut client, &format!("device-{hand}-{number}")).is_err() {
            again.fetch_add(1, Ordering::Relaxed);
            client = begin(address, config);
        }
        client
    };
    clients.into_iter().zip(configs).enumerate().map(take_in).collect()
}

/// A client that has said hello.
fn begin(address: SocketAddr, config: &Arc<ClientConfig>) -> TlsClient {
    let server = SERVER.try_into().expect("an address");
    let connection = ClientConnection::new(config.clone(), server).expect("a TLS client");
    let mut client = StreamOwned::new(connection, tcp(address));
    // Whether the broker hears it is seen later.
    let _ = client.conn.write_tls(&mut client.sock);
    client
}

/// Goes on up to CONNACK.
fn admitted(client: &mut TlsClient, client_id: &str) -> io::Result<()> {
    let mut bytes = Vec::new();
    Packet::Connect(Box::new(connect(ProtocolVersion::V311, client_id)))
        .encode(ProtocolVersion::V311, &mut bytes)
        .expect("a short packet");
    client.write_all(&bytes)?;
    client.flush()?;
    let mut connack = [0; 4];
    client.read_exact(&mut connack)?;
    assert_eq!(connack, [0x20, 2, 0, 0], "accepted");
    Ok(())
}
