//! What Postgres alone can do: go and come back, commit late, be slow.

use std::time::Duration;

use hookmq_access::Readiness;
use hookmq_hooks::{AuthorizeVerdict, FailureKind};

use super::ACME;
use super::world::{DEADLINE, Newcomer, World, eventually, join_all};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_may_crash_and_come_back() {
    let (world, server) = World::own_postgres(true).await;
    let world = world.start_with(ACME).await;
    let known = world.connect(&Newcomer::named("pump")).await.unwrap();
    server.stop().unwrap();
    let valve = Newcomer::named("valve");
    let attempt = world.connect(&valve);
    let limit = world.settings.timeout + Duration::from_millis(500);
    let unknown = tokio::time::timeout(limit, attempt).await.expect("an answer in time");
    assert_eq!(unknown.unwrap_err().unwrap_err().kind, FailureKind::Unavailable);
    let again = world.connect(&Newcomer::named("pump")).await.unwrap();
    assert_eq!(again.publish("devices/pump/x"), Ok(AuthorizeVerdict::Allow));
    assert_eq!(known.publish("devices/pump/x"), Ok(AuthorizeVerdict::Allow));
    world.until(|readiness| matches!(readiness, Readiness::NotReady { .. })).await;
    server.resume().unwrap();
    world.execute("UPDATE principals SET enabled = false").await.unwrap();
    world.until(|readiness| *readiness == Readiness::Ready).await;
    let denied = || matches!(known.publish("devices/pump/x"), Ok(AuthorizeVerdict::Deny(_)));
    eventually("what changed meanwhile", denied).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_known_go_on_only_for_the_configured_time() {
    let (mut world, server) = World::own_postgres(true).await;
    world.settings.keep_known = Duration::from_millis(100);
    let world = world.start_with(ACME).await;
    let known = world.connect(&Newcomer::named("pump")).await.unwrap();
    let generation = world.directory().permissions_generation();
    server.stop().unwrap();
    let failed = || known.publish("devices/pump/x").is_err();
    eventually("the end of patience", failed).await;
    assert!(world.directory().permissions_generation() > generation);
    let refused = world.connect(&Newcomer::named("pump")).await.unwrap_err().unwrap_err();
    assert_eq!(refused.kind, FailureKind::Unavailable);
    server.resume().unwrap();
    let allowed = || known.publish("devices/pump/x") == Ok(AuthorizeVerdict::Allow);
    eventually("the return", allowed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_starts_before_postgres() {
    let (world, server) = World::own_postgres(false).await;
    let world = world.start();
    world.until(|readiness| matches!(readiness, Readiness::NotReady { .. })).await;
    let refused = world.connect(&Newcomer::named("pump")).await.unwrap_err().unwrap_err();
    assert_eq!(refused.kind, FailureKind::Unavailable);
    server.resume().unwrap();
    world.until(|readiness| *readiness == Readiness::Ready).await;
    world.execute(ACME).await.unwrap();
    world.until_connected(&Newcomer::named("pump")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_commits_late_is_not_missed() {
    let world = World::postgres().start_with(ACME).await;
    let client = world.connect(&Newcomer::named("pump")).await.unwrap();
    let insert = |topic: &str| {
        format!(
            "INSERT INTO permissions (tenant, subject_kind, subject, action, filter)
            VALUES ('acme', 'principal', 'pump', 'publish', '{topic}');"
        )
    };
    let late = world.transaction(&insert("late")).await;
    world.execute(&insert("early")).await.unwrap();
    eventually("the early one", || client.publish("early") == Ok(AuthorizeVerdict::Allow)).await;
    assert_eq!(client.publish("late"), Ok(AuthorizeVerdict::Abstain));
    late.commit().await.unwrap();
    eventually("the late one", || client.publish("late") == Ok(AuthorizeVerdict::Allow)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_one_principal_that_come_at_once_are_looked_up_once() {
    let mut world = World::postgres();
    world.settings.timeout = DEADLINE;
    let world = world.start_with(ACME).await;
    let lock = world.transaction("LOCK TABLE tenants").await;
    let newcomer = Newcomer::named("pump");
    let all = (0..50).map(|_| world.connect(&newcomer));
    let observe = async {
        let waiting = "pg_stat_activity WHERE datname = current_database() \
            AND application_name = 'hookmq' AND wait_event_type = 'Lock'";
        let mut most = 0;
        let mut more = 10;
        while more > 0 {
            most = world.count(waiting).await.max(most);
            more -= usize::from(most > 0);
        }
        lock.rollback().await.unwrap();
        most
    };
    let (clients, most) = tokio::join!(join_all(all), observe);
    assert_eq!(most, 1);
    for client in clients {
        assert_eq!(client.unwrap().publish("devices/pump/x"), Ok(AuthorizeVerdict::Allow));
    }
}
