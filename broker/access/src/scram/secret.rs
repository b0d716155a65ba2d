//! What a server keeps of a password for SCRAM-SHA-256, in the text format of PostgreSQL.

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, pbkdf2};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::SCRAM_SHA_256;

/// Fewer are not to be announced (RFC 7677 section 4).
pub const MINIMUM_ITERATIONS: u32 = 4096;

/// Bytes of the salt of somebody unknown; new secrets should have as many.
const SALT_LENGTH: usize = 16;

/// `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, the last three in Base64. It does not
/// let in who knows it, but lets passwords be tried and the server be played.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramSecret {
    iterations: NonZeroU32,
    salt: Vec<u8>,
    stored_key: [u8; 32],
    server_key: [u8; 32],
}

/// Why a text is no secret. Does not repeat it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not of the form SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>")]
pub struct SecretFormatError;

/// Why a password cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    #[error("the password is empty")]
    Empty,
    #[error("the password has characters that SASLprep (RFC 4013) prohibits")]
    Prohibited,
}

impl ScramSecret {
    /// The secret of `password`, which is prepared by SASLprep as a client does.
    pub fn derive(
        password: &str,
        salt: [u8; SALT_LENGTH],
        iterations: NonZeroU32,
    ) -> Result<Self, PasswordError> {
        let prepared = stringprep::saslprep(password).map_err(|_| PasswordError::Prohibited)?;
        if prepared.is_empty() {
            return Err(PasswordError::Empty);
        }
        let salted = salted(&prepared, &salt, iterations);
        let stored_key = sha256(&hmac(&salted, b"Client Key"));
        let server_key = hmac(&salted, b"Server Key");
        Ok(Self { iterations, salt: salt.to_vec(), stored_key, server_key })
    }

    /// What somebody is shown who has no secret: always the same for the same name, and nobody knows a
    /// password for it.
    pub fn of_stranger(key: &[u8], tenant: &str, username: &str, iterations: NonZeroU32) -> Self {
        let made_up = |purpose: &str| hmac(key, [purpose, tenant, username].join("\0").as_bytes());
        let salt = made_up("salt")[..SALT_LENGTH].to_vec();
        let (stored_key, server_key) = (made_up("stored key"), made_up("server key"));
        Self { iterations, salt, stored_key, server_key }
    }

    /// Whether it was made of this password.
    pub(crate) fn is_of(&self, password: &str) -> bool {
        let Ok(prepared) = stringprep::saslprep(password) else { return false };
        let salted = salted(&prepared, &self.salt, self.iterations);
        let stored_key = sha256(&hmac(&salted, b"Client Key"));
        verify_slices_are_equal(&stored_key, &self.stored_key).is_ok()
    }

    pub(super) fn iterations(&self) -> NonZeroU32 {
        self.iterations
    }

    pub(super) fn salt(&self) -> &[u8] {
        &self.salt
    }

    pub(super) fn stored_key(&self) -> &[u8; 32] {
        &self.stored_key
    }

    pub(super) fn server_key(&self) -> &[u8; 32] {
        &self.server_key
    }

    /// The text to be stored.
    pub fn to_text(&self) -> String {
        let [salt, stored_key, server_key] = [&self.salt[..], &self.stored_key, &self.server_key]
            .map(|it| BASE64_STANDARD.encode(it));
        format!("{SCRAM_SHA_256}${}:{salt}${stored_key}:{server_key}", self.iterations)
    }
}

impl std::str::FromStr for ScramSecret {
    type Err = SecretFormatError;

    fn from_str(text: &str) -> Result<Self, SecretFormatError> {
        read(text).ok_or(SecretFormatError)
    }
}

fn read(text: &str) -> Option<ScramSecret> {
    let [mechanism, cost, keys] = text.split('$').collect::<Vec<_>>().try_into().ok()?;
    let (iterations, salt) = cost.split_once(':')?;
    let (stored_key, server_key) = keys.split_once(':')?;
    let is_plain =
        iterations.bytes().all(|byte| byte.is_ascii_digit()) && !iterations.starts_with('0');
    if mechanism != SCRAM_SHA_256 || !is_plain {
        return None;
    }
    let bytes = |text: &str| BASE64_STANDARD.decode(text).ok().filter(|bytes| !bytes.is_empty());
    Some(ScramSecret {
        iterations: iterations.parse().ok()?,
        salt: bytes(salt)?,
        stored_key: bytes(stored_key)?.try_into().ok()?,
        server_key: bytes(server_key)?.try_into().ok()?,
    })
}

impl fmt::Debug for ScramSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScramSecret(..)")
    }
}

/// `SaltedPassword` of RFC 5802 section 3.
fn salted(prepared: &str, salt: &[u8], iterations: NonZeroU32) -> [u8; 32] {
    let mut salted = [0; 32];
    let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
    pbkdf2::derive(algorithm, iterations, salt, prepared.as_bytes(), &mut salted);
    salted
}

pub(super) fn hmac(key: &[u8], data: &[u8]) -> [u8; 32] {
    use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
    let tag = sign(&Key::new(HMAC_SHA256, key), data);
    tag.as_ref().try_into().expect("HMAC-SHA-256 has 32 bytes")
}

pub(super) fn sha256(data: &[u8]) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, data);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}
