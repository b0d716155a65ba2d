//! Whether a verified token holds here and now (RFC 7519 section 4.1).

use serde_json::{Map, Value};

/// Seconds since 1970 at the end of the year 9999. What lies behind it was counted in milliseconds.
const LATEST: f64 = 253_402_300_799.0;

/// What a token must say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expectations {
    /// Empty: of any issuer whose key verifies it.
    pub(super) issuers: Vec<String>,
    /// Empty: for nobody in particular.
    pub(super) audiences: Vec<String>,
    pub(super) require_expiry: bool,
    /// Seconds that clocks may differ.
    pub(super) leeway: u64,
    /// Seconds that the expiry may lie ahead.
    pub(super) maximum_lifetime: Option<u64>,
}

/// Why a token does not hold. Says nothing of what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Void {
    #[error("the token's `{0}` is not a time in seconds")]
    NotATime(&'static str),
    #[error("the token has no `exp`")]
    NoExpiry,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYet,
    #[error("the token was issued in the future")]
    FromTheFuture,
    #[error("the token is valid for longer than is permitted")]
    TooLong,
    #[error("the token is by another issuer")]
    Issuer,
    #[error("the token is for another audience")]
    Audience,
}

impl Expectations {
    /// When the token ceases to hold, in milliseconds since 1970; `now` is in seconds.
    pub(super) fn check(&self, claims: &Map<String, Value>, now: u64) -> Result<Option<u64>, Void> {
        self.check_parties(claims)?;
        let latest = now.saturating_add(self.leeway);
        if time(claims, "nbf")?.is_some_and(|begin| begin > latest) {
            return Err(Void::NotYet);
        }
        if time(claims, "iat")?.is_some_and(|issued| issued > latest) {
            return Err(Void::FromTheFuture);
        }
        let Some(expiry) = time(claims, "exp")? else {
            let demanded = self.require_expiry || self.maximum_lifetime.is_some();
            return if demanded { Err(Void::NoExpiry) } else { Ok(None) };
        };
        let end = expiry.saturating_add(self.leeway);
        if end <= now {
            return Err(Void::Expired);
        }
        if self.maximum_lifetime.is_some_and(|longest| expiry > latest.saturating_add(longest)) {
            return Err(Void::TooLong);
        }
        Ok(Some(end.saturating_mul(1000)))
    }

    fn check_parties(&self, claims: &Map<String, Value>) -> Result<(), Void> {
        let is_in = |list: &[String], value: &Value| {
            value.as_str().is_some_and(|text| list.iter().any(|it| it == text))
        };
        let issuer = claims.get("iss");
        if !self.issuers.is_empty() && !issuer.is_some_and(|it| is_in(&self.issuers, it)) {
            return Err(Void::Issuer);
        }
        // Who is not named in it must refuse it, who has no name included.
        let is_for_us = match claims.get("aud") {
            None => self.audiences.is_empty(),
            Some(Value::Array(names)) => {
                names.iter().all(Value::is_string)
                    && names.iter().any(|name| is_in(&self.audiences, name))
            }
            Some(name) => is_in(&self.audiences, name),
        };
        if is_for_us { Ok(()) } else { Err(Void::Audience) }
    }
}

/// A NumericDate, whose fractions of a second are cut off.
fn time(claims: &Map<String, Value>, name: &'static str) -> Result<Option<u64>, Void> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_f64().filter(|seconds| (0.0..=LATEST).contains(seconds));
    Ok(Some(seconds.ok_or(Void::NotATime(name))? as u64))
}
