//! What a million queued messages cost, how long one commit takes, and how fast commits come in groups.
//! `cargo bench -p hookmq-store --bench figures` prints it; nothing is compared.

#![allow(clippy::unwrap_used, missing_docs)]

mod scene;

use std::path::Path;
use std::time::{Duration, Instant};

use hookmq_store::engine::{SqliteEngine, Synchronous};
use hookmq_store::{QueueKey, Recovery, Reference, StoreOptions, Verify};

use scene::{Connections, bare, opened, scratch, serve, session};

const MESSAGES: u64 = 1_000_000;
const SESSIONS: u64 = 100_000;

fn main() {
    // Cargo passes options of its own; one that runs every bench for a test is not meant here.
    if std::env::args().any(|it| it == "--test") {
        return;
    }
    latency();
    throughput();
    let place = scratch();
    fill(place.path());
    reopen(place.path());
}

fn latency() {
    let place = scratch();
    let sqlite = SqliteEngine::open(&place.path().join("s"), Synchronous::Full).unwrap();
    let store = serve(Box::new(sqlite));
    let connections = Connections::new(&*store);
    time_each("one append to durable", || connections.one_commit(1));
    let place = scratch();
    let mut database = bare::Database::open(place.path());
    time_each("one row written and synced, bare", || database.commit(1));
}

fn time_each(what: &str, mut work: impl FnMut()) {
    let mut times: Vec<Duration> = (0..3000)
        .map(|_| {
            let begin = Instant::now();
            work();
            begin.elapsed()
        })
        .collect();
    times.sort_unstable();
    let at = |percent: usize| times[times.len() * percent / 100 - 1];
    println!("{what}: p50 {:?}, p99 {:?}", at(50), at(99));
}

fn throughput() {
    const ROUND: usize = 20_000;
    let place = scratch();
    let sqlite = SqliteEngine::open(&place.path().join("s"), Synchronous::Full).unwrap();
    let store = serve(Box::new(sqlite));
    let connections = Connections::new(&*store);
    let begin = Instant::now();
    for _ in 0..10 {
        connections.many_commits(ROUND);
    }
    let through = (10 * ROUND) as f64 / begin.elapsed().as_secs_f64();
    println!("messages a second, in groups: {through:.0}");
    for rows in [256, 512, 1024] {
        let place = scratch();
        let mut database = bare::Database::open(place.path());
        let begin = Instant::now();
        let rounds = 10 * ROUND / rows;
        (0..rounds).for_each(|_| database.commit(rows));
        let bare = (rounds * rows) as f64 / begin.elapsed().as_secs_f64();
        println!("rows a second, a bare loop of {rows} per transaction: {bare:.0}");
    }
}

fn fill(place: &Path) {
    let store = Recovery::open(&StoreOptions::new(place)).unwrap().serve(|_| {}).unwrap();
    let connections = Connections::new(&*store);
    for first in (0..SESSIONS).step_by(1000) {
        connections.wait(hookmq_store::Store::append(
            &*store,
            (first..first + 1000).map(opened).collect(),
        ));
    }
    let idle = resident();
    let begin = Instant::now();
    for first in (0..MESSAGES).step_by(10_000) {
        let append = |number: u64| {
            let queue = QueueKey::Session(session(number % SESSIONS));
            let id = hookmq_store::Store::next_id(&*store);
            hookmq_store::Store::append(&*store, vec![connections.queued(id, queue)])
        };
        let last = (first..first + 10_000).map(append).last().unwrap();
        connections.wait(last);
    }
    let took = begin.elapsed();
    println!("a reference: {} bytes", size_of::<Reference>());
    println!(
        "{MESSAGES} messages in {SESSIONS} sessions: {took:.2?} to append, {} MB beyond the idle \
         sessions' {} MB",
        resident().saturating_sub(idle) >> 20,
        idle >> 20
    );
    // Copied as a crash would leave it, before the graceful end.
    let crashed = place.join("crashed");
    std::fs::create_dir(&crashed).unwrap();
    for name in ["store.sqlite", "store.sqlite-wal", "mark"] {
        std::fs::copy(place.join(name), crashed.join(name)).unwrap();
    }
    let begin = Instant::now();
    store.close();
    println!("a graceful end: {:.2?}", begin.elapsed());
}

fn reopen(place: &Path) {
    for (name, path) in [("graceful end", place.to_owned()), ("crash", place.join("crashed"))] {
        for verify in [Verify::All, Verify::Index] {
            let begin = Instant::now();
            let recovery =
                Recovery::open(&StoreOptions { verify, ..StoreOptions::new(&path) }).unwrap();
            assert_eq!(recovery.index().messages(), MESSAGES as usize);
            println!("opened after a {name}, looking at {verify:?}: {:.2?}", begin.elapsed());
        }
    }
}

/// Bytes of memory that the process has.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    status.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
