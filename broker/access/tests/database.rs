//! One suite for both databases: what stands in the tables decides who may connect and do what.

// The functions of the suite are tests, each of them twice.
#![allow(clippy::unwrap_used)]

#[path = "database/world.rs"]
mod world;

use std::sync::Arc;
use std::time::Duration;

use hookmq_access::{DatabaseSettings, Readiness};
use hookmq_codec::{Qos, ReasonCode};
use hookmq_hooks::{Action, AuthorizeVerdict, Client, ConnectVerdict, Denial, Effect, FailureKind};
use world::{DEADLINE, Newcomer, World, eventually};

/// Runs each of the named functions on SQLite and on Postgres.
macro_rules! on_both {
    ($($behaviour:ident)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $behaviour() { super::$behaviour(super::World::sqlite()).await })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $behaviour() { super::$behaviour(super::World::postgres()).await })*
        }
    };
}

// Behind the macro, which they use.
#[path = "database/many.rs"]
mod many;
#[path = "database/over_postgres.rs"]
mod over_postgres;
#[path = "database/plans.rs"]
mod plans;
#[path = "database/schema.rs"]
mod schema;

on_both! {
    who_is_unknown_or_disabled_is_refused_with_the_reason
    roles_client_ids_and_everyone_select_permissions
    attributes_of_the_principal_stand_before_those_of_its_tenant
    limits_of_an_allow_are_kept
    a_change_is_in_force_for_connected_clients
    a_principal_that_goes_takes_its_permissions_with_it
    while_the_tables_are_away_the_known_go_on_and_the_unknown_are_refused
    more_permissions_than_the_bound_refuse_the_principal
    the_change_log_stays_short
    a_later_step_that_changes_the_identity_gets_nothing
    quotas_and_disabled_tenants_are_told_as_they_change
    what_is_put_in_force_counts_for_the_next_one_who_asks
}

const ACME: &str = "
    INSERT INTO tenants (name) VALUES ('acme');
    INSERT INTO principals (tenant, username) VALUES ('acme', 'pump');
    INSERT INTO principal_roles (tenant, username, role) VALUES ('acme', 'pump', 'device');
    INSERT INTO permissions (tenant, subject_kind, subject, action, filter)
    VALUES ('acme', 'role', 'device', 'publish', 'devices/{username}/#');
";

async fn quotas_and_disabled_tenants_are_told_as_they_change(world: World) {
    let world = world.start_with(ACME).await;
    let tenancy = world.directory().watch_tenancy();
    world.execute("INSERT INTO quotas (tenant, sessions) VALUES ('acme', 0)").await.unwrap();
    for nonsense in [
        "connections = -1",
        "messages_in_per_s = 0",
        "bytes_out_per_s = 1000000000001",
        "hook_calls_per_s = 4294967296",
        "tenant = 'nobody'",
    ] {
        let refused = world.execute(&format!("UPDATE quotas SET {nonsense}")).await;
        assert!(refused.is_err(), "{nonsense}");
    }
    let sessions = |tenant| tenancy.borrow().quota(tenant).and_then(|quota| quota.sessions);
    eventually("the quota is told", || sessions("acme") == Some(0)).await;
    world.execute("UPDATE tenants SET name = 'globex', enabled = false").await.unwrap();
    eventually("it follows its tenant", || sessions("globex") == Some(0)).await;
    assert!(tenancy.borrow().is_disabled("globex") && sessions("acme").is_none());
    world.execute("DELETE FROM tenants").await.unwrap();
    eventually("it goes with its tenant", || tenancy.borrow().quota("globex").is_none()).await;
    assert!(!tenancy.borrow().is_disabled("globex"));
}

async fn what_is_put_in_force_counts_for_the_next_one_who_asks(mut world: World) {
    // By itself, the directory would find nothing out.
    world.settings.poll_interval = Duration::from_secs(3600);
    world.settings.timeout = DEADLINE;
    let world = world.start_with(ACME).await;
    let tenancy = world.directory().watch_tenancy();
    for round in 0..20 {
        let disabled = round % 2 == 0;
        world.execute(&format!("UPDATE tenants SET enabled = {}", !disabled)).await.unwrap();
        // Somebody else asks, too, so that the upkeep is at work.
        let others = tokio::spawn({
            let directory = world.directory().clone();
            async move { directory.put_in_force().await }
        });
        tokio::time::sleep(Duration::from_millis(round)).await;
        world.directory().put_in_force().await;
        assert_eq!(tenancy.borrow().is_disabled("acme"), disabled, "{round}");
        others.await.unwrap();
    }
}

fn refused_because(verdict: ConnectVerdict) -> String {
    match verdict {
        ConnectVerdict::Deny { reason_code: ReasonCode::NotAuthorized, reason } => reason,
        other => panic!("not refused: {other:?}"),
    }
}

async fn who_is_unknown_or_disabled_is_refused_with_the_reason(world: World) {
    let world = world
        .start_with(&format!(
            "{ACME}
            INSERT INTO principals (tenant, username, enabled) VALUES ('acme', 'valve', false);
            INSERT INTO tenants (name, enabled) VALUES ('closed', false);
            INSERT INTO principals (tenant, username) VALUES ('closed', 'pump');"
        ))
        .await;
    let table = [
        ("acme", "valve", "the principal is disabled"),
        ("acme", "nobody", "there is no such principal"),
        ("closed", "pump", "the tenant is disabled"),
        ("nowhere", "pump", "there is no such tenant"),
        ("acme", "pump\0", "there is no such principal"),
    ];
    for (tenant, username, reason) in table {
        let newcomer = Newcomer { tenant: Some(tenant), ..Newcomer::named(username) };
        let refused = refused_because(world.connect(&newcomer).await.unwrap_err().unwrap());
        assert!(refused.ends_with(reason), "{refused}");
        assert!(!refused.contains('\0'), "{refused:?}");
    }
    let nameless = Newcomer { tenant: None, ..Newcomer::named("pump") };
    let refused = refused_because(world.connect(&nameless).await.unwrap_err().unwrap());
    assert!(refused.contains("no step before"), "{refused}");
}

async fn roles_client_ids_and_everyone_select_permissions(world: World) {
    let world = world
        .start_with(&format!(
            "{ACME}
            INSERT INTO permissions (tenant, subject_kind, subject, action, filter) VALUES
                ('acme', 'principal', 'pump', 'publish', 'own'),
                ('acme', 'principal', 'valve', 'publish', 'other'),
                ('acme', 'role', 'guest', 'publish', 'guest'),
                ('acme', 'client_id', 'c1', 'publish', 'c1'),
                ('acme', 'everyone', '', 'publish', 'all');"
        ))
        .await;
    let may = async |newcomer: Newcomer| {
        let client = world.connect(&newcomer).await.unwrap();
        let topics = ["devices/pump/x", "own", "other", "guest", "c1", "all"];
        topics.map(|topic| client.publish(topic) == Ok(AuthorizeVerdict::Allow))
    };
    assert_eq!(may(Newcomer::named("pump")).await, [true, true, false, false, false, true]);
    let guest = Newcomer { roles: &["guest"], ..Newcomer::named("pump") };
    assert_eq!(may(guest).await, [true, true, false, true, false, true]);
    let bound = Newcomer { bound_client_id: Some("c1"), ..Newcomer::named("pump") };
    assert_eq!(may(bound).await, [true, true, false, false, true, true]);
    let client = world.connect(&Newcomer::named("pump")).await.unwrap();
    assert!(client.client.has_role("device"));
}

async fn attributes_of_the_principal_stand_before_those_of_its_tenant(world: World) {
    let world = world
        .start_with(&format!(
            r#"{ACME}
            UPDATE tenants SET attributes = '{{"site": "north", "floor": 3, "parts": []}}';
            UPDATE principals SET attributes = '{{"site": "south"}}';
            INSERT INTO permissions (tenant, subject_kind, action, filter) VALUES
                ('acme', 'everyone', 'publish', '{{attribute:site}}/{{attribute:floor}}'),
                ('acme', 'everyone', 'publish', 'parts/{{attribute:parts}}');"#
        ))
        .await;
    let client = world.connect(&Newcomer::named("pump")).await.unwrap();
    assert_eq!(client.publish("south/3"), Ok(AuthorizeVerdict::Allow));
    assert_eq!(client.publish("north/3"), Ok(AuthorizeVerdict::Abstain));
    assert_eq!(client.publish("parts/[]"), Ok(AuthorizeVerdict::Abstain));
}

async fn limits_of_an_allow_are_kept(world: World) {
    let world = world
        .start_with(&format!(
            "{ACME} DELETE FROM permissions;
            INSERT INTO permissions
                (id, tenant, subject_kind, action, filter, max_qos, allow_retain, on_denial)
            VALUES (7, 'acme', 'everyone', 'publish', 'a/#', 1, false, 'disconnect'),
                (8, 'acme', 'everyone', 'subscribe', 'a/#', 1, true, 'refuse');
            UPDATE permissions SET share_names = '[\"g\"]' WHERE id = 8;
            INSERT INTO permissions (id, tenant, subject_kind, action, filter, effect, on_denial)
            VALUES (9, 'acme', 'everyone', 'subscribe', 'a/b', 'deny', 'acknowledge');"
        ))
        .await;
    let client = world.connect(&Newcomer::named("pump")).await.unwrap();
    let denied =
        |effect, reason: &str| Ok(AuthorizeVerdict::Deny(Denial { effect, reason: reason.into() }));
    let publish = |qos, retain| client.ask_with(Action::Publish, "a/c", qos, retain);
    assert_eq!(publish(Qos::AtLeastOnce, false), Ok(AuthorizeVerdict::AllowUpTo(Qos::AtLeastOnce)));
    let reason = "permission 7: it allows QoS 1 at most";
    assert_eq!(publish(Qos::ExactlyOnce, false), denied(Effect::Disconnect, reason));
    let reason = "permission 7: it allows no retained message";
    assert_eq!(publish(Qos::AtMostOnce, true), denied(Effect::Disconnect, reason));
    let subscribe = |filter| client.ask(Action::Subscribe, filter, Qos::ExactlyOnce);
    assert_eq!(subscribe("a/c/#"), Ok(AuthorizeVerdict::AllowUpTo(Qos::AtLeastOnce)));
    assert_eq!(subscribe("$share/g/a/c"), Ok(AuthorizeVerdict::AllowUpTo(Qos::AtLeastOnce)));
    let reason = "permission 8: it allows no shared subscription of this name";
    assert_eq!(subscribe("$share/h/a/c"), denied(Effect::Refuse, reason));
    let reason = "permission 9: it denies";
    assert_eq!(subscribe("a/+"), denied(Effect::AcknowledgeAndDrop, reason));
    assert_eq!(subscribe("#"), denied(Effect::AcknowledgeAndDrop, reason));
}

async fn a_change_is_in_force_for_connected_clients(world: World) {
    let world = world.start_with(ACME).await;
    let client = world.connect(&Newcomer::named("pump")).await.unwrap();
    assert_eq!(client.publish("news"), Ok(AuthorizeVerdict::Abstain));
    let before = world.directory().permissions_generation();
    let allow = Ok(AuthorizeVerdict::Allow);
    world
        .execute(
            "INSERT INTO permissions (tenant, subject_kind, subject, action, filter)
            VALUES ('acme', 'role', 'device', 'publish', 'news')",
        )
        .await
        .unwrap();
    eventually("the grant", || client.publish("news") == allow).await;
    assert!(world.directory().permissions_generation() > before);
    // Each of these takes away what the next one gives back.
    let denied = |reason: &str| {
        let denial = Denial { effect: Effect::Refuse, reason: reason.into() };
        Ok(AuthorizeVerdict::Deny(denial))
    };
    let steps = [
        ("DELETE FROM principal_roles", Ok(AuthorizeVerdict::Abstain)),
        ("INSERT INTO principal_roles VALUES ('acme', 'pump', 'device')", allow.clone()),
        ("UPDATE principals SET enabled = false", denied("the principal is disabled")),
        ("UPDATE principals SET enabled = true", allow.clone()),
        ("UPDATE tenants SET enabled = false", denied("the tenant is disabled")),
        ("UPDATE tenants SET enabled = true", allow),
        ("DELETE FROM tenants", denied("there is no such tenant")),
    ];
    for (sql, expected) in steps {
        world.execute(sql).await.unwrap();
        eventually(sql, || client.publish("news") == expected).await;
    }
}

async fn a_principal_that_goes_takes_its_permissions_with_it(world: World) {
    let world = world
        .start_with(&format!(
            "{ACME}
            INSERT INTO permissions (tenant, subject_kind, subject, action, filter)
            VALUES ('acme', 'principal', 'pump', 'publish', 'own');
            UPDATE principals SET username = 'valve';"
        ))
        .await;
    let valve = world.connect(&Newcomer::named("valve")).await.unwrap();
    assert_eq!(valve.publish("own"), Ok(AuthorizeVerdict::Allow));
    assert_eq!(valve.publish("devices/valve/x"), Ok(AuthorizeVerdict::Allow));
    world
        .execute(
            "DELETE FROM principals;
            INSERT INTO principals (tenant, username) VALUES ('acme', 'valve');",
        )
        .await
        .unwrap();
    eventually("the loss", || valve.publish("own") == Ok(AuthorizeVerdict::Abstain)).await;
    assert_eq!(world.count("permissions").await, 1);
}

async fn while_the_tables_are_away_the_known_go_on_and_the_unknown_are_refused(world: World) {
    let world = world.start_with(ACME).await;
    let known = world.connect(&Newcomer::named("pump")).await.unwrap();
    world.execute("ALTER TABLE change_log RENAME TO gone").await.unwrap();
    world.until(|readiness| matches!(readiness, Readiness::NotReady { .. })).await;
    // It does not wait for the end of that.
    world.directory().put_in_force().await;
    assert_eq!(known.publish("devices/pump/x"), Ok(AuthorizeVerdict::Allow));
    let again = world.connect(&Newcomer::named("pump")).await.unwrap();
    assert_eq!(again.publish("devices/pump/x"), Ok(AuthorizeVerdict::Allow));
    let unknown = world.connect(&Newcomer::named("valve")).await.unwrap_err().unwrap_err();
    assert_eq!(unknown.kind, FailureKind::Unavailable);
    world.execute("ALTER TABLE gone RENAME TO change_log").await.unwrap();
    world.until(|readiness| *readiness == Readiness::Ready).await;
    let unknown = world.connect(&Newcomer::named("valve")).await.unwrap_err().unwrap();
    assert!(refused_because(unknown).ends_with("there is no such principal"));
}

async fn more_permissions_than_the_bound_refuse_the_principal(world: World) {
    let world = world
        .start_with(&format!(
            "{ACME} DELETE FROM permissions;
            INSERT INTO permissions (tenant, subject_kind, subject, action, filter)
            WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 10001)
            SELECT 'acme', 'principal', 'pump', 'publish', 'a/' || n FROM numbers;"
        ))
        .await;
    let refused = world.connect(&Newcomer::named("pump")).await.unwrap_err().unwrap_err();
    assert_eq!(refused.kind, FailureKind::Limit);
    world.execute("DELETE FROM permissions WHERE filter = 'a/1'").await.unwrap();
    world.until_connected(&Newcomer::named("pump")).await;
}

async fn the_change_log_stays_short(world: World) {
    let world = world.start_with(ACME).await;
    let client = world.connect(&Newcomer::named("pump")).await.unwrap();
    world
        .execute(
            "INSERT INTO permissions (tenant, subject_kind, subject, action, filter)
            WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 3000)
            SELECT 'acme', 'principal', 'pump', 'publish', 'a/' || n FROM numbers;",
        )
        .await
        .unwrap();
    let allowed = || client.publish("a/3000") == Ok(AuthorizeVerdict::Allow);
    eventually("all of them", allowed).await;
    assert!(world.count("change_log").await <= 1000);
}

async fn a_later_step_that_changes_the_identity_gets_nothing(world: World) {
    let world = world.start_with(ACME).await;
    let changes: [fn(&mut Client); 3] = [
        |client| {
            client.roles.insert("admin".into());
        },
        |client| client.client_id_bound = true,
        |client| client.username = "valve".into(),
    ];
    for change in changes {
        let mut client = world.connect(&Newcomer::named("pump")).await.unwrap();
        change(Arc::get_mut(&mut client.client).unwrap());
        let Ok(AuthorizeVerdict::Deny(denial)) = client.publish("devices/pump/x") else {
            panic!("not denied");
        };
        assert!(denial.reason.contains("behind `database`"), "{}", denial.reason);
    }
}

#[tokio::test]
async fn a_new_sqlite_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::sqlite().start_with(ACME).await;
    let folder = world.sqlite_file().parent().unwrap();
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", entry.path().display());
        files += 1;
    }
    assert!(files >= 2, "the write-ahead log stands beside it");
}

#[tokio::test]
async fn the_reason_for_not_being_ready_shows_no_password() {
    let url = "postgres://hookmq:geheim@127.0.0.1:1/mq?sslmode=disable".parse().unwrap();
    let timeout = Duration::from_millis(100);
    let settings = DatabaseSettings { url, timeout, ..DatabaseSettings::default() };
    let directory = hookmq_access::Directory::start(settings);
    let mut readiness = directory.readiness();
    let lost = readiness.wait_for(|it| matches!(it, Readiness::NotReady { .. }));
    let lost = tokio::time::timeout(DEADLINE, lost).await.unwrap().unwrap().clone();
    let Readiness::NotReady { reason } = lost else { unreachable!("just matched") };
    assert!(reason.contains("127.0.0.1:1") && !reason.contains("geheim"), "{reason}");
}
