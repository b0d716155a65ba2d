//! Tokens for one test: who issues them, and where its keys are published.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// Signs tokens by ES256.
pub struct Issuer {
    key: EcdsaKeyPair,
    id: String,
}

/// What a [`KeyServer`] does when it is asked.
#[derive(Clone)]
pub enum Answer {
    Keys(Vec<Value>),
    /// These bytes, and then it shuts.
    Raw(Vec<u8>),
    /// Nothing, and leaves the connection open.
    Nothing,
}

/// A loopback HTTP server with a key set, which may misbehave.
pub struct KeyServer {
    address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    asked: Arc<AtomicUsize>,
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Issuer {
    /// With a key of this name.
    pub fn new(id: &str) -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        Self { key, id: id.to_owned() }
    }

    /// The public key.
    pub fn jwk(&self) -> Value {
        let point = self.key.public_key().as_ref();
        let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
        json!({"kty": "EC", "crv": "P-256", "kid": self.id, "x": x, "y": y})
    }

    pub fn token(&self, claims: &Value) -> String {
        let header = json!({"alg": "ES256", "kid": self.id}).to_string();
        let signed =
            format!("{}.{}", encode(header.as_bytes()), encode(claims.to_string().as_bytes()));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes());
        format!("{signed}.{}", encode(signature.expect("a signature").as_ref()))
    }

    /// Good for an hour.
    pub fn token_for(&self, username: &str) -> String {
        self.token(&json!({"sub": username, "exp": now() + 3600}))
    }
}

impl KeyServer {
    pub fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let server = Self {
            address: listener.local_addr().expect("an address"),
            answer: Arc::new(Mutex::new(answer)),
            asked: Arc::default(),
        };
        let (answer, asked) = (server.answer.clone(), server.asked.clone());
        std::thread::spawn(move || {
            let mut open = Vec::new();
            for mut stream in listener.incoming().flatten() {
                read_head(&mut stream);
                let answer = answer.lock().unwrap_or_else(PoisonError::into_inner).clone();
                asked.fetch_add(1, Ordering::SeqCst);
                match answer {
                    Answer::Keys(keys) => {
                        let set = json!({"keys": keys}).to_string();
                        let length = set.len();
                        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
                        let _ = stream.write_all((head + &set).as_bytes());
                    }
                    Answer::Raw(bytes) => _ = stream.write_all(&bytes),
                    Answer::Nothing => open.push(stream),
                }
            }
        });
        server
    }

    /// With the keys of `issuer`.
    pub fn of(issuer: &Issuer) -> Self {
        Self::start(Answer::Keys(vec![issuer.jwk()]))
    }

    pub fn answers(&self, answer: Answer) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }

    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub fn url(&self) -> String {
        format!("http://{}/keys?canary-query", self.address)
    }

    /// The step `jwt` with these keys, for the tenant `acme`; the username is `sub`. `keys` and `more` are
    /// further keys of its configuration.
    pub fn step(&self, control: &str, keys: &str, more: &str) -> String {
        format!(
            "{{builtin: jwt, control: {control}, config: {{tenant: acme, username: \"{{sub}}\", \
             keys: [{{jwks_url: \"{}\", algorithms: [ES256], {keys}}}], {more}}}}}",
            self.url()
        )
    }
}

/// A token by HS256.
pub fn token_by_secret(secret: &[u8], claims: &Value) -> String {
    let header = json!({"alg": "HS256"}).to_string();
    let signed = format!("{}.{}", encode(header.as_bytes()), encode(claims.to_string().as_bytes()));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
    format!("{signed}.{}", encode(signature.as_ref()))
}

fn read_head(stream: &mut TcpStream) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
        head.push(byte[0]);
    }
}

fn encode(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}
