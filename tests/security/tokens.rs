//! Tokens: who is let in by them, until when, and what they may do.

use ProtocolVersion::{V5, V311};
use hookmq_codec::{Connect, ProtocolVersion, Qos, ReasonCode};
use hookmq_tests::client::{Client, connect, publish};
use hookmq_tests::guarded::{Guarded, auth, auth_of, connack_of, connect_by};
use hookmq_tests::tokens::{Answer, Issuer, KeyServer, now};
use hookmq_tests::wait::wait_until;
use serde_json::json;

const PATIENT: &str = "abuse: {failures_per_address: 0, failures_per_username: 0}";

/// A broker whose clients show tokens of `issuer`; `more` are keys of the step's configuration.
fn guarded(issuer: &Issuer, more: &str) -> (Guarded, KeyServer) {
    let keys = KeyServer::of(issuer);
    let guarded = Guarded::with_step(&keys.step("required", "", more), PATIENT);
    (guarded, keys)
}

fn with<'a>(version: ProtocolVersion, client_id: &'a str, token: &'a str) -> Connect<'a> {
    Connect { password: Some(token.as_bytes()), ..named(version, client_id, None) }
}

fn named<'a>(
    version: ProtocolVersion,
    client_id: &'a str,
    username: Option<&'a str>,
) -> Connect<'a> {
    // A password of 3.1.1 needs a user name beside it.
    let username = username.or((version == V311).then_some("pump"));
    Connect { username, ..connect(version, client_id) }
}

#[track_caller]
fn answer(guarded: &Guarded, connect: Connect<'_>) -> ReasonCode {
    let (_, answer) = Client::attempt(guarded.address, connect);
    connack_of(&answer).reason_code
}

#[test]
fn who_shows_a_good_token_is_let_in_and_nobody_else() {
    let (issuer, stranger) = (Issuer::new("a"), Issuer::new("a"));
    let keys = KeyServer::of(&issuer);
    let sections = format!("log: {{level: trace}}\n{PATIENT}");
    let guarded = Guarded::with_step(&keys.step("required", "", ""), &sections);
    let good = issuer.token_for("pump");
    let expired = issuer.token(&json!({"sub": "pump", "exp": now() - 60}));
    let unlimited = issuer.token(&json!({"sub": "pump"}));
    let nobody = issuer.token_for("nobody");
    let forged = stranger.token_for("pump");
    let cut = &good[..good.len() - 1];
    let long = "x".repeat(60_000);
    for version in [V311, V5] {
        let (mut client, _) = Client::connect(guarded.address, with(version, "device", &good));
        client.publish(publish("open/a", b"x", Qos::AtLeastOnce));
        for bad in ["", "canary", &expired, &unlimited, &forged, cut, &long] {
            let refused = answer(&guarded, with(version, "device", bad));
            assert_eq!(refused, ReasonCode::NotAuthorized, "{version:?} {bad:.80}");
        }
        let refused = answer(&guarded, named(version, "device", Some("pump")));
        assert_eq!(refused, ReasonCode::NotAuthorized, "no token");
        let valve = Connect { username: Some("valve"), ..with(version, "device", &good) };
        let refused = answer(&guarded, valve);
        assert_eq!(refused, ReasonCode::BadUserNameOrPassword, "CONNECT names somebody else");
        let nobody = Connect { username: Some("nobody"), ..with(version, "device", &nobody) };
        assert_eq!(
            answer(&guarded, nobody),
            ReasonCode::NotAuthorized,
            "there is no such principal"
        );
    }
    let log = guarded.broker.log();
    assert!(log.contains("the token has expired"), "{log}");
    let parts = [&good, &expired, &forged].into_iter().flat_map(|token| token.split('.').skip(1));
    for secret in parts.chain(["canary"]) {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[test]
fn a_user_name_that_is_a_token_stays_out_of_the_log() {
    let issuer = Issuer::new("a");
    let keys = KeyServer::of(&issuer);
    let sections = format!("log: {{level: trace}}\n{PATIENT}");
    let step = keys.step("required", "", "token_from: username");
    let guarded = Guarded::with_step(&step, &sections);
    let good = issuer.token_for("pump");
    let expired = issuer.token(&json!({"sub": "pump", "exp": now() - 60}));
    for version in [V311, V5] {
        assert_eq!(answer(&guarded, named(version, "a", Some(&good))), ReasonCode::Success);
        let refused = answer(&guarded, named(version, "a", Some(&expired)));
        assert_eq!(refused, ReasonCode::NotAuthorized);
    }
    guarded.broker.wait_for_log("the token has expired");
    let log = guarded.broker.log();
    for token in [&good, &expired] {
        for part in token.split('.') {
            assert!(!log.contains(part), "{part} is in the log: {log}");
        }
    }
}

#[test]
fn a_connection_ends_with_its_token() {
    let issuer = Issuer::new("a");
    let (guarded, _keys) = guarded(&issuer, "leeway_s: 0");
    let token = issuer.token(&json!({"sub": "pump", "exp": now() + 5}));
    let (mut older, _) = Client::connect(guarded.address, with(V311, "older", &token));
    let (mut newer, _) = Client::connect(guarded.address, with(V5, "newer", &token));
    newer.expect_disconnected(ReasonCode::MaximumConnectTime);
    older.expect_closed();
    for version in [V311, V5] {
        let again = answer(&guarded, with(version, "again", &token));
        assert_eq!(again, ReasonCode::NotAuthorized);
    }
}

fn by_method<'a>(client_id: &'a str, token: &'a str) -> Connect<'a> {
    connect_by("JWT", client_id, Some(token.as_bytes()))
}

/// Shows another token.
fn renew(client: &mut Client, token: &str) {
    client.send(&auth(ReasonCode::ReAuthenticate, "JWT", token.as_bytes()));
}

#[test]
fn a_new_token_in_auth_puts_the_end_off_and_its_permissions_in_force() {
    let issuer = Issuer::new("a");
    let more = "leeway_s: 0, authentication_method: JWT, permissions_from: token";
    let (guarded, _keys) = guarded(&issuer, more);
    let token = |exp: u64, filter: &str| {
        let permissions = json!([{"action": ["publish", "subscribe"], "filter": filter}]);
        issuer.token(&json!({"sub": "pump", "exp": exp, "permissions": permissions}))
    };
    let short = token(now() + 5, "a/#");
    let (mut renewed, _) = Client::connect(guarded.address, by_method("renewed", &short));
    let (mut other, _) = Client::connect(guarded.address, by_method("other", &short));
    assert_eq!(may(&mut renewed, &["a/1", "b/1"]), [true, false]);
    renew(&mut renewed, &token(now() + 3600, "b/#"));
    let done = renewed.receive_where(|it| matches!(it, hookmq_codec::Packet::Auth(_)));
    assert_eq!(auth_of(&done).reason_code, ReasonCode::Success);
    assert_eq!(may(&mut renewed, &["a/1", "b/1"]), [false, true]);
    other.expect_disconnected(ReasonCode::MaximumConnectTime);
    assert_eq!(may(&mut renewed, &["b/1"]), [true], "it has outlived its first token");
}

#[test]
fn a_token_in_auth_that_is_bad_or_somebody_elses_ends_the_connection() {
    let issuer = Issuer::new("a");
    let (guarded, _keys) = guarded(&issuer, "authentication_method: JWT");
    let expired = issuer.token(&json!({"sub": "pump", "exp": now() - 60}));
    let forged = Issuer::new("a").token_for("pump");
    for token in [&issuer.token_for("valve"), &expired, &forged, "", "x"] {
        let good = issuer.token_for("pump");
        let (mut client, _) = Client::connect(guarded.address, by_method("pump", &good));
        renew(&mut client, token);
        client.expect_disconnected(ReasonCode::NotAuthorized);
    }
    let (mut client, _) =
        Client::connect(guarded.address, by_method("pump", &issuer.token_for("pump")));
    renew(&mut client, &issuer.token_for("pump"));
    let done = client.receive();
    assert_eq!(auth_of(&done).reason_code, ReasonCode::Success);
    // Who has named no method cannot; one that no step knows is refused.
    let (mut plain, _) =
        Client::connect(guarded.address, with(V5, "plain", &issuer.token_for("pump")));
    renew(&mut plain, &issuer.token_for("pump"));
    plain.expect_disconnected(ReasonCode::ProtocolError);
    let other = connect_by("jwt", "pump", None);
    assert_eq!(answer(&guarded, other), ReasonCode::BadAuthenticationMethod);
}

/// Whether `client` may publish to each of these topics.
fn may(client: &mut Client, topics: &[&str]) -> Vec<bool> {
    let topics = topics.iter();
    let publish = |topic: &&str| client.publish(publish(topic, b"x", Qos::AtLeastOnce));
    topics.map(publish).map(|code| code != ReasonCode::NotAuthorized).collect()
}

#[test]
fn permissions_of_a_token_stand_for_those_of_the_database_or_beside_them() {
    let issuer = Issuer::new("a");
    let permissions = json!([
        {"action": "publish", "filter": "own/{username}/#"},
        {"action": "publish", "filter": "open/closed", "effect": "deny"},
        {"action": "publish", "filter": "own/pump/low", "max_qos": 0},
    ]);
    let claims = json!({"sub": "pump", "exp": now() + 3600, "permissions": permissions});
    let (token, none) = (issuer.token(&claims), issuer.token_for("pump"));
    let topics = ["open/a", "open/closed", "own/pump/1", "own/pump/low", "own/valve/1"];
    for (from, expected, expected_of_none) in [
        ("database", [true, true, false, false, false], [true, true, false, false, false]),
        ("token", [false, false, true, false, false], [false; 5]),
        ("both", [true, false, true, false, false], [true, true, false, false, false]),
    ] {
        let (guarded, _keys) = guarded(&issuer, &format!("permissions_from: {from}"));
        let (mut client, _) = Client::connect(guarded.address, with(V5, "a", &token));
        assert_eq!(may(&mut client, &topics), expected, "{from}");
        let (mut client, _) = Client::connect(guarded.address, with(V5, "b", &none));
        assert_eq!(may(&mut client, &topics), expected_of_none, "{from}");
        let malformed = json!([{"action": "publish", "filter": "a", "until": "noon"}]);
        let malformed = json!({"sub": "pump", "exp": now() + 3600, "permissions": malformed});
        let refused = answer(&guarded, with(V5, "c", &issuer.token(&malformed)));
        assert_eq!(refused == ReasonCode::Success, from == "database", "{from}");
        // The principal must be there, whatever the token says.
        guarded.execute("UPDATE principals SET enabled = 0 WHERE username = 'pump';");
        client.expect_disconnected(ReasonCode::NotAuthorized);
    }
}

/// Of a key set that is asked often, and kept for the whole test.
const EAGER: &str = "refresh_ms: 20, ask_again_ms: 20, timeout_ms: 200";

#[test]
fn a_key_that_is_rotated_is_found_and_one_that_is_gone_counts_no_more() {
    let (old, new) = (Issuer::new("old"), Issuer::new("new"));
    let keys = KeyServer::of(&old);
    let step = keys.step("required", "refresh_ms: 3600000, ask_again_ms: 20", "");
    let guarded = Guarded::with_step(&step, PATIENT);
    let is_in = |issuer: &Issuer| {
        answer(&guarded, with(V5, "a", &issuer.token_for("pump"))) == ReasonCode::Success
    };
    assert!(is_in(&old) && !is_in(&new));
    keys.answers(Answer::Keys(vec![old.jwk(), new.jwk()]));
    wait_until("the new key is known", || is_in(&new).then_some(()));
    assert!(is_in(&old));
    keys.answers(Answer::Keys(vec![new.jwk()]));
    let unknown = Issuer::new("unknown");
    wait_until("the old key is revoked", || (!is_in(&unknown) && !is_in(&old)).then_some(()));
    assert!(is_in(&new));
}

/// Whoever gets nothing useful from a place goes on with what it had, and without has nobody in.
#[test]
fn a_place_of_keys_that_misbehaves_lets_nobody_in_and_locks_nobody_out() {
    let issuer = Issuer::new("a");
    let elsewhere = KeyServer::of(&issuer);
    let set = json!({"keys": [issuer.jwk()]}).to_string();
    let response = |status: &str, body: &str| {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{body}").into_bytes()
    };
    let redirect =
        format!("HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", elsewhere.url());
    let huge = format!("\r\n{set}{}", " ".repeat(300_000));
    let misbehaviour = [
        ("hangs", Answer::Nothing),
        ("shuts", Answer::Raw(vec![])),
        ("speaks no HTTP", Answer::Raw(b"canary".to_vec())),
        (
            "is in trouble",
            Answer::Raw(response("500 Internal Server Error", &format!("\r\n{set}"))),
        ),
        ("talks nonsense", Answer::Raw(response("200 OK", "\r\n<html>"))),
        ("talks too much", Answer::Raw(response("200 OK", &huge))),
        ("leads elsewhere", Answer::Raw(redirect.into_bytes())),
        ("has no keys", Answer::Keys(vec![])),
    ];
    let token = issuer.token_for("pump");
    let keys = KeyServer::of(&issuer);
    let known = Guarded::with_step(&keys.step("required", EAGER, ""), PATIENT);
    assert_eq!(answer(&known, with(V5, "a", &token)), ReasonCode::Success);
    let stranger = KeyServer::start(Answer::Nothing);
    let unknown = Guarded::with_step(&stranger.step("required", EAGER, ""), PATIENT);
    for (what, misbehaviour) in misbehaviour {
        for (place, guarded, expected) in [
            (&keys, &known, ReasonCode::Success),
            (&stranger, &unknown, ReasonCode::ServerUnavailable),
        ] {
            place.answers(misbehaviour.clone());
            let before = place.asked();
            wait_until("it has been asked", || (place.asked() >= before + 2).then_some(()));
            assert_eq!(answer(guarded, with(V5, "a", &token)), expected, "it {what}");
        }
    }
    assert_eq!(elsewhere.asked(), 0, "nobody follows");
    stranger.answers(Answer::Keys(vec![issuer.jwk()]));
    let is_in = || answer(&unknown, with(V5, "a", &token)) == ReasonCode::Success;
    wait_until("it has come to its senses", || is_in().then_some(()));
    unknown.broker.wait_for_log("key set read");
    assert!(!unknown.broker.log().contains("canary"), "neither what it says nor the url's query");
}

/// What strangers send has the keys asked for once, not once for each.
#[test]
fn strangers_do_not_have_the_place_of_keys_asked() {
    let (issuer, stranger) = (Issuer::new("a"), Issuer::new("b"));
    let (guarded, keys) = guarded(&issuer, "");
    let good = issuer.token_for("pump");
    assert_eq!(answer(&guarded, with(V5, "a", &good)), ReasonCode::Success);
    let before = keys.asked();
    for _ in 0..50 {
        let refused = answer(&guarded, with(V5, "a", &stranger.token_for("pump")));
        assert_eq!(refused, ReasonCode::NotAuthorized);
    }
    assert!(keys.asked() <= before + 1, "asked {} times", keys.asked() - before);
}

#[test]
fn a_client_id_belongs_to_who_the_token_says() {
    let issuer = Issuer::new("a");
    let claims = json!({"sub": "pump", "exp": now() + 3600, "device": "d1"});
    let token = issuer.token(&claims);
    for (rule, own, foreign) in [
        ("{device}", "d1", "d2"),
        ("{device}-*", "d1-x", "d2-x"),
        ("{sub}/{device}", "pump/d1", "d1"),
    ] {
        let (guarded, _keys) = guarded(&issuer, &format!("client_id: \"{rule}\""));
        for version in [V311, V5] {
            assert_eq!(answer(&guarded, with(version, own, &token)), ReasonCode::Success, "{rule}");
            let refused = answer(&guarded, with(version, foreign, &token));
            assert_eq!(refused, ReasonCode::ClientIdentifierNotValid, "{rule}");
            let without = issuer.token_for("pump");
            let refused = answer(&guarded, with(version, own, &without));
            assert_eq!(refused, ReasonCode::NotAuthorized, "{rule}: the token names no device");
        }
    }
}

/// Without a database, the token alone says who the client is and what it may do.
#[test]
fn a_token_needs_no_database() {
    use hookmq_tests::broker::{Broker, directory};

    let issuer = Issuer::new("a");
    let keys = KeyServer::of(&issuer);
    let step = keys.step("required", "", "permissions_from: token, permissions_claim: acl");
    let yaml = format!(
        "data_dir: data
listeners: [{{name: plain, bind: \"tcp://127.0.0.1:0\"}}]
pipeline:
  connect: [{step}]
  authorize: [{{builtin: jwt}}, {{builtin: open}}]
"
    );
    let broker = Broker::with_config(&yaml, directory());
    let acl = json!([
        {"action": ["publish", "subscribe"], "filter": "own/{username}/#"},
        {"action": "publish", "filter": "own/pump/retained", "retain": false},
    ]);
    let claims = json!({"sub": "pump", "exp": now() + 3600, "acl": acl});
    let token = issuer.token(&claims);
    let (mut client, _) = Client::connect(broker.address("plain"), with(V5, "a", &token));
    client.subscribe("own/pump/#", Qos::AtLeastOnce);
    assert_eq!(may(&mut client, &["own/pump/1", "own/valve/1", "a"]), [true, false, false]);
    let retained = hookmq_codec::Publish {
        retain: true,
        ..publish("own/pump/retained", b"x", Qos::AtLeastOnce)
    };
    assert_eq!(client.publish(retained), ReasonCode::NotAuthorized);
}
