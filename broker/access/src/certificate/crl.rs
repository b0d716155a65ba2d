//! What a certificate revocation list says of itself. Its signature is for the verifier to check.

use x509_parser::prelude::{CertificateRevocationList, FromDer};

use super::{CertificateError, text};

/// A revocation list, as far as operators are told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrlFacts {
    /// RFC 4514.
    pub issuer: String,
    /// Seconds since 1970.
    pub this_update: i64,
    /// Seconds since 1970; RFC 5280 demands it (section 5.1.2.5).
    pub next_update: i64,
    /// How many certificates it revokes.
    pub revoked: usize,
}

/// Reads the revocation list `der`.
///
/// # Errors
/// Where it is malformed or does not say until when it counts.
pub fn crl_facts(der: &[u8]) -> Result<CrlFacts, CertificateError> {
    let malformed = |what: String| CertificateError::Malformed(what);
    let (rest, list) =
        CertificateRevocationList::from_der(der).map_err(|error| malformed(error.to_string()))?;
    if !rest.is_empty() {
        return Err(malformed("bytes behind its end".into()));
    }
    let next_update = list.next_update().ok_or_else(|| malformed("no nextUpdate".into()))?;
    Ok(CrlFacts {
        issuer: text::rfc4514(list.issuer(), "issuer")?,
        this_update: list.last_update().timestamp(),
        next_update: next_update.timestamp(),
        revoked: list.iter_revoked_certificates().count(),
    })
}
