//! The compact form of a signed token (RFC 7515 section 7.1), taken apart and not yet believed.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::json;

/// Why bytes are no token that could be verified. Says nothing of what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("the token is longer than {0} bytes")]
    TooLong(usize),
    #[error("a token has three parts, which are not empty")]
    Parts,
    #[error("a part of the token is not Base64 as RFC 7515 writes it")]
    Base64,
    #[error("the token's header cannot be read: {0}")]
    Header(&'static str),
    #[error("the token's claims cannot be read: {0}")]
    Claims(&'static str),
    #[error("the token is signed by none of the algorithms that are known here")]
    Algorithm,
    #[error("the token's header demands what is not known here (`crit`, `b64`)")]
    Critical,
}

/// A token whose signature is still to be verified.
pub(crate) struct Compact<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<String>,
    /// What the signature is for.
    pub(super) signed: &'a [u8],
    pub(super) signature: Vec<u8>,
    claims: &'a [u8],
}

impl<'a> Compact<'a> {
    /// Takes `token` apart, unless it is longer than `maximum` bytes.
    ///
    /// Of its header only `alg` and `kid` are looked at. Keys that it brings or points at (`jwk`, `jku`,
    /// `x5c`, `x5u`) are its own word.
    pub(crate) fn read(token: &'a [u8], maximum: usize) -> Result<Self, Malformed> {
        if token.len() > maximum {
            return Err(Malformed::TooLong(maximum));
        }
        let mut parts = token.split(|byte| *byte == b'.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Malformed::Parts);
        };
        if [header, claims, signature].iter().any(|part| part.is_empty()) {
            return Err(Malformed::Parts);
        }
        let signed = &token[..header.len() + 1 + claims.len()];
        let header = json::object(&decode(header)?).map_err(Malformed::Header)?;
        if header.contains_key("crit") || header.contains_key("b64") {
            return Err(Malformed::Critical);
        }
        let name = header.get("alg").and_then(Value::as_str).unwrap_or_default();
        let algorithm = Algorithm::named(name).ok_or(Malformed::Algorithm)?;
        let key_id = match header.get("kid") {
            None => None,
            Some(Value::String(id)) => Some(id.clone()),
            Some(_) => return Err(Malformed::Header("`kid` is not text")),
        };
        Ok(Self { algorithm, key_id, signed, signature: decode(signature)?, claims })
    }

    /// What it says: of interest once it is verified.
    pub(crate) fn claims(&self) -> Result<Map<String, Value>, Malformed> {
        json::object(&decode(self.claims)?).map_err(Malformed::Claims)
    }
}

/// Base64 in one way only: no padding, no bits left over.
pub(super) fn decode(text: &[u8]) -> Result<Vec<u8>, Malformed> {
    BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| Malformed::Base64)
}
