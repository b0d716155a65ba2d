//! UTF-8 and what looks like it, in every string that a client can send.

use hookmq_codec::{Packet, Qos};
use hookmq_tests::client::Client;
use hookmq_tests::scene::{Scene, in_both_versions};

use crate::wire::{packet, section, sized};
use crate::{Bystanders, expect_refused};

/// Sound strings: the first and the last character of each length, and those around what is none.
const WELL_FORMED: &[&str] = &[
    "\u{1}",
    " ",
    "\u{7F}",
    "\u{80}",
    "\u{7FF}",
    "\u{800}",
    "\u{D7FF}",
    "\u{E000}",
    "\u{FDD0}",
    "\u{FFFD}",
    "\u{FFFE}",
    "\u{FFFF}",
    "\u{10000}",
    "\u{1FFFE}",
    "\u{10FFFF}",
    "\u{FEFF}",
    "a\u{FEFF}",
    "κόσμε",
    "e\u{301}",
    "日本語",
    "\u{1F469}\u{200D}\u{1F680}",
    "\u{202E}txet",
];

/// What RFC 3629 does not allow, and U+0000, which MQTT does not.
const ILL_FORMED: &[(&str, &[u8])] = &[
    ("U+0000", b"a\0b"),
    ("a lone continuation byte", b"\x80"),
    ("the last continuation byte", b"\xBF"),
    ("two continuation bytes", b"\x80\xBF"),
    ("seven continuation bytes", b"\x80\xBF\x80\xBF\x80\xBF\x80"),
    ("a start of two without more", b"\xC3"),
    ("starts of two in a row", b"\xC3 \xDF "),
    ("a start of three without more", b"\xE2"),
    ("a start of four without more", b"\xF0"),
    ("starts of five", b"\xF8 \xFB "),
    ("starts of six", b"\xFC \xFD "),
    ("three bytes cut to two", b"\xE2\x82"),
    ("four bytes cut to three", b"\xF0\x9F\x98"),
    ("four bytes cut, then text", b"\xF0\x9F\x98a"),
    ("a cut sequence before a whole one", b"\xE2\x82\xE2\x82\xAC"),
    ("0xFE", b"\xFE"),
    ("0xFF", b"\xFF"),
    ("a byte order mark of UTF-16", b"\xFE\xFF\0a"),
    ("a slash in two bytes", b"\xC0\xAF"),
    ("a slash in three bytes", b"\xE0\x80\xAF"),
    ("a slash in four bytes", b"\xF0\x80\x80\xAF"),
    ("a slash in five bytes", b"\xF8\x80\x80\x80\xAF"),
    ("a slash in six bytes", b"\xFC\x80\x80\x80\x80\xAF"),
    ("a wildcard in two bytes", b"\xC0\xA3"),
    ("U+0000 in two bytes", b"\xC0\x80"),
    ("U+0000 in three bytes", b"\xE0\x80\x80"),
    ("U+007F in two bytes", b"\xC1\xBF"),
    ("U+07FF in three bytes", b"\xE0\x9F\xBF"),
    ("U+FFFF in four bytes", b"\xF0\x8F\xBF\xBF"),
    ("the first high surrogate", b"\xED\xA0\x80"),
    ("the last high surrogate", b"\xED\xAF\xBF"),
    ("the first low surrogate", b"\xED\xB0\x80"),
    ("the last low surrogate", b"\xED\xBF\xBF"),
    ("a pair of surrogates", b"\xED\xA0\x80\xED\xB0\x80"),
    ("U+110000", b"\xF4\x90\x80\x80"),
    ("a start beyond Unicode", b"\xF5\x80\x80\x80"),
    ("five bytes", b"\xF8\x88\x80\x80\x80"),
    ("six bytes", b"\xFC\x84\x80\x80\x80\x80"),
    ("Latin-1", b"caf\xE9"),
];

/// A string of CONNECT: its name, and the packet's body with it.
type ConnectField = (&'static str, fn(bool, &[u8]) -> Vec<u8>);

const OF_CONNECT: &[ConnectField] = &[
    ("client id", |v5, text| connect(v5, 0x02, b"", &sized(text))),
    ("user name", |v5, text| connect(v5, 0x82, b"", &[sized(b"c"), sized(text)].concat())),
    ("will topic", |v5, text| {
        let properties: &[u8] = if v5 { b"\0" } else { b"" };
        let payload = [sized(b"c"), properties.into(), sized(text), sized(b"x")].concat();
        connect(v5, 0x06, b"", &payload)
    }),
];

const OF_CONNECT_OF_V5: &[ConnectField] = &[
    ("user property", |v5, text| connect(v5, 0x02, &user_property(b"n", text), &sized(b"c"))),
    ("name of a user property", |v5, text| {
        connect(v5, 0x02, &user_property(text, b"v"), &sized(b"c"))
    }),
    ("content type of the will", |v5, text| {
        let properties = section(&[&[0x03], &sized(text)[..]].concat());
        let payload = [sized(b"c"), properties, sized(b"w"), sized(b"x")].concat();
        connect(v5, 0x06, b"", &payload)
    }),
];

/// A string of a later packet: its name, the first byte, and the body with it.
type Field = (&'static str, u8, fn(bool, &[u8]) -> Vec<u8>);

const LATER: &[Field] = &[
    ("topic name", 0x30, |v5, text| publish(v5, text, b"")),
    ("topic name behind a level", 0x30, |v5, text| {
        publish(v5, &[b"some/level/", text].concat(), b"")
    }),
    ("topic filter", 0x82, |v5, text| requested(v5, b"", &[&sized(text)[..], &[0]].concat())),
    ("topic filter to leave", 0xA2, |v5, text| requested(v5, b"", &sized(text))),
];

const LATER_OF_V5: &[Field] = &[
    ("response topic", 0x30, |v5, text| publish(v5, b"t", &[&[0x08], &sized(text)[..]].concat())),
    ("content type", 0x30, |v5, text| publish(v5, b"t", &[&[0x03], &sized(text)[..]].concat())),
    ("name of a user property", 0x30, |v5, text| publish(v5, b"t", &user_property(text, b"v"))),
    ("user property", 0x30, |v5, text| publish(v5, b"t", &user_property(b"n", text))),
    ("reason string", 0x40, |_, text| {
        [b"\0\x07\0", &section(&[&[0x1F], &sized(text)[..]].concat())[..]].concat()
    }),
    ("user property of SUBSCRIBE", 0x82, |v5, text| {
        requested(v5, &user_property(text, text), b"\0\x01t\0")
    }),
    ("user property of UNSUBSCRIBE", 0xA2, |v5, text| {
        requested(v5, &user_property(text, text), b"\0\x01t")
    }),
];

fn connect(version_5: bool, flags: u8, properties: &[u8], payload: &[u8]) -> Vec<u8> {
    let level = if version_5 { 5 } else { 4 };
    let properties = if version_5 { section(properties) } else { vec![] };
    [b"\0\x04MQTT", &[level, flags, 0, 0][..], &properties, payload].concat()
}

fn publish(version_5: bool, topic: &[u8], properties: &[u8]) -> Vec<u8> {
    let properties = if version_5 { section(properties) } else { vec![] };
    [&sized(topic)[..], &properties, b"x"].concat()
}

/// The body of SUBSCRIBE or UNSUBSCRIBE.
fn requested(version_5: bool, properties: &[u8], payload: &[u8]) -> Vec<u8> {
    let properties = if version_5 { section(properties) } else { vec![] };
    [b"\0\x01", &properties[..], payload].concat()
}

fn user_property(name: &[u8], value: &[u8]) -> Vec<u8> {
    [&[0x26], &sized(name)[..], &sized(value)].concat()
}

/// Those that the scene's version has.
fn fields<T: Copy>(scene: &Scene, both: &[T], of_v5: &[T]) -> Vec<T> {
    let of_v5: &[T] = if scene.version.is_v5() { of_v5 } else { &[] };
    [both, of_v5].concat()
}

/// `[MQTT5-1.5.4-1]`, `[MQTT5-1.5.4-2]`, `[MQTT311-1.5.3-1]`, `[MQTT311-1.5.3-2]`
#[test]
fn an_ill_formed_string_ends_the_connection() {
    in_both_versions(|scene| {
        let mut bystanders = Bystanders::new(scene);
        for (what, text) in ILL_FORMED {
            for (field, body) in fields(scene, OF_CONNECT, OF_CONNECT_OF_V5) {
                eprintln!("{what} as {field}");
                let mut stranger = Client::open(scene.address, scene.version);
                stranger.send_raw(&packet(0x10, &body(scene.version.is_v5(), text)));
                expect_refused(&mut stranger);
            }
            for (field, first_byte, body) in fields(scene, LATER, LATER_OF_V5) {
                eprintln!("{what} as {field}");
                let mut client = scene.client("offender");
                client.send_raw(&packet(first_byte, &body(scene.version.is_v5(), text)));
                client.expect_disconnected(hookmq_codec::ReasonCode::MalformedPacket);
            }
            bystanders.exchange();
        }
    });
}

/// `[MQTT5-1.5.4-3]`, `[MQTT311-1.5.3-3]`
#[test]
fn a_well_formed_string_is_taken() {
    in_both_versions(|scene| {
        for text in WELL_FORMED {
            for (field, body) in fields(scene, OF_CONNECT, OF_CONNECT_OF_V5) {
                eprintln!("{text:?} as {field}");
                let mut client = Client::open(scene.address, scene.version);
                client.send_raw(&packet(0x10, &body(scene.version.is_v5(), text.as_bytes())));
                assert!(!client.receive().session_present());
            }
            let mut client = scene.client("sender");
            for (field, first_byte, body) in fields(scene, LATER, LATER_OF_V5) {
                eprintln!("{text:?} as {field}");
                client.send_raw(&packet(first_byte, &body(scene.version.is_v5(), text.as_bytes())));
                client.send(&Packet::PingReq);
                client.receive_where(|packet| *packet == Packet::PingResp);
            }
        }
    });
}

#[test]
fn a_topic_arrives_byte_by_byte_as_it_was_sent() {
    in_both_versions(|scene| {
        for text in WELL_FORMED {
            let mut client = scene.client("both");
            client.subscribe(text, Qos::AtMostOnce);
            let body = publish(scene.version.is_v5(), text.as_bytes(), b"");
            client.send_raw(&packet(0x30, &body));
            client.expect_message(text, b"x");
        }
    });
}
