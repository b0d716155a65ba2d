//! Keys, each with the algorithms that it may verify.

use std::collections::BTreeSet;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ParsedPublicKey, RsaPublicKeyComponents};
use serde_json::{Map, Value};
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::algorithm::{Algorithm, Scheme};
use super::compact::{Compact, decode};
use super::json;

/// RFC 7518 section 3.3.
const MINIMUM_RSA_BITS: usize = 2048;

/// Of one set; more is none of an identity provider's.
const MAX_KEYS: usize = 128;

/// Why keys cannot be used. Says nothing of what is in them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("{0}")]
    Unreadable(String),
    #[error("a secret for {algorithm} needs {bytes} bytes at least", algorithm = .0.name(), bytes = .1)]
    ShortSecret(Algorithm, usize),
    #[error("it holds no public key or certificate in PEM form")]
    NoPublicKey,
    #[error("none of `algorithms` fits its key")]
    NoAlgorithmFits,
    #[error("an RSA key needs {MINIMUM_RSA_BITS} bits at least")]
    ShortRsaKey,
    #[error("it is no JWK set: {0}")]
    NoSet(&'static str),
    #[error("it has more than {MAX_KEYS} keys")]
    TooManyKeys,
    #[error("it has no key that `algorithms` permits")]
    NoKey,
}

/// A key with its name.
#[derive(Clone)]
pub(super) struct Key {
    id: Option<Box<str>>,
    /// What it may verify, whatever a token says.
    verifiers: Vec<(Algorithm, Verifier)>,
}

#[derive(Clone)]
enum Verifier {
    Secret(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

impl Key {
    pub(super) fn of_secret(
        id: Option<&str>,
        secret: &[u8],
        algorithms: &BTreeSet<Algorithm>,
    ) -> Result<Self, KeyError> {
        let mut verifiers = Vec::new();
        for algorithm in algorithms {
            let Scheme::Secret(scheme) = algorithm.scheme() else { continue };
            // RFC 7518 section 3.2: as long as the hash.
            let shortest = scheme.digest_algorithm().output_len();
            if secret.len() < shortest {
                return Err(KeyError::ShortSecret(*algorithm, shortest));
            }
            let key = Box::new(hmac::Key::new(scheme, secret));
            verifiers.push((*algorithm, Verifier::Secret(key)));
        }
        Self::new(id, verifiers)
    }

    /// Of the first public key or certificate in `pem`.
    pub(super) fn of_pem(
        id: Option<&str>,
        pem: &[u8],
        algorithms: &BTreeSet<Algorithm>,
    ) -> Result<Self, KeyError> {
        for block in Pem::iter_from_buffer(pem) {
            let block = block.map_err(|_| KeyError::NoPublicKey)?;
            match &*block.label {
                "PUBLIC KEY" => return Self::of_der(id, &block.contents, algorithms),
                "CERTIFICATE" => {
                    let certificate = X509Certificate::from_der(&block.contents);
                    let (_, certificate) = certificate.map_err(|_| KeyError::NoPublicKey)?;
                    return Self::of_der(id, certificate.public_key().raw, algorithms);
                }
                _ => {}
            }
        }
        Err(KeyError::NoPublicKey)
    }

    /// Of a SubjectPublicKeyInfo (RFC 5280).
    fn of_der(
        id: Option<&str>,
        der: &[u8],
        algorithms: &BTreeSet<Algorithm>,
    ) -> Result<Self, KeyError> {
        let (_, info) = SubjectPublicKeyInfo::from_der(der).map_err(|_| KeyError::NoPublicKey)?;
        if let Ok(PublicKey::RSA(key)) = info.parsed()
            && key.key_size() < MINIMUM_RSA_BITS
        {
            return Err(KeyError::ShortRsaKey);
        }
        let parsed = algorithms.iter().filter_map(|algorithm| {
            let key = match algorithm.scheme() {
                Scheme::Secret(_) => return None,
                Scheme::Rsa(scheme) => ParsedPublicKey::new(scheme, der),
                Scheme::Curve(_, scheme) => ParsedPublicKey::new(scheme, der),
            };
            // It is refused where it is a key of another kind.
            Some((*algorithm, Verifier::Public(key.ok()?)))
        });
        Self::new(id, parsed.collect())
    }

    fn new(id: Option<&str>, verifiers: Vec<(Algorithm, Verifier)>) -> Result<Self, KeyError> {
        match verifiers.is_empty() {
            true => Err(KeyError::NoAlgorithmFits),
            false => Ok(Self { id: id.map(Box::from), verifiers }),
        }
    }

    /// Whether it may verify the token: a key without a name does where its algorithm fits, one with a
    /// name where the token names no other.
    pub(super) fn suits(&self, token: &Compact<'_>) -> bool {
        let same_name = match (&self.id, &token.key_id) {
            (Some(own), Some(wanted)) => **own == **wanted,
            _ => true,
        };
        same_name && self.verifier(token.algorithm).is_some()
    }

    pub(super) fn verifies(&self, token: &Compact<'_>) -> bool {
        match self.verifier(token.algorithm) {
            None => false,
            Some(Verifier::Secret(key)) => {
                hmac::verify(key, token.signed, &token.signature).is_ok()
            }
            Some(Verifier::Public(key)) => key.verify_sig(token.signed, &token.signature).is_ok(),
        }
    }

    fn verifier(&self, algorithm: Algorithm) -> Option<&Verifier> {
        self.verifiers.iter().find_map(|(its, verifier)| (*its == algorithm).then_some(verifier))
    }
}

/// Where a set comes from: what is published is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Published {
    No,
    Yes,
}

/// The keys of a JWK set (RFC 7517 section 5) that `algorithms` permits. Those that are of an unknown
/// kind, malformed or for something else are passed over, as the RFC says.
pub(super) fn of_set(
    text: &[u8],
    algorithms: &BTreeSet<Algorithm>,
    published: Published,
) -> Result<Vec<Key>, KeyError> {
    let set = json::object(text).map_err(KeyError::NoSet)?;
    let Some(Value::Array(keys)) = set.get("keys") else {
        return Err(KeyError::NoSet("there is no list `keys`"));
    };
    if keys.len() > MAX_KEYS {
        return Err(KeyError::TooManyKeys);
    }
    let objects = keys.iter().filter_map(Value::as_object);
    let keys: Vec<Key> = objects.filter_map(|key| Jwk(key).key(algorithms, published)).collect();
    if keys.is_empty() { Err(KeyError::NoKey) } else { Ok(keys) }
}

/// RFC 7517 section 4, RFC 7518 section 6, RFC 8037 section 2.
struct Jwk<'a>(&'a Map<String, Value>);

impl Jwk<'_> {
    fn key(&self, algorithms: &BTreeSet<Algorithm>, published: Published) -> Option<Key> {
        if self.text("use").is_some_and(|usage| usage != "sig") {
            return None;
        }
        let operations = self.0.get("key_ops").map(|operations| operations.as_array());
        if operations.is_some_and(|it| !it.is_some_and(|it| it.iter().any(|it| it == "verify"))) {
            return None;
        }
        let permitted = algorithms.iter().copied();
        let permitted = permitted.filter(|it| match self.0.get("alg") {
            None => true,
            Some(pinned) => pinned.as_str() == Some(it.name()),
        });
        let permitted: BTreeSet<_> = permitted.collect();
        let id = match self.0.get("kid") {
            None => None,
            Some(id) => Some(id.as_str()?),
        };
        match self.text("kty")? {
            "oct" if published == Published::No => {
                Key::of_secret(id, &self.bytes("k")?, &permitted).ok()
            }
            "RSA" => self.rsa(id, &permitted),
            "EC" => {
                let point = [vec![4], self.bytes("x")?, self.bytes("y")?].concat();
                self.curve(id, &point, &permitted)
            }
            "OKP" => self.curve(id, &self.bytes("x")?, &permitted),
            _ => None,
        }
    }

    fn rsa(&self, id: Option<&str>, permitted: &BTreeSet<Algorithm>) -> Option<Key> {
        let parts = RsaPublicKeyComponents { n: self.bytes("n")?, e: self.bytes("e")? };
        if parts.n.len() * 8 < MINIMUM_RSA_BITS {
            return None;
        }
        let keys = permitted.iter().filter_map(|algorithm| match algorithm.scheme() {
            Scheme::Rsa(scheme) => {
                Some((*algorithm, Verifier::Public(parts.to_parsed_public_key(scheme).ok()?)))
            }
            _ => None,
        });
        Key::new(id, keys.collect()).ok()
    }

    fn curve(&self, id: Option<&str>, key: &[u8], permitted: &BTreeSet<Algorithm>) -> Option<Key> {
        let curve = self.text("crv")?;
        let keys = permitted.iter().filter_map(|algorithm| match algorithm.scheme() {
            Scheme::Curve(name, scheme) if name == curve => {
                Some((*algorithm, Verifier::Public(ParsedPublicKey::new(scheme, key).ok()?)))
            }
            _ => None,
        });
        Key::new(id, keys.collect()).ok()
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        decode(self.text(name)?.as_bytes()).ok()
    }
}
