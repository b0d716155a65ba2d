//! Plugins that send requests: where they arrive, and who waits for them.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use hookmq_codec::{Packet, ProtocolVersion, ReasonCode};
use hookmq_tests::client::{Client, connect};
use hookmq_tests::wait::wait_until;

use super::siege::{Siege, artefact, asker_manifest, with_manifest};

/// The plugin `asker` is asked on the listener `asking`; `main` is for the bystanders.
const CONFIGURATION: &str = r#"
data_dir: data
listeners:
  - {name: main, bind: "tcp://127.0.0.1:0"}
  - {name: asking, bind: "tcp://127.0.0.1:0"}
admin: {bind: "127.0.0.1:0"}
limits: {connect_timeout_ms: PATIENCE}
plugins:
  http: HTTP
  grants:
    asker: {log: true, clock: true, metric: true, kv: true, http: [ORIGIN],
            secrets: {token: {file: token}}}
pipeline:
  connect:
    - {plugin: asker, listeners: [asking]}
    - {builtin: anonymous, listeners: [main]}
  authorize: [{builtin: open}]
"#;

/// A server that hands on each connection, its request read, and a broker whose plugin may ask it.
struct Scene {
    siege: Siege,
    origin: String,
    asked: Receiver<TcpStream>,
}

impl Scene {
    fn new(version: ProtocolVersion, http: &str) -> Self {
        Self::with_patience(version, http, 600_000)
    }

    /// A client that is not admitted within so many milliseconds is closed.
    fn with_patience(version: ProtocolVersion, http: &str, patience: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("it has one"));
        let (sender, asked) = channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let mut head = [0; 4096];
                let _ = stream.read(&mut head);
                if sender.send(stream).is_err() {
                    return;
                }
            }
        });
        let asker = with_manifest(&artefact("asker"), &asker_manifest(&origin));
        let origin_in_yaml = format!("{origin:?}");
        let yaml = CONFIGURATION
            .replace("PATIENCE", &patience.to_string())
            .replace("HTTP", http)
            .replace("ORIGIN", &origin_in_yaml);
        Self { siege: Siege::of(version, &yaml, &[("asker", &asker)]), origin, asked }
    }

    /// A client of whom the plugin is asked, which sends a request.
    fn begin(&self, number: usize) -> Client {
        let address = self.siege.address("asking");
        let mut client = Client::open(address, self.siege.version);
        let request = format!("fetch {}/ {number}", self.origin);
        client.send(&Packet::Connect(Box::new(connect(self.siege.version, &request))));
        client
    }
}

fn is_admitted(client: &mut Client) -> bool {
    match client.receive().packet() {
        Packet::ConnAck(connack) => connack.reason_code == ReasonCode::Success,
        other => panic!("not CONNACK: {other:?}"),
    }
}

fn answer(mut stream: TcpStream) {
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").expect("it listens");
}

#[test]
fn whoever_waits_for_a_request_keeps_nobody_else_waiting() {
    for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
        let scene = Scene::new(version, "{timeout_ms: 600000, threads: 2}");
        let mut clients: Vec<_> = (0..2).map(|number| scene.begin(number)).collect();
        let asked: Vec<_> = (0..2).map(|_| scene.asked.recv().expect("a request")).collect();
        scene.siege.beside_others(|| {
            // Eight may wait for the two threads.
            clients.extend((2..11).map(|number| scene.begin(number)));
            wait_until("one too many is refused", || {
                (scene.siege.failures("connect", "asker") == 1).then_some(())
            });
        });
        asked.into_iter().for_each(answer);
        for _ in 0..8 {
            answer(scene.asked.recv().expect("those that waited ask, too"));
        }
        let admitted = clients.iter_mut().filter_map(|client| is_admitted(client).then_some(()));
        assert_eq!(admitted.count(), 10);
    }
}

#[test]
fn a_server_that_never_ends_its_answer_refuses_the_client() {
    let scene = Scene::new(ProtocolVersion::V5, "{response_bytes: 10000}");
    scene.siege.beside_others(|| {
        let mut client = scene.begin(0);
        let mut stream = scene.asked.recv().expect("a request");
        let mut open = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").is_ok();
        while open {
            open = stream.write_all(&[b'x'; 1000]).is_ok();
        }
        assert!(!is_admitted(&mut client));
    });
}

#[test]
fn only_what_is_granted_is_asked() {
    let scene = Scene::new(ProtocolVersion::V5, "{}");
    let attempts = [
        "fetch http://127.0.0.1:1/",
        "fetch http://169.254.169.254/latest/meta-data/",
        "fetch http://localhost:1883/",
        "fetch http://2130706433/",
        "fetch file:///etc/passwd",
    ];
    scene.siege.beside_others(|| {
        for attempt in attempts {
            assert!(scene.siege.attempt_at("asking", attempt).is_failure(), "{attempt}");
        }
        let with_user = format!("fetch {}", scene.origin.replace("http://", "http://user@"));
        assert!(scene.siege.attempt_at("asking", &with_user).is_failure());
    });
    assert!(scene.asked.try_recv().is_err(), "nobody was asked");
    let mut client = scene.begin(0);
    answer(scene.asked.recv().expect("a request"));
    assert!(is_admitted(&mut client));
}

#[test]
fn a_call_and_a_tenant_send_so_many_requests() {
    let scene = Scene::new(ProtocolVersion::V5, "{requests: 3}");
    let mut client = Client::open(scene.siege.address("asking"), scene.siege.version);
    let request = format!("fetches {}/", scene.origin);
    client.send(&Packet::Connect(Box::new(connect(scene.siege.version, &request))));
    for _ in 0..3 {
        answer(scene.asked.recv().expect("a request"));
    }
    assert!(is_admitted(&mut client));
    assert!(scene.asked.try_recv().is_err(), "ten were wanted");
}

/// P05: a client that the broker gives up while a plugin is asked for it leaves its thread to the next.
#[test]
fn calls_that_take_longer_than_a_client_may_wait_cost_the_next_client_nothing() {
    let (http, patience) = ("{timeout_ms: 600000, threads: 2}", 1000);
    let scene = Scene::with_patience(ProtocolVersion::V5, http, patience);
    for round in 0..3 {
        let clients: Vec<_> = (0..6).map(|number| scene.begin(10 * round + number)).collect();
        let asked: Vec<_> = (0..2).map(|_| scene.asked.recv().expect("a request")).collect();
        scene.siege.beside_others(|| clients.into_iter().for_each(Client::vanish));
        asked.into_iter().for_each(answer);
    }
    assert!(scene.asked.try_recv().is_err(), "nobody was asked for those that were gone");
    wait_until("a client is admitted", || {
        let code = scene.siege.try_at("asking", "good");
        (code == Some(ReasonCode::Success)).then_some(())
    });
}
