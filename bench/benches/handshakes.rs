//! A storm of TLS handshakes beside connected clients: how many there are in a second of the broker's
//! processor time, and what the others notice.
//!
//! `cargo bench -p hookmq-bench --bench handshakes` with `HOOKMQ_BIN` naming a release build. All clients
//! of a storm have sent their first bytes before the first handshake goes on. The clients run on the same
//! machine, at a lower priority, as if they were elsewhere.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use hookmq_bench::lower_priority;
use hookmq_bench::steady::{beside, steady};
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
            storm(&broker, address, &configs);
        }
        let (storm, [here, elsewhere]) = beside(places(), || storm(&broker, address, &configs));
        println!(
            "| {name} | {:.0} | {:.0} | {} | {here} | {:.2?} |",
            CLIENTS as f64 / storm.lasted.as_secs_f64(),
            CLIENTS as f64 / storm.processor.as_secs_f64(),
            storm.again,
            elsewhere.percentile(99),
        );
    }
}

/// Lets all clients begin at once, and come again until they are in.
fn storm(broker: &Broker, address: SocketAddr, configs: &[Arc<ClientConfig>]) -> Storm {
    let (began, ticks) = (Instant::now(), broker.processor_ticks());
    let again = AtomicUsize::new(0);
    let begun = Barrier::new(HANDS);
    std::thread::scope(|scope| {
        for (hand, configs) in configs.chunks(CLIENTS / HANDS).enumerate() {
            let (again, begun) = (&again, &begun);
            scope.spawn(move || {
                lower_priority();
                let clients: Vec<_> = configs.iter().map(|config| begin(address, config)).collect();
                begun.wait();
                let mut connected = Vec::new();
                for (number, (mut client, config)) in clients.into_iter().zip(configs).enumerate() {
                    while admitted(&mut client, &format!("device-{hand}-{number}")).is_err() {
                        again.fetch_add(1, Ordering::Relaxed);
                        client = begin(address, config);
                    }
                    connected.push(client);
                }
            });
        }
    });
    let processor = Duration::from_millis((broker.processor_ticks() - ticks) * 10);
    Storm { lasted: began.elapsed(), processor, again: again.into_inner() }
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
