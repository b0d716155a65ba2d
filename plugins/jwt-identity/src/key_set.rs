//! The keys that are known now: configured ones, and those of a url with a cache.
//!
//! The cache is shared by all instances through the broker's store. It is read again every five
//! minutes, and at once where a token names a key that is not in it; but the identity provider is
//! asked at most once in 30 seconds, whatever strangers send. While it does not answer, what is
//! cached serves for an hour.

use std::time::Duration;

use hookmq_plugin::http::Request;
use hookmq_plugin::{clock, kv, log, metric};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::key::{Key, keys};
use crate::token::Token;

const FRESH: Duration = Duration::from_secs(5 * 60);
const USABLE: Duration = Duration::from_secs(60 * 60);
const BETWEEN_REQUESTS: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(3);
const MAX_SET_BYTES: usize = 256 << 10;
/// Of the keys that may have signed a token that names none, the first so many are tried: each costs
/// time, and anybody may send such a token.
const MAX_TRIED: usize = 8;

/// Names in the store.
const CACHE: &str = "jwks";
const REQUESTS: &str = "jwks-requests";

pub struct KeySet {
    configured: Vec<Key>,
    url: Option<String>,
    fetched: Option<Fetched>,
    /// By the monotonic clock; what the store says counts for all instances.
    last_request: Option<Duration>,
}

struct Fetched {
    keys: Vec<Key>,
    at: Duration,
}

/// As it stands in the store.
#[derive(Serialize, Deserialize)]
struct Cached {
    /// Microseconds of the monotonic clock.
    at: u64,
    set: Value,
}

/// Why no key verifies a token.
#[derive(Debug, PartialEq, Eq)]
pub enum Unverified {
    /// There are no keys: the identity provider does not answer.
    NoKeys,
    UnknownKey,
    WrongSignature,
}

impl KeySet {
    pub fn new(configured: Vec<Key>, url: Option<String>) -> Self {
        Self { configured, url, fetched: None, last_request: None }
    }

    /// Verifies a token whose algorithm is permitted.
    pub fn verify(&mut self, token: &Token) -> Result<(), Unverified> {
        self.refresh(token);
        let mut candidates = self.all().filter(|key| suits(key, token)).peekable();
        if candidates.peek().is_none() {
            let nothing = self.url.is_some() && self.fetched.is_none();
            return Err(if nothing { Unverified::NoKeys } else { Unverified::UnknownKey });
        }
        match candidates.take(MAX_TRIED).any(|key| key.verifies(token)) {
            true => Ok(()),
            false => Err(Unverified::WrongSignature),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Key> {
        self.configured.iter().chain(self.fetched.iter().flat_map(|fetched| &fetched.keys))
    }

    fn knows(&self, token: &Token) -> bool {
        self.all().any(|key| suits(key, token))
    }

    /// Looks into the store, and asks the identity provider, where that could help.
    fn refresh(&mut self, token: &Token) {
        let Some(url) = self.url.clone() else { return };
        if self.configured.iter().any(|key| suits(key, token)) {
            return;
        }
        let now = clock::elapsed();
        if self.knows(token) && self.is_younger_than(FRESH, now) {
            return;
        }
        self.read_cache();
        if !(self.knows(token) && self.is_younger_than(FRESH, now)) && self.may_ask(now) {
            self.fetch(&url, now);
        }
        if !self.is_younger_than(USABLE, now) {
            self.fetched = None;
        }
    }

    fn is_younger_than(&self, age: Duration, now: Duration) -> bool {
        self.fetched.as_ref().is_some_and(|fetched| now.saturating_sub(fetched.at) < age)
    }

    fn read_cache(&mut self) {
        let Some(cached) = kv::json::<Cached>(CACHE) else { return };
        let at = Duration::from_micros(cached.at);
        let is_newer = self.fetched.as_ref().is_none_or(|fetched| fetched.at < at);
        if let (true, Ok(keys)) = (is_newer, keys(cached.set)) {
            self.fetched = Some(Fetched { keys, at });
        }
    }

    /// Where the store refuses to count, this instance counts alone.
    fn may_ask(&mut self, now: Duration) -> bool {
        let recently = |last: Duration| now.saturating_sub(last) < BETWEEN_REQUESTS;
        if self.last_request.is_some_and(recently) {
            return false;
        }
        if kv::increase(REQUESTS, 1, Some(BETWEEN_REQUESTS)).is_ok_and(|count| count > 1) {
            return false;
        }
        self.last_request = Some(now);
        true
    }

    fn fetch(&mut self, url: &str, now: Duration) {
        match request(url) {
            Ok((set, keys)) => {
                let at = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
                // A set too long for the store is each instance's own.
                if kv::set_json(CACHE, &Cached { at, set }, None).is_err() {
                    metric::count("store_refused", 1);
                }
                self.fetched = Some(Fetched { keys, at: now });
            }
            Err(why) => {
                metric::count("jwks_failed", 1);
                log::warn!("{url}: {why}");
            }
        }
    }
}

fn request(url: &str) -> Result<(Value, Vec<Key>), String> {
    let response = Request::get(url).timeout(TIMEOUT).send()?;
    if !response.is_success() {
        return Err(format!("status {}", response.status));
    }
    if response.body.len() > MAX_SET_BYTES {
        return Err(format!("longer than {MAX_SET_BYTES} bytes"));
    }
    let set: Value = response.json()?;
    let keys = keys(set.clone())?;
    if keys.is_empty() {
        return Err("it has no usable key".into());
    }
    Ok((set, keys))
}

/// Whether the key may have signed the token: by its algorithm, and by its name where both have one.
fn suits(key: &Key, token: &Token) -> bool {
    let named = match (&key.id, &token.key_id) {
        (Some(id), Some(wanted)) => id == wanted,
        _ => true,
    };
    key.algorithm() == token.algorithm && named
}
