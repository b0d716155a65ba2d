//! Certificates that no tool makes: any bytes in any field, signed as they are.

use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{KeyPair, PublicKeyData, SigningKey};

use super::{Authority, write_pair};

/// Tags of ASN.1.
pub const PRINTABLE: u8 = 0x13;
pub const UTF8: u8 = 0x0c;
pub const TELETEX: u8 = 0x14;
pub const BMP: u8 = 0x1e;
const INTEGER: u8 = 0x02;
const BITS: u8 = 0x03;
const OCTETS: u8 = 0x04;
const OID: u8 = 0x06;
const TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

/// Types of a name's parts.
pub const CN: &[u8] = &[0x55, 4, 3];
pub const O: &[u8] = &[0x55, 4, 10];
pub const OU: &[u8] = &[0x55, 4, 11];

/// Kinds of alternative names.
pub const EMAIL: u8 = 0x81;
pub const DNS: u8 = 0x82;
pub const URI: u8 = 0x86;
pub const IP: u8 = 0x87;

const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 17];
const ECDSA_WITH_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];

/// One part of a name: its type, the tag of its value, the value.
pub type Part = (&'static [u8], u8, Vec<u8>);

/// What is in a certificate.
#[derive(Clone)]
pub struct Odd {
    /// Relative distinguished names, each of one part or several.
    pub subject: Vec<Vec<Part>>,
    /// Tag and value of each alternative name; none: there is no such extension.
    pub names: Option<Vec<(u8, Vec<u8>)>>,
    pub serial: Vec<u8>,
    /// As UTCTime's successor writes it.
    pub not_before: &'static str,
    pub not_after: &'static str,
    /// Names another issuer than the one that signs.
    pub foreign_issuer: bool,
    /// Bytes of the signature are changed.
    pub forged: bool,
    /// Bytes behind the certificate's end.
    pub behind: Vec<u8>,
}

impl Default for Odd {
    fn default() -> Self {
        Self {
            subject: Vec::new(),
            names: None,
            serial: vec![0x2a],
            not_before: "20200101000000Z",
            not_after: "21200101000000Z",
            foreign_issuer: false,
            forged: false,
            behind: Vec::new(),
        }
    }
}

impl Odd {
    /// With this subject and nothing else.
    pub fn subject(parts: &[(&'static [u8], &str)]) -> Self {
        let part =
            |(kind, value): &(&'static [u8], &str)| vec![(*kind, UTF8, value.as_bytes().to_vec())];
        Self { subject: parts.iter().map(part).collect(), ..Self::default() }
    }

    /// The same with these alternative names.
    #[must_use]
    pub fn named(self, names: &[(u8, &[u8])]) -> Self {
        let names = names.iter().map(|(tag, value)| (*tag, value.to_vec())).collect();
        Self { names: Some(names), ..self }
    }
}

impl Authority {
    /// Makes `stem` with `.crt` and `.key`; gives the certificate as DER.
    pub fn issue_odd(&self, stem: &Path, odd: &Odd) -> Vec<u8> {
        let key = KeyPair::generate().expect("a key");
        let algorithm = tlv(SEQUENCE, &tlv(OID, ECDSA_WITH_SHA256));
        let issuer = if odd.foreign_issuer { "somebody else" } else { &*self.common_name };
        let issuer = vec![vec![(CN, UTF8, issuer.as_bytes().to_vec())]];
        let time = |time: &str| tlv(TIME, time.as_bytes());
        let validity = [time(odd.not_before), time(odd.not_after)].concat();
        let mut fields = [
            tlv(0xa0, &tlv(INTEGER, &[2])),
            tlv(INTEGER, &odd.serial),
            algorithm.clone(),
            name(&issuer),
            tlv(SEQUENCE, &validity),
            name(&odd.subject),
            key.subject_public_key_info(),
        ]
        .concat();
        if let Some(names) = &odd.names {
            let names: Vec<u8> = names.iter().flat_map(|(tag, name)| tlv(*tag, name)).collect();
            let value = tlv(OCTETS, &tlv(SEQUENCE, &names));
            let extension = [tlv(OID, SUBJECT_ALTERNATIVE_NAME), value].concat();
            fields.extend(tlv(0xa3, &tlv(SEQUENCE, &tlv(SEQUENCE, &extension))));
        }
        let signed = tlv(SEQUENCE, &fields);
        let mut signature = self.issuer.key().sign(&signed).expect("a signature");
        if odd.forged {
            signature = self.issuer.key().sign(b"something else").expect("a signature");
        }
        signature.insert(0, 0);
        let mut der = tlv(SEQUENCE, &[signed, algorithm, tlv(BITS, &signature)].concat());
        der.extend(&odd.behind);
        write_pair(stem, &pem(&der), &key);
        der
    }
}

fn name(parts: &[Vec<Part>]) -> Vec<u8> {
    let relative = |parts: &Vec<Part>| {
        let part =
            |(kind, tag, value): &Part| tlv(SEQUENCE, &[tlv(OID, kind), tlv(*tag, value)].concat());
        tlv(SET, &parts.iter().flat_map(part).collect::<Vec<_>>())
    };
    tlv(SEQUENCE, &parts.iter().flat_map(relative).collect::<Vec<_>>())
}

/// Tag, length and value, as DER has them.
fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = value.len().to_be_bytes();
    let significant = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let mut bytes = vec![tag];
    if value.len() < 0x80 {
        bytes.push(value.len() as u8);
    } else {
        bytes.push(0x80 | significant.len() as u8);
        bytes.extend(significant);
    }
    bytes.extend(value);
    bytes
}

fn pem(der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<&str> =
        (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
