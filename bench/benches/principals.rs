//! What a CONNECT costs where the database knows a million principals, and what the broker remembers.
//!
//! `cargo bench -p hookmq-bench --bench principals` with `HOOKMQ_BIN` naming a release build. The tables are
//! in Postgres on the same machine, and the processor time is the broker's alone. The clients that connect
//! are spread over all principals, and stay. `HOOKMQ_PRINCIPALS` says how many principals there are; each
//! has five permissions of its own.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use hookmq_bench::trusting::{self, admitted, for_each_device};
use hookmq_tests::broker::{Broker, directory};
use hookmq_tests::company::Tables;
use hookmq_tests::postgres::Postgres;
use hookmq_tests::wait::wait_until;

const CLIENTS: usize = 5000;
const PERMISSIONS: usize = 5;

fn main() {
    let principals =
        std::env::var("HOOKMQ_PRINCIPALS").map_or(1_000_000, |it| it.parse().expect("a number"));
    let server = Postgres::start().expect("start Postgres");
    let url = server.create_database().expect("make a database");
    // Makes the tables.
    drop(trusting::broker(&url, directory()));
    let tables = Tables::Postgres { server, url: url.clone() };
    seed(&tables, principals);
    println!(
        "| of {principals} principals | at once | p50 | p99 | processor time of the broker, each | RSS, each |"
    );
    println!("|---|---|---|---|---|---|");
    for at_once in [1, 8] {
        report(&trusting::broker(&url, directory()), principals, at_once);
    }
}

fn seed(tables: &Tables, principals: usize) {
    // Without triggers, which would log each row as a change.
    let mut sql = "SET session_replication_role = replica;
        INSERT INTO tenants (name) VALUES ('acme');"
        .to_owned();
    let rows = |columns, values: &str| for_each_device(principals, columns, values);
    sql += &rows("principals (tenant, username)", "'acme', 'device-' || n");
    for number in 0..PERMISSIONS {
        sql += &rows(
            "permissions (tenant, subject_kind, subject, action, filter)",
            &format!(
                "'acme', 'principal', 'device-' || n, 'subscribe', 'own/' || n || '/{number}'"
            ),
        );
    }
    tables.execute(&sql);
    tables.execute("ANALYZE;");
}

fn report(broker: &Broker, principals: usize, at_once: usize) {
    let address = broker.address("plain");
    let name = |client: usize| format!("device-{}", client * (principals / CLIENTS));
    wait_until("the last principal is known", || {
        let mut socket = TcpStream::connect(address).expect("the broker listens");
        admitted(&mut socket, &name(CLIENTS - 1)).then_some(())
    });
    let (resident, ticks) = (broker.resident_bytes(), broker.processor_ticks());
    let mut clients: Vec<(TcpStream, Duration)> = std::thread::scope(|scope| {
        let part = CLIENTS / at_once;
        let hands: Vec<_> = (0..at_once)
            .map(|hand| {
                let names = (hand * part..(hand + 1) * part).map(name);
                scope.spawn(move || names.map(|name| connected(address, &name)).collect::<Vec<_>>())
            })
            .collect();
        hands.into_iter().flat_map(|hand| hand.join().expect("all are let in")).collect()
    });
    clients.sort_unstable_by_key(|(_, latency)| *latency);
    let latency = |share: usize| clients[(clients.len() - 1) * share / 100].1;
    println!(
        "| {CLIENTS} clients | {at_once} | {:.2?} | {:.2?} | {:.0?} | {} bytes |",
        latency(50),
        latency(99),
        Duration::from_millis((broker.processor_ticks() - ticks) * 10) / CLIENTS as u32,
        (broker.resident_bytes() - resident) / CLIENTS as u64,
    );
}

/// A client that is let in, and how long it took from opening its socket.
fn connected(address: SocketAddr, name: &str) -> (TcpStream, Duration) {
    let began = Instant::now();
    let mut socket = TcpStream::connect(address).expect("the broker listens");
    assert!(admitted(&mut socket, name), "{name} is let in");
    (socket, began.elapsed())
}
