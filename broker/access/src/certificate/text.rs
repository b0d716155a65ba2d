//! ASN.1 strings as text, and distinguished names as RFC 4514 writes them.

use x509_parser::asn1_rs::{Any, Oid, Tag, ToDer};
use x509_parser::oid_registry::{
    OID_DOMAIN_COMPONENT, OID_USERID, OID_X509_COMMON_NAME, OID_X509_COUNTRY_NAME,
    OID_X509_LOCALITY_NAME, OID_X509_ORGANIZATION_NAME, OID_X509_ORGANIZATIONAL_UNIT,
    OID_X509_STATE_OR_PROVINCE_NAME, OID_X509_STREET_ADDRESS,
};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use super::{CertificateError, MAX_NAME_LENGTH};

/// The text of a string value, in whichever of ASN.1's string types it is.
pub(super) fn decode(value: &Any<'_>, field: &'static str) -> Result<String, CertificateError> {
    let bytes = value.data;
    let text = match value.tag() {
        Tag::Utf8String => String::from_utf8(bytes.to_vec()).ok(),
        Tag::PrintableString
        | Tag::NumericString
        | Tag::Ia5String
        | Tag::VisibleString
        | Tag::T61String => {
            bytes.is_ascii().then(|| bytes.iter().map(|&byte| char::from(byte)).collect())
        }
        Tag::BmpString => {
            let (units, rest) = bytes.as_chunks::<2>();
            let units: Vec<u16> = units.iter().map(|unit| u16::from_be_bytes(*unit)).collect();
            if rest.is_empty() { String::from_utf16(&units).ok() } else { None }
        }
        Tag::UniversalString => {
            let (units, rest) = bytes.as_chunks::<4>();
            let text = units.iter().map(|unit| char::from_u32(u32::from_be_bytes(*unit))).collect();
            if rest.is_empty() { text } else { None }
        }
        _ => None,
    };
    checked(text.ok_or(CertificateError::NotText { field })?, field)
}

/// An IA5String that the parser has let through as UTF-8.
pub(super) fn ia5(text: &str, field: &'static str) -> Result<String, CertificateError> {
    if !text.is_ascii() {
        return Err(CertificateError::NotText { field });
    }
    checked(text.to_owned(), field)
}

pub(super) fn checked(text: String, field: &'static str) -> Result<String, CertificateError> {
    if text.len() > MAX_NAME_LENGTH {
        return Err(CertificateError::NameTooLong { field });
    }
    if text.contains(char::is_control) {
        return Err(CertificateError::ControlCharacter { field });
    }
    Ok(text)
}

/// A name that has nothing but this CN (RFC 4514).
pub(super) fn common_name(text: &str) -> String {
    format!("CN={}", escape(text))
}

/// The whole name, last part first (RFC 4514 section 2).
pub(super) fn rfc4514(
    name: &X509Name<'_>,
    field: &'static str,
) -> Result<String, CertificateError> {
    let mut parts = Vec::new();
    for relative in name.iter_rdn() {
        let pairs: Result<Vec<_>, _> = relative.iter().map(|pair| attribute(pair, field)).collect();
        parts.push(pairs?.join("+"));
    }
    parts.reverse();
    Ok(parts.join(","))
}

/// A type with a short name is followed by its text, any other by its encoding in hex.
fn attribute(
    attribute: &AttributeTypeAndValue<'_>,
    field: &'static str,
) -> Result<String, CertificateError> {
    let value = attribute.attr_value();
    match short_name(attribute.attr_type()) {
        Some(name) => Ok(format!("{name}={}", escape(&decode(value, field)?))),
        None => {
            let der = value.to_der_vec().map_err(|_| CertificateError::NotText { field })?;
            if der.len() > MAX_NAME_LENGTH {
                return Err(CertificateError::NameTooLong { field });
            }
            Ok(format!("{}=#{}", attribute.attr_type().to_id_string(), hex::encode(der)))
        }
    }
}

/// RFC 4514 section 3.
fn short_name(oid: &Oid<'_>) -> Option<&'static str> {
    let table = [
        (OID_X509_COMMON_NAME, "CN"),
        (OID_X509_LOCALITY_NAME, "L"),
        (OID_X509_STATE_OR_PROVINCE_NAME, "ST"),
        (OID_X509_ORGANIZATION_NAME, "O"),
        (OID_X509_ORGANIZATIONAL_UNIT, "OU"),
        (OID_X509_COUNTRY_NAME, "C"),
        (OID_X509_STREET_ADDRESS, "STREET"),
        (OID_DOMAIN_COMPONENT, "DC"),
        (OID_USERID, "UID"),
    ];
    table.iter().find(|(known, _)| known == oid).map(|(_, name)| *name)
}

/// RFC 4514 section 2.4.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let last = text.chars().count().saturating_sub(1);
    for (place, character) in text.chars().enumerate() {
        let special = match character {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => true,
            '#' => place == 0,
            ' ' => place == 0 || place == last,
            _ => false,
        };
        if special {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_with_a_meaning_are_escaped() {
        let table =
            [("a+b,c", r"a\+b\,c"), (" a ", r"\ a\ "), ("#a#", r"\#a#"), ("a=b", "a=b"), ("", "")];
        for (text, expected) in table {
            assert_eq!(escape(text), expected);
        }
    }
}
