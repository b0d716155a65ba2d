//! Keys of tokens from files: each algorithm by each kind of file, and no algorithm by another's key.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use hookmq_codec::{Connect, ProtocolVersion, ReasonCode};
use hookmq_tests::broker::{Broker, directory};
use hookmq_tests::client::{Client, connect};
use hookmq_tests::guarded::connack_of;
use hookmq_tests::tokens::now;
use serde_json::json;
use tempfile::TempDir;

const SECRET: &[u8] = b"a secret of thirty-two bytes or more";

const ALGORITHMS: [&str; 4] = ["RS256", "ES256", "EdDSA", "HS256"];

/// An algorithm, and what kind of file its key is in.
const PLACES: [(&str, &str); 8] = [
    ("RS256", "jwks_file"),
    ("RS256", "pem_file"),
    ("ES256", "jwks_file"),
    ("ES256", "pem_file"),
    ("EdDSA", "jwks_file"),
    ("EdDSA", "pem_file"),
    ("HS256", "jwks_file"),
    ("HS256", "secret_file"),
];

/// A key of each kind.
struct Keys {
    rsa: RsaKeyPair,
    p256: EcdsaKeyPair,
    ed25519: Ed25519KeyPair,
}

impl Keys {
    fn generate() -> Self {
        Self {
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"),
            p256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"),
            ed25519: Ed25519KeyPair::generate().expect("a key"),
        }
    }

    /// A file of each kind, named for what it holds.
    fn lay_out(&self) -> TempDir {
        let directory = directory();
        let file = |name: &str, bytes: &[u8]| {
            let file = directory.path().join(name);
            fs::write(&file, bytes).expect("write a key");
            fs::set_permissions(file, Permissions::from_mode(0o600)).expect("keep a secret");
        };
        let point = self.p256.public_key().as_ref();
        // PKCS #1 of 2048 bits: two heads and a zero, the modulus, and the exponent 65537.
        let modulus = &self.rsa.public_key().as_ref()[9..265];
        let keys = json!([
            {"kty": "RSA", "n": encode(modulus), "e": "AQAB"},
            {"kty": "EC", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..])},
            {"kty": "OKP", "crv": "Ed25519", "x": encode(self.ed25519.public_key().as_ref())},
            {"kty": "oct", "k": encode(SECRET)},
        ]);
        for algorithm in ALGORITHMS {
            let set = json!({"keys": keys}).to_string();
            file(&format!("{algorithm}.jwks_file"), set.as_bytes());
        }
        file("RS256.pem_file", self.rsa_pem().as_bytes());
        let der = self.p256.public_key().as_der().expect("DER");
        file("ES256.pem_file", pem(der.as_ref()).as_bytes());
        let der = self.ed25519.public_key().as_der().expect("DER");
        file("EdDSA.pem_file", pem(der.as_ref()).as_bytes());
        file("HS256.secret_file", &[SECRET, b"\n"].concat());
        directory
    }

    fn rsa_pem(&self) -> String {
        pem(self.rsa.public_key().as_der().expect("DER").as_ref())
    }

    /// Says that it is signed by `algorithm`, and is.
    fn token(&self, algorithm: &str) -> String {
        signed_by(algorithm, |text| {
            let random = SystemRandom::new();
            match algorithm {
                "RS256" => {
                    let mut signature = vec![0; self.rsa.public_modulus_len()];
                    let signed = self.rsa.sign(&RSA_PKCS1_SHA256, &random, text, &mut signature);
                    signed.expect("a signature");
                    signature
                }
                "ES256" => self.p256.sign(&random, text).expect("a signature").as_ref().to_vec(),
                "EdDSA" => self.ed25519.sign(text).as_ref().to_vec(),
                _ => by_secret(SECRET, text),
            }
        })
    }
}

/// A token for `pump` that says so.
fn signed_by(algorithm: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let header = json!({"alg": algorithm}).to_string();
    let claims = json!({"sub": "pump", "exp": now() + 3600}).to_string();
    let signed = format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()));
    let signature = sign(signed.as_bytes());
    format!("{signed}.{}", encode(&signature))
}

fn by_secret(secret: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), text).as_ref().to_vec()
}

fn encode(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn pem(der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}

fn configuration() -> String {
    let (mut listeners, mut steps) = (String::new(), String::new());
    for (algorithm, kind) in PLACES {
        let name = format!("{algorithm}-{kind}");
        listeners += &format!("  - {{name: {name}, bind: \"tcp://127.0.0.1:0\"}}\n");
        let keys = format!("[{{{kind}: {algorithm}.{kind}, algorithms: [{algorithm}]}}]");
        steps += &format!(
            "    - {{builtin: jwt, listeners: [{name}],
         config: {{tenant: acme, username: \"{{sub}}\", keys: {keys}}}}}\n"
        );
    }
    format!(
        "data_dir: data
abuse: {{failures_per_address: 0, failures_per_username: 0}}
listeners:
{listeners}pipeline:
  connect:
{steps}  authorize: [{{builtin: open}}]
"
    )
}

#[test]
fn a_key_in_a_file_lets_in_whoever_has_its_own_algorithm_and_nobody_else() {
    let keys = Keys::generate();
    let broker = Broker::with_config(&configuration(), keys.lay_out());
    let stranger = Keys::generate();
    let public_key = keys.rsa_pem();
    // Signed by what everybody knows, as if that were the secret; and not at all.
    let confused = signed_by("HS256", |text| by_secret(public_key.as_bytes(), text));
    let unsigned = signed_by("none", |_| Vec::new());
    for (algorithm, kind) in PLACES {
        let address = broker.address(&format!("{algorithm}-{kind}"));
        for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
            let answer = |token: &str| {
                let (username, password) = (Some("pump"), Some(token.as_bytes()));
                let packet = Connect { username, password, ..connect(version, "client") };
                connack_of(&Client::attempt(address, packet).1).reason_code
            };
            for shown in ALGORITHMS {
                let expected = match shown == algorithm {
                    true => ReasonCode::Success,
                    false => ReasonCode::NotAuthorized,
                };
                let code = answer(&keys.token(shown));
                assert_eq!(code, expected, "{shown} at {algorithm} in {kind}");
            }
            let mut bad = vec![confused.clone(), unsigned.clone()];
            if algorithm != "HS256" {
                bad.push(stranger.token(algorithm));
            }
            for token in bad {
                let code = answer(&token);
                assert_eq!(code, ReasonCode::NotAuthorized, "{token} at {algorithm} in {kind}");
            }
        }
    }
}
