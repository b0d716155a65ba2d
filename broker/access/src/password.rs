//! What a database keeps of a password: the forms that are made here, and those that users bring along.

mod form;

use std::fmt;
use std::num::NonZeroU32;

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, pbkdf2};
use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;

use crate::ScramSecret;

/// Bytes of a password in CONNECT that is looked at; MQTT would allow 65,535.
pub const LONGEST_PASSWORD: usize = 1024;

const SALT_LENGTH: usize = 16;
const HASH_LENGTH: usize = 32;

/// A text by which a password can be checked, but not found other than by trying.
///
/// | begins with | | made by |
/// |---|---|---|
/// | `$argon2id$`, `$argon2i$`, `$argon2d$` | RFC 9106, in the PHC string format | [`PasswordHash::derive`], EMQX, HiveMQ, many libraries |
/// | `$2a$`, `$2b$`, `$2x$`, `$2y$` | bcrypt | VerneMQ, `htpasswd -B` |
/// | `$7$`, `$6$` | PBKDF2-SHA512, salted SHA-512 | `mosquitto_passwd` |
/// | `PBKDF2$sha512$`, `PBKDF2$sha256$` | PBKDF2 | mosquitto-go-auth's `pw` |
/// | `SCRAM-SHA-256$` | RFC 7677 | [`ScramSecret`], PostgreSQL |
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(Form);

#[derive(Clone, PartialEq, Eq)]
enum Form {
    Argon2 { algorithm: Algorithm, version: Version, params: Params, salt: Vec<u8>, hash: Vec<u8> },
    Bcrypt(String),
    Pbkdf2 { sha: Sha, iterations: NonZeroU32, salt: Vec<u8>, hash: Vec<u8> },
    SaltedSha512 { salt: Vec<u8>, hash: Vec<u8> },
    Scram(ScramSecret),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sha {
    Sha256,
    Sha512,
}

/// Why a text is no such thing. Does not repeat it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordHashError {
    #[error("it begins with none of $argon2id$, $2b$, $7$, $6$, PBKDF2$ and SCRAM-SHA-256$")]
    UnknownForm,
    #[error("it is not of the form that it begins with")]
    Malformed,
    #[error("to check it would take too much time or memory")]
    TooCostly,
}

impl PasswordHash {
    /// Argon2id with a random salt, 19 MiB and two passes (OWASP's first choice; RFC 9106 section 4): some
    /// 20 ms of a processor's time.
    pub fn derive(password: &[u8]) -> Self {
        let salt: [u8; SALT_LENGTH] = rand::random();
        let (algorithm, version) = (Algorithm::Argon2id, Version::V0x13);
        let params = Params::default();
        let hash = argon2(algorithm, version, &params, password, &salt, HASH_LENGTH);
        let hash = hash.expect("default parameters, and a salt of 16 bytes, are within its bounds");
        Self(Form::Argon2 { algorithm, version, params, salt: salt.to_vec(), hash })
    }

    /// Whether it was made of this password. Takes its time: tens of milliseconds and more.
    pub fn verify(&self, password: &[u8]) -> bool {
        if password.len() > LONGEST_PASSWORD {
            return false;
        }
        match &self.0 {
            Form::Argon2 { algorithm, version, params, salt, hash } => {
                argon2(*algorithm, *version, params, password, salt, hash.len())
                    .is_some_and(|found| verify_slices_are_equal(&found, hash).is_ok())
            }
            Form::Bcrypt(text) => bcrypt::verify(password, text).unwrap_or(false),
            Form::Pbkdf2 { sha, iterations, salt, hash } => {
                let algorithm = match sha {
                    Sha::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
                    Sha::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
                };
                pbkdf2::verify(algorithm, *iterations, salt, password, hash).is_ok()
            }
            Form::SaltedSha512 { salt, hash } => {
                let found = digest::digest(&digest::SHA512, &[password, salt].concat());
                verify_slices_are_equal(found.as_ref(), hash).is_ok()
            }
            Form::Scram(secret) => str::from_utf8(password).is_ok_and(|it| secret.is_of(it)),
        }
    }

    /// The text to be stored, where it was made here.
    pub fn to_text(&self) -> Option<String> {
        let Form::Argon2 { algorithm, version, params, salt, hash } = &self.0 else { return None };
        let [salt, hash] = [salt, hash].map(|it| BASE64_STANDARD_NO_PAD.encode(it));
        let (m, t, p) = (params.m_cost(), params.t_cost(), params.p_cost());
        Some(format!("${algorithm}$v={}$m={m},t={t},p={p}${salt}${hash}", *version as u32))
    }
}

impl std::str::FromStr for PasswordHash {
    type Err = PasswordHashError;

    fn from_str(text: &str) -> Result<Self, PasswordHashError> {
        form::read(text).map(Self)
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

fn argon2(
    algorithm: Algorithm,
    version: Version,
    params: &Params,
    password: &[u8],
    salt: &[u8],
    length: usize,
) -> Option<Vec<u8>> {
    #[cfg(test)]
    let _computation = computations::begin(password, params);
    let mut hash = vec![0; length];
    let argon2 = Argon2::new(algorithm, version, params.clone());
    argon2.hash_password_into(password, salt, &mut hash).ok()?;
    Some(hash)
}

#[cfg(test)]
pub(crate) mod computations;
#[cfg(test)]
mod tests;
