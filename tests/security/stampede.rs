//! Many clients come while the database is away, and all come again when it returns.

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hookmq_codec::{Packet, ProtocolVersion, ReasonCode};
use hookmq_tests::broker::{Broker, OPEN_LISTENER, directory};
use hookmq_tests::client::{Client, connect};
use hookmq_tests::postgres::Postgres;
use hookmq_tests::wait::wait_until;

const THREADS: usize = 16;
const POOL: usize = 4;

/// How many clients; `HOOKMQ_STAMPEDE` asks for another number.
fn clients() -> usize {
    let asked = std::env::var("HOOKMQ_STAMPEDE").ok().and_then(|it| it.parse().ok());
    asked.unwrap_or(1_000)
}

/// The client, and what CONNACK says.
fn attempt(broker: &Broker, number: usize) -> (Client, ReasonCode) {
    let id = format!("device-{number}");
    let address = broker.address(OPEN_LISTENER);
    let (client, answer) = Client::attempt(address, connect(ProtocolVersion::V5, &id));
    match answer.packet() {
        Packet::ConnAck(connack) => (client, connack.reason_code),
        other => panic!("not CONNACK: {other:?}"),
    }
}

/// Each number below `count` once, by several threads.
fn for_each(count: usize, work: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(number) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).filter(|it| *it < count)
                {
                    work(number);
                }
            });
        }
    });
}

fn query(url: &str, sql: &str) -> String {
    let mut psql = Command::new("psql");
    psql.args([url, "--quiet", "--no-psqlrc", "--tuples-only", "--no-align", "--command", sql]);
    let output = psql.output().expect("run psql");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn a_database_that_returns_is_not_run_over() {
    let count = clients();
    let postgres = Postgres::start().expect("start Postgres");
    let url = postgres.create_database().expect("make a database");
    let directory = directory();
    std::fs::create_dir(directory.path().join("rules")).expect("make a folder");
    let rule = "fn connect(client) {
        accept(#{tenant: \"acme\", username: client.claimed_client_id})
    }";
    std::fs::write(directory.path().join("rules/by_client_id.rhai"), rule).expect("write a rule");
    let yaml = format!(
        "data_dir: data
listeners: [{{name: {OPEN_LISTENER}, bind: \"tcp://127.0.0.1:0\"}}]
admin: {{bind: \"127.0.0.1:0\"}}
database: {{url: \"{url}\", max_connections: {POOL}}}
pipeline:
  connect: [{{rule: by_client_id}}, {{builtin: database}}]
  authorize: [{{builtin: database}}]
"
    );
    let mut broker = Broker::with_config(&yaml, directory);
    let ready = |broker: &Broker| {
        let admin = broker.admin();
        wait_until("the broker is ready", || (admin.get("/api/v1/ready").0 == 200).then_some(()));
    };
    ready(&broker);
    query(&url, "INSERT INTO tenants (name) VALUES ('acme')");
    query(
        &url,
        &format!(
            "INSERT INTO principals (tenant, username)
             SELECT 'acme', 'device-' || n FROM generate_series(0, {count} - 1) AS n"
        ),
    );
    postgres.stop().expect("stop Postgres");
    broker.restart();

    // Nobody is known to a broker that has just begun.
    for_each(count, |number| {
        let (_, told) = attempt(&broker, number);
        assert!(matches!(told, ReasonCode::ServerUnavailable | ReasonCode::ServerBusy), "{told:?}");
    });

    postgres.resume().expect("start Postgres");
    let over = AtomicBool::new(false);
    let most = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = 0;
            while !over.load(Ordering::Relaxed) {
                let sql = "SELECT count(*) FROM pg_stat_activity
                           WHERE datname = current_database() AND pid <> pg_backend_pid()";
                most = most.max(query(&url, sql).parse().expect("a number"));
            }
            most
        });
        for_each(count, |number| {
            wait_until("the client is let in", || {
                let (_, told) = attempt(&broker, number);
                (told == ReasonCode::Success).then_some(())
            });
        });
        over.store(true, Ordering::Relaxed);
        watch.join().expect("it watches to the end")
    });
    // One more listens for changes.
    assert!((1..=POOL + 1).contains(&most), "{most} connections to the database");
    ready(&broker);
}
