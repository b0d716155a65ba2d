//! Makes tokens, as an identity provider and as somebody who wants to be one.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RSA_PSS_SHA512, RsaEncoding,
};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tempfile::TempDir;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::RSAPublicKey;

/// The time of all these tests, in seconds since 1970.
pub(super) const NOW: u64 = 1_800_000_000;

/// Long enough for each algorithm.
pub(super) const SECRET: &[u8; 64] =
    b"canary-secret-canary-secret-canary-secret-canary-secret-canary-s";

/// Has a key of each kind, and files with what verifies them.
pub(super) struct Forge {
    directory: TempDir,
    rsa: RsaKeyPair,
    p256: EcdsaKeyPair,
    p384: EcdsaKeyPair,
    ed25519: Ed25519KeyPair,
}

impl Forge {
    pub(super) fn new() -> Self {
        let forge = Self {
            directory: tempfile::tempdir().unwrap(),
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
            p256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            p384: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap(),
            ed25519: Ed25519KeyPair::generate().unwrap(),
        };
        forge.write("set", json!({"keys": forge.keys()}).to_string().as_bytes(), 0o600);
        forge.write("pem_file", forge.pem().as_bytes(), 0o644);
        forge.write("secret_file", &[SECRET, &b"\n"[..]].concat(), 0o640);
        forge.write("open", SECRET, 0o644);
        forge.write("short", &SECRET[..31], 0o600);
        forge.write("small", SMALL_RSA_KEY.as_bytes(), 0o644);
        forge
    }

    pub(super) fn write(&self, name: &str, bytes: &[u8], mode: u32) {
        let file = self.file(name);
        std::fs::write(&file, bytes).unwrap();
        std::fs::set_permissions(file, PermissionsExt::from_mode(mode)).unwrap();
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn set_file(&self) -> PathBuf {
        self.file("set")
    }

    /// JWKs without names, of each kind one.
    pub(super) fn keys(&self) -> Vec<Value> {
        let (n, e) = self.rsa_numbers();
        let point = |key: &EcdsaKeyPair, curve: &str, size: usize| {
            let point = key.public_key().as_ref();
            json!({
                "kty": "EC", "crv": curve,
                "x": base64(&point[1..=size]), "y": base64(&point[1 + size..]),
            })
        };
        vec![
            json!({"kty": "RSA", "n": base64(&n), "e": base64(&e)}),
            point(&self.p256, "P-256", 32),
            point(&self.p384, "P-384", 48),
            json!({"kty": "OKP", "crv": "Ed25519", "x": base64(self.ed25519.public_key().as_ref())}),
            json!({"kty": "oct", "k": base64(SECRET)}),
        ]
    }

    pub(super) fn rsa_der(&self) -> Vec<u8> {
        self.rsa.public_key().as_der().unwrap().as_ref().to_vec()
    }

    pub(super) fn rsa_modulus(&self) -> Vec<u8> {
        self.rsa_numbers().0
    }

    /// Modulus and exponent.
    fn rsa_numbers(&self) -> (Vec<u8>, Vec<u8>) {
        let (_, key) = RSAPublicKey::from_der(self.rsa.public_key().as_ref()).unwrap();
        let bytes = |number: &[u8]| number.iter().copied().skip_while(|byte| *byte == 0).collect();
        (bytes(key.modulus), bytes(key.exponent))
    }

    pub(super) fn pem(&self) -> String {
        let der = BASE64_STANDARD.encode(self.rsa_der());
        let lines: Vec<_> = der.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
    }

    /// Signed by what the header's `alg` names; for what is none, by the secret.
    pub(super) fn token(&self, header: &Value, claims: &Value) -> String {
        self.token_of(&header.to_string(), &claims.to_string())
    }

    /// As [`Forge::token`], of parts that need not be JSON.
    pub(super) fn token_of(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", base64(header.as_bytes()), base64(claims.as_bytes()));
        let name = serde_json::from_str::<Value>(header).unwrap_or_default();
        let signature = self.sign(name["alg"].as_str().unwrap_or_default(), signed.as_bytes());
        format!("{signed}.{}", base64(&signature))
    }

    /// Signed by another secret.
    pub(super) fn token_by(&self, secret: &[u8], header: &Value, claims: &Value) -> String {
        let header = base64(header.to_string().as_bytes());
        let signed = format!("{header}.{}", base64(claims.to_string().as_bytes()));
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        format!("{signed}.{}", base64(hmac::sign(&key, signed.as_bytes()).as_ref()))
    }

    /// `token` with another header, and the signature that it had.
    pub(super) fn relabelled(&self, token: &str, header: &Value) -> String {
        let (_, rest) = token.split_once('.').unwrap();
        format!("{}.{rest}", base64(header.to_string().as_bytes()))
    }

    fn sign(&self, algorithm: &str, signed: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let rsa = |encoding: &'static dyn RsaEncoding| {
            let mut signature = vec![0; self.rsa.public_modulus_len()];
            self.rsa.sign(encoding, &random, signed, &mut signature).unwrap();
            signature
        };
        let secret =
            |algorithm| hmac::sign(&hmac::Key::new(algorithm, SECRET), signed).as_ref().to_vec();
        match algorithm {
            "RS256" => rsa(&RSA_PKCS1_SHA256),
            "RS384" => rsa(&RSA_PKCS1_SHA384),
            "RS512" => rsa(&RSA_PKCS1_SHA512),
            "PS256" => rsa(&RSA_PSS_SHA256),
            "PS384" => rsa(&RSA_PSS_SHA384),
            "PS512" => rsa(&RSA_PSS_SHA512),
            "ES256" => self.p256.sign(&random, signed).unwrap().as_ref().to_vec(),
            "ES384" => self.p384.sign(&random, signed).unwrap().as_ref().to_vec(),
            "EdDSA" => self.ed25519.sign(signed).as_ref().to_vec(),
            "HS384" => secret(hmac::HMAC_SHA384),
            "HS512" => secret(hmac::HMAC_SHA512),
            _ => secret(hmac::HMAC_SHA256),
        }
    }
}

pub(super) fn base64(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// `token` with a bit of one of its parts turned, or for the last place with a part less.
pub(super) fn damaged(token: &str, place: usize) -> Vec<u8> {
    let mut parts: Vec<Vec<u8>> =
        token.split('.').map(|part| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
    match parts.get_mut(place) {
        Some(part) => part[4] ^= 1,
        None => drop(parts.pop()),
    }
    parts.iter().map(|part| base64(part)).collect::<Vec<_>>().join(".").into_bytes()
}

/// Of 1024 bits.
const SMALL_RSA_KEY: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC1Mx7ocrn9w/BpxNts/fdEZBt3
9K7qK1fYKNcva6hVCA5Uma9rCfukg3CwCnUWtobwAOoVzcFq985G76Zv1ExB957l
ZIV/svMRBaTLq/Yw7yQ25kgctr1VrSga+N5y9Nv26LHbS28ZHurKjjyEBFysQyoz
Pzg2auFyKVDlbl+K+wIDAQAB
-----END PUBLIC KEY-----
";
