//! One suite for both databases: the step `scram` and the table `credentials`.

// The functions of the suite are tests, each of them twice.
#![allow(clippy::unwrap_used)]

// The suite of permissions uses the rest.
#[allow(dead_code)]
#[path = "database/world.rs"]
mod world;

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use hookmq_access::{Database, Directory, Readiness, ScramProgram, ScramSecret, ScramSettings};
use hookmq_codec::{ProtocolVersion, ReasonCode};
use hookmq_hooks::{
    Authentication, BoxFuture, ConnectAttempt, ConnectVerdict, ConnectionFacts, Conversation,
    FailureKind, Identity, Program, Secret, StepFailure,
};
use hookmq_tests::scram::ScramClient;
use world::World;

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
    who_knows_the_password_is_let_in_by_name
    whoever_may_not_in_is_challenged_all_the_same
    the_salt_of_a_stranger_is_the_same_on_every_broker
    a_change_counts_from_the_next_authentication_on
    credentials_follow_their_principal_and_go_with_it
    nonsense_is_no_credential
    changes_are_logged_without_the_secret
    a_secret_that_cannot_be_read_and_a_database_that_is_away_refuse
    who_is_somebody_else_in_the_same_connect_is_refused
    other_methods_and_none_are_passed_on
}

const ITERATIONS: u32 = 4096;

/// Pumps, of which one may do nothing.
fn acme() -> String {
    let mut sql = "
        INSERT INTO tenants (name) VALUES ('acme'), ('other');
        INSERT INTO tenants (name, enabled) VALUES ('closed', false);
        INSERT INTO principals (tenant, username) VALUES
            ('acme', 'pump'), ('acme', 'bare'), ('acme', 'locked'), ('closed', 'pump');
        INSERT INTO principals (tenant, username, enabled) VALUES ('acme', 'off', false);
    "
    .to_owned();
    for (tenant, username) in
        [("acme", "pump"), ("acme", "locked"), ("acme", "off"), ("closed", "pump")]
    {
        sql += &credential(tenant, username, "pencil");
    }
    sql + "UPDATE credentials SET enabled = false WHERE username = 'locked';"
}

fn secret(password: &str) -> String {
    let iterations = NonZeroU32::new(ITERATIONS).unwrap();
    ScramSecret::derive(password, *b"sixteen bytes...", iterations).unwrap().to_text()
}

fn credential(tenant: &str, username: &str, password: &str) -> String {
    let secret = secret(password);
    format!(
        "INSERT INTO credentials (tenant, username, kind, secret)
         VALUES ('{tenant}', '{username}', 'scram-sha-256', '{secret}');"
    )
}

/// The client in an exchange, and what the step has asked it.
#[derive(Clone)]
struct Answering(ScramClient, Arc<Mutex<Vec<Vec<u8>>>>);

impl Conversation for Answering {
    fn challenge<'a>(&'a self, data: Secret) -> BoxFuture<'a, Option<Secret>> {
        let answer = self.0.last(data.expose()).message;
        self.1.lock().unwrap().push(data.expose().to_vec());
        Box::pin(async { Some(Secret::new(answer.into())) })
    }
}

struct Try {
    answer: Result<ConnectVerdict, StepFailure>,
    /// Salt and iterations, as the client was shown them.
    shown: Option<String>,
    /// That the broker has shown that it knows the secret.
    is_mutual: bool,
}

impl Try {
    fn username(&self) -> Option<&str> {
        match &self.answer {
            Ok(ConnectVerdict::Authenticated { patch, .. }) => patch.username.as_deref(),
            _ => None,
        }
    }
}

fn attempt(authentication: Option<Authentication>) -> ConnectAttempt {
    ConnectAttempt {
        connection: ConnectionFacts {
            listener: "test".into(),
            peer: None,
            protocol: ProtocolVersion::V5,
            encrypted: false,
        },
        certificate: None,
        client_id: "claimed".into(),
        username: None,
        password: None,
        authentication,
        waited: Default::default(),
        identity: Identity::default(),
    }
}

fn step(directory: &Directory) -> ScramProgram {
    let iterations = NonZeroU32::new(ITERATIONS).unwrap();
    let settings =
        ScramSettings { tenant: Some("acme".into()), iterations, ..ScramSettings::default() };
    ScramProgram::new(directory.clone(), settings)
}

async fn try_with(
    directory: &Directory,
    (username, password): (&str, &str),
    change: impl FnOnce(&mut ConnectAttempt),
) -> Try {
    let client = Answering(ScramClient::new(username, password), Arc::default());
    let opening = Secret::new(client.0.first().into());
    let authentication =
        Authentication::new("SCRAM-SHA-256".into(), opening, Arc::new(client.clone()));
    let mut attempt = attempt(Some(authentication));
    change(&mut attempt);
    let answer = step(directory).connect(&attempt).await;
    let asked = client.1.lock().unwrap().clone();
    assert!(asked.len() <= 1, "asked more than once");
    let is_mutual = match (&answer, asked.first()) {
        (Ok(ConnectVerdict::Authenticated { data, .. }), Some(first)) => {
            data.expose() == client.0.last(first).expected.as_bytes()
        }
        _ => false,
    };
    let shown = asked.first().map(|first| {
        let text = str::from_utf8(first).unwrap();
        text.split_once(",s=").unwrap().1.to_owned()
    });
    Try { answer, shown, is_mutual }
}

async fn try_as(world: &World, user: (&str, &str)) -> Try {
    try_with(world.directory(), user, |_| ()).await
}

fn refusal(answer: &Result<ConnectVerdict, StepFailure>) -> &str {
    match answer {
        Ok(ConnectVerdict::Deny { reason_code: ReasonCode::NotAuthorized, reason }) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

async fn who_knows_the_password_is_let_in_by_name(world: World) {
    let world = world.start_with(&acme()).await;
    let tried = try_as(&world, ("pump", "pencil")).await;
    assert_eq!(tried.username(), Some("pump"), "{:?}", tried.answer);
    assert!(tried.is_mutual);
    let Ok(ConnectVerdict::Authenticated { patch, .. }) = tried.answer else { unreachable!() };
    assert_eq!(patch.tenant.as_deref(), Some("acme"));
}

async fn whoever_may_not_in_is_challenged_all_the_same(world: World) {
    let world = world.start_with(&acme()).await;
    let wrong = try_as(&world, ("pump", "pencils")).await;
    assert!(refusal(&wrong.answer).contains("does not know the password"));
    let wrong = wrong.shown.unwrap();
    for username in ["nobody", "bare", "locked", "off"] {
        let tried = try_as(&world, (username, "pencil")).await;
        let reason = refusal(&tried.answer);
        assert!(reason.contains("no credential that counts"), "{username}: {reason}");
        let shown = tried.shown.unwrap();
        assert_eq!(shown.len(), wrong.len(), "{username}");
        assert!(shown.ends_with(",i=4096") && shown != wrong, "{username}: {shown}");
    }
    for tenant in ["closed", "other", "nowhere"] {
        let named = |it: &mut ConnectAttempt| it.identity.tenant = Some(tenant.into());
        let tried = try_with(world.directory(), ("pump", "pencil"), named).await;
        assert!(refusal(&tried.answer).contains("no credential"), "{tenant}");
        assert!(tried.shown.is_some_and(|shown| shown.len() == wrong.len()), "{tenant}");
    }
}

async fn the_salt_of_a_stranger_is_the_same_on_every_broker(world: World) {
    let world = world.start_with(&acme()).await;
    let other = Directory::start(world.settings.clone());
    other.readiness().wait_for(|it| *it == Readiness::Ready).await.unwrap();
    let here = try_as(&world, ("nobody", "x")).await.shown.unwrap();
    let there = try_with(&other, ("nobody", "y"), |_| ()).await.shown.unwrap();
    assert_eq!(here, there);
    assert_ne!(here, try_as(&world, ("somebody", "x")).await.shown.unwrap());
}

async fn a_change_counts_from_the_next_authentication_on(world: World) {
    let world = world.start_with(&acme()).await;
    assert!(try_as(&world, ("pump", "pencil")).await.is_mutual);
    let update = format!("UPDATE credentials SET secret = '{}'", secret("brush"));
    world.execute(&update).await.unwrap();
    assert_eq!(try_as(&world, ("pump", "pencil")).await.username(), None);
    assert_eq!(try_as(&world, ("pump", "brush")).await.username(), Some("pump"));
    world.execute("UPDATE credentials SET enabled = false").await.unwrap();
    assert_eq!(try_as(&world, ("pump", "brush")).await.username(), None);
    world.execute("UPDATE credentials SET enabled = true").await.unwrap();
    assert_eq!(try_as(&world, ("pump", "brush")).await.username(), Some("pump"));
    world.execute("DELETE FROM credentials").await.unwrap();
    assert_eq!(try_as(&world, ("pump", "brush")).await.username(), None);
}

async fn credentials_follow_their_principal_and_go_with_it(world: World) {
    let world = world.start_with(&acme()).await;
    let rename = "UPDATE principals SET username = 'valve' WHERE username = 'pump'";
    world.execute(rename).await.unwrap();
    assert_eq!(try_as(&world, ("pump", "pencil")).await.username(), None);
    assert_eq!(try_as(&world, ("valve", "pencil")).await.username(), Some("valve"));
    world.execute("DELETE FROM principals WHERE username = 'valve'").await.unwrap();
    world
        .execute("INSERT INTO principals (tenant, username) VALUES ('acme', 'valve')")
        .await
        .unwrap();
    assert_eq!(try_as(&world, ("valve", "pencil")).await.username(), None);
}

async fn nonsense_is_no_credential(world: World) {
    Database::open(&world.settings).migrate().await.unwrap();
    world.execute(&acme()).await.unwrap();
    let insert = |username: &str, kind: &str, secret: &str| {
        format!(
            "INSERT INTO credentials (tenant, username, kind, secret)
             VALUES ('acme', '{username}', '{kind}', '{secret}')"
        )
    };
    let good = secret("pencil");
    let secrets = [
        "",
        "pencil",
        &good.replace("256$", "1$"),
        &good.replace("4096", "0"),
        &good.replace("4096", "x"),
        &good.replace(":", "$"),
        &good[..good.len() - 1],
        &format!("{good} "),
        &format!("{good}\n"),
        &format!("x{good}"),
    ];
    let mut nonsense: Vec<_> =
        secrets.iter().map(|secret| insert("bare", "scram-sha-256", secret)).collect();
    nonsense.push(insert("bare", "scram-sha-1", &good));
    nonsense.push(insert("nobody", "scram-sha-256", &good));
    nonsense.push(insert("pump", "scram-sha-256", &good));
    for sql in nonsense {
        assert!(world.execute(&sql).await.is_err(), "{sql}");
    }
    world.execute(&insert("bare", "scram-sha-256", &good)).await.unwrap();
}

async fn changes_are_logged_without_the_secret(world: World) {
    Database::open(&world.settings).migrate().await.unwrap();
    world.execute(&acme()).await.unwrap();
    world.execute("DELETE FROM change_log").await.unwrap();
    let logged = |what: &str| format!("change_log WHERE username = 'bare' AND what = '{what}'");
    world.execute(&credential("acme", "bare", "pencil")).await.unwrap();
    assert_eq!(world.count(&logged("credentials insert")).await, 1);
    world.execute("UPDATE credentials SET enabled = false WHERE username = 'bare'").await.unwrap();
    assert_eq!(world.count(&logged("credentials update")).await, 1);
    world.execute("DELETE FROM credentials WHERE username = 'bare'").await.unwrap();
    assert_eq!(world.count(&logged("credentials delete")).await, 1);
    assert_eq!(world.count("change_log").await, 3);
}

async fn a_secret_that_cannot_be_read_and_a_database_that_is_away_refuse(world: World) {
    let world = world.start_with(&acme()).await;
    let failed = |tried: Try| match tried.answer {
        Err(failure) => failure,
        Ok(answer) => panic!("no failure: {answer:?}"),
    };
    let unreadable = secret("pencil").replace("4096", "9999999999");
    world.execute(&format!("UPDATE credentials SET secret = '{unreadable}'")).await.unwrap();
    let failure = failed(try_as(&world, ("pump", "pencil")).await);
    assert_eq!(failure.kind, FailureKind::Error);
    assert!(!failure.to_string().contains("9999"), "{failure}");
    world.execute("DELETE FROM broker_secrets").await.unwrap();
    assert_eq!(failed(try_as(&world, ("nobody", "x")).await).kind, FailureKind::Error);
    world.execute("DROP TABLE credentials").await.unwrap();
    let failure = failed(try_as(&world, ("pump", "pencil")).await);
    assert_eq!(failure.kind, FailureKind::Unavailable);
}

async fn who_is_somebody_else_in_the_same_connect_is_refused(world: World) {
    let world = world.start_with(&acme()).await;
    let pump = ("pump", "pencil");
    let same = |it: &mut ConnectAttempt| {
        it.username = Some("pump".into());
        it.identity.username = Some("pump".into());
    };
    assert_eq!(try_with(world.directory(), pump, same).await.username(), Some("pump"));
    let claims_other = |it: &mut ConnectAttempt| it.username = Some("bare".into());
    let vouched_other = |it: &mut ConnectAttempt| it.identity.username = Some("bare".into());
    for tried in [
        try_with(world.directory(), pump, claims_other).await,
        try_with(world.directory(), pump, vouched_other).await,
    ] {
        assert!(refusal(&tried.answer).contains("somebody else"));
        assert_eq!(tried.shown, None);
    }
}

async fn other_methods_and_none_are_passed_on(world: World) {
    let world = world.start_with("").await;
    let other = |method: &str| {
        let client = Answering(ScramClient::new("pump", "pencil"), Arc::default());
        Some(Authentication::new(method.into(), Secret::default(), Arc::new(client)))
    };
    for authentication in [None, other("SCRAM-SHA-1"), other("scram-sha-256")] {
        let answer = step(world.directory()).connect(&attempt(authentication)).await;
        assert_eq!(answer, Ok(ConnectVerdict::Next(Default::default())));
    }
    let opening = Secret::new(b"n,,".to_vec());
    let client = Answering(ScramClient::new("pump", "pencil"), Arc::default());
    let malformed = Authentication::new("SCRAM-SHA-256".into(), opening, Arc::new(client));
    let answer = step(world.directory()).connect(&attempt(Some(malformed))).await;
    assert!(refusal(&answer).contains("malformed"));
}
