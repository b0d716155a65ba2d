//! Names clients by the JSON Web Token (RFC 7519) in their password.

use hookmq_plugin::{ConnectAttempt, ConnectVerdict, Plugin, Refusal, clock, secret};
use serde::Deserialize;

mod claims;
mod config;
mod key;
mod key_set;
mod token;

pub use config::{Config, KeysConfig, Mapping, Source, Verdict};
use key::Key;
use key_set::{KeySet, Unverified};
pub use token::Algorithm;
use token::Token;

/// "Bad user name or password".
const BAD_CREDENTIALS: u8 = 0x86;
/// "Server unavailable": the client may try again.
const SERVER_UNAVAILABLE: u8 = 0x88;

pub struct JwtIdentity {
    config: Config,
    keys: KeySet,
}

/// What stands in the operator's file; nothing there is a mistake that [`Plugin::new`] reports.
#[derive(Default, Deserialize)]
#[serde(transparent)]
pub struct Settings(Option<Config>);

impl Plugin for JwtIdentity {
    type Config = Settings;

    fn new(Settings(config): Settings) -> Result<Self, String> {
        let config = config.ok_or("a configuration is needed")?;
        config.check()?;
        let mut keys = Vec::new();
        if let Some(name) = &config.keys.hmac_secret {
            let secret = secret::get(name).ok_or(format!("there is no secret {name:?}"))?;
            keys.push(Key::hmac(&secret).map_err(|why| format!("keys.hmac_secret: {why}"))?);
        }
        if let Some(set) = config.keys.jwks.clone() {
            let set = key::keys(set).map_err(|why| format!("keys.jwks: {why}"))?;
            if set.is_empty() {
                return Err("keys.jwks: it has no usable key".into());
            }
            keys.extend(set);
        }
        let keys = KeySet::new(keys, config.keys.jwks_url.clone());
        Ok(Self { config, keys })
    }

    fn connect(&mut self, attempt: ConnectAttempt) -> Result<ConnectVerdict, String> {
        let Some(password) = attempt.password else {
            return Ok(deny(BAD_CREDENTIALS, "there is no password"));
        };
        let token = match Token::parse(&password) {
            Ok(token) => token,
            Err(why) => return Ok(deny(BAD_CREDENTIALS, why)),
        };
        if !self.config.algorithms.contains(&token.algorithm) {
            return Ok(deny(BAD_CREDENTIALS, "the token's algorithm is not permitted"));
        }
        match self.keys.verify(&token) {
            Ok(()) => {}
            Err(Unverified::NoKeys) => {
                return Ok(deny(SERVER_UNAVAILABLE, "the keys cannot be fetched"));
            }
            Err(Unverified::UnknownKey) => {
                return Ok(deny(BAD_CREDENTIALS, "no key is known that the token names"));
            }
            Err(Unverified::WrongSignature) => {
                return Ok(deny(BAD_CREDENTIALS, "the token's signature is wrong"));
            }
        }
        let claims = token.claims();
        let patch = claims
            .map_err(str::to_owned)
            .and_then(|claims| claims::identity(&claims, &self.config, clock::now()));
        Ok(match (patch, self.config.verdict) {
            (Ok(patch), Verdict::Accept) => ConnectVerdict::Accept(patch),
            (Ok(patch), Verdict::Next) => ConnectVerdict::Next(patch),
            (Err(why), _) => deny(BAD_CREDENTIALS, why),
        })
    }
}

fn deny(reason_code: u8, reason: impl Into<String>) -> ConnectVerdict {
    ConnectVerdict::Deny(Refusal { reason_code, reason: reason.into() })
}

hookmq_plugin::export! {
    plugin: JwtIdentity,
    hooks: [connect],
    fields: [password],
    capabilities: [log, metric, clock, kv],
    http: ["*"],
    secrets: ["*"],
    config_schema: "../schema.json",
}

#[cfg(test)]
mod tests;
