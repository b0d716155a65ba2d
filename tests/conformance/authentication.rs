//! Enhanced authentication: AUTH between CONNECT and CONNACK, and authenticating again.

use hookmq_codec::{
    Connect, Disconnect, DisconnectProperties, Packet, ProtocolVersion, Qos, ReasonCode,
};
use hookmq_tests::client::{Client, connect, publish};
use hookmq_tests::guarded::{
    Guarded, PASSWORD, SCRAM, auth, auth_of, authenticate_again, begin_again, connack_of,
    connect_by, data_of,
};
use hookmq_tests::scene::Scene;
use hookmq_tests::scram::ScramClient;
use hookmq_tests::wait::wait_until;

use ReasonCode::{
    BadAuthenticationMethod, ContinueAuthentication, MalformedPacket, NotAuthorized, ProtocolError,
    ReAuthenticate, Success,
};

fn pump() -> ScramClient {
    ScramClient::new("pump", PASSWORD)
}

/// `[MQTT5-4.12.0-2]` `[MQTT5-4.12.0-3]` `[MQTT5-4.12.0-5]` `[MQTT5-3.2.0-1]` `[MQTT5-3.15.2-1]`
/// `[MQTT5-3.15.2-2]` `[MQTT5-3.15.2-3]`
#[test]
fn a_client_that_shows_that_it_knows_its_password_is_let_in() {
    let guarded = Guarded::new("");
    let scram = pump();
    let (mut client, challenge) = guarded.begin("pump", &scram);
    let asked = auth_of(&challenge);
    assert_eq!(asked.reason_code, ContinueAuthentication);
    assert_eq!(asked.properties.authentication_method, Some(SCRAM));
    assert_eq!(asked.properties.reason_string, None);
    assert!(asked.properties.user_properties.is_empty());
    let last = scram.last(data_of(&challenge));
    client.send(&auth(ContinueAuthentication, SCRAM, last.message.as_bytes()));
    let answer = client.receive();
    let connack = connack_of(&answer);
    assert_eq!(connack.reason_code, Success);
    assert_eq!(connack.properties.authentication_method, Some(SCRAM));
    assert_eq!(connack.properties.authentication_data, Some(last.expected.as_bytes()));
    client.subscribe("open/a", Qos::AtLeastOnce);
    assert_eq!(client.publish(publish("open/a", b"x", Qos::AtLeastOnce)), Success);
    client.expect_message("open/a", b"x");
}

/// `[MQTT5-4.12.0-4]` `[MQTT5-3.1.4-2]`
#[test]
fn a_wrong_password_and_an_unknown_name_are_refused_alike() {
    let guarded = Guarded::new("");
    let mut seen = Vec::new();
    for (username, password) in [("pump", "pencils"), ("nobody", PASSWORD), ("locked", PASSWORD)] {
        let scram = ScramClient::new(username, password);
        let (mut client, challenge) = guarded.begin("pump", &scram);
        let last = scram.last(data_of(&challenge));
        client.send(&auth(ContinueAuthentication, SCRAM, last.message.as_bytes()));
        let refusal = client.receive();
        assert_eq!(connack_of(&refusal).reason_code, NotAuthorized, "{username}");
        client.expect_closed();
        seen.push((challenge.bytes().len(), refusal.bytes().to_vec()));
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0], seen[2]);
}

/// `[MQTT5-4.12.0-1]`
#[test]
fn a_method_that_is_not_supported_is_refused() {
    let guarded = Guarded::new("");
    for method in ["SCRAM-SHA-1", "scram-sha-256", "PLAIN", ""] {
        let (mut client, answer) =
            Client::attempt(guarded.address, connect_by(method, "pump", Some(b"n,,n=pump,r=x")));
        assert_eq!(connack_of(&answer).reason_code, BadAuthenticationMethod, "{method}");
        client.expect_closed();
    }
    let (mut client, answer) =
        Client::attempt(guarded.address, connect(ProtocolVersion::V5, "pump"));
    assert_eq!(connack_of(&answer).reason_code, NotAuthorized, "no method at all");
    client.expect_closed();
}

/// `[MQTT5-3.1.2-30]` `[MQTT5-3.1.4-6]`
#[test]
fn only_auth_and_disconnect_may_come_before_connack() {
    let guarded = Guarded::new("");
    let mut witness = guarded.client("valve");
    witness.subscribe("open/#", Qos::AtMostOnce);
    let packets = [
        Packet::PingReq,
        Packet::Publish(publish("open/a", b"x", Qos::AtMostOnce)),
        Packet::Connect(Box::new(connect(ProtocolVersion::V5, "pump"))),
    ];
    for packet in &packets {
        let (mut client, _challenge) = guarded.begin("pump", &pump());
        client.send(packet);
        assert_eq!(connack_of(&client.receive()).reason_code, ProtocolError, "{packet:?}");
        client.expect_closed();
    }
    for packet in &packets {
        let scram = pump();
        let (mut client, challenge) = guarded.begin("pump", &scram);
        let last = scram.last(data_of(&challenge));
        let last = auth(ContinueAuthentication, SCRAM, last.message.as_bytes());
        let both = [client.encode(&last), client.encode(packet)].concat();
        client.send_raw(&both);
        assert_eq!(connack_of(&client.receive()).reason_code, ProtocolError, "behind: {packet:?}");
        client.expect_closed();
    }
    let (mut client, _challenge) = guarded.begin("pump", &pump());
    let properties = DisconnectProperties::default();
    client.send(&Packet::Disconnect(Disconnect { reason_code: Success, properties }));
    client.expect_closed();
    witness.expect_nothing();
}

/// `[MQTT5-4.12.0-3]` `[MQTT5-4.12.0-5]` `[MQTT5-3.15.1-1]` `[MQTT5-3.15.2-1]`
#[test]
fn auth_that_does_not_continue_the_exchange_is_refused() {
    let guarded = Guarded::new("");
    let encoder = Client::open(guarded.address, ProtocolVersion::V5);
    let encode = |packet: &Packet<'_>| encoder.encode(packet);
    let good = encode(&auth(ContinueAuthentication, SCRAM, b"x"));
    let with = |place: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[place] = byte;
        bytes
    };
    let table = [
        (
            "another method",
            encode(&auth(ContinueAuthentication, "SCRAM-SHA-1", b"x")),
            ProtocolError,
        ),
        ("re-authentication", encode(&auth(ReAuthenticate, SCRAM, b"x")), ProtocolError),
        ("success", encode(&auth(Success, SCRAM, b"x")), ProtocolError),
        ("no method", vec![0xF0, 2, 0x18, 0], ProtocolError),
        ("an empty AUTH", vec![0xF0, 0], ProtocolError),
        ("a flag", with(0, 0xF1), MalformedPacket),
        ("a code of no packet", with(2, 0x02), ProtocolError),
        ("a code of other packets", with(2, 0x87), ProtocolError),
    ];
    for (what, bytes, expected) in table {
        let (mut client, _challenge) = guarded.begin("pump", &pump());
        client.send_raw(&bytes);
        let answer = client.receive();
        assert_eq!(connack_of(&answer).reason_code, expected, "{what}");
        client.expect_closed();
    }
}

/// `[MQTT5-4.12.0-6]` `[MQTT5-4.12.0-7]`
#[test]
fn without_a_method_in_connect_there_is_no_auth() {
    let scene = Scene::v5();
    for reason_code in [ReAuthenticate, ContinueAuthentication, Success] {
        let (mut client, answer) = Client::connect(scene.address, scene.connect_packet("a"));
        let properties = connack_of(&answer).properties;
        assert_eq!(properties.authentication_method, None);
        assert_eq!(properties.authentication_data, None);
        client.send(&auth(reason_code, SCRAM, b"n,,n=pump,r=x"));
        client.expect_disconnected(ProtocolError);
    }
    let scene = Scene::v311();
    let mut client = scene.client("a");
    client.send_raw(&[0xF0, 0]);
    client.expect_closed();
}

/// A method that somebody else's word would make up for is still to be carried through.
/// `[MQTT5-4.12.0-1]`
#[test]
fn a_method_is_refused_where_everybody_else_is_let_in() {
    let scene = Scene::v5();
    let (mut client, answer) =
        Client::attempt(scene.address, connect_by(SCRAM, "a", Some(b"n,,n=pump,r=x")));
    assert_eq!(connack_of(&answer).reason_code, BadAuthenticationMethod);
    client.expect_closed();
}

#[test]
fn the_user_name_of_connect_must_not_contradict_the_method() {
    let guarded = Guarded::new("");
    for (username, expected) in [("pump", Success), ("valve", NotAuthorized)] {
        let scram = pump();
        let first = scram.first();
        let connect = connect_by(SCRAM, "pump", Some(first.as_bytes()));
        let connect = Connect { username: Some(username), password: Some(b"x"), ..connect };
        let (mut client, mut answer) = Client::attempt(guarded.address, connect);
        if matches!(answer.packet(), Packet::Auth(_)) {
            let last = scram.last(data_of(&answer));
            client.send(&auth(ContinueAuthentication, SCRAM, last.message.as_bytes()));
            answer = client.receive();
        }
        assert_eq!(connack_of(&answer).reason_code, expected, "{username}");
    }
}

/// `[MQTT5-4.12.0-2]`, with packets no larger than the client takes.
#[test]
fn a_challenge_that_the_client_cannot_take_is_not_sent() {
    let guarded = Guarded::new("");
    let first = format!("n,,n=pump,r={}", "x".repeat(200));
    let mut connect = connect_by(SCRAM, "pump", Some(first.as_bytes()));
    connect.properties.maximum_packet_size = std::num::NonZeroU32::new(200);
    let (mut client, answer) = Client::attempt(guarded.address, connect);
    assert_eq!(connack_of(&answer).reason_code, ReasonCode::PacketTooLarge);
    client.expect_closed();
}

/// `[MQTT5-4.12.1-1]` `[MQTT5-4.12.0-5]`
#[test]
fn a_client_authenticates_again_while_messages_flow() {
    let guarded = Guarded::new("");
    let mut client = guarded.client("pump");
    let mut other = guarded.client("valve");
    client.subscribe("open/in", Qos::AtLeastOnce);
    let scram = pump();
    let challenge = begin_again(&mut client, &scram);
    // The exchange stands still meanwhile, and nothing else does.
    other.publish(publish("open/in", b"1", Qos::AtLeastOnce));
    let received = client.expect_message("open/in", b"1");
    client.acknowledge(&received);
    assert!(!client.publish(publish("open/out", b"2", Qos::ExactlyOnce)).is_failure());
    client.expect_nothing();
    let last = scram.last(data_of(&challenge));
    client.send(&auth(ContinueAuthentication, SCRAM, last.message.as_bytes()));
    let done = client.receive();
    let done = auth_of(&done);
    assert_eq!(done.reason_code, Success);
    assert_eq!(done.properties.authentication_data, Some(last.expected.as_bytes()));
    for _ in 0..3 {
        authenticate_again(&mut client, "pump");
        assert_eq!(client.publish(publish("open/in", b"3", Qos::AtLeastOnce)), Success);
        client.expect_message("open/in", b"3");
    }
}

#[test]
fn what_is_known_about_the_client_is_known_anew() {
    let guarded = Guarded::new("");
    let mut client = guarded.client("pump");
    let may_publish_in = |client: &mut Client, site: &str| {
        let topic = format!("sites/{site}");
        !client.publish(publish(&topic, b"x", Qos::AtLeastOnce)).is_failure()
    };
    assert!(may_publish_in(&mut client, "north"));
    assert!(!may_publish_in(&mut client, "south"));
    guarded.execute("UPDATE principals SET attributes = '{\"site\": \"south\"}'");
    wait_until("the client is known to be in the south", || {
        authenticate_again(&mut client, "pump");
        may_publish_in(&mut client, "south").then_some(())
    });
    assert!(!may_publish_in(&mut client, "north"));
}

/// `[MQTT5-4.12.1-2]`
#[test]
fn who_cannot_authenticate_again_is_disconnected() {
    let guarded = Guarded::new("");
    for (username, password) in [("pump", "pencils"), ("valve", PASSWORD), ("nobody", PASSWORD)] {
        let mut client = guarded.client("pump");
        let scram = ScramClient::new(username, password);
        let challenge = begin_again(&mut client, &scram);
        let last = scram.last(data_of(&challenge));
        client.send(&auth(ContinueAuthentication, SCRAM, last.message.as_bytes()));
        client.expect_disconnected(NotAuthorized);
    }
    let mut client = guarded.client("pump");
    guarded.execute("UPDATE credentials SET enabled = 0 WHERE username = 'pump'");
    let scram = pump();
    let challenge = begin_again(&mut client, &scram);
    let last = scram.last(data_of(&challenge));
    client.send(&auth(ContinueAuthentication, SCRAM, last.message.as_bytes()));
    client.expect_disconnected(NotAuthorized);
}

/// `[MQTT5-4.12.1-1]` `[MQTT5-4.12.0-5]`
#[test]
fn auth_out_of_turn_after_connack_is_a_protocol_error() {
    let guarded = Guarded::new("");
    let first = pump().first();
    for packet in [
        auth(ReAuthenticate, "SCRAM-SHA-1", first.as_bytes()),
        auth(ContinueAuthentication, SCRAM, first.as_bytes()),
        auth(Success, SCRAM, first.as_bytes()),
    ] {
        let mut client = guarded.client("pump");
        client.send(&packet);
        client.expect_disconnected(ProtocolError);
    }
    for packet in [
        auth(ReAuthenticate, SCRAM, first.as_bytes()),
        auth(ContinueAuthentication, "SCRAM-SHA-1", b"x"),
        auth(Success, SCRAM, b"x"),
    ] {
        let mut client = guarded.client("pump");
        begin_again(&mut client, &pump());
        client.send(&packet);
        client.expect_disconnected(ProtocolError);
    }
}
