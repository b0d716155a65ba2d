//! Attacks on enhanced authentication.

use hookmq_codec::{Packet, ProtocolVersion, Qos, ReasonCode};
use hookmq_tests::client::{Client, connect_to_session, publish};
use hookmq_tests::guarded::{
    Guarded, PASSWORD, SCRAM, auth, auth_of, begin_again, connack_of, connect_by, data_of,
};
use hookmq_tests::scram::ScramClient;
use hookmq_tests::wait::wait_until;

use crate::MIB;
use ReasonCode::{ContinueAuthentication, NotAuthorized, ReAuthenticate, Success};

const LIMITS: &str = "limits: {connect_timeout_ms: 1000}";

fn pump() -> ScramClient {
    ScramClient::new("pump", PASSWORD)
}

#[test]
fn what_was_heard_of_one_exchange_does_not_open_another() {
    let guarded = Guarded::new("");
    let scram = pump();
    let (mut client, challenge) = guarded.begin("pump", &scram);
    let heard = scram.last(data_of(&challenge)).message;
    client.send(&auth(ContinueAuthentication, SCRAM, heard.as_bytes()));
    assert_eq!(connack_of(&client.receive()).reason_code, Success);
    let (mut replayer, challenge) = guarded.begin("pump", &scram);
    replayer.send(&auth(ContinueAuthentication, SCRAM, heard.as_bytes()));
    assert_eq!(connack_of(&replayer.receive()).reason_code, NotAuthorized);
    replayer.expect_closed();
    // The old proof under the new nonce.
    let (mut replayer, _) = guarded.begin("pump", &scram);
    let proof = heard.split_once(",p=").map(|(_, proof)| proof).unwrap_or_default();
    let challenge = data_of(&challenge);
    let nonce = str::from_utf8(&challenge).ok().and_then(|it| it.split(',').next());
    let forged = format!("c=biws,{},p={proof}", nonce.unwrap_or_default());
    replayer.send(&auth(ContinueAuthentication, SCRAM, forged.as_bytes()));
    assert_eq!(connack_of(&replayer.receive()).reason_code, NotAuthorized);
    client.expect_nothing();
}

#[test]
fn garbage_in_every_place_is_refused() {
    let guarded = Guarded::new("");
    let long = [b'x'; 60_000];
    let garbage: [&[u8]; 8] =
        [b"", b"\0", b"\xff\xfe", b",,,,", b"n,,n=,r=", b"p=x,,n=pump,r=x", b"c=biws,r=,p=", &long];
    for data in garbage.iter().map(|data| Some(*data)).chain([None]) {
        let connect = connect_by(SCRAM, "pump", data);
        let (mut client, answer) = Client::attempt(guarded.address, connect);
        assert_eq!(connack_of(&answer).reason_code, NotAuthorized);
        client.expect_closed();
    }
    let mut bystander = guarded.client("valve");
    for data in garbage {
        let (mut client, _challenge) = guarded.begin("pump", &pump());
        client.send(&auth(ContinueAuthentication, SCRAM, data));
        assert_eq!(connack_of(&client.receive()).reason_code, NotAuthorized);
        client.expect_closed();
        let mut client = guarded.client("pump");
        client.send(&auth(ReAuthenticate, SCRAM, data));
        client.expect_disconnected(NotAuthorized);
        let mut client = guarded.client("pump");
        begin_again(&mut client, &pump());
        client.send(&auth(ContinueAuthentication, SCRAM, data));
        client.expect_disconnected(NotAuthorized);
    }
    bystander.expect_nothing();
}

#[test]
fn an_exchange_that_is_abandoned_is_closed_in_time() {
    let guarded = Guarded::new(LIMITS);
    let (mut silent, _challenge) = guarded.begin("silent", &pump());
    silent.expect_closed();
    let (mut hesitant, _challenge) = guarded.begin("hesitant", &pump());
    hesitant.send_raw(&[0xF0, 40, 0x18]);
    hesitant.expect_closed();
    // After CONNACK the client may go on meanwhile, but not for longer.
    let mut client = guarded.client("pump");
    client.subscribe("open/a", Qos::AtLeastOnce);
    begin_again(&mut client, &pump());
    client.publish(publish("open/a", b"x", Qos::AtMostOnce));
    client.expect_message("open/a", b"x");
    client.expect_disconnected(NotAuthorized);
}

#[test]
fn who_fails_does_not_disturb_whose_client_id_it_claims() {
    let guarded = Guarded::new("");
    let mut owner = guarded.client("pump");
    let wrong = ScramClient::new("pump", "pencils");
    let (mut thief, answer) = guarded.attempt("pump", &wrong);
    assert_eq!(connack_of(&answer).reason_code, NotAuthorized);
    thief.expect_closed();
    let (mut thief, _challenge) = guarded.begin("pump", &pump());
    owner.expect_nothing();
    let connect = connect_to_session(ProtocolVersion::V5, "pump", 60);
    let (_, answer) = Client::attempt(guarded.address, connect);
    assert_eq!(connack_of(&answer).reason_code, NotAuthorized);
    thief.send_raw(&[0xE0, 0]);
    thief.expect_closed();
    owner.expect_nothing();
}

#[test]
fn a_name_always_gets_the_same_salt_known_or_not() {
    let guarded = Guarded::new("");
    let salt = |username: &str| {
        let (_client, challenge) =
            guarded.begin("a", &ScramClient::new(username, "whatever it is"));
        assert_eq!(auth_of(&challenge).reason_code, ContinueAuthentication);
        let challenge = String::from_utf8(data_of(&challenge)).expect("text");
        challenge.split_once(",s=").map(|(_, salt)| salt.to_owned()).expect("a salt")
    };
    for username in ["pump", "locked", "nobody"] {
        assert_eq!(salt(username), salt(username), "{username}");
        assert!(salt(username).ends_with("==,i=4096"), "{username}");
    }
    assert_ne!(salt("nobody"), salt("no body"));
}

#[test]
fn nothing_secret_is_logged() {
    let guarded = Guarded::new("log: {level: trace}");
    let mut client = guarded.client("pump");
    let scram = ScramClient::new("pump", "wrong horse");
    let challenge = begin_again(&mut client, &scram);
    let last = scram.last(data_of(&challenge));
    client.send(&auth(ContinueAuthentication, SCRAM, last.message.as_bytes()));
    client.expect_disconnected(NotAuthorized);
    guarded.broker.wait_for_log("re-authentication refused");
    let log = guarded.broker.log();
    let challenge = String::from_utf8(data_of(&challenge)).expect("text");
    let proof = last.message.split_once(",p=").map(|(_, proof)| proof).expect("a proof");
    for (what, secret) in [
        ("a message", &*challenge),
        ("a proof", proof),
        ("a nonce", &challenge[2..30]),
        ("a secret", "SCRAM-SHA-256$"),
        ("a password", PASSWORD),
    ] {
        assert!(!log.contains(secret), "{what} is in the log");
    }
}

#[test]
fn a_method_as_long_as_it_can_be_is_refused_like_any_other() {
    let guarded = Guarded::new("");
    let mut bystander = guarded.client("valve");
    for length in [1, 60_000, 65_000] {
        let method = "\"".repeat(length);
        let (mut client, answer) =
            Client::attempt(guarded.address, connect_by(&method, "pump", None));
        assert_eq!(connack_of(&answer).reason_code, ReasonCode::BadAuthenticationMethod);
        client.expect_closed();
    }
    bystander.expect_nothing();
}

#[test]
fn those_who_hesitate_keep_nobody_from_being_asked() {
    let guarded = Guarded::new("limits: {pending_authentications: 1}");
    let hesitant: Vec<_> = (0..3).map(|_| guarded.begin("hesitant", &pump())).collect();
    let mut client = guarded.client("pump");
    let challenge = begin_again(&mut client, &pump());
    assert_eq!(auth_of(&challenge).reason_code, ContinueAuthentication);
    guarded.client("valve").expect_nothing();
    drop(hesitant);
}

/// N02. Nobody is made to wait, so each gets as far as the proof, which is of the right form and wrong.
#[test]
fn a_flood_of_wrong_passwords_costs_nobody_else_anything_and_leaves_nothing_behind() {
    let sections = "limits: {pending_authentications: 64}
abuse: {failures_per_address: 0, failures_per_username: 0}";
    let guarded = Guarded::new(sections);
    let (mut pump, mut valve) = (guarded.client("pump"), guarded.client("valve"));
    valve.subscribe("open/a", Qos::AtLeastOnce);
    let (sockets, memory) = (guarded.broker.open_sockets(), guarded.broker.resident_bytes());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..250).for_each(|_| guess(&guarded)));
        }
        for number in 0..100u8 {
            pump.publish(publish("open/a", &[number], Qos::AtLeastOnce));
            let received = valve.expect_message("open/a", &[number]);
            valve.acknowledge(&received);
        }
    });
    wait_until("the sockets are closed", || {
        (guarded.broker.open_sockets() <= sockets).then_some(())
    });
    let grown = guarded.broker.resident_bytes().saturating_sub(memory);
    assert!(grown < 16 * MIB, "2,000 refusals cost {grown} bytes");
    pump.expect_nothing();
}

fn guess(guarded: &Guarded) {
    let (mut client, challenge) = guarded.begin("pump", &pump());
    if matches!(challenge.packet(), Packet::ConnAck(_)) {
        assert_eq!(connack_of(&challenge).reason_code, ReasonCode::ServerBusy);
        return;
    }
    let challenge = String::from_utf8(data_of(&challenge)).expect("text");
    let nonce = challenge.split(',').next().expect("a nonce");
    let proof = format!("c=biws,{nonce},p={}=", "A".repeat(43));
    client.send(&auth(ContinueAuthentication, SCRAM, proof.as_bytes()));
    let refused = connack_of(&client.receive()).reason_code;
    assert!([NotAuthorized, ReasonCode::ServerBusy].contains(&refused), "{refused}");
    client.expect_closed();
}
