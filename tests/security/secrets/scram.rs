//! SCRAM: what is kept for it, and what client and broker say to each other.

use hookmq_codec::{Packet, ReasonCode};
use hookmq_tests::client::{Client, Received};
use hookmq_tests::guarded::{SCRAM, auth, connack_of, connect_by, data_of};
use hookmq_tests::scram::{ClientFinal, ScramClient};

use super::{GUESS, Vault};

pub(super) const PASSWORD: &str = "canary-scram";

type Secrets = Vec<(&'static str, Vec<u8>)>;

/// What is secret of the credential that the database keeps, and the password that it is made of.
pub(super) fn kept(credential: &str) -> Secrets {
    // Salt, StoredKey and ServerKey; what stands before them is the same for all.
    let parts = credential.split(['$', ':']).filter(|part| part.len() > 20);
    let parts = parts.map(|part| ("a part of what is kept for SCRAM", part.into()));
    parts.chain([("the password of SCRAM", PASSWORD.into())]).collect()
}

/// A part of a SCRAM message: what stands behind `name=`.
fn part<'a>(message: &'a str, name: &str) -> &'a str {
    let part = message.split(',').find_map(|it| it.strip_prefix(name)?.strip_prefix('='));
    part.expect("SCRAM has it")
}

/// As text, and as a list of bytes, which is how a packet's data would be shown.
fn shown(secrets: &mut Secrets, what: &'static str, part: &str) {
    let bytes = format!("{:?}", part.as_bytes());
    secrets.push((what, part.into()));
    secrets.push((what, bytes.trim_matches(['[', ']']).into()));
}

/// What the client says at last, when it has been challenged. All of the exchange is a secret.
fn answer(scram: &ScramClient, challenge: &Received, secrets: &mut Secrets) -> ClientFinal {
    let challenge = String::from_utf8(data_of(challenge)).expect("UTF-8");
    shown(secrets, "the nonces", part(&challenge, "r"));
    shown(secrets, "the salt", part(&challenge, "s"));
    let last = scram.last(&challenge);
    shown(secrets, "the client's proof", part(&last.message, "p"));
    shown(secrets, "the broker's signature", part(&last.expected, "v"));
    last
}

fn finish(client: &mut Client, data: &str) -> Received {
    client.send(&auth(ReasonCode::ContinueAuthentication, SCRAM, data.as_bytes()));
    client.receive()
}

pub(super) fn goes_wrong(vault: &mut Vault) {
    let address = vault.broker.address("scram");
    let mut secrets = Vec::new();
    let mut begin = |username: &str, password: &str| {
        let scram = ScramClient::new(username, password);
        let first = scram.first();
        shown(&mut secrets, "the client's nonce", part(&first, "r"));
        let packet = connect_by(SCRAM, "c", Some(first.as_bytes()));
        let (client, challenge) = Client::attempt(address, packet);
        (client, answer(&scram, &challenge, &mut secrets))
    };
    let mut attempt = |username: &str, password: &str| {
        let (mut client, last) = begin(username, password);
        let answer = finish(&mut client, &last.message);
        (connack_of(&answer).reason_code, client)
    };
    assert_eq!(attempt("pump", GUESS).0, ReasonCode::NotAuthorized);
    assert_eq!(attempt("nobody", GUESS).0, ReasonCode::NotAuthorized);
    let (code, mut client) = attempt("pump", PASSWORD);
    assert_eq!(code, ReasonCode::Success);
    // A proof without its end, one that is none, and data that is no SCRAM at all.
    let spoilt: [fn(&str) -> String; 3] =
        [|it| it[..it.len() - 3].to_owned(), |it| it.replace(",p=", ",p=%"), |_| GUESS.to_owned()];
    for spoil in spoilt {
        let (mut other, last) = begin("pump", PASSWORD);
        let answer = finish(&mut other, &spoil(&last.message));
        assert_eq!(connack_of(&answer).reason_code, ReasonCode::NotAuthorized);
    }
    // Again on a connection that is there: by the right password, and then by a wrong one.
    for (password, is_right) in [(PASSWORD, true), (GUESS, false)] {
        let scram = ScramClient::new("pump", password);
        client.send(&auth(ReasonCode::ReAuthenticate, SCRAM, scram.first().as_bytes()));
        let last = answer(&scram, &client.receive(), &mut secrets);
        let told = finish(&mut client, &last.message);
        assert_eq!(matches!(told.packet(), Packet::Auth(_)), is_right);
    }
    vault.secrets.extend(secrets);
}
