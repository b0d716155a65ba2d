//! Keys that verify, each for one algorithm.

use ed25519_dalek::VerifyingKey as Ed25519Key;
use hmac::{Hmac, Mac};
use p256::EncodedPoint;
use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{Signature as EcdsaSignature, VerifyingKey as EcdsaKey};
use rsa::pkcs1v15::{Signature as RsaSignature, VerifyingKey as RsaKey};
use rsa::traits::PublicKeyParts;
use rsa::{BigUint, RsaPublicKey};
use serde::Deserialize;
use serde_json::Value;
use sha2::Sha256;

use crate::token::{Algorithm, Token, decode};

/// RFC 7518 section 3.3.
const MIN_RSA_BITS: usize = 2048;
/// RFC 7518 section 3.2: as long as the hash.
const MIN_HMAC_BYTES: usize = 32;
/// A set beyond this is none of an identity provider's.
const MAX_KEYS: usize = 100;

/// A key with its name.
pub struct Key {
    pub id: Option<String>,
    kind: Kind,
}

enum Kind {
    Rsa(RsaKey<Sha256>),
    Ecdsa(EcdsaKey),
    Ed25519(Ed25519Key),
    Hmac(Hmac<Sha256>),
}

impl Key {
    /// The key of HS256.
    ///
    /// # Errors
    /// Where it is too short to be one.
    pub fn hmac(secret: &[u8]) -> Result<Self, String> {
        if secret.len() < MIN_HMAC_BYTES {
            return Err(format!("the secret has fewer than {MIN_HMAC_BYTES} bytes"));
        }
        let mac = Hmac::new_from_slice(secret).map_err(|error| error.to_string())?;
        Ok(Self { id: None, kind: Kind::Hmac(mac) })
    }

    /// What the key verifies, whatever a token says.
    pub fn algorithm(&self) -> Algorithm {
        match self.kind {
            Kind::Rsa(_) => Algorithm::RS256,
            Kind::Ecdsa(_) => Algorithm::ES256,
            Kind::Ed25519(_) => Algorithm::EdDsa,
            Kind::Hmac(_) => Algorithm::HS256,
        }
    }

    pub fn verifies(&self, token: &Token) -> bool {
        let (signed, signature) = (token.signed, &token.signature[..]);
        match &self.kind {
            Kind::Rsa(key) => RsaSignature::try_from(signature)
                .is_ok_and(|signature| key.verify(signed, &signature).is_ok()),
            Kind::Ecdsa(key) => EcdsaSignature::from_slice(signature)
                .is_ok_and(|signature| key.verify(signed, &signature).is_ok()),
            Kind::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(signed, &signature).is_ok()),
            Kind::Hmac(mac) => mac.clone().chain_update(signed).verify_slice(signature).is_ok(),
        }
    }
}

/// RFC 7517 section 4. Parameters that are not read do not matter to verification.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Value>,
}

/// The usable public keys of a set. Others are passed over, as RFC 7517 section 5 says; symmetric ones
/// are never usable, so that nobody mistakes what is published for a secret.
///
/// # Errors
/// Where it is no set, or holds too many keys.
pub fn keys(set: Value) -> Result<Vec<Key>, String> {
    let set: JwkSet = serde_json::from_value(set).map_err(|error| error.to_string())?;
    if set.keys.len() > MAX_KEYS {
        return Err(format!("it has more than {MAX_KEYS} keys"));
    }
    let jwks = set.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok());
    Ok(jwks.filter_map(|jwk: Jwk| jwk.key()).collect())
}

impl Jwk {
    fn key(self) -> Option<Key> {
        let signs = self.usage.as_deref().is_none_or(|usage| usage == "sig");
        let verifies = self.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if !signs || !verifies {
            return None;
        }
        let (kind, algorithm) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => (self.rsa()?, "RS256"),
            ("EC", Some("P-256")) => (self.ecdsa()?, "ES256"),
            ("OKP", Some("Ed25519")) => (self.ed25519()?, "EdDSA"),
            _ => return None,
        };
        let is_pinned_to_it = self.alg.is_none_or(|alg| alg == algorithm);
        is_pinned_to_it.then_some(Key { id: self.kid, kind })
    }

    fn rsa(&self) -> Option<Kind> {
        let number = |text: &Option<String>| Some(BigUint::from_bytes_be(&decode(text.as_ref()?)?));
        // Refuses moduli above 4096 bits and odd exponents.
        let key = RsaPublicKey::new(number(&self.n)?, number(&self.e)?).ok()?;
        (key.n().bits() >= MIN_RSA_BITS).then(|| Kind::Rsa(RsaKey::new(key)))
    }

    fn ecdsa(&self) -> Option<Kind> {
        let x: [u8; 32] = decode(self.x.as_ref()?)?.try_into().ok()?;
        let y: [u8; 32] = decode(self.y.as_ref()?)?.try_into().ok()?;
        let point = EncodedPoint::from_affine_coordinates(&x.into(), &y.into(), false);
        EcdsaKey::from_encoded_point(&point).ok().map(Kind::Ecdsa)
    }

    fn ed25519(&self) -> Option<Kind> {
        let x: [u8; 32] = decode(self.x.as_ref()?)?.try_into().ok()?;
        let key = Ed25519Key::from_bytes(&x).ok()?;
        (!key.is_weak()).then_some(Kind::Ed25519(key))
    }
}
