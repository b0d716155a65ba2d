//! A change that concerns many: they are looked up together, and each gets what it would get alone.

use std::collections::BTreeSet;
use std::sync::Arc;

use hookmq_access::{Answer, Directory, DirectoryError, NotAdmitted, PrincipalKey, Readiness};
use hookmq_hooks::AuthorizeVerdict;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::ACME;
use super::world::{Newcomer, World, eventually};

on_both! {
    each_of_many_gets_what_it_would_get_alone
    permissions_of_many_may_be_more_than_one_answer_holds
    one_of_many_with_too_many_permissions_is_refused_alone
    a_look_up_of_many_that_fails_is_tried_again
}

const SEED: u64 = 0x0dd5_0b0d;
const ROUNDS: usize = 12;
const TENANTS: [&str; 2] = ["acme", "globex"];
const USERNAMES: [&str; 6] = ["pump", "valve", "it's", "é\"\\", "{username}", "7"];
const ROLES: [&str; 4] = ["device", "viewer", "pump", "\u{1d11e}"];
const ROLES_GIVEN: [&[&str]; 4] = [&[], &["device"], &["guest"], &["viewer", "guest"]];
const CLIENT_IDS: [Option<&str>; 3] = [None, Some("c1"), Some("pump")];

/// Every combination of what selects permissions.
fn newcomers() -> Vec<Newcomer> {
    let mut all = Vec::new();
    for tenant in TENANTS {
        for username in USERNAMES {
            for roles in ROLES_GIVEN {
                for bound_client_id in CLIENT_IDS {
                    all.push(Newcomer { tenant: Some(tenant), username, bound_client_id, roles });
                }
            }
        }
    }
    all
}

fn key(of: &Newcomer) -> PrincipalKey {
    PrincipalKey {
        tenant: of.tenant.expect("it has one").into(),
        username: of.username.into(),
        client_id: of.bound_client_id.map(Into::into),
        roles: of.roles.iter().map(|role| Arc::from(*role)).collect::<BTreeSet<_>>(),
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn some_of(random: &mut StdRng, all: &[&'static str], share: f64) -> Vec<&'static str> {
    all.iter().copied().filter(|_| random.random_bool(share)).collect()
}

/// One transaction that fills the tables with something else.
fn any_tables(random: &mut StdRng, tenant_share: f64, principal_share: f64) -> String {
    let mut sql = "BEGIN; DELETE FROM tenants;".to_owned();
    for tenant in some_of(random, &TENANTS, tenant_share) {
        let enabled = random.random_bool(tenant_share);
        let tenant = quoted(tenant);
        sql += &format!(
            r#"INSERT INTO tenants (name, enabled, attributes)
            VALUES ({tenant}, {enabled}, '{{"site": "north", "floor": 3}}');"#
        );
        for username in some_of(random, &USERNAMES, principal_share) {
            let (enabled, floor) = (random.random_bool(principal_share), random.random_range(0..9));
            let username = quoted(username);
            sql += &format!(
                r#"INSERT INTO principals (tenant, username, enabled, attributes)
                VALUES ({tenant}, {username}, {enabled}, '{{"floor": {floor}}}');"#
            );
            for role in some_of(random, &ROLES, 0.4) {
                let role = quoted(role);
                sql +=
                    &format!("INSERT INTO principal_roles VALUES ({tenant}, {username}, {role});");
            }
        }
        let most = if random.random_bool(0.7) { 60 } else { 3 };
        for _ in 0..random.random_range(0..most) {
            sql += &any_permission(random, &tenant);
        }
    }
    sql + "COMMIT;"
}

fn any_permission(random: &mut StdRng, tenant: &str) -> String {
    let mut any = |from: &[&'static str]| from[random.random_range(0..from.len())];
    let (kind, subject) = match any(&["principal", "role", "client_id", "everyone"]) {
        "principal" => ("principal", any(&USERNAMES)),
        "role" => ("role", any(&["device", "viewer", "guest", "pump", "\u{1d11e}"])),
        "client_id" => ("client_id", any(&["c1", "c2", "pump"])),
        _ => ("everyone", ""),
    };
    let (action, effect) = (any(&["publish", "subscribe", "receive"]), any(&["allow", "deny"]));
    let filter = any(&["a/#", "+/b", "{username}/x", "{attribute:floor}"]);
    let (on_denial, retain) =
        (any(&["refuse", "acknowledge", "disconnect"]), any(&["true", "false"]));
    let share_names = any(&["NULL", "'[]'", "'[\"g\"]'", "'[\"g\", \"h\"]'"]);
    let (priority, qos) = (random.random_range(-1..2), random.random_range(0..3));
    format!(
        "INSERT INTO permissions (tenant, subject_kind, subject, action, filter, effect, priority,
            max_qos, allow_retain, on_denial, share_names)
        VALUES ({tenant}, '{kind}', {}, '{action}', '{filter}', '{effect}', {priority}, {qos}, {retain},
            '{on_denial}', {share_names});",
        quoted(subject)
    )
}

async fn answers(directory: &Directory, of: &[Newcomer]) -> Vec<Result<Answer, DirectoryError>> {
    let mut answers = Vec::new();
    for newcomer in of {
        answers.push(directory.principal(&key(newcomer)).await);
    }
    answers
}

async fn each_of_many_gets_what_it_would_get_alone(world: World) {
    let mut random = StdRng::seed_from_u64(SEED);
    let world = world.start_with(&any_tables(&mut random, 1.0, 1.0)).await;
    let newcomers = newcomers();
    let mut clients = Vec::new();
    for newcomer in &newcomers {
        clients.push(world.connect(newcomer).await.unwrap());
    }
    let mut seen = BTreeSet::new();
    for round in 0..ROUNDS {
        let before = world.directory().permissions_generation();
        world.execute(&any_tables(&mut random, 0.8, 0.8)).await.unwrap();
        let renewed = || world.directory().permissions_generation() >= before + 2;
        eventually("all are looked up again", renewed).await;
        let other = Directory::start(world.settings.clone());
        let mut readiness = other.readiness();
        readiness.wait_for(|it| *it == Readiness::Ready).await.unwrap();
        let alone = answers(&other, &newcomers).await;
        // Nobody can be looked up now: what is answered is what was found for all together.
        world.execute("ALTER TABLE permissions RENAME TO gone").await.unwrap();
        let together = answers(world.directory(), &newcomers).await;
        world.execute("ALTER TABLE gone RENAME TO permissions").await.unwrap();
        for ((newcomer, alone), together) in newcomers.iter().zip(alone).zip(together) {
            assert_eq!(together, alone, "round {round}, {:?}", key(newcomer));
            let permissions = alone.unwrap().map(|principal| !principal.permissions.is_empty());
            seen.insert(format!("{permissions:?}"));
        }
    }
    let refused = [
        NotAdmitted::NoSuchTenant,
        NotAdmitted::TenantDisabled,
        NotAdmitted::NoSuchPrincipal,
        NotAdmitted::PrincipalDisabled,
    ];
    for wanted in [Ok(true), Ok(false)].into_iter().chain(refused.map(Err)) {
        assert!(seen.contains(&format!("{wanted:?}")), "{wanted:?} has not been seen");
    }
    drop(clients);
}

/// Permissions of `username`, without a line in the change log for each.
fn numbered(username: &str, count: usize) -> String {
    format!(
        "INSERT INTO permissions (tenant, subject_kind, subject, action, filter)
        WITH RECURSIVE numbers (n) AS
            (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count})
        SELECT 'acme', 'principal', '{username}', 'publish', 'n/' || n FROM numbers;"
    )
}

/// Three of one tenant, of which one may connect with any number of permissions that a look-up takes.
const THREE: &str = "
    INSERT INTO principals (tenant, username) VALUES ('acme', 'valve'), ('acme', 'tap');
    INSERT INTO principal_roles VALUES ('acme', 'valve', 'device'), ('acme', 'tap', 'device');
";

const NEWS: &str = "INSERT INTO permissions (tenant, subject_kind, subject, action, filter)
    VALUES ('acme', 'role', 'device', 'publish', 'news')";

const NAMES: [&str; 3] = ["pump", "valve", "tap"];

async fn permissions_of_many_may_be_more_than_one_answer_holds(world: World) {
    let own = NAMES.map(|name| numbered(name, 7_000)).concat();
    let world = world.start_with(&format!("{ACME} {THREE} {own}")).await;
    let mut clients = Vec::new();
    for name in NAMES {
        clients.push(world.until_connected(&Newcomer::named(name)).await);
    }
    world.execute(NEWS).await.unwrap();
    for client in &clients {
        let allowed = || client.publish("news") == Ok(AuthorizeVerdict::Allow);
        eventually("the news", allowed).await;
        assert_eq!(client.publish("n/7000"), Ok(AuthorizeVerdict::Allow));
    }
}

async fn one_of_many_with_too_many_permissions_is_refused_alone(world: World) {
    let world = world.start_with(&format!("{ACME} {THREE}")).await;
    let mut clients = Vec::new();
    for name in NAMES {
        clients.push(world.connect(&Newcomer::named(name)).await.unwrap());
    }
    let change = format!("BEGIN; {} {NEWS}; COMMIT;", numbered("pump", 10_001));
    world.execute(&change).await.unwrap();
    for client in &clients[1..] {
        let allowed = || client.publish("news") == Ok(AuthorizeVerdict::Allow);
        eventually("the news", allowed).await;
    }
    let Ok(AuthorizeVerdict::Deny(denial)) = clients[0].publish("news") else {
        panic!("it is not denied");
    };
    assert_eq!(denial.reason, "more than 10000 permissions apply");
    // As many as the role brings.
    let fewer = "DELETE FROM permissions WHERE filter IN ('n/1', 'n/2', 'n/3')";
    world.execute(fewer).await.unwrap();
    let allowed = || clients[0].publish("n/10001") == Ok(AuthorizeVerdict::Allow);
    eventually("as many as there may be", allowed).await;
}

async fn a_look_up_of_many_that_fails_is_tried_again(world: World) {
    let world = world.start_with(&format!("{ACME} {THREE}")).await;
    let mut clients = Vec::new();
    for name in NAMES {
        clients.push(world.connect(&Newcomer::named(name)).await.unwrap());
    }
    let change = format!("{NEWS}; ALTER TABLE permissions RENAME TO gone");
    world.execute(&format!("BEGIN; {change}; COMMIT")).await.unwrap();
    world.until(|readiness| matches!(readiness, Readiness::NotReady { .. })).await;
    for (client, name) in clients.iter().zip(NAMES) {
        assert_eq!(client.publish("news"), Ok(AuthorizeVerdict::Abstain), "nobody knows yet");
        let own = format!("devices/{name}/x");
        assert_eq!(client.publish(&own), Ok(AuthorizeVerdict::Allow), "as before");
    }
    world.execute("ALTER TABLE gone RENAME TO permissions").await.unwrap();
    for client in &clients {
        let allowed = || client.publish("news") == Ok(AuthorizeVerdict::Allow);
        eventually("the news", allowed).await;
    }
}
