//! The client's side of SCRAM-SHA-256 (RFC 5802), which shares nothing with the broker's.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use aws_lc_rs::pbkdf2;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// One try of a user with a password.
#[derive(Clone)]
pub struct ScramClient {
    password: String,
    bare: String,
}

/// What the client sends at last, and what a server that knows the user answers.
pub struct ClientFinal {
    pub message: String,
    pub expected: String,
}

impl ScramClient {
    /// `username` needs no escapes, and neither it nor `password` is changed by SASLprep.
    pub fn new(username: &str, password: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let bare = format!("n={username},r=nonce-{}-{number:06}", std::process::id());
        Self { password: password.into(), bare }
    }

    pub fn first(&self) -> String {
        format!("n,,{}", self.bare)
    }

    /// The answer to `server-first-message`.
    ///
    /// # Panics
    /// Where that is none.
    pub fn last(&self, server_first: impl AsRef<[u8]>) -> ClientFinal {
        let server_first = str::from_utf8(server_first.as_ref()).expect("UTF-8");
        let (nonce, salt, iterations) = parts(server_first);
        let nonces = self.bare.split_once(",r=").map(|(_, own)| nonce.strip_prefix(own));
        let server_nonce =
            nonces.flatten().expect("the client's nonce, and the server's behind it");
        assert!(server_nonce.len() >= 16, "a short nonce: {server_nonce}");
        let salt = BASE64_STANDARD.decode(salt).expect("Base64");
        let mut salted = [0; 32];
        let password = self.password.as_bytes();
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, &salt, password, &mut salted);
        let client_key = hmac(&salted, b"Client Key");
        let stored_key = digest(&SHA256, &client_key);
        let without_proof = format!("c=biws,r={nonce}");
        let signed = format!("{},{server_first},{without_proof}", self.bare);
        let signature = hmac(stored_key.as_ref(), signed.as_bytes());
        let proof: Vec<u8> =
            client_key.iter().zip(signature).map(|(one, other)| one ^ other).collect();
        let server_signature = hmac(&hmac(&salted, b"Server Key"), signed.as_bytes());
        ClientFinal {
            message: format!("{without_proof},p={}", BASE64_STANDARD.encode(proof)),
            expected: format!("v={}", BASE64_STANDARD.encode(server_signature)),
        }
    }
}

/// Nonce, salt in Base64, and iterations.
fn parts(server_first: &str) -> (&str, &str, NonZeroU32) {
    let attributes: Vec<_> = server_first.split(',').collect();
    let [nonce, salt, iterations] = attributes[..] else { panic!("not so many attributes") };
    let iterations = iterations.strip_prefix("i=").and_then(|it| it.parse().ok());
    (
        nonce.strip_prefix("r=").expect("a nonce"),
        salt.strip_prefix("s=").expect("a salt"),
        iterations.expect("iterations"),
    )
}

fn hmac(key: &[u8], data: &[u8]) -> [u8; 32] {
    sign(&Key::new(HMAC_SHA256, key), data).as_ref().try_into().expect("32 bytes")
}
