//! What the step `jwt` takes from the configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::algorithm::Algorithm;
use super::claims::Expectations;
use super::template::Template;
use super::url::KeySetUrl;
use crate::certificate::UsernameConflict;
use crate::client_id::ClientIdRule;

/// More is no leeway.
const LONGEST_LEEWAY_S: u64 = 600;

/// The configuration of the step.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwtSettings {
    #[serde(default)]
    pub token_from: TokenFrom,
    /// By which clients can show a token in AUTH; none: they cannot.
    pub authentication_method: Option<Arc<str>>,
    /// Bytes of a token.
    #[serde(default = "maximum_bytes")]
    pub maximum_bytes: NonZeroUsize,
    pub keys: Vec<KeySettings>,
    #[serde(default)]
    issuers: Vec<String>,
    #[serde(default)]
    audiences: Vec<String>,
    #[serde(default = "yes")]
    require_expiry: bool,
    #[serde(default = "leeway_s")]
    leeway_s: u64,
    maximum_lifetime_s: Option<NonZeroU64>,
    /// None: a step before has named it.
    pub(super) tenant: Option<Template>,
    /// That a token may name; empty: any.
    #[serde(default)]
    pub(super) tenants: BTreeSet<String>,
    pub(super) username: Template,
    pub(super) client_id: Option<ClientIdRule>,
    #[serde(default)]
    pub(super) roles: Vec<Template>,
    /// A claim that lists roles.
    pub(super) roles_from: Option<String>,
    #[serde(default)]
    pub(super) attributes: BTreeMap<Arc<str>, Template>,
    /// What becomes of a client whose CONNECT names another user than its token.
    #[serde(default)]
    pub username_conflict: UsernameConflict,
    #[serde(default)]
    pub permissions_from: PermissionsFrom,
    #[serde(default = "permissions_claim")]
    pub(super) permissions_claim: String,
}

/// Where CONNECT has the token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenFrom {
    #[default]
    Password,
    Username,
}

/// Whose permissions count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PermissionsFrom {
    /// The token's are not looked at.
    #[default]
    Database,
    /// Those of the database are not looked at.
    Token,
    /// All of them, as if they stood in one table.
    Both,
}

/// Keys from one place, and what they may verify.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySettings {
    /// A secret, as its bytes are, without an end of line behind it.
    pub secret_file: Option<PathBuf>,
    /// A public key or a certificate.
    pub pem_file: Option<PathBuf>,
    /// A JWK set.
    pub jwks_file: Option<PathBuf>,
    pub jwks_url: Option<KeySetUrl>,
    /// Of a key that does not stand in a set: tokens that name another are not its.
    pub id: Option<String>,
    pub algorithms: BTreeSet<Algorithm>,
    refresh_ms: Option<NonZeroU64>,
    #[serde(default = "keep_ms")]
    keep_ms: u64,
    #[serde(default = "ask_again_ms")]
    ask_again_ms: NonZeroU64,
    #[serde(default = "timeout_ms")]
    timeout_ms: NonZeroU64,
}

/// Where keys are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place<'a> {
    Secret(&'a Path),
    Pem(&'a Path),
    Set(&'a Path),
    Url(&'a KeySetUrl),
}

/// What is wrong with settings, beyond their form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsProblem {
    /// The place among `keys`; none where it is about the whole.
    pub key: Option<usize>,
    /// Empty where it is about a whole entry.
    pub name: &'static str,
    pub message: String,
}

fn maximum_bytes() -> NonZeroUsize {
    NonZeroUsize::new(8192).expect("it is not 0")
}

fn yes() -> bool {
    true
}

fn leeway_s() -> u64 {
    30
}

fn keep_ms() -> u64 {
    3_600_000
}

fn ask_again_ms() -> NonZeroU64 {
    NonZeroU64::new(30_000).expect("it is not 0")
}

fn timeout_ms() -> NonZeroU64 {
    NonZeroU64::new(3_000).expect("it is not 0")
}

fn permissions_claim() -> String {
    "permissions".into()
}

impl JwtSettings {
    pub(super) fn expectations(&self) -> Expectations {
        Expectations {
            issuers: self.issuers.clone(),
            audiences: self.audiences.clone(),
            require_expiry: self.require_expiry,
            leeway: self.leeway_s,
            maximum_lifetime: self.maximum_lifetime_s.map(NonZeroU64::get),
        }
    }

    /// All that is wrong with it, keys in files included.
    pub fn problems(&self) -> Vec<SettingsProblem> {
        let mut problems = Vec::new();
        let mut problem = |key, name, message: &str| {
            problems.push(SettingsProblem { key, name, message: message.into() });
        };
        if self.keys.is_empty() {
            problem(None, "keys", "without a key, nobody could connect");
        }
        if self.issuers.len() > 1 && self.keys.len() > 1 {
            let message = "which key is whose cannot be told: make a step for each issuer";
            problem(None, "issuers", message);
        }
        if self.leeway_s > LONGEST_LEEWAY_S {
            problem(None, "leeway_s", "more than ten minutes is no leeway");
        }
        if self.authentication_method.as_deref() == Some("") {
            problem(None, "authentication_method", "it must not be empty");
        }
        for (index, key) in self.keys.iter().enumerate() {
            if let Err((name, message)) = key.check() {
                problem(Some(index), name, &message);
            }
        }
        problems
    }
}

impl KeySettings {
    /// # Errors
    /// Where there is not exactly one.
    pub(super) fn place(&self) -> Result<Place<'_>, &'static str> {
        match (&self.secret_file, &self.pem_file, &self.jwks_file, &self.jwks_url) {
            (Some(file), None, None, None) => Ok(Place::Secret(file)),
            (None, Some(file), None, None) => Ok(Place::Pem(file)),
            (None, None, Some(file), None) => Ok(Place::Set(file)),
            (None, None, None, Some(url)) => Ok(Place::Url(url)),
            _ => Err("keys have one of `secret_file`, `pem_file`, `jwks_file` and `jwks_url`"),
        }
    }

    fn check(&self) -> Result<(), (&'static str, String)> {
        let place = self.place().map_err(|message| ("", message.to_owned()))?;
        let all = |symmetric| self.algorithms.iter().all(|it| it.is_symmetric() == symmetric);
        let (fits, message) = match place {
            Place::Secret(_) => (all(true), "a secret is for HS256, HS384 and HS512 alone"),
            Place::Pem(_) => (all(false), "a public key is no secret"),
            Place::Url(_) => (all(false), "a set that is published holds no secrets"),
            Place::Set(_) => (true, ""),
        };
        if self.algorithms.is_empty() {
            return Err(("algorithms", "name those that the keys may verify".into()));
        }
        if !fits {
            return Err(("algorithms", message.into()));
        }
        if self.id.is_some() && matches!(place, Place::Set(_) | Place::Url(_)) {
            return Err(("id", "the keys of a set have names of their own".into()));
        }
        let name = match place {
            Place::Secret(_) => "secret_file",
            Place::Pem(_) => "pem_file",
            Place::Set(_) => "jwks_file",
            Place::Url(_) => return Ok(()),
        };
        self.load().map(|_| ()).map_err(|error| (name, error.to_string()))
    }

    /// How often a file is looked at, or a URL asked.
    pub(super) fn refresh(&self) -> Duration {
        let usual = if self.jwks_url.is_some() { 300_000 } else { 5_000 };
        Duration::from_millis(self.refresh_ms.map_or(usual, NonZeroU64::get))
    }

    /// How long keys are believed after they were last seen.
    pub(super) fn keep(&self) -> Duration {
        Duration::from_millis(self.keep_ms).max(self.refresh() * 2)
    }

    /// Between two questions that tokens with unknown keys cause.
    pub(super) fn ask_again(&self) -> Duration {
        Duration::from_millis(self.ask_again_ms.get())
    }

    pub(super) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms.get())
    }
}
