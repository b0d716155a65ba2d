//! Postgres in trouble: whoever is known goes on, whoever is not is told to come again, in time; nobody
//! is let in by a failure, and what has changed meanwhile is in force afterwards.

#![allow(clippy::unwrap_used)]
// Not every helper of the other suite is needed here.
#![allow(dead_code)]

#[path = "database/world.rs"]
mod world;

use std::sync::Arc;
use std::time::{Duration, Instant};

use hookmq_access::Readiness;
use hookmq_hooks::{AuthorizeVerdict, FailureKind, StepFailure};
use hookmq_tests::fault_proxy::{Fault, FaultProxy};
use hookmq_tests::postgres::Postgres;
use world::{Newcomer, World, eventually};

const ACME: &str = "
    INSERT INTO tenants (name) VALUES ('acme');
    INSERT INTO principals (tenant, username) VALUES ('acme', 'pump');
    INSERT INTO permissions (tenant, subject_kind, action, filter)
    VALUES ('acme', 'everyone', 'publish', 'a/#');
";

const VALVE: &str = "INSERT INTO principals (tenant, username) VALUES ('acme', 'valve')";

/// Within which a client that is not known is answered.
const ANSWER: Duration = Duration::from_secs(2);

/// An hour passes without a look at the change log, unless somebody calls.
const NEVER: Duration = Duration::from_secs(3600);

type Verdict = Result<AuthorizeVerdict, StepFailure>;

fn allowed() -> Verdict {
    Ok(AuthorizeVerdict::Allow)
}

impl World {
    /// As [`Self::own_postgres`], with something in between that may misbehave.
    pub async fn behind_proxy() -> (Self, Arc<Postgres>, FaultProxy) {
        let (mut world, server) = Self::own_postgres(true).await;
        let proxy = FaultProxy::start(server.socket());
        let url = format!("postgres://postgres@{}/postgres?sslmode=disable", proxy.address());
        world.settings.url = url.parse().unwrap();
        (world, server, proxy)
    }

    /// How a client that is not known is answered, and that it is in time.
    async fn refused(&self, newcomer: &'static str) -> FailureKind {
        let newcomer = Newcomer::named(newcomer);
        let answer = tokio::time::timeout(ANSWER, self.connect(&newcomer)).await;
        answer.expect("an answer in time").unwrap_err().unwrap_err().kind
    }

    async fn until_lost(&self) {
        self.until(|readiness| matches!(readiness, Readiness::NotReady { .. })).await;
    }

    async fn until_ready(&self) {
        self.until(|readiness| *readiness == Readiness::Ready).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_server_does_the_known_go_on_and_strangers_are_answered_in_time() {
    let (world, _server, proxy) = World::behind_proxy().await;
    let world = world.start_with(ACME).await;
    let known = world.connect(&Newcomer::named("pump")).await.unwrap();
    let delayed = Fault::Delay(Duration::from_secs(30));
    for (fault, stranger) in [
        (Fault::Refuse, "one"),
        (Fault::Hang, "two"),
        (Fault::Reset, "three"),
        (Fault::Garbage, "four"),
        (delayed, "five"),
    ] {
        proxy.set(fault);
        assert_eq!(world.refused(stranger).await, FailureKind::Unavailable, "{fault:?}");
        world.until_lost().await;
        let begun = Instant::now();
        for _ in 0..100 {
            assert_eq!(world.refused(stranger).await, FailureKind::Unavailable, "{fault:?}");
        }
        assert!(begun.elapsed() < ANSWER, "nobody waits for a server that is known to be away");
        assert_eq!(known.publish("a/x"), allowed(), "{fault:?}");
        let again = world.connect(&Newcomer::named("pump")).await.unwrap();
        assert_eq!(again.publish("a/x"), allowed(), "{fault:?}");
        proxy.set(Fault::None);
        world.until_ready().await;
        let stranger = world.connect(&Newcomer::named(stranger)).await.unwrap_err();
        assert!(stranger.is_ok(), "{fault:?}: the server knows that there is none");
    }
    world.execute("UPDATE tenants SET enabled = false").await.unwrap();
    let denied = || matches!(known.publish("a/x"), Ok(AuthorizeVerdict::Deny(_)));
    eventually("the change", denied).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_frozen_is_as_one_that_is_away() {
    let (world, server) = World::own_postgres(true).await;
    let world = world.start_with(ACME).await;
    let known = world.connect(&Newcomer::named("pump")).await.unwrap();
    let paused = server.pause().unwrap();
    assert_eq!(world.refused("valve").await, FailureKind::Unavailable);
    world.until_lost().await;
    assert_eq!(known.publish("a/x"), allowed());
    drop(paused);
    world.until_ready().await;
    world.execute(VALVE).await.unwrap();
    world.until_connected(&Newcomer::named("valve")).await;
}

/// The second server has another past: what the first one said last never happened there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failover_what_the_other_server_says_counts() {
    let (world, _first, proxy) = World::behind_proxy().await;
    let (other, second) = World::own_postgres(true).await;
    hookmq_access::Database::open(&other.settings).migrate().await.unwrap();
    other.execute(ACME).await.unwrap();
    let world = world.start_with(ACME).await;
    let pump = world.connect(&Newcomer::named("pump")).await.unwrap();
    // As many changes as on the first one, of something else.
    other.execute("UPDATE principals SET enabled = false").await.unwrap();
    let generation = || world.directory().permissions_generation();
    let before = generation();
    world.execute("UPDATE principals SET attributes = '{\"a\": 1}'").await.unwrap();
    eventually("the change on the first", || generation() > before).await;
    assert_eq!(pump.publish("a/x"), allowed());
    proxy.switch_to(second.socket());
    let denied = || matches!(pump.publish("a/x"), Ok(AuthorizeVerdict::Deny(_)));
    eventually("what the second says", denied).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_only_reads_is_enough_for_a_broker_that_runs() {
    let (world, _server) = World::own_postgres(true).await;
    let world = world.start_with(ACME).await;
    world
        .execute(
            "ALTER DATABASE postgres SET default_transaction_read_only = on;
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE pid <> pg_backend_pid() AND application_name = 'hookmq';",
        )
        .await
        .unwrap();
    let pump = world.until_connected(&Newcomer::named("pump")).await;
    assert_eq!(pump.publish("a/x"), allowed());
    world.until_ready().await;
    let stranger = world.connect(&Newcomer::named("valve")).await.unwrap_err();
    assert!(stranger.is_ok(), "there is none");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_that_is_not_ours_lets_nobody_in() {
    let world = World::postgres();
    world.execute("CREATE TABLE tenants (id int)").await.unwrap();
    let world = world.start();
    world.until_lost().await;
    assert_eq!(world.refused("pump").await, FailureKind::Unavailable);

    let world = World::postgres().start_with(ACME).await;
    let known = world.connect(&Newcomer::named("pump")).await.unwrap();
    world.execute("ALTER TABLE permissions RENAME COLUMN filter TO topics").await.unwrap();
    assert_eq!(world.refused("valve").await, FailureKind::Unavailable);
    assert_eq!(known.publish("a/x"), allowed());
    world.execute("ALTER TABLE permissions RENAME COLUMN topics TO filter").await.unwrap();
    world.execute(VALVE).await.unwrap();
    world.until_connected(&Newcomer::named("valve")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_no_more_connections_is_as_one_that_is_away() {
    let (mut world, server) = World::own_postgres(true).await;
    world.execute("CREATE ROLE broker LOGIN; GRANT ALL ON SCHEMA public TO broker;").await.unwrap();
    let url = server.url("postgres").replacen("postgres@", "broker@", 1);
    world.settings.url = url.parse().unwrap();
    let world = world.start_with(ACME).await;
    let known = world.connect(&Newcomer::named("pump")).await.unwrap();
    world
        .execute(
            "ALTER ROLE broker CONNECTION LIMIT 0;
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'broker';",
        )
        .await
        .unwrap();
    assert_eq!(world.refused("valve").await, FailureKind::Unavailable);
    assert_eq!(known.publish("a/x"), allowed());
    world.execute("ALTER ROLE broker CONNECTION LIMIT -1").await.unwrap();
    world.execute(VALVE).await.unwrap();
    world.until_connected(&Newcomer::named("valve")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_calls_when_something_changes() {
    let mut world = World::postgres();
    world.settings.poll_interval = NEVER;
    let world = world.start_with(ACME).await;
    let pump = world.connect(&Newcomer::named("pump")).await.unwrap();
    let listening = "pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    let is_listening = async {
        while world.count(listening).await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(world::DEADLINE, is_listening).await.expect("the directory listens");
    world.execute("UPDATE principals SET enabled = false").await.unwrap();
    let denied = || matches!(pump.publish("a/x"), Ok(AuthorizeVerdict::Deny(_)));
    eventually("the change that was called", denied).await;

    // While nobody listens, something changes.
    world
        .execute(&format!(
            "SELECT pg_terminate_backend(pid) FROM {listening};
            UPDATE principals SET enabled = true;"
        ))
        .await
        .unwrap();
    eventually("the change that was not called", || pump.publish("a/x") == allowed()).await;
    world.execute("UPDATE principals SET enabled = false").await.unwrap();
    eventually("the next one", denied).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_that_waits_for_the_server_is_let_in_by_as_many_connections_as_configured() {
    const CROWD: usize = 400;
    let (mut world, server, proxy) = World::behind_proxy().await;
    world.settings.max_connections = 3;
    let crowd: Vec<&'static str> =
        (0..CROWD).map(|number| &*Box::leak(format!("device-{number}").into_boxed_str())).collect();
    let world = world
        .start_with(&format!(
            "{ACME} INSERT INTO principals (tenant, username)
            SELECT 'acme', 'device-' || n FROM generate_series(0, {CROWD}) AS numbers (n);"
        ))
        .await;
    server.stop().unwrap();
    world.until_lost().await;
    let newcomers: Vec<_> = crowd.iter().map(|name| Newcomer::named(name)).collect();
    let refused = world::join_all(newcomers.iter().map(|newcomer| world.connect(newcomer))).await;
    assert!(refused.iter().all(|it| matches!(it, Err(Err(_)))), "nobody is let in");
    server.resume().unwrap();
    proxy.set(Fault::None);
    let backends = "pg_stat_activity WHERE application_name = 'hookmq'";
    let crowd = world::join_all(newcomers.iter().map(|newcomer| world.until_connected(newcomer)));
    let observe = async {
        let mut most = 0;
        for _ in 0..20 {
            most = world.count(backends).await.max(most);
        }
        most
    };
    let (clients, most) = tokio::join!(crowd, observe);
    assert_eq!(clients.len(), CROWD);
    assert!(most <= 3 + 1, "{most} connections, one of which listens");
}
