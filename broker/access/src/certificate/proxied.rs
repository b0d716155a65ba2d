//! A client certificate that a trusted proxy tells of, in the fields of its PROXY header.
//!
//! The proxy has shaken hands and verified the chain. What it says is taken under the name of a trust
//! anchor of its own, and never mistaken for what the broker has seen itself.

use hookmq_hooks::{CertificateFacts, DistinguishedName};

use super::{CertificateError, certificate_facts, text};

/// Reads what a proxy says: the whole certificate, the subject's common name, or both. None where it
/// says neither.
///
/// # Errors
/// As [`certificate_facts`]; and where the common name is not the certificate's only one.
pub fn proxied_certificate(
    der: Option<&[u8]>,
    common_name: Option<&[u8]>,
    trust_anchor: &str,
) -> Result<Option<CertificateFacts>, CertificateError> {
    let field = "subject";
    let common_name = match common_name.map(std::str::from_utf8) {
        None => None,
        Some(Ok(name)) => Some(text::checked(name.to_owned(), field)?),
        Some(Err(_)) => return Err(CertificateError::NotText { field }),
    };
    let Some(der) = der else {
        return Ok(common_name.map(|name| only_name(name, trust_anchor)));
    };
    let facts = certificate_facts(der, trust_anchor)?;
    if common_name.is_some_and(|name| facts.subject.common_name != [name]) {
        return Err(CertificateError::Malformed("the proxy gives it another common name".into()));
    }
    Ok(Some(CertificateFacts { vouched_by_proxy: true, ..facts }))
}

fn only_name(common_name: String, trust_anchor: &str) -> CertificateFacts {
    let text = text::common_name(&common_name);
    let common_name = vec![common_name];
    CertificateFacts {
        subject: DistinguishedName { common_name, text, ..DistinguishedName::default() },
        // Nobody has said until when.
        not_after: i64::MAX,
        trust_anchor: trust_anchor.to_owned(),
        vouched_by_proxy: true,
        ..CertificateFacts::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_alone_is_a_certificate_that_the_proxy_vouches_for() {
        let facts = proxied_certificate(None, Some(b"pump+7"), "edge").unwrap().unwrap();
        assert_eq!(facts.subject.common_name, ["pump+7"]);
        assert_eq!(facts.subject.text, r"CN=pump\+7");
        assert_eq!((&*facts.trust_anchor, facts.vouched_by_proxy), ("edge", true));
        assert_eq!(proxied_certificate(None, None, "edge"), Ok(None));
    }

    #[test]
    fn what_is_not_clean_or_contradicts_is_refused() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "pump-7");
        let der = params.self_signed(&key).unwrap().der().to_vec();
        let whole = proxied_certificate(Some(&der), Some(b"pump-7"), "edge").unwrap().unwrap();
        assert!(whole.vouched_by_proxy && !whole.fingerprint.is_empty());
        for (der, name) in [
            (Some(&*der), Some(&b"pump-8"[..])),
            (Some(&der[1..]), None),
            (None, Some(b"pump\0")),
            (None, Some(b"pump\xff")),
            (None, Some(&[b'x'; 2000])),
        ] {
            assert!(proxied_certificate(der, name, "edge").is_err(), "{name:?}");
        }
    }
}
