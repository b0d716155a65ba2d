//! Sockets that never become clients: slow ones, crowds of them, and what they cannot do to others.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use hookmq_codec::{Packet, ProtocolVersion, ReasonCode};
use hookmq_tests::broker::{Broker, OPEN_LISTENER, directory};
use hookmq_tests::client::{Client, connect};
use hookmq_tests::doors::{Doors, Transport, at_all_doors};
use hookmq_tests::postgres::Postgres;
use hookmq_tests::wait::wait_until;
use hookmq_tests::websocket::polite_request;
use hookmq_tests::wire::{tcp, tls, tls_connection};

use crate::Bystanders;

const MIB: u64 = 1 << 20;

/// A socket that says one byte at a time.
struct Dripper {
    stream: TcpStream,
    /// What it has to say; the last byte again and again.
    bytes: Vec<u8>,
    said: usize,
}

impl Dripper {
    /// `beginning` is said at once, `bytes` one after the other.
    fn new(mut stream: TcpStream, beginning: &[u8], bytes: &[u8]) -> Self {
        stream.write_all(beginning).expect("send the beginning");
        stream.set_nonblocking(true).expect("a socket that does not wait");
        Self { stream, bytes: bytes.to_vec(), said: 0 }
    }

    /// Says the next byte; false when the broker has closed.
    fn drip(&mut self) -> bool {
        let byte = self.bytes[self.said.min(self.bytes.len() - 1)];
        self.said += 1;
        // An error shows in the read.
        let _ = self.stream.write(&[byte]);
        match self.stream.read(&mut [0; 1024]) {
            Ok(read) => read > 0,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        }
    }
}

fn client_hello(doors: &Doors) -> Vec<u8> {
    let mut hello = Vec::new();
    tls_connection(&doors.ca(), &[]).write_tls(&mut hello).expect("a ClientHello");
    hello
}

/// Attack N01. Each drip is far below what would end it otherwise, so it is the deadline that ends it.
#[test]
fn who_drips_is_closed_at_the_deadline_whatever_it_drips_into() {
    const EACH: usize = 150;
    let doors = Doors::open(ProtocolVersion::V5, "connect_timeout_ms: 1500", "");
    let mut bystanders = Bystanders::of(|id| doors.client(Transport::Tcp, id));
    let hello = client_hello(&doors);
    // A header without end; a CONNECT of a million bytes.
    let upgrade = polite_request().replace("\r\n\r\n", "\r\nX: ");
    let connect = b"\x10\xC0\x84\x3D\0\x04MQTT\x05\x02\0\0\0\xFF\xFF";
    bystanders.exchange();
    let before = doors.broker.resident_bytes();
    let mut drippers = Vec::new();
    for _ in 0..EACH {
        let open = |door| tcp(doors.address(door));
        drippers.push(Dripper::new(open(Transport::Tls), b"", &hello));
        drippers.push(Dripper::new(open(Transport::Wss), &hello[..100], &hello[100..101]));
        drippers.push(Dripper::new(open(Transport::Ws), b"", upgrade.as_bytes()));
        drippers.push(Dripper::new(open(Transport::Ws), upgrade.as_bytes(), b"x"));
        drippers.push(Dripper::new(open(Transport::Tcp), connect, b"x"));
    }
    let mut grown = 0;
    wait_until("every dripper is closed", || {
        drippers.retain_mut(Dripper::drip);
        bystanders.exchange();
        grown = grown.max(doors.broker.resident_bytes().saturating_sub(before));
        drippers.is_empty().then_some(())
    });
    assert!(grown < 24 * MIB, "{} drippers cost {grown} bytes", 5 * EACH);
    bystanders.exchange();
}

/// Attack N04, by clients that go and by clients that stay.
#[test]
fn abandoned_tls_handshakes_keep_nobody_out() {
    let limits = "connect_timeout_ms: 2000, tls_handshakes: 8";
    let doors = Doors::open(ProtocolVersion::V5, limits, "");
    let mut bystanders = Bystanders::of(|id| doors.client(Transport::Tcp, id));
    let hello = client_hello(&doors);
    let mut abandoned = Vec::new();
    for number in 0..300 {
        let mut stream = tcp(doors.address(Transport::Tls));
        // The broker may close at its bound before all is said.
        let _ = stream.write_all(&hello);
        if number % 3 == 0 {
            abandoned.push(stream);
        }
        if number % 50 == 0 {
            bystanders.exchange();
        }
    }
    wait_until("an honest client gets through", || {
        let stream = tcp(doors.address(Transport::Tls));
        tls(stream, &doors.ca(), &[b"mqtt"]).ok().map(|stream| {
            Client::over(stream, doors.version).admitted(connect(doors.version, "honest"))
        })
    });
    bystanders.exchange();
    assert!(doors.shed("tls_handshakes") > 0);
    let log = doors.broker.log();
    assert!(!log.contains(" INFO hookmq::listener: "), "an attack must not fill the log");
}

/// Connects when there is a place again.
fn wait_for_admission(doors: &Doors, door: Transport) -> Client {
    wait_until("a client is admitted", || {
        let mut client = Client::over(tcp(doors.address(door)), doors.version);
        let packet = Packet::Connect(Box::new(connect(doors.version, "honest")));
        client.try_send_raw(&client.encode(&packet));
        let answer = client.try_receive()?;
        assert!(!answer.session_present());
        Some(client)
    })
}

#[test]
fn silent_sockets_at_the_bound_make_room_for_clients() {
    at_all_doors("connect_timeout_ms: 5000, pending_connections: 8", |doors| {
        let mut bystanders = Bystanders::of(|id| doors.client(Transport::Tcp, id));
        let silent: Vec<_> = (0..100).map(|_| tcp(doors.address(Transport::Tcp))).collect();
        wait_until("the bound is reached", || {
            (doors.shed("pending_connections") > 0).then_some(())
        });
        // Long before the silent ones are over, the oldest makes room.
        let mut honest = wait_for_admission(doors, Transport::Tcp);
        honest.expect_nothing();
        bystanders.exchange();
        drop(silent);
    });
}

#[test]
fn an_address_has_so_many_connections_and_not_more() {
    at_all_doors("connections_per_address: 2", |doors| {
        let mut first = doors.client(Transport::Tcp, "first");
        let second = doors.client(Transport::Ws, "second");
        for door in [Transport::Tls, Transport::Tcp] {
            Client::over(tcp(doors.address(door)), doors.version).expect_closed();
        }
        doors.client(Transport::Unix, "a socket's clients have no address").expect_nothing();
        first.expect_nothing();
        second.disconnect();
        wait_for_admission(doors, Transport::Tcp).expect_nothing();
        assert!(doors.shed("connections_per_address") >= 2);
    });
}

#[test]
fn connections_beyond_the_rate_are_closed() {
    for (limit, bound) in [
        ("connection_rate_per_s: 5", "connection_rate_per_s"),
        ("connection_rate_per_address_per_s: 5", "connection_rate_per_address_per_s"),
    ] {
        at_all_doors(limit, |doors| {
            let mut clients: Vec<_> =
                (0..5).map(|number| doors.client(Transport::Tcp, &number.to_string())).collect();
            wait_until("the rate is exceeded", || {
                let _ = tcp(doors.address(Transport::Tcp));
                (doors.shed(bound) > 0).then_some(())
            });
            clients.iter_mut().for_each(Client::expect_nothing);
            wait_for_admission(doors, Transport::Tcp).expect_nothing();
        });
    }
}

/// A database whose tables are locked keeps every look-up waiting.
#[test]
fn clients_beyond_the_pending_authentications_are_told_that_the_broker_is_busy() {
    let postgres = Postgres::start().expect("start Postgres");
    let url = postgres.create_database().expect("make a database");
    let yaml = format!(
        "data_dir: data
listeners:
  - {{name: {OPEN_LISTENER}, bind: \"tcp://127.0.0.1:0\"}}
admin: {{bind: \"127.0.0.1:0\"}}
database: {{url: \"{url}\"}}
limits: {{pending_authentications: 3}}
pipeline:
  connect: [{{builtin: anonymous}}, {{builtin: database}}]
  authorize: [{{builtin: open}}]
"
    );
    let broker = Broker::with_config(&yaml, directory());
    let admin = broker.admin();
    wait_until("the broker is ready", || (admin.get("/api/v1/ready").0 == 200).then_some(()));
    let _lock = Lock::of("principals", &url);
    let address = broker.address(OPEN_LISTENER);
    for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
        let attempt = |number: i32| {
            let mut client = Client::open(address, version);
            let id = number.to_string();
            client.send(&Packet::Connect(Box::new(connect(version, &id))));
            client
        };
        let mut clients: Vec<_> = (0..10).map(attempt).collect();
        let busy = match version.is_v5() {
            true => ReasonCode::ServerBusy,
            // 3.1.1 has one code for both: the server is unavailable.
            false => ReasonCode::ServerUnavailable,
        };
        let answers = clients.iter_mut().map(Client::receive);
        let told = answers.filter(|answer| match answer.packet() {
            Packet::ConnAck(connack) => connack.reason_code == busy,
            other => panic!("not CONNACK: {other:?}"),
        });
        assert_eq!(told.count(), if version.is_v5() { 7 } else { 10 });
    }
    assert_eq!(admin.metric("connections_shed_total{bound=\"pending_authentications\"}"), 14);
    // A line is written when the connection is over; the others are not worth one.
    wait_until("six refusals are logged", || {
        (broker.log().matches("client refused").count() == 6).then_some(())
    });
}

/// A table that nobody can read, until this is dropped.
struct Lock(Child);

impl Lock {
    fn of(table: &str, url: &str) -> Self {
        let mut psql = Command::new("psql");
        psql.args([url, "--quiet", "--no-psqlrc", "--tuples-only"]);
        let mut psql = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("run psql");
        let statements =
            format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE; SELECT 'locked';\n");
        // As long as its input is open, psql holds the lock.
        let input = psql.stdin.as_mut().expect("a pipe");
        input.write_all(statements.as_bytes()).expect("tell psql");
        let output = BufReader::new(psql.stdout.take().expect("a pipe"));
        let mut lines = output.lines().map_while(Result::ok);
        assert!(lines.any(|line| line.contains("locked")), "psql does not lock {table}");
        Self(psql)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
