//! Commits on this machine's disk: through the store, and as a bare loop over the same database.

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../tests/store/redb_engine.rs"]
mod redb_engine;
mod scene;

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hookmq_store::engine::{Engine, MemoryEngine, SqliteEngine, Synchronous};

use scene::{Connections, bare, scratch, serve};

const CHANGES: [usize; 3] = [1, 64, 1000];

fn engine(name: &str, place: &std::path::Path) -> Box<dyn Engine> {
    match name {
        "memory" => Box::new(MemoryEngine::default()),
        "sqlite" => Box::new(SqliteEngine::open(&place.join("s"), Synchronous::Full).unwrap()),
        _ => {
            let file = std::fs::OpenOptions::new()
                .read(true)
                .write(true)
                .create_new(true)
                .open(place.join("r"))
                .unwrap();
            let backend = redb::backends::FileBackend::new(file).unwrap();
            Box::new(redb_engine::RedbEngine::open(backend).unwrap())
        }
    }
}

/// One commit with so many messages, until it is durable.
fn commits(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("commit");
    for name in ["memory", "sqlite", "redb"] {
        for changes in CHANGES {
            let place = scratch();
            let store = serve(engine(name, place.path()));
            let connections = Connections::new(&*store);
            group.throughput(Throughput::Elements(changes as u64));
            group.bench_function(BenchmarkId::new(name, changes), |bench| {
                bench.iter(|| connections.one_commit(changes));
            });
        }
    }
    group.finish();
}

/// So many commits of one message each, appended at once as by as many connections; and the least that
/// a database could do for them.
fn groups(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("group");
    for changes in CHANGES {
        group.throughput(Throughput::Elements(changes as u64));
        let place = scratch();
        let store = serve(engine("sqlite", place.path()));
        let connections = Connections::new(&*store);
        group.bench_function(BenchmarkId::new("store", changes), |bench| {
            bench.iter(|| connections.many_commits(changes));
        });
        let place = scratch();
        let mut database = bare::Database::open(place.path());
        group.bench_function(BenchmarkId::new("bare", changes), |bench| {
            bench.iter(|| database.commit(changes));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = commits, groups
}
criterion_main!(benches);
