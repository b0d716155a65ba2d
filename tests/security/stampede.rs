//! Many clients come while the database is away, and all come again when it returns.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hookmq_codec::{Packet, ProtocolVersion, ReasonCode};
use hookmq_tests::broker::{Broker, OPEN_LISTENER, add_rules, directory};
use hookmq_tests::client::{Client, connect};
use hookmq_tests::postgres::Postgres;
use hookmq_tests::wait::wait_until;

const THREADS: usize = 16;
const POOL: usize = 4;

/// From the database's return until everybody is in.
const WITHIN: Duration = Duration::from_secs(60);

/// What somebody is told who is to come again.
const REFUSALS: [ReasonCode; 2] = [ReasonCode::ServerUnavailable, ReasonCode::ServerBusy];

/// How many clients; `HOOKMQ_STAMPEDE` asks for another number. Each needs a file here and one there.
fn clients() -> usize {
    let asked = std::env::var("HOOKMQ_STAMPEDE").ok().and_then(|it| it.parse().ok());
    asked.unwrap_or(1_000)
}

/// These clients come all at once; gives what CONNACK says to each, or nothing where it is closed out.
fn come(broker: &Broker, numbers: &[usize]) -> Vec<(usize, Client, Option<ReasonCode>)> {
    let address = broker.address(OPEN_LISTENER);
    let begin = |number: &usize| {
        let mut client = Client::open(address, ProtocolVersion::V5);
        let id = format!("device-{number}");
        let connect = Packet::Connect(Box::new(connect(ProtocolVersion::V5, &id)));
        let connect = client.encode(&connect);
        client.try_send_raw(&connect);
        (*number, client)
    };
    let begun: Vec<_> = numbers.iter().map(begin).collect();
    let told = |(number, mut client): (usize, Client)| {
        let told = client.try_receive().map(|answer| match answer.packet() {
            Packet::ConnAck(connack) => connack.reason_code,
            other => panic!("not CONNACK: {other:?}"),
        });
        (number, client, told)
    };
    begun.into_iter().map(told).collect()
}

/// Each of several threads does `work` for its share of `count` clients.
fn for_all<T: Send>(count: usize, work: impl Fn(Vec<usize>) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let work = &work;
        let share = |thread| (thread..count).step_by(THREADS).collect();
        let spawn = |thread| scope.spawn(move || work(share(thread)));
        let threads: Vec<_> = (0..THREADS).map(spawn).collect();
        threads.into_iter().map(|it| it.join().expect("its clients are let in")).collect()
    })
}

/// None where Postgres takes no connection, with all that it is asked.
fn try_query(url: &str, sql: &str) -> Option<String> {
    let mut psql = Command::new("psql");
    psql.args([url, "--quiet", "--no-psqlrc", "--tuples-only", "--no-align", "--command", sql]);
    let output = psql.output().expect("run psql");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn query(url: &str, sql: &str) -> String {
    try_query(url, sql).expect("an answer to a statement")
}

#[test]
fn a_database_that_returns_is_not_run_over() {
    let count = clients();
    let postgres = Postgres::start().expect("start Postgres");
    let url = postgres.create_database().expect("make a database");
    let directory = directory();
    let rule = "fn connect(client) {
        accept(#{tenant: \"acme\", username: client.claimed_client_id})
    }";
    add_rules(directory.path(), &[("by_client_id", rule)]);
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
    for_all(count, |numbers| {
        for (_, _, told) in come(&broker, &numbers) {
            assert!(told.is_none_or(|told| REFUSALS.contains(&told)), "{told:?}");
        }
    });

    postgres.resume().expect("start Postgres");
    let over = AtomicBool::new(false);
    let began = Instant::now();
    let (most, tries, lasted) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = 0;
            while !over.load(Ordering::Relaxed) {
                let sql = "SELECT count(*) FROM pg_stat_activity
                           WHERE datname = current_database() AND pid <> pg_backend_pid()";
                let count = try_query(&url, sql).map(|it| it.parse().expect("a number"));
                most = most.max(count.unwrap_or(0));
            }
            most
        });
        let admitted = for_all(count, |mut numbers| {
            let (mut admitted, mut tries) = (Vec::new(), 0);
            while !numbers.is_empty() {
                assert!(began.elapsed() < WITHIN, "{} are still out", numbers.len());
                tries += numbers.len();
                let told = come(&broker, &std::mem::take(&mut numbers));
                for (number, client, told) in told {
                    match told {
                        Some(ReasonCode::Success) => admitted.push(client),
                        None => numbers.push(number),
                        Some(told) if REFUSALS.contains(&told) => numbers.push(number),
                        Some(told) => panic!("{number}: {told:?}"),
                    }
                }
            }
            (admitted, tries)
        });
        let lasted = began.elapsed();
        over.store(true, Ordering::Relaxed);
        assert_eq!(broker.admin().metric("connections"), count as u64);
        let tries: usize = admitted.iter().map(|(_, tries)| tries).sum();
        (watch.join().expect("it watches to the end"), tries, lasted)
    });
    println!(
        "{count} clients in {lasted:.1?}, {tries} attempts, {most} connections to the database"
    );
    // One more listens for changes.
    assert!((1..=POOL + 1).contains(&most), "{most} connections to the database");
    ready(&broker);
}
