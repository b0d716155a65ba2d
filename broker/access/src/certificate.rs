//! What a client certificate says, as text that permissions and mappings can be written for.
//!
//! The chain has been verified before. Here the question is whether the names inside can be trusted
//! to mean what they show: anything that could be read in two ways is refused.

mod crl;
mod mapping;
mod proxied;
mod text;

use std::net::IpAddr;

use hookmq_hooks::{CertificateFacts, DistinguishedName};
use sha2::{Digest, Sha256};
use x509_parser::asn1_rs::Oid;
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::{
    OID_X509_COMMON_NAME, OID_X509_COUNTRY_NAME, OID_X509_ORGANIZATION_NAME,
    OID_X509_ORGANIZATIONAL_UNIT,
};
use x509_parser::prelude::{FromDer, TbsCertificate, X509Certificate, X509Error, X509Name};

pub use self::crl::{CrlFacts, crl_facts};
pub use self::mapping::{
    CertificateSettings, Mapping, MappingSource, Mappings, TemplateError, UsernameConflict,
    VouchedBy,
};
pub(crate) use self::mapping::{MAX_MAPPINGS, Mapped};
pub use self::proxied::proxied_certificate;

/// Longest certificate that is read, in bytes; a TLS handshake message is not longer.
pub const MAX_CERTIFICATE_LENGTH: usize = 64 * 1024;

/// Longest single name that is taken, in bytes. X.520 stops at 64 characters; real ones do not.
pub const MAX_NAME_LENGTH: usize = 1024;

/// Why a certificate gives no identity. The client is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    #[error("the certificate is longer than {MAX_CERTIFICATE_LENGTH} bytes")]
    TooLong,
    #[error("the certificate cannot be read: {0}")]
    Malformed(String),
    #[error("{field} holds a control character")]
    ControlCharacter { field: &'static str },
    #[error("{field} is longer than {MAX_NAME_LENGTH} bytes")]
    NameTooLong { field: &'static str },
    #[error("{field} is not text in the encoding that it names")]
    NotText { field: &'static str },
}

/// Reads the certificate `der`, whose chain ends at the configured trust anchor `trust_anchor`.
///
/// # Errors
/// Where the certificate is malformed, or a name in it is not clean text: control characters, bytes
/// that break their encoding, T.61 beyond ASCII (of which nobody agrees what it means), or more than
/// [`MAX_NAME_LENGTH`] bytes.
pub fn certificate_facts(
    der: &[u8],
    trust_anchor: &str,
) -> Result<CertificateFacts, CertificateError> {
    if der.len() > MAX_CERTIFICATE_LENGTH {
        return Err(CertificateError::TooLong);
    }
    let (rest, certificate) = X509Certificate::from_der(der)
        .map_err(|error| CertificateError::Malformed(error.to_string()))?;
    if !rest.is_empty() {
        return Err(CertificateError::Malformed("bytes behind its end".into()));
    }
    let mut facts = CertificateFacts {
        subject: distinguished_name(certificate.subject(), "subject")?,
        issuer: distinguished_name(certificate.issuer(), "issuer")?,
        serial: serial(certificate.raw_serial()),
        fingerprint: hex::encode(Sha256::digest(der)),
        not_before: certificate.validity().not_before.timestamp(),
        not_after: certificate.validity().not_after.timestamp(),
        extended_key_usage: extended_key_usage(&certificate)?,
        trust_anchor: trust_anchor.to_owned(),
        ..CertificateFacts::default()
    };
    add_alternative_names(&certificate, &mut facts)?;
    Ok(facts)
}

/// Whether the certificate `der` may sign certificates, as far as its key usage says. Without that extension
/// it may (RFC 5280, section 6.1.4 (n)).
///
/// # Errors
/// Where the certificate is malformed, or has the extension twice.
pub fn may_sign_certificates(der: &[u8]) -> Result<bool, CertificateError> {
    let (_, certificate) = X509Certificate::from_der(der)
        .map_err(|error| CertificateError::Malformed(error.to_string()))?;
    let usage = certificate.key_usage().map_err(malformed)?;
    Ok(usage.is_none_or(|usage| usage.value.key_cert_sign()))
}

fn distinguished_name(
    name: &X509Name<'_>,
    field: &'static str,
) -> Result<DistinguishedName, CertificateError> {
    let all = |oid: &Oid<'_>| -> Result<Vec<String>, CertificateError> {
        name.iter_attributes()
            .filter(|attribute| attribute.attr_type() == oid)
            .map(|attribute| text::decode(attribute.attr_value(), field))
            .collect()
    };
    Ok(DistinguishedName {
        common_name: all(&OID_X509_COMMON_NAME)?,
        organization: all(&OID_X509_ORGANIZATION_NAME)?,
        organizational_unit: all(&OID_X509_ORGANIZATIONAL_UNIT)?,
        country: all(&OID_X509_COUNTRY_NAME)?,
        text: text::rfc4514(name, field)?,
    })
}

fn add_alternative_names(
    certificate: &TbsCertificate<'_>,
    facts: &mut CertificateFacts,
) -> Result<(), CertificateError> {
    let Some(names) = certificate.subject_alternative_name().map_err(malformed)? else {
        return Ok(());
    };
    let field = "subject alternative name";
    for name in &names.value.general_names {
        match name {
            GeneralName::DNSName(name) => facts.san_dns.push(text::ia5(name, field)?),
            GeneralName::URI(name) => facts.san_uri.push(text::ia5(name, field)?),
            GeneralName::RFC822Name(name) => facts.san_email.push(text::ia5(name, field)?),
            GeneralName::IPAddress(bytes) => {
                facts.san_ip.push(address(bytes).ok_or(CertificateError::NotText { field })?);
            }
            GeneralName::Invalid(..) => return Err(CertificateError::NotText { field }),
            // No mapping can name these.
            GeneralName::OtherName(..)
            | GeneralName::X400Address(_)
            | GeneralName::DirectoryName(_)
            | GeneralName::EDIPartyName(_)
            | GeneralName::RegisteredID(_) => {}
        }
    }
    Ok(())
}

fn extended_key_usage(certificate: &TbsCertificate<'_>) -> Result<Vec<String>, CertificateError> {
    let Some(usage) = certificate.extended_key_usage().map_err(malformed)? else {
        return Ok(vec![]);
    };
    let usage = usage.value;
    let known = [
        (usage.client_auth, "clientAuth"),
        (usage.server_auth, "serverAuth"),
        (usage.any, "2.5.29.37.0"),
        (usage.code_signing, "1.3.6.1.5.5.7.3.3"),
        (usage.email_protection, "1.3.6.1.5.5.7.3.4"),
        (usage.time_stamping, "1.3.6.1.5.5.7.3.8"),
        (usage.ocsp_signing, "1.3.6.1.5.5.7.3.9"),
    ];
    let known = known.into_iter().filter(|(set, _)| *set).map(|(_, name)| name.to_owned());
    Ok(known.chain(usage.other.iter().map(Oid::to_id_string)).collect())
}

fn serial(bytes: &[u8]) -> String {
    let digits = hex::encode(bytes);
    match digits.trim_start_matches('0') {
        "" => "0".to_owned(),
        digits => digits.to_owned(),
    }
}

fn address(bytes: &[u8]) -> Option<String> {
    let address = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
        _ => return None,
    };
    Some(address.to_string())
}

fn malformed(error: X509Error) -> CertificateError {
    CertificateError::Malformed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{
        CertificateParams, DistinguishedName as Name, DnType, DnValue, ExtendedKeyUsagePurpose,
        KeyPair, SanType, SerialNumber,
    };

    fn parameters(names: impl IntoIterator<Item = (DnType, DnValue)>) -> CertificateParams {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = Name::new();
        for (kind, value) in names {
            parameters.distinguished_name.push(kind, value);
        }
        parameters
    }

    fn der(parameters: &CertificateParams) -> Vec<u8> {
        let key = KeyPair::generate().unwrap();
        parameters.self_signed(&key).unwrap().der().to_vec()
    }

    fn common_name(value: impl Into<DnValue>) -> Result<Vec<String>, CertificateError> {
        let der = der(&parameters([(DnType::CommonName, value.into())]));
        certificate_facts(&der, "anchor").map(|facts| facts.subject.common_name)
    }

    /// Replaces the only occurrence of `old` by as many bytes of `new`.
    fn patch(der: &mut [u8], old: &[u8], new: &[u8]) {
        let places: Vec<usize> =
            (0..der.len() - old.len()).filter(|&at| der[at..].starts_with(old)).collect();
        assert!(!places.is_empty(), "the bytes to replace occur");
        for at in places {
            der[at..at + new.len()].copy_from_slice(new);
        }
    }

    #[test]
    fn a_certificate_gives_its_names_serial_fingerprint_and_usage() {
        let mut parameters = parameters([
            (DnType::CountryName, "DE".into()),
            (DnType::OrganizationName, "Acme, Inc.".into()),
            (DnType::OrganizationalUnitName, "Pumps".into()),
            (DnType::CommonName, "pump-7".into()),
        ]);
        parameters.serial_number = Some(SerialNumber::from_slice(&[0x00, 0x0a, 0xff]));
        parameters.not_before = rcgen::date_time_ymd(2024, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2044, 1, 1);
        parameters.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::Other(vec![1, 2, 3]),
        ];
        parameters.subject_alt_names = vec![
            SanType::DnsName("pump-7.acme.example".try_into().unwrap()),
            SanType::URI("urn:pump:7".try_into().unwrap()),
            SanType::Rfc822Name("pump@acme.example".try_into().unwrap()),
            SanType::IpAddress("10.0.0.7".parse().unwrap()),
            SanType::IpAddress("fe80::7".parse().unwrap()),
        ];
        let der = der(&parameters);
        let facts = certificate_facts(&der, "factory").unwrap();
        assert_eq!(facts.subject.common_name, ["pump-7"]);
        assert_eq!(facts.subject.organization, ["Acme, Inc."]);
        assert_eq!(facts.subject.organizational_unit, ["Pumps"]);
        assert_eq!(facts.subject.country, ["DE"]);
        assert_eq!(facts.subject.text, r"CN=pump-7,OU=Pumps,O=Acme\, Inc.,C=DE");
        assert_eq!(facts.issuer, facts.subject);
        assert_eq!(facts.serial, "aff");
        assert_eq!(facts.fingerprint, hex::encode(Sha256::digest(&der)));
        assert_eq!((facts.not_before, facts.not_after), (1_704_067_200, 2_335_219_200));
        assert_eq!(facts.extended_key_usage, ["clientAuth", "1.2.3"]);
        assert_eq!(facts.san_dns, ["pump-7.acme.example"]);
        assert_eq!(facts.san_uri, ["urn:pump:7"]);
        assert_eq!(facts.san_email, ["pump@acme.example"]);
        assert_eq!(facts.san_ip, ["10.0.0.7", "fe80::7"]);
        assert_eq!(facts.trust_anchor, "factory");
        assert!(!facts.vouched_by_proxy);
    }

    #[test]
    fn a_certificate_without_names_gives_empty_lists() {
        let facts = certificate_facts(&der(&parameters([])), "anchor").unwrap();
        assert_eq!(facts.subject, DistinguishedName::default());
        assert!(facts.san_dns.is_empty() && facts.extended_key_usage.is_empty());
    }

    #[test]
    fn a_common_name_that_occurs_twice_is_given_twice() {
        let mut der = der(&parameters([
            (DnType::CommonName, "first".into()),
            (DnType::OrganizationalUnitName, "second".into()),
        ]));
        patch(&mut der, &[6, 3, 0x55, 4, 11], &[6, 3, 0x55, 4, 3]);
        let facts = certificate_facts(&der, "anchor").unwrap();
        assert_eq!(facts.subject.common_name, ["first", "second"]);
        assert_eq!(facts.subject.text, "CN=second,CN=first");
    }

    #[test]
    fn names_with_control_characters_are_refused() {
        let refused = Err(CertificateError::ControlCharacter { field: "subject" });
        for name in ["admin\0.evil", "a\nb", "a\u{7f}", "a\u{85}b", "\u{1b}[2J"] {
            assert_eq!(common_name(name), refused, "{name:?}");
        }
    }

    #[test]
    fn names_are_taken_up_to_the_limit_and_refused_beyond() {
        let longest = "n".repeat(MAX_NAME_LENGTH);
        assert_eq!(common_name(longest.clone()), Ok(vec![longest]));
        let refused = Err(CertificateError::NameTooLong { field: "subject" });
        assert_eq!(common_name("n".repeat(10_000)), refused);
    }

    #[test]
    fn every_string_type_is_read_in_its_own_encoding() {
        let wide: Vec<u8> = "Bär".encode_utf16().flat_map(u16::to_be_bytes).collect();
        let wider: Vec<u8> = "Bär".chars().flat_map(|it| u32::from(it).to_be_bytes()).collect();
        let bear = Ok(vec!["Bär".to_owned()]);
        assert_eq!(common_name("Bär"), bear);
        assert_eq!(
            common_name(DnValue::BmpString(rcgen::string::BmpString::from_utf16be(wide).unwrap())),
            bear
        );
        let universal = rcgen::string::UniversalString::from_utf32be(wider).unwrap();
        assert_eq!(common_name(DnValue::UniversalString(universal)), bear);
        let teletex = DnValue::TeletexString("Bear".try_into().unwrap());
        assert_eq!(common_name(teletex), Ok(vec!["Bear".to_owned()]));
    }

    #[test]
    fn bytes_that_break_their_encoding_are_refused() {
        let refused = Err(CertificateError::NotText { field: "subject" });
        let broken = |value: DnValue, old: &[u8], new: &[u8]| {
            let mut der = der(&parameters([(DnType::CommonName, value)]));
            patch(&mut der, old, new);
            certificate_facts(&der, "anchor").map(|facts| facts.subject)
        };
        let teletex = DnValue::TeletexString("pumpx".try_into().unwrap());
        assert_eq!(broken(teletex, b"pumpx", b"pump\xe4"), refused);
        let wide: Vec<u8> = "pump".encode_utf16().flat_map(u16::to_be_bytes).collect();
        let bmp = DnValue::BmpString(rcgen::string::BmpString::from_utf16be(wide).unwrap());
        assert_eq!(broken(bmp, b"\0p\0u", b"\xd8\0\0u"), refused, "half a surrogate pair");
        let utf8 = broken("pumpx".into(), b"pumpx", b"pump\xff");
        assert!(utf8.is_err(), "{utf8:?}");
    }

    #[test]
    fn alternative_names_are_ascii_without_control_characters() {
        let with_name = |new: &[u8]| {
            let mut parameters = parameters([]);
            parameters.subject_alt_names =
                vec![SanType::DnsName("pump.example".try_into().unwrap())];
            let mut der = der(&parameters);
            patch(&mut der, b"pump.example", new);
            certificate_facts(&der, "anchor").map(|facts| facts.san_dns)
        };
        let field = "subject alternative name";
        assert_eq!(with_name(b"pump\0example"), Err(CertificateError::ControlCharacter { field }));
        assert_eq!(with_name(b"pump\xff"), Err(CertificateError::NotText { field }));
        assert_eq!(with_name("pümp".as_bytes()), Err(CertificateError::NotText { field }));
    }

    #[test]
    fn damaged_certificates_are_refused_without_a_panic() {
        let mut parameters = parameters([(DnType::CommonName, "pump".into())]);
        parameters.subject_alt_names = vec![SanType::IpAddress("10.0.0.7".parse().unwrap())];
        let whole = der(&parameters);
        for length in 0..whole.len() {
            assert!(certificate_facts(&whole[..length], "anchor").is_err(), "{length} bytes");
        }
        for place in 0..whole.len() {
            for value in [0, 0x7f, 0x80, 0xff] {
                let mut damaged = whole.clone();
                damaged[place] = value;
                // Whether it is refused depends on the place; that it returns is the point.
                let _ = certificate_facts(&damaged, "anchor");
            }
        }
        let mut longer = whole.clone();
        longer.push(0);
        assert!(certificate_facts(&longer, "anchor").is_err());
        let long = vec![0x30; MAX_CERTIFICATE_LENGTH + 1];
        assert_eq!(certificate_facts(&long, "anchor"), Err(CertificateError::TooLong));
    }
}
