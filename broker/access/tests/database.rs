//! One suite for both databases: what stands in the tables decides who may connect and do what.

// The functions of the suite are tests, each of them twice.
#![allow(clippy::unwrap_used)]

#[path = "database/world.rs"]
mod world;

use std::sync::Arc;
use std::time::Duration;

use hookmq_access::{Database, DatabaseSettings, Readiness};
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

on_both! {
    migrations_apply_once_whoever_comes_and_how_often
    nonsense_cannot_be_inserted
    an_insert_needs_only_what_matters
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

fn refused_because(verdict: ConnectVerdict) -> String {
    match verdict {
        ConnectVerdict::Deny { reason_code: ReasonCode::NotAuthorized, reason } => reason,
        other => panic!("not refused: {other:?}"),
    }
}

async fn migrations_apply_once_whoever_comes_and_how_often(world: World) {
    let brokers: Vec<_> = (0..8).map(|_| Database::open(&world.settings)).collect();
    for result in world::join_all(brokers.iter().map(Database::migrate)).await {
        result.unwrap();
    }
    let one = &brokers[0];
    one.migrate().await.unwrap();
    world.execute(ACME).await.unwrap();
    one.migrate().await.unwrap();
    assert_eq!(world.count("permissions").await, 1);
}

async fn nonsense_cannot_be_inserted(world: World) {
    Database::open(&world.settings).migrate().await.unwrap();
    world.execute(ACME).await.unwrap();
    let permission = |column: &str, value: &str| {
        let columns = [
            ("tenant", "'acme'"),
            ("subject_kind", "'role'"),
            ("subject", "'device'"),
            ("action", "'publish'"),
            ("filter", "'a'"),
        ];
        let mut columns: Vec<_> = columns.into_iter().filter(|(name, _)| *name != column).collect();
        columns.push((column, value));
        let (names, values): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
        let (names, values) = (names.join(", "), values.join(", "));
        format!("INSERT INTO permissions ({names}) VALUES ({values})")
    };
    let password = |secret: &str| {
        format!(
            "INSERT INTO credentials (tenant, username, kind, secret)
             VALUES ('acme', 'pump', 'password', '{secret}')"
        )
    };
    for secret in ["$argon2id$v=19$m=8,t=1,p=1$abc$def", "$7$101$a+/=$bc", "PBKDF2$sha256$1$a$b"] {
        world.execute(&password(secret)).await.unwrap();
        world.execute("DELETE FROM credentials WHERE kind = 'password'").await.unwrap();
    }
    world.execute(&permission("priority", "-3")).await.unwrap();
    for filter in ["#", "+", "a/+/b/#", "/", "{client_id}/{attribute:site}/x-{tenant}", "$SYS/#"] {
        world.execute(&permission("filter", &format!("'{filter}'"))).await.unwrap();
    }
    let filters = [
        "",
        "a#",
        "a/#/b",
        "a+",
        "+a/b",
        "#/",
        "##",
        "{user}",
        "{",
        "a}",
        "{attribute:}",
        "{attribute:{username}}",
        "$share/g/a",
    ];
    let mut nonsense: Vec<_> =
        filters.iter().map(|filter| permission("filter", &format!("'{filter}'"))).collect();
    nonsense.extend([
        permission("tenant", "'nobody'"),
        permission("subject_kind", "'group'"),
        permission("subject_kind", "'everyone'"),
        permission("subject", "''"),
        permission("action", "'read'"),
        permission("effect", "'maybe'"),
        permission("max_qos", "3"),
        permission("on_denial", "'ignore'"),
        "INSERT INTO tenants (name) VALUES ('')".into(),
        "INSERT INTO tenants (name) VALUES ('acme')".into(),
        "INSERT INTO tenants (name, attributes) VALUES ('other', '[1]')".into(),
        "INSERT INTO tenants (name, attributes) VALUES ('other', '{')".into(),
        "INSERT INTO principals (tenant, username) VALUES ('nobody', 'pump')".into(),
        "INSERT INTO principals (tenant, username) VALUES ('acme', 'pump')".into(),
        "INSERT INTO principals (tenant, username) VALUES ('acme', 'a\nb')".into(),
        "INSERT INTO principal_roles (tenant, username, role) VALUES ('acme', 'x', 'y')".into(),
        password("pencil"),
        password("$1$abc$def"),
        password("$7$101$a b$c"),
        password("$2b$"),
        password("{PLAIN}pencil"),
    ]);
    let ban = |tenant: &str, kind: &str, subject: &str| {
        format!("INSERT INTO bans (tenant, kind, subject) VALUES ({tenant}, '{kind}', '{subject}')")
    };
    for sound in [
        ban("'acme'", "tenant", ""),
        ban("NULL", "address", "192.0.2.0/24"),
        ban("'acme'", "address", "2001:db8::1"),
        ban("NULL", "principal", "pump"),
        "INSERT INTO bans (kind, subject, expires_at) VALUES ('client_id', 'a', '2030-01-01')"
            .into(),
    ] {
        world.execute(&sound).await.unwrap();
    }
    nonsense.extend([
        ban("NULL", "tenant", ""),
        ban("''", "tenant", ""),
        ban("'acme'", "tenant", "acme"),
        ban("'acme'", "device", "pump"),
        ban("'acme'", "principal", ""),
        ban("NULL", "address", ""),
        ban("NULL", "address", "somewhere"),
        "INSERT INTO bans (kind, subject, expires_at) VALUES ('client_id', 'a', 'soon')".into(),
    ]);
    for sql in nonsense {
        assert!(world.execute(&sql).await.is_err(), "{sql}");
    }
}

async fn an_insert_needs_only_what_matters(world: World) {
    let client = world.start_with(ACME).await.connect(&Newcomer::named("pump")).await.unwrap();
    let allowed = client.publish("devices/pump/pressure");
    assert_eq!(allowed, Ok(AuthorizeVerdict::Allow));
    assert_eq!(client.publish("devices/valve/pressure"), Ok(AuthorizeVerdict::Abstain));
    let subscribe = client.ask(Action::Subscribe, "devices/pump/#", Qos::AtMostOnce);
    assert_eq!(subscribe, Ok(AuthorizeVerdict::Abstain));
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
    let (clients, most) = tokio::join!(world::join_all(all), observe);
    assert_eq!(most, 1);
    for client in clients {
        assert_eq!(client.unwrap().publish("devices/pump/x"), Ok(AuthorizeVerdict::Allow));
    }
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
