//! What the operator configures.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::token::Algorithm;

/// Of each list; more belongs into a database.
const MAX_ENTRIES: usize = 64;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What a token may be signed by; what it says itself is compared with this list.
    pub algorithms: Vec<Algorithm>,
    pub keys: KeysConfig,
    pub issuer: String,
    /// A token is for one of them.
    pub audiences: Vec<String>,
    #[serde(default = "default_leeway")]
    pub leeway_seconds: u32,
    pub identity: Mapping,
    #[serde(default)]
    pub verdict: Verdict,
}

/// Where keys come from; at least one of these.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeysConfig {
    pub jwks_url: Option<String>,
    /// A JWK set (RFC 7517).
    pub jwks: Option<Value>,
    /// The name of the secret that HS256 takes.
    pub hmac_secret: Option<String>,
}

/// Which claims say who the client is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    pub tenant: Source,
    pub username: Source,
    pub client_id: Option<Source>,
    /// A claim that is a list of texts, or one text with spaces.
    pub roles: Option<Source>,
    #[serde(default)]
    pub attributes: BTreeMap<String, Source>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The name of a claim, or a JSON pointer into the claims.
    Claim(String),
    /// The same for every client.
    Value(String),
}

/// What the step answers about a client whose token is good.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    #[default]
    Accept,
    /// Later steps decide.
    Next,
}

fn default_leeway() -> u32 {
    30
}

impl Config {
    /// # Errors
    /// Names the key.
    pub fn check(&self) -> Result<(), String> {
        let needed = |key: &str, count: usize| match count {
            1..=MAX_ENTRIES => Ok(()),
            _ => Err(format!("{key}: 1 to {MAX_ENTRIES} are possible")),
        };
        needed("algorithms", self.algorithms.len())?;
        needed("audiences", self.audiences.len())?;
        needed("issuer", self.issuer.len().min(1))?;
        if self.identity.attributes.len() > MAX_ENTRIES {
            return Err(format!("identity.attributes: at most {MAX_ENTRIES} are possible"));
        }
        if self.leeway_seconds > 600 {
            return Err("leeway_seconds: more than ten minutes is no leeway".into());
        }
        let keys = &self.keys;
        let by_hmac = self.algorithms.contains(&Algorithm::HS256);
        let by_public_key = self.algorithms.iter().any(|algorithm| *algorithm != Algorithm::HS256);
        if by_hmac != keys.hmac_secret.is_some() {
            return Err("keys.hmac_secret: it belongs to the algorithm HS256".into());
        }
        if by_public_key != (keys.jwks.is_some() || keys.jwks_url.is_some()) {
            return Err("keys: jwks or jwks_url belong to RS256, ES256 and EdDSA".into());
        }
        match &keys.jwks_url {
            Some(url) if !url.starts_with("https://") && !url.starts_with("http://") => {
                Err(format!("keys.jwks_url: {url:?} is not an http url"))
            }
            _ => Ok(()),
        }
    }
}
