//! How much work a login is, whoever comes.

use std::num::NonZeroUsize;

use hookmq_codec::ProtocolVersion;
use hookmq_hooks::{ConnectionFacts, Identity};
use sqlx::{AssertSqlSafe, ConnectOptions};
use tempfile::TempDir;

use super::*;
use crate::password::computations;
use crate::{Database, DatabaseSettings, DatabaseUrl, Readiness};

/// Of `right`: what `hookmq credential password` makes, and a cheaper one of somebody else's.
const USUAL: (u32, u32, u32) = (19_456, 2, 1);
const CHEAP: &str = "$argon2id$v=19$m=64,t=3,p=1$c2l4dGVlbiBieXRlcy4uLg$\
    AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

struct World {
    directory: Directory,
    _folder: TempDir,
}

/// `pump` and `locked` have a password, the latter one that does not count; `cheap` has a cheaper one, and
/// `bare` none.
async fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.db");
    let settings =
        DatabaseSettings { url: DatabaseUrl::sqlite(&file), ..DatabaseSettings::default() };
    Database::open(&settings).migrate().await.unwrap();
    let hash = PasswordHash::derive(b"right").to_text().unwrap();
    let sql = format!(
        "INSERT INTO tenants (name) VALUES ('acme');
        INSERT INTO principals (tenant, username) VALUES
            ('acme', 'pump'), ('acme', 'locked'), ('acme', 'cheap'), ('acme', 'bare');
        INSERT INTO credentials (tenant, username, kind, secret, enabled) VALUES
            ('acme', 'pump', 'password', '{hash}', true),
            ('acme', 'locked', 'password', '{hash}', false),
            ('acme', 'cheap', 'password', '{CHEAP}', true);"
    );
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&file);
    let mut connection = options.connect().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    let directory = Directory::start(settings);
    let mut readiness = directory.readiness();
    readiness.wait_for(|it| *it == Readiness::Ready).await.unwrap();
    World { directory, _folder: folder }
}

fn program(world: &World, checks: usize) -> PasswordProgram {
    let checks = NonZeroUsize::new(checks).unwrap();
    let settings =
        PasswordSettings { tenant: Some("acme".into()), checks, ..PasswordSettings::default() };
    PasswordProgram::new(world.directory.clone(), settings)
}

/// Whether the program lets the client in.
async fn login(program: &PasswordProgram, username: &str, password: &str) -> bool {
    let attempt = ConnectAttempt {
        connection: ConnectionFacts {
            listener: "test".into(),
            peer: None,
            protocol: ProtocolVersion::V5,
            encrypted: false,
        },
        certificate: None,
        client_id: "claimed".into(),
        username: Some(username.into()),
        password: Some(Secret::new(password.into())),
        authentication: None,
        waited: Default::default(),
        identity: Identity::default(),
    };
    matches!(program.connect(&attempt).await.unwrap(), ConnectVerdict::Accept(_))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_does_not_know_a_password_costs_the_same_work() {
    let world = world().await;
    let one = program(&world, 1);
    // The first of all finds no hash that somebody was tried against.
    for (number, username) in (1..).zip(["nobody", "pump", "nobody", "locked", "bare"]) {
        let guess = format!("guess {number} of {username}");
        assert!(!login(&one, username, &guess).await);
        assert_eq!(computations::of(&guess), [USUAL], "{guess}");
    }
    assert!(login(&one, "pump", "right").await);
    assert_eq!(one.checks(), Some(Checks { running: 0, begun: 6 }));
    // Where hashes differ, it is the one that was looked at last.
    for (number, username) in (1..).zip(["cheap", "nobody"]) {
        let guess = format!("cheap guess {number}");
        assert!(!login(&one, username, &guess).await);
        assert_eq!(computations::of(&guess), [(64, 3, 1)], "{guess}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_passwords_than_configured_are_tried_at_once() {
    const GUESS: &str = "a guess of many";
    let world = world().await;
    let two = Arc::new(program(&world, 2));
    let mut logins = tokio::task::JoinSet::new();
    for number in 0..16 {
        let (two, username) = (two.clone(), ["pump", "nobody"][number % 2]);
        logins.spawn(async move { login(&two, username, GUESS).await });
    }
    let mut most = 0;
    while !logins.is_empty() {
        most = most.max(two.checks().unwrap().running);
        tokio::task::yield_now().await;
        if let Some(done) = logins.try_join_next() {
            assert!(!done.unwrap(), "it is a guess");
        }
    }
    assert!(most <= 2, "{most} at once");
    assert_eq!(computations::most_at_once(), 2);
    assert_eq!(computations::of(GUESS).len(), 16);
    assert_eq!(two.checks(), Some(Checks { running: 0, begun: 16 }));
}
