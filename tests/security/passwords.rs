//! User names and passwords: who is let in by them, and who is not.

use ProtocolVersion::{V5, V311};
use hookmq_codec::{Connect, ProtocolVersion, Qos, ReasonCode};
use hookmq_tests::client::{Client, connect, publish};
use hookmq_tests::guarded::{Guarded, connack_of, secret};
use hookmq_tests::wait::wait_until;

use crate::Bystanders;

const STEP: &str = "{builtin: password, config: {tenant: acme}}";

/// Made of `pencil` by mosquitto_passwd, by bcrypt's Python package, and by mosquitto-go-auth's rule.
const BROUGHT_ALONG: [(&str, &str); 3] = [
    (
        "mosquitto",
        "$7$101$b59SrLZ+qQCs1J58$WSEvGfWDtugKUc7MxEfxrmS/D509xV70CuvcRTpO5rQxtUNfhV8QFwCzqtJ4y8PoYE4dqZkBVL+d6AJc7wJg5Q==",
    ),
    ("bcrypt", "$2b$04$4X4/ioQv9//2TeC21XCj..FhK8xI9vZ2MllL1xJePAPFOJUMPrM3."),
    (
        "go-auth",
        "PBKDF2$sha512$1000$c2FsdHNhbHRzYWx0$mBU9rVuDZOTNPoli3/NGfrX9GAr4wNXWqIwiXMFrz8+w1X8vNVd33xlvWEeFfzoh2zJbIsq4OS0J1Kr5U/PxZg==",
    ),
];

/// `pump` has the password `canary-7`, and so has `locked`, where it is turned off.
fn guarded(step: &str, sections: &str) -> Guarded {
    let guarded = Guarded::with_step(step, sections);
    let hash = secret(&["password"], "canary-7");
    for (username, secret, enabled) in [("pump", &*hash, 1), ("locked", &hash, 0)] {
        guarded.execute(&credential(username, secret, enabled));
    }
    for (username, secret) in BROUGHT_ALONG {
        guarded.execute(&format!(
            "INSERT INTO principals (tenant, username) VALUES ('acme', '{username}');"
        ));
        guarded.execute(&credential(username, secret, 1));
    }
    guarded
}

fn credential(username: &str, secret: &str, enabled: u8) -> String {
    format!(
        "INSERT INTO credentials (tenant, username, kind, secret, enabled)
         VALUES ('acme', '{username}', 'password', '{secret}', {enabled});"
    )
}

fn with<'a>(
    version: ProtocolVersion,
    username: Option<&'a str>,
    password: Option<&'a [u8]>,
) -> Connect<'a> {
    Connect { username, password, ..connect(version, username.unwrap_or("device")) }
}

#[track_caller]
fn answer(guarded: &Guarded, connect: Connect<'_>) -> ReasonCode {
    let (_, answer) = Client::attempt(guarded.address, connect);
    connack_of(&answer).reason_code
}

#[test]
fn who_knows_the_password_is_let_in_and_nobody_else() {
    let guarded = guarded(STEP, "log: {level: debug}");
    let nothing: &[u8] = b"";
    for version in [V311, V5] {
        let right = with(version, Some("pump"), Some(b"canary-7"));
        let (mut client, _) = Client::connect(guarded.address, right);
        client.publish(publish("open/a", b"x", Qos::AtLeastOnce));
        for (username, _) in BROUGHT_ALONG {
            let connect = with(version, Some(username), Some(b"pencil"));
            assert_eq!(answer(&guarded, connect), ReasonCode::Success, "{username}");
        }
        let long = [b'x'; 60_000];
        let wrong: [(Option<&str>, Option<&[u8]>); 9] = [
            (Some("pump"), Some(b"canary-8")),
            (Some("pump"), Some(nothing)),
            (Some("pump"), None),
            (Some("pump"), Some(&long)),
            (Some("PUMP"), Some(b"canary-7")),
            (Some("nobody"), Some(b"canary-7")),
            // Has a credential of another kind.
            (Some("valve"), Some(b"pencil")),
            (Some("locked"), Some(b"canary-7")),
            (None, None),
        ];
        for (username, password) in wrong {
            let refused = answer(&guarded, with(version, username, password));
            assert_eq!(refused, ReasonCode::NotAuthorized, "{version:?} {username:?}");
        }
    }
    // What the table holds may be worth a look; what the client sent is not for the log.
    let log = guarded.broker.log();
    assert!(log.contains("the password is wrong"), "{log}");
    for secret in ["canary", "$argon2", "$2b$", "$7$101", "pencil"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[test]
fn a_password_that_is_changed_or_turned_off_counts_from_the_next_connection_on() {
    let guarded = guarded(STEP, "");
    let pump = |password| answer(&guarded, with(V5, Some("pump"), Some(password)));
    let hash = secret(&["password"], "another");
    guarded.execute(&format!(
        "UPDATE credentials SET secret = '{hash}' WHERE username = 'pump' AND kind = 'password';"
    ));
    assert_eq!(pump(b"canary-7"), ReasonCode::NotAuthorized);
    assert_eq!(pump(b"another"), ReasonCode::Success);
    guarded.execute("UPDATE credentials SET enabled = 0 WHERE username = 'pump';");
    assert_eq!(pump(b"another"), ReasonCode::NotAuthorized);
}

/// The password decides, whatever the others think: `required` beside an open door is no way around it.
#[test]
fn no_password_is_a_wrong_password() {
    let steps = "{builtin: anonymous, config: {tenant: acme, username: pump}}
    - {builtin: password}";
    let guarded = guarded(steps, "");
    assert_eq!(answer(&guarded, with(V5, None, None)), ReasonCode::NotAuthorized);
    assert_eq!(answer(&guarded, with(V5, Some("pump"), None)), ReasonCode::NotAuthorized);
    // Somebody else than the step before says.
    let valve = with(V5, Some("bcrypt"), Some(b"pencil"));
    assert_eq!(answer(&guarded, valve), ReasonCode::NotAuthorized);
    let pump = with(V5, Some("pump"), Some(b"canary-7"));
    assert_eq!(answer(&guarded, pump), ReasonCode::Success);
}

#[test]
fn a_sufficient_step_leaves_the_word_to_the_next() {
    let steps = "{builtin: password, control: sufficient, config: {tenant: acme}}
    - {builtin: scram, control: sufficient, config: {tenant: acme, iterations: 4096}}";
    let guarded = guarded(steps, "");
    guarded.client("valve");
    let pump = with(V5, Some("pump"), Some(b"canary-7"));
    assert_eq!(answer(&guarded, pump), ReasonCode::Success);
    let pump = with(V5, Some("pump"), Some(b"canary-8"));
    assert_eq!(answer(&guarded, pump), ReasonCode::NotAuthorized);
}

#[test]
fn many_wrong_passwords_at_once_end_nobody_elses_connection() {
    let guarded = guarded(STEP, "limits: {pending_authentications: 8}");
    guarded.execute(
        "INSERT INTO permissions (tenant, subject_kind, action, filter) VALUES
         ('acme', 'everyone', 'publish', 'bystanders'), ('acme', 'everyone', 'subscribe', 'bystanders');",
    );
    let mut bystanders = Bystanders::of(|client_id| {
        let pump = Connect {
            username: Some("pump"),
            password: Some(b"canary-7"),
            ..connect(V5, client_id)
        };
        Client::connect(guarded.address, pump).0
    });
    let attackers: Vec<_> = (0..64)
        .map(|_| {
            let mut client = Client::open(guarded.address, V5);
            let connect = with(V5, Some("nobody"), Some(b"guess"));
            client.send(&hookmq_codec::Packet::Connect(Box::new(connect)));
            client
        })
        .collect();
    bystanders.exchange();
    drop(attackers);
    bystanders.exchange();
}

/// Of the step `password`.
fn checks(guarded: &Guarded, what: &str) -> u64 {
    let checks = guarded.broker.admin().metric_with(&format!("step_checks_{what}"), &[]);
    checks.expect("the step is asked")
}

#[test]
fn logins_beyond_the_bounds_wait_or_are_refused_without_a_check() {
    const CROWD: usize = 64;
    const SECTIONS: &str = "limits: {pending_authentications: 8, connect_timeout_ms: 60000}
abuse: {failures_per_address: 0, failures_per_username: 0}";
    let step = "{builtin: password, config: {tenant: acme, checks: 1}}";
    let guarded = guarded(step, SECTIONS);
    let mut crowd: Vec<_> = (0..CROWD)
        .map(|number| {
            let mut client = Client::open(guarded.address, V5);
            let username = ["pump", "nobody"][number % 2];
            let connect = with(V5, Some(username), Some(b"guess"));
            client.send(&hookmq_codec::Packet::Connect(Box::new(connect)));
            client
        })
        .collect();
    let mut most = 0;
    let all_are_answered = || {
        most = most.max(checks(&guarded, "running"));
        let refused = guarded.broker.admin().metric("connections_refused_total");
        (refused == CROWD as u64).then_some(())
    };
    wait_until("all are answered", all_are_answered);
    assert!(most <= 1, "{most} checks at once");
    let codes = crowd.iter_mut().map(|it| connack_of(&it.receive()).reason_code);
    let (busy, denied): (Vec<_>, Vec<_>) = codes.partition(|code| *code == ReasonCode::ServerBusy);
    assert!(denied.iter().all(|code| *code == ReasonCode::NotAuthorized), "{denied:?}");
    // As many as may wait have been tried at the least, and not all had room.
    assert!(denied.len() >= 8 && !busy.is_empty(), "{} of {CROWD} were tried", denied.len());
    assert_eq!(checks(&guarded, "total"), denied.len() as u64);
    let shed =
        guarded.broker.admin().metric("connections_shed_total{bound=\"pending_authentications\"}");
    assert_eq!(shed, busy.len() as u64);
}
