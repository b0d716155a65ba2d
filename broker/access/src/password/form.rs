//! The texts in which password hashes are written. They come from tables that others write.

use std::num::NonZeroU32;

use argon2::{Algorithm, Params, Version};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::{Form, PasswordHashError, Sha};

/// KiB; beyond it one look at a table could take the machine's memory.
const MOST_MEMORY: u32 = 256 << 10;
/// Passes over the memory, and lanes.
const MOST_PASSES: u32 = 64;
const MOST_LANES: u32 = 64;
/// A second or so.
const MOST_ITERATIONS: u32 = 2_000_000;
/// Of bcrypt: each more is twice the time; 2^14 are a second.
const MOST_BCRYPT_COST: u32 = 14;
/// Bytes of a salt or a hash.
const LONGEST: usize = 128;

/// Writers differ in whether they pad.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(super) fn read(text: &str) -> Result<Form, PasswordHashError> {
    let parts: Vec<&str> = text.split('$').collect();
    match parts[..] {
        ["", name @ ("argon2id" | "argon2i" | "argon2d"), ref rest @ ..] => argon2(name, rest),
        ["", "2a" | "2b" | "2x" | "2y", cost, _] => bcrypt(text, cost),
        ["", "7", iterations, salt, hash] => pbkdf2(Sha::Sha512, iterations, salt, hash),
        ["", "6", salt, hash] => {
            Ok(Form::SaltedSha512 { salt: bytes(salt)?, hash: bytes_of(hash, 64)? })
        }
        ["PBKDF2", "sha512", iterations, salt, hash] => pbkdf2(Sha::Sha512, iterations, salt, hash),
        ["PBKDF2", "sha256", iterations, salt, hash] => pbkdf2(Sha::Sha256, iterations, salt, hash),
        ["SCRAM-SHA-256", ..] => {
            text.parse().map(Form::Scram).map_err(|_| PasswordHashError::Malformed)
        }
        _ => Err(PasswordHashError::UnknownForm),
    }
}

/// `[v=19$]m=65536,t=3,p=4$<salt>$<hash>`; without a version it is the first, 16.
fn argon2(name: &str, rest: &[&str]) -> Result<Form, PasswordHashError> {
    let malformed = PasswordHashError::Malformed;
    let (version, costs, salt, hash) = match *rest {
        ["v=19", costs, salt, hash] => (Version::V0x13, costs, salt, hash),
        ["v=16", costs, salt, hash] | [costs, salt, hash] => (Version::V0x10, costs, salt, hash),
        _ => return Err(malformed),
    };
    let [m, t, p] = costs.split(',').collect::<Vec<_>>().try_into().map_err(|_| malformed)?;
    let cost = |text: &str, name| number(text.strip_prefix(name).ok_or(malformed)?);
    let (m, t, p) = (cost(m, "m=")?, cost(t, "t=")?, cost(p, "p=")?);
    if m > MOST_MEMORY || t > MOST_PASSES || p > MOST_LANES {
        return Err(PasswordHashError::TooCostly);
    }
    let algorithm = match name {
        "argon2i" => Algorithm::Argon2i,
        "argon2d" => Algorithm::Argon2d,
        _ => Algorithm::Argon2id,
    };
    let (salt, hash) = (bytes(salt)?, bytes(hash)?);
    let params = Params::new(m, t, p, None).map_err(|_| malformed)?;
    match salt.len() >= argon2::MIN_SALT_LEN {
        true => Ok(Form::Argon2 { algorithm, version, params, salt, hash }),
        false => Err(malformed),
    }
}

fn bcrypt(text: &str, cost: &str) -> Result<Form, PasswordHashError> {
    let malformed = PasswordHashError::Malformed;
    if cost.len() != 2 || text.len() != 60 || !text.is_ascii() {
        return Err(malformed);
    }
    match cost.parse::<u32>().map_err(|_| malformed)? {
        0..4 => Err(malformed),
        4..=MOST_BCRYPT_COST => Ok(Form::Bcrypt(text.to_owned())),
        _ => Err(PasswordHashError::TooCostly),
    }
}

fn pbkdf2(sha: Sha, iterations: &str, salt: &str, hash: &str) -> Result<Form, PasswordHashError> {
    let iterations = NonZeroU32::new(number(iterations)?).ok_or(PasswordHashError::Malformed)?;
    if iterations.get() > MOST_ITERATIONS {
        return Err(PasswordHashError::TooCostly);
    }
    Ok(Form::Pbkdf2 { sha, iterations, salt: bytes(salt)?, hash: bytes(hash)? })
}

fn number(text: &str) -> Result<u32, PasswordHashError> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain).ok_or(PasswordHashError::Malformed)
}

/// A hash of a few bytes would fit many passwords.
fn bytes(text: &str) -> Result<Vec<u8>, PasswordHashError> {
    let bytes = BASE64.decode(text).map_err(|_| PasswordHashError::Malformed)?;
    match bytes.len() {
        8..=LONGEST => Ok(bytes),
        _ => Err(PasswordHashError::Malformed),
    }
}

fn bytes_of(text: &str, length: usize) -> Result<Vec<u8>, PasswordHashError> {
    bytes(text)
        .and_then(|it| if it.len() == length { Ok(it) } else { Err(PasswordHashError::Malformed) })
}
