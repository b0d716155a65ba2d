//! JSON Web Tokens (RFC 7519): which are good, and whom they name.
//!
//! A token is a JWS in its compact form (RFC 7515). [`compact`] takes it apart, [`ring`] holds the keys
//! that verify it, [`claims`] says whether it holds here and now, [`mapping`] makes an identity of it. The
//! cryptography is aws-lc's; everything else that a token could talk us into is decided here: a key is
//! for the algorithms that the configuration gives it, and nothing in a token names a key but its `kid`.

mod algorithm;
mod claims;
mod compact;
mod grants;
mod json;
mod key;
mod mapping;
mod permissions;
mod ring;
mod settings;
mod template;
mod url;

pub use self::algorithm::Algorithm;
pub(crate) use self::compact::Compact;
pub(crate) use self::grants::TokenGrants;
pub use self::key::KeyError;
pub(crate) use self::mapping::Unnamed;
pub use self::ring::{FetchKeySet, MAX_KEY_SET_BYTES};
pub(crate) use self::ring::{KeyRing, Unverified};
pub use self::settings::{JwtSettings, KeySettings, PermissionsFrom, SettingsProblem, TokenFrom};
pub(crate) use self::template::Template;
pub use self::url::{KeySetUrl, KeySetUrlError};

/// Reads `bytes` as a key set, a PEM file and a secret.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_keys(bytes: &[u8]) {
    let algorithms = Algorithm::ALL.into_iter().collect();
    for published in [key::Published::No, key::Published::Yes] {
        let _ = key::of_set(bytes, &algorithms, published);
    }
    let _ = key::Key::of_pem(None, bytes, &algorithms);
    let _ = key::Key::of_secret(None, bytes, &algorithms);
}

#[cfg(test)]
mod tests;
