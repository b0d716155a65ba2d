//! SCRAM-SHA-256 (RFC 5802, RFC 7677), the server's side: messages in, messages out.
//!
//! [`ClientFirst`] is what the client begins with; its answer is [`Challenged`], which checks the
//! client's proof. Nonces and secrets are given; nothing here waits.

mod secret;

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

pub use self::secret::{MINIMUM_ITERATIONS, PasswordError, ScramSecret};
use self::secret::{hmac, sha256};

/// The mechanism's registered name, which is MQTT's authentication method.
pub const SCRAM_SHA_256: &str = "SCRAM-SHA-256";

/// Bytes of a message; RFC 5802 sets no bound.
const LONGEST_MESSAGE: usize = 8192;

/// Bytes of the client's nonce; what it sends comes back to it.
const LONGEST_NONCE: usize = 256;

/// Why an exchange fails. Says nothing that the client has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    #[error("a message is malformed: {0}")]
    Malformed(&'static str),
    #[error("the client asks for channel binding")]
    ChannelBinding,
    #[error("the client asks to act as somebody else")]
    AuthorizationIdentity,
    #[error("the client needs an extension")]
    Extension,
    #[error("the client's last message belongs to another exchange")]
    OtherExchange,
    #[error("the client does not know the password")]
    Proof,
}

/// The client's first message, well formed.
pub struct ClientFirst {
    username: String,
    gs2_header: String,
    bare: String,
    nonce: String,
}

/// An exchange in which the client has been sent salt and nonce.
pub struct Challenged {
    gs2_header: String,
    client_first_bare: String,
    nonce: String,
    server_first: String,
    secret: ScramSecret,
}

impl ClientFirst {
    /// Reads `client-first-message` of RFC 5802 section 7.
    pub fn read(message: &[u8]) -> Result<Self, ScramError> {
        let text = text(message)?;
        let malformed = ScramError::Malformed;
        let (binding, rest) = text.split_once(',').ok_or(malformed("no GS2 header"))?;
        let (identity, bare) = rest.split_once(',').ok_or(malformed("no GS2 header"))?;
        match binding {
            // "y": the client could bind and believes that we cannot, which is true.
            "n" | "y" => {}
            _ if binding.starts_with("p=") => return Err(ScramError::ChannelBinding),
            _ => return Err(malformed("the channel binding flag")),
        }
        match identity {
            "" => {}
            _ if identity.starts_with("a=") => return Err(ScramError::AuthorizationIdentity),
            _ => return Err(malformed("the authorization identity")),
        }
        let mut attributes = bare.split(',');
        let first = attributes.next().unwrap_or_default();
        if first.starts_with("m=") {
            return Err(ScramError::Extension);
        }
        let name = first.strip_prefix("n=").ok_or(malformed("no user name"))?;
        let nonce = attributes.next().and_then(|second| second.strip_prefix("r="));
        let nonce = nonce.ok_or(malformed("no nonce"))?;
        let is_printable = nonce.bytes().all(|byte| byte.is_ascii_graphic());
        if nonce.is_empty() || nonce.len() > LONGEST_NONCE || !is_printable {
            return Err(malformed("the nonce"));
        }
        check_extensions(attributes)?;
        Ok(Self {
            username: username(name)?,
            gs2_header: text[..text.len() - bare.len()].to_owned(),
            bare: bare.to_owned(),
            nonce: nonce.to_owned(),
        })
    }

    /// Who the client says it is, prepared by SASLprep (RFC 4013).
    pub fn username(&self) -> &str {
        &self.username
    }

    /// Goes on with what is known about the user. `server_nonce` is printable ASCII without commas, and
    /// never the same twice.
    pub fn challenge(self, secret: ScramSecret, server_nonce: &str) -> Challenged {
        let nonce = self.nonce + server_nonce;
        let salt = BASE64_STANDARD.encode(secret.salt());
        let server_first = format!("r={nonce},s={salt},i={}", secret.iterations());
        Challenged {
            gs2_header: self.gs2_header,
            client_first_bare: self.bare,
            nonce,
            server_first,
            secret,
        }
    }
}

impl Challenged {
    /// `server-first-message`.
    pub fn message(&self) -> &str {
        &self.server_first
    }

    /// Checks `client-final-message`; gives `server-final-message`, by which the client knows that the
    /// server knows its secret.
    pub fn finish(&self, message: &[u8]) -> Result<String, ScramError> {
        let text = text(message)?;
        let malformed = ScramError::Malformed;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(malformed("no proof"))?;
        let mut attributes = without_proof.split(',');
        let mut attribute = |name| attributes.next().and_then(|it| it.strip_prefix(name));
        let binding = attribute("c=").ok_or(malformed("no channel binding"))?;
        let nonce = attribute("r=").ok_or(malformed("no nonce"))?;
        check_extensions(attributes)?;
        let binding = BASE64_STANDARD.decode(binding).map_err(|_| malformed("channel binding"))?;
        if binding != self.gs2_header.as_bytes() || nonce != self.nonce {
            return Err(ScramError::OtherExchange);
        }
        let proof = BASE64_STANDARD.decode(proof).map_err(|_| malformed("the proof"))?;
        let proof: [u8; 32] = proof.try_into().map_err(|_| malformed("the proof"))?;
        let signed = format!("{},{},{without_proof}", self.client_first_bare, self.server_first);
        let client_signature = hmac(self.secret.stored_key(), signed.as_bytes());
        let client_key: [u8; 32] =
            std::array::from_fn(|place| proof[place] ^ client_signature[place]);
        verify_slices_are_equal(&sha256(&client_key), self.secret.stored_key())
            .map_err(|_| ScramError::Proof)?;
        let server_signature = hmac(self.secret.server_key(), signed.as_bytes());
        Ok(format!("v={}", BASE64_STANDARD.encode(server_signature)))
    }
}

impl fmt::Debug for ClientFirst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientFirst").field("username", &self.username).finish_non_exhaustive()
    }
}

fn text(message: &[u8]) -> Result<&str, ScramError> {
    if message.len() > LONGEST_MESSAGE {
        return Err(ScramError::Malformed("it is too long"));
    }
    str::from_utf8(message).map_err(|_| ScramError::Malformed("it is not UTF-8"))
}

/// `saslname` without its escapes, prepared.
fn username(escaped: &str) -> Result<String, ScramError> {
    let malformed = ScramError::Malformed("the user name");
    let mut parts = escaped.split('=');
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (character, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return Err(malformed),
        };
        name.push(character);
        name.push_str(rest);
    }
    match stringprep::saslprep(&name) {
        Ok(name) if !name.is_empty() => Ok(name.into_owned()),
        _ => Err(malformed),
    }
}

/// Optional extensions, none of which we know: `attr-val`, to be ignored.
fn check_extensions<'a>(mut attributes: impl Iterator<Item = &'a str>) -> Result<(), ScramError> {
    let is_attribute = |it: &str| {
        matches!(it.as_bytes(), [name, b'=', _, ..] if name.is_ascii_alphabetic())
            && !it.contains('\0')
    };
    match attributes.all(is_attribute) {
        true => Ok(()),
        false => Err(ScramError::Malformed("an extension")),
    }
}

#[cfg(test)]
mod tests;
