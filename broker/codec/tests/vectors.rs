//! Every packet in `vectors/` is decoded, or refused, as its line says.
//!
//! A vector has `name`, `versions`, `hex`, and either `holds` (parts of the decoded packet's `Debug`
//! output; `canonical: false` where encoding it again gives other bytes) or `error` with the
//! `reason_code` that it is answered with. `normative` names the statements that it shows.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use hookmq_codec::{DecodeError, Packet, ProtocolVersion, decode, decode_connect, frame};
use serde::Deserialize;

const MAXIMUM_PACKET_SIZE: u32 = 1 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    name: String,
    versions: Vec<String>,
    hex: String,
    #[serde(default)]
    normative: Vec<String>,
    #[serde(default)]
    holds: Vec<String>,
    #[serde(default = "yes")]
    canonical: bool,
    error: Option<String>,
    reason_code: Option<String>,
}

fn yes() -> bool {
    true
}

fn vectors() -> Vec<Vector> {
    let directory = package().join("vectors");
    let mut vectors = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        vectors.extend(serde_json::from_str::<Vec<Vector>>(&text).unwrap());
    }
    vectors
}

impl Vector {
    fn bytes(&self) -> Vec<u8> {
        hex::decode(self.hex.replace(' ', "")).unwrap()
    }

    fn versions(&self) -> impl Iterator<Item = ProtocolVersion> {
        assert!(!self.versions.is_empty(), "{}", self.name);
        self.versions.iter().map(|name| match name.as_str() {
            "3.1" => ProtocolVersion::V31,
            "3.1.1" => ProtocolVersion::V311,
            "5.0" => ProtocolVersion::V5,
            other => panic!("{}: version {other}", self.name),
        })
    }
}

/// `None` where the bytes are not a whole packet.
fn read(bytes: &[u8], version: ProtocolVersion) -> Result<Option<Packet<'_>>, DecodeError> {
    let Some(frame) = frame(bytes, MAXIMUM_PACKET_SIZE)? else {
        return Ok(None);
    };
    assert_eq!(frame.length, bytes.len());
    let packet = decode(frame, version);
    if frame.first_byte == 0x10 {
        let connect = decode_connect(frame).map(|connect| Packet::Connect(Box::new(connect)));
        assert_eq!(connect, packet);
    }
    packet.map(Some)
}

#[test]
fn every_vector_gives_what_it_says() {
    for vector in vectors() {
        let bytes = vector.bytes();
        for version in vector.versions() {
            let context = format!("{} ({})", vector.name, version.name());
            match read(&bytes, version) {
                Ok(Some(packet)) => {
                    assert_eq!(vector.error, None, "{context}: {packet:?}");
                    check_packet(&vector, &packet, &bytes, version, &context);
                }
                Ok(None) => panic!("{context}: more bytes wanted"),
                Err(error) => {
                    let reason_code = Some(format!("{:?}", error.reason_code()));
                    assert_eq!(Some(format!("{error:?}")), vector.error, "{context}");
                    assert_eq!(reason_code, vector.reason_code, "{context}");
                }
            }
        }
    }
}

fn check_packet(
    vector: &Vector,
    packet: &Packet<'_>,
    bytes: &[u8],
    version: ProtocolVersion,
    context: &str,
) {
    let debug = format!("{packet:?}");
    assert!(!vector.holds.is_empty(), "{context}");
    for part in &vector.holds {
        assert!(debug.contains(part), "{context}: {part} is not in {debug}");
    }
    let mut again = Vec::new();
    packet.encode(version, &mut again).unwrap();
    assert_eq!(again == bytes, vector.canonical, "{context}: {}", hex::encode(&again));
    assert_eq!(packet.encoded_length(version), Ok(again.len()), "{context}");
    assert_eq!(read(&again, version).as_ref(), Ok(&Some(packet.clone())), "{context}");
}

#[test]
fn no_beginning_of_a_packet_is_a_packet() {
    for vector in vectors() {
        let bytes = vector.bytes();
        for version in vector.versions() {
            for end in 0..bytes.len() {
                match frame(&bytes[..end], MAXIMUM_PACKET_SIZE) {
                    Ok(None) | Err(_) => {}
                    Ok(Some(frame)) => panic!("{} cut to {end}: {frame:?}", vector.name),
                }
            }
            // Had the fixed header announced fewer bytes, some would be a packet; none may panic.
            if let Ok(Some(whole)) = frame(&bytes, MAXIMUM_PACKET_SIZE) {
                for end in 0..whole.body.len() {
                    let cut = hookmq_codec::Frame { body: &whole.body[..end], ..whole };
                    let _ = decode(cut, version);
                }
            }
        }
    }
}

#[test]
fn every_kind_of_refusal_has_a_vector() {
    let names: Vec<String> = vectors().into_iter().filter_map(|vector| vector.error).collect();
    for kind in [
        "PacketType",
        "FixedHeaderFlags",
        "VariableByteInteger",
        "PacketTooLarge",
        "Truncated",
        "TrailingBytes",
        "InvalidUtf8",
        "NulCharacter",
        "ZeroPacketId",
        "Qos",
        "DupWithoutAcknowledgement",
        "ProtocolName",
        "ProtocolLevel",
        "ConnectFlags",
        "PasswordWithoutUsername",
        "ConnectAcknowledgeFlags",
        "SessionPresentOnRefusal",
        "SubscriptionOptions",
        "SubscriptionOptionValue",
        "NoLocalOnShared",
        "NoTopicFilter",
        "NoTopic",
        "ZeroTopicAlias",
        "TopicName",
        "TopicFilter",
        "UnknownReasonCode",
        "ReasonCodeNotAllowed",
        "UnknownProperty",
        "PropertyNotAllowed",
        "DuplicateProperty",
        "PropertyValue",
        "AuthenticationDataWithoutMethod",
        "NoAuthenticationMethod",
    ] {
        assert!(names.iter().any(|name| name.split(['(', ' ']).next() == Some(kind)), "{kind}");
    }
}

#[test]
fn normative_identifiers_are_written_as_the_specification_writes_them() {
    for vector in vectors() {
        for id in &vector.normative {
            let number = id.strip_prefix("MQTT-").unwrap_or_else(|| panic!("{}", vector.name));
            assert!(number.split(['.', '-']).all(|part| part.parse::<u8>().is_ok()), "{id}");
        }
    }
}

/// Where the package lies now; the test may have been built elsewhere.
fn package() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the test").into()
}
