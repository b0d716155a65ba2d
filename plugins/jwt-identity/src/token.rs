//! A signed token (RFC 7515, compact serialization), before anything in it is believed.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Longer than any that an identity provider makes.
const MAX_TOKEN_BYTES: usize = 16 << 10;

/// The algorithms of RFC 7518 and RFC 8037 that are taken. `none` is not among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Algorithm {
    RS256,
    ES256,
    #[serde(rename = "EdDSA")]
    EdDsa,
    HS256,
}

/// The parts of a token. Nothing is verified.
#[derive(Debug)]
pub struct Token<'a> {
    pub algorithm: Algorithm,
    pub key_id: Option<String>,
    /// What the signature is about.
    pub signed: &'a [u8],
    pub signature: Vec<u8>,
    claims: &'a str,
}

#[derive(Deserialize)]
struct Header {
    alg: Algorithm,
    kid: Option<String>,
    crit: Option<Value>,
}

impl<'a> Token<'a> {
    /// # Errors
    /// Why it is no token; nothing of it is in the words.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, &'static str> {
        if bytes.len() > MAX_TOKEN_BYTES {
            return Err("the token is longer than 16 KiB");
        }
        let text = std::str::from_utf8(bytes).map_err(|_| "the token is not a text")?;
        let mut parts = text.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err("the password is not a signed token");
        };
        let json = decode(header).ok_or("the token's header is not base64url")?;
        let header: Header = serde_json::from_slice(&json)
            .map_err(|_| "the token's header names none of the known algorithms")?;
        // RFC 7515 section 4.1.11: whoever does not know an extension refuses.
        if header.crit.is_some() {
            return Err("the token has critical extensions");
        }
        let signed = text.rsplit_once('.').map(|(signed, _)| signed).unwrap_or_default();
        Ok(Self {
            algorithm: header.alg,
            key_id: header.kid,
            signed: signed.as_bytes(),
            signature: decode(signature).ok_or("the token's signature is not base64url")?,
            claims,
        })
    }

    /// What the token claims, for those who have verified it.
    pub fn claims(&self) -> Result<Map<String, Value>, &'static str> {
        let json = decode(self.claims).ok_or("the token's claims are not base64url")?;
        serde_json::from_slice(&json).map_err(|_| "the token's claims are not a JSON object")
    }
}

/// Base64url without padding; other spellings of the same bytes are refused.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}
