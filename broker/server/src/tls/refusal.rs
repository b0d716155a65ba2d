//! Which client certificate was refused, and why, in words for an operator.

use hookmq_access::certificate_facts;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{CertificateError, Error, OtherError};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The longest name that is shown. Whoever is refused chose it.
const SHOWN_CHARACTERS: usize = 256;

/// A certificate that no trust anchor vouches for.
#[derive(Debug)]
pub(super) struct Refusal {
    /// RFC 4514; the client's word, to be escaped where it is shown.
    pub(super) subject: String,
    /// As `subject`.
    pub(super) issuer: String,
    /// Lower-case hex.
    pub(super) serial: String,
    /// What rustls tells the client, as an alert.
    pub(super) error: Error,
}

impl Refusal {
    /// `errors` are the words of all trust anchors.
    pub(super) fn new(leaf: &CertificateDer<'_>, errors: Vec<Error>) -> Self {
        let error = most_telling(errors);
        match certificate_facts(leaf, "") {
            Ok(facts) => Self {
                subject: shortened(&facts.subject.text),
                issuer: shortened(&facts.issuer.text),
                serial: facts.serial,
                error,
            },
            Err(unreadable) => Self {
                subject: format!("(unreadable: {unreadable})"),
                issuer: String::new(),
                serial: String::new(),
                error,
            },
        }
    }

    pub(super) fn reason(&self) -> String {
        reason(&self.error)
    }
}

/// Why a certificate is not accepted, in words for an operator.
pub(super) fn reason(error: &Error) -> String {
    let Error::InvalidCertificate(error) = error else { return error.to_string() };
    match error {
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("expired at {}", rfc3339(*not_after))
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("not valid before {}", rfc3339(*not_before))
        }
        CertificateError::UnknownIssuer => "no trust anchor of this listener has issued it".into(),
        CertificateError::BadSignature => "its signature is not that of the issuer it names".into(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "its extended key usage does not allow client authentication".into()
        }
        CertificateError::Revoked => "its issuer has revoked it".into(),
        CertificateError::UnknownRevocationStatus => {
            "no revocation list of its issuer says whether it is revoked".into()
        }
        CertificateError::ExpiredRevocationListContext { next_update, .. } => {
            format!("the revocation list is out of date since {}", rfc3339(*next_update))
        }
        CertificateError::BadEncoding => "it is not a well-formed X.509 certificate".into(),
        CertificateError::Other(OtherError(why)) => why.to_string(),
        other => other.to_string(),
    }
}

/// An anchor that has not issued a certificate has little to say about it.
fn most_telling(mut errors: Vec<Error>) -> Error {
    let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
    match errors.iter().position(|error| *error != unknown) {
        Some(position) => errors.swap_remove(position),
        None => unknown,
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}

fn rfc3339(time: UnixTime) -> String {
    i64::try_from(time.as_secs())
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| format!("{} seconds after 1970", time.as_secs()))
}
