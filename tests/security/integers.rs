//! Variable byte integers of every length, at every place that has one.

use hookmq_codec::{Qos, ReasonCode};
use hookmq_tests::client::Client;
use hookmq_tests::scene::{Scene, in_both_versions};

use crate::wire::{integer, integer_of, packet, publish, sized};
use crate::{Bystanders, expect_refused};

/// A sound packet in pieces: its name, the first byte, what stands before an integer, the integer's
/// value, and what stands behind it.
struct Place {
    name: &'static str,
    first_byte: u8,
    before: Vec<u8>,
    value: u32,
    behind: Vec<u8>,
}

impl Place {
    /// The packet with the integer written like this.
    fn packet(&self, integer: &[u8]) -> Vec<u8> {
        packet(self.first_byte, &[&self.before[..], integer, &self.behind].concat())
    }

    fn opens_connection(&self) -> bool {
        self.first_byte == 0x10
    }

    /// That the broker goes on with the client that has sent this.
    fn expect_served(&self, client: &mut Client) {
        match self.first_byte {
            0x10 => assert!(!client.receive().session_present()),
            0xE0 => client.expect_closed(),
            _ => {
                client.send(&hookmq_codec::Packet::PingReq);
                client.receive_where(|packet| *packet == hookmq_codec::Packet::PingResp);
            }
        }
    }
}

/// Every place of 5.0 in a packet's body, of each packet that a client sends.
fn places() -> Vec<Place> {
    let place = |name, first_byte, before: &[u8], properties: &[u8], behind: &[u8]| {
        let value = properties.len() as u32;
        let behind = [properties, behind].concat();
        Place { name, first_byte, before: before.into(), value, behind }
    };
    let user_property = b"\x26\0\x01a\0\x01b";
    let connect = |flags: u8| [b"\0\x04MQTT\x05", &[flags][..], b"\0\0"].concat();
    let connect_with_will = [&connect(0x06)[..], b"\0\0\x01c"].concat();
    let acknowledgement = b"\0\x07\0";
    vec![
        place("CONNECT", 0x10, &connect(0x02), user_property, b"\0\x01c"),
        place("the will", 0x10, &connect_with_will, user_property, b"\0\x01w\0\x01x"),
        place("PUBLISH", 0x30, b"\0\x01t", user_property, b"x"),
        place("PUBLISH without properties", 0x30, b"\0\x01t", b"", b"x"),
        place("PUBACK", 0x40, acknowledgement, user_property, b""),
        place("PUBREC", 0x50, b"\0\x07\x80", user_property, b""),
        place("PUBREL", 0x62, acknowledgement, user_property, b""),
        place("PUBCOMP", 0x70, acknowledgement, user_property, b""),
        place("SUBSCRIBE", 0x82, b"\0\x01", user_property, b"\0\x01t\0"),
        place("UNSUBSCRIBE", 0xA2, b"\0\x01", user_property, b"\0\x01t"),
        place("DISCONNECT", 0xE0, b"\0", user_property, b""),
    ]
}

/// In the form that is asked for, in all longer ones, and without an end.
fn malformed_forms(value: u32) -> Vec<Vec<u8>> {
    let shortest = integer(value).len();
    let longer = (shortest + 1..=5).map(|length| integer_of(value, length));
    longer.chain([vec![0xFF; 4], vec![0x80; 5]]).collect()
}

/// A client that has sent `bytes`, with a message behind them that nobody may ever see.
fn offender(scene: &Scene, place: &Place, bytes: &[u8]) -> Client {
    let mut client = match place.opens_connection() {
        true => Client::open(scene.address, scene.version),
        false => scene.client("offender"),
    };
    client.try_send_raw(&[bytes, &publish(scene.version.is_v5(), b"smuggled", b"x")].concat());
    client
}

#[track_caller]
fn expect_refusal(place: &Place, mut client: Client) {
    match place.opens_connection() {
        true => expect_refused(&mut client),
        false => client.expect_disconnected(ReasonCode::MalformedPacket),
    }
}

fn witness(scene: &Scene) -> Client {
    let mut witness = scene.client("witness");
    witness.subscribe("smuggled", Qos::AtMostOnce);
    witness
}

/// `[MQTT5-1.5.5-1]`
#[test]
fn a_length_of_properties_has_one_form_and_what_stands_behind_another_is_not_executed() {
    let scene = Scene::v5();
    let mut bystanders = Bystanders::new(&scene);
    let mut witness = witness(&scene);
    for place in places() {
        eprintln!("{}", place.name);
        let mut client = offender(&scene, &place, &place.packet(&integer(place.value)));
        place.expect_served(&mut client);
        if place.first_byte != 0xE0 {
            witness.expect_message("smuggled", b"x");
        }
        for form in malformed_forms(place.value) {
            expect_refusal(&place, offender(&scene, &place, &place.packet(&form)));
        }
        bystanders.exchange();
    }
    witness.expect_nothing();
}

#[test]
fn a_length_of_properties_beyond_the_packet_is_malformed() {
    let scene = Scene::v5();
    let mut witness = witness(&scene);
    for place in places() {
        eprintln!("{}", place.name);
        for value in [place.behind.len() as u32 + 1, 127, 16_383, 2_097_151, 268_435_455] {
            expect_refusal(&place, offender(&scene, &place, &place.packet(&integer(value))));
        }
    }
    witness.expect_nothing();
}

/// `[MQTT5-1.5.5-1]`
#[test]
fn a_subscription_identifier_has_one_form() {
    let scene = Scene::v5();
    let mut witness = witness(&scene);
    for value in [1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 268_435_455] {
        let subscribe = |identifier: &[u8]| {
            let properties = [&[0x0B], identifier].concat();
            let section = [&integer(properties.len() as u32)[..], &properties].concat();
            packet(0x82, &[b"\0\x01", &section[..], b"\0\x01t\0"].concat())
        };
        let mut client = scene.client("subscriber");
        client.send_raw(&subscribe(&integer(value)));
        client.receive_where(|packet| matches!(packet, hookmq_codec::Packet::SubAck(_)));
        for form in malformed_forms(value) {
            let mut client = scene.client("offender");
            client.try_send_raw(&[subscribe(&form), publish(true, b"smuggled", b"x")].concat());
            client.expect_disconnected(ReasonCode::MalformedPacket);
        }
    }
    witness.expect_nothing();
}

/// `[MQTT5-1.5.5-1]`
#[test]
fn a_remaining_length_has_one_form_and_what_stands_behind_another_is_not_executed() {
    in_both_versions(|scene| {
        let mut bystanders = Bystanders::new(scene);
        let mut witness = witness(scene);
        let version_5 = scene.version.is_v5();
        let bodies: Vec<(u8, Vec<u8>)> = [0, 100, 200, 20_000]
            .map(|length| (0x30, publish_body(version_5, length)))
            .into_iter()
            .chain([(0xC0, vec![]), (0xE0, vec![]), (0x40, vec![0, 7])])
            .collect();
        for (first_byte, body) in bodies {
            let smuggled = publish(version_5, b"smuggled", b"x");
            for form in malformed_forms(body.len() as u32) {
                let mut client = scene.client("offender");
                client.try_send_raw(&[&[first_byte], &form[..], &body, &smuggled].concat());
                client.expect_disconnected(ReasonCode::MalformedPacket);
            }
        }
        bystanders.exchange();
        witness.expect_nothing();
    });
}

fn publish_body(version_5: bool, length: usize) -> Vec<u8> {
    let properties: &[u8] = if version_5 { &[0] } else { &[] };
    [&sized(b"t"), properties, &vec![b'x'; length]].concat()
}

/// The length is believed as far as the limit: more is refused at once, less ends with the bytes.
#[test]
fn a_connect_of_another_length_than_it_says_is_refused() {
    in_both_versions(|scene| {
        let connect = hookmq_codec::Packet::Connect(Box::new(scene.connect_packet("stranger")));
        let sound = Client::open(scene.address, scene.version).encode(&connect);
        for length in 0..sound.len() as u8 - 2 {
            let mut stranger = Client::open(scene.address, scene.version);
            let mut bytes = sound.clone();
            bytes[1] = length;
            stranger.try_send_raw(&bytes);
            expect_refused(&mut stranger);
        }
        for form in malformed_forms(sound.len() as u32 - 2) {
            let mut stranger = Client::open(scene.address, scene.version);
            stranger.try_send_raw(&[&[0x10], &form[..], &sound[2..]].concat());
            expect_refused(&mut stranger);
        }
    });
}
