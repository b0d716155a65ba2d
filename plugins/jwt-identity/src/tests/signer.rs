//! Signs the tokens of tests.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::Signer as _;
use hmac::{Hmac, Mac};
use rsa::pkcs1v15::SigningKey as RsaSigner;
use rsa::signature::SignatureEncoding;
use rsa::{BigUint, RsaPrivateKey};
use serde_json::{Value, json};
use sha2::Sha256;

use super::rsa_key::{D, N, P, Q};

pub const HMAC_SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const SEED: [u8; 32] = [7; 32];

pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token, signed as the header's `alg` says.
pub fn token(header: Value, claims: &Value) -> String {
    let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
    let signature = match header["alg"].as_str().unwrap() {
        "RS256" => rsa().sign(signed.as_bytes()).to_vec(),
        "ES256" => {
            let signature: p256::ecdsa::Signature = ecdsa().sign(signed.as_bytes());
            signature.to_bytes().to_vec()
        }
        "EdDSA" => ed25519().sign(signed.as_bytes()).to_bytes().to_vec(),
        "HS256" => hmac(HMAC_SECRET, &signed),
        _ => Vec::new(),
    };
    format!("{signed}.{}", encode(signature))
}

pub fn hmac(secret: &[u8], signed: &str) -> Vec<u8> {
    let mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    mac.chain_update(signed).finalize().into_bytes().to_vec()
}

pub fn rsa_jwk() -> Value {
    json!({"kty": "RSA", "kid": "r1", "use": "sig", "alg": "RS256", "n": N, "e": "AQAB"})
}

pub fn ecdsa_jwk() -> Value {
    let point = ecdsa().verifying_key().to_encoded_point(false);
    let (x, y) = (encode(point.x().unwrap()), encode(point.y().unwrap()));
    json!({"kty": "EC", "crv": "P-256", "kid": "e1", "x": x, "y": y})
}

pub fn ed25519_jwk() -> Value {
    let x = encode(ed25519().verifying_key().to_bytes());
    json!({"kty": "OKP", "crv": "Ed25519", "kid": "o1", "x": x})
}

fn rsa() -> RsaSigner<Sha256> {
    let number = |text| BigUint::from_bytes_be(&URL_SAFE_NO_PAD.decode(text).unwrap());
    let primes = vec![number(P), number(Q)];
    let key = RsaPrivateKey::from_components(number(N), 65_537_u32.into(), number(D), primes);
    RsaSigner::new(key.unwrap())
}

fn ecdsa() -> p256::ecdsa::SigningKey {
    p256::ecdsa::SigningKey::from_slice(&SEED).unwrap()
}

fn ed25519() -> ed25519_dalek::SigningKey {
    ed25519_dalek::SigningKey::from_bytes(&SEED)
}
