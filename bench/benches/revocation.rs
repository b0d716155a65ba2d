//! How soon a change in the database is in force for clients that are connected.
//!
//! `cargo bench -p hookmq-bench --bench revocation` with `HOOKMQ_BIN` naming a release build. Each of the
//! clients is a principal of its own, with the same role; it is told of each subscription that it loses. Time
//! begins before the database's own client is started for the change, and ends when a client is told: what is
//! written is a little more than the broker takes. `HOOKMQ_CLIENTS` says how many clients there are.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use hookmq_bench::trusting::{self, admitted, subscribe};
use hookmq_tests::broker::{Broker, directory};
use hookmq_tests::company::Tables;
use hookmq_tests::postgres::Postgres;
use hookmq_tests::wait::wait_until;

/// Changes that concern one client each.
const CHANGES: usize = 200;
/// A client that is not told within this will not be.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() {
    let clients = std::env::var("HOOKMQ_CLIENTS").map_or(5000, |it| it.parse().expect("a number"));
    println!("| {clients} clients | change of | p50 | p99 | last |\n|---|---|---|---|---|");
    for engine in ["SQLite", "Postgres"] {
        let (broker, tables) = serve(engine);
        seed(&tables, clients);
        let mut devices = devices(broker.address("plain"), clients);
        let one_by_one = (0..CHANGES).map(|number| {
            let device = number * clients / CHANGES;
            let began = Instant::now();
            tables.execute(&format!("DELETE FROM permissions WHERE subject = 'device-{device}'"));
            told(&mut devices[device..=device], began)[0]
        });
        report(engine, "one principal", one_by_one.collect());
        let began = Instant::now();
        tables.execute("DELETE FROM permissions WHERE subject_kind = 'role'");
        report(engine, "a role of all", told(&mut devices, began));
    }
}

fn report(engine: &str, what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    println!("| {engine} | {what} | {:.0?} | {:.0?} | {:.0?} |", at(50), at(99), at(100));
}

/// A broker with an empty database of its own.
fn serve(engine: &str) -> (Broker, Tables) {
    let directory = directory();
    let (tables, url) = match engine {
        "SQLite" => {
            let file = directory.path().join("data/hookmq.db");
            let url = format!("sqlite:{}", file.display());
            (Tables::Sqlite(file), url)
        }
        _ => {
            let server = Postgres::start().expect("start Postgres");
            let url = server.create_database().expect("make a database");
            (Tables::Postgres { server, url: url.clone() }, url)
        }
    };
    (trusting::broker(&url, directory), tables)
}

fn seed(tables: &Tables, clients: usize) {
    let rows = [
        ("principals (tenant, username)", "'acme', 'device-' || n"),
        ("principal_roles (tenant, username, role)", "'acme', 'device-' || n, 'device'"),
        (
            "permissions (tenant, subject_kind, subject, action, filter)",
            "'acme', 'principal', 'device-' || n, 'subscribe', 'own/device-' || n",
        ),
    ];
    let mut sql = "INSERT INTO tenants (name) VALUES ('acme');
        INSERT INTO permissions (tenant, subject_kind, subject, action, filter)
        VALUES ('acme', 'role', 'device', 'subscribe', 'all/#');"
        .to_owned();
    for (columns, values) in rows {
        sql += &trusting::for_each_device(clients, columns, values);
    }
    tables.execute(&sql);
}

/// Clients that are connected and subscribed.
fn devices(address: SocketAddr, clients: usize) -> Vec<TcpStream> {
    let name = |number| format!("device-{number}");
    wait_until("the last principal is known", || {
        let mut socket = TcpStream::connect(address).expect("the broker listens");
        admitted(&mut socket, &name(clients - 1)).then_some(())
    });
    let begin = |number| {
        let mut socket = TcpStream::connect(address).expect("the broker listens");
        assert!(admitted(&mut socket, &name(number)), "device {number} is let in");
        subscribe(&mut socket, &["all/x", &format!("own/device-{number}")]);
        socket.set_nonblocking(true).expect("a socket");
        socket
    };
    (0..clients).map(begin).collect()
}

/// When each of the devices was told something, after `began`.
fn told(devices: &mut [TcpStream], began: Instant) -> Vec<Duration> {
    let mut times = vec![None; devices.len()];
    while times.contains(&None) && began.elapsed() < PATIENCE {
        let untold = devices.iter_mut().zip(&mut times).filter(|(_, time)| time.is_none());
        for (device, time) in untold {
            match device.read(&mut [0; 1024]) {
                Ok(0) => panic!("a device was disconnected"),
                Ok(_) => *time = Some(began.elapsed()),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    times.into_iter().map(|time| time.expect("every device is told in time")).collect()
}
