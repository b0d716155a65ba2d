//! What a verified token says, and whether it holds here and now (RFC 7519 section 4.1).

use hookmq_plugin::{ClientLimits, IdentityPatch};
use serde_json::{Map, Value};

use crate::config::{Config, Mapping, Source};

/// A name from a token, in bytes.
const MAX_NAME_BYTES: usize = 256;
const MAX_ROLES: usize = 64;

/// # Errors
/// Which claim does not hold, or is missing; no values are in the words.
pub fn identity(
    claims: &Map<String, Value>,
    config: &Config,
    now_ms: u64,
) -> Result<IdentityPatch, String> {
    check_parties(claims, config)?;
    let expires_at = check_time(claims, u64::from(config.leeway_seconds) * 1000, now_ms)?;
    let mapping = &config.identity;
    Ok(IdentityPatch {
        tenant: Some(name("tenant", &mapping.tenant, claims)?),
        username: Some(name("username", &mapping.username, claims)?),
        client_id: mapping
            .client_id
            .as_ref()
            .map(|source| name("client_id", source, claims))
            .transpose()?,
        roles: roles(mapping, claims)?,
        attributes: attributes(mapping, claims)?,
        limits: ClientLimits { expires_at: Some(expires_at), ..ClientLimits::default() },
    })
}

fn check_parties(claims: &Map<String, Value>, config: &Config) -> Result<(), String> {
    if claims.get("iss").and_then(Value::as_str) != Some(&config.issuer) {
        return Err("the token's issuer is another".into());
    }
    let is_ours = |audience: &Value| {
        audience.as_str().is_some_and(|text| config.audiences.iter().any(|ours| ours == text))
    };
    let addressed = match claims.get("aud") {
        Some(Value::Array(audiences)) => audiences.iter().any(is_ours),
        Some(audience) => is_ours(audience),
        None => false,
    };
    match addressed {
        true => Ok(()),
        false => Err("the token is for another audience".into()),
    }
}

/// When the connection ends, in milliseconds since 1970.
fn check_time(claims: &Map<String, Value>, leeway: u64, now: u64) -> Result<u64, String> {
    let expires = moment(claims, "exp")?.ok_or("the token has no expiry")?;
    let end = expires.saturating_add(leeway);
    if end <= now {
        return Err("the token has expired".into());
    }
    if moment(claims, "nbf")?.is_some_and(|begin| begin > now.saturating_add(leeway)) {
        return Err("the token is not valid yet".into());
    }
    Ok(end)
}

/// A NumericDate in milliseconds.
fn moment(claims: &Map<String, Value>, claim: &str) -> Result<Option<u64>, String> {
    let Some(value) = claims.get(claim) else { return Ok(None) };
    let seconds = value.as_f64().filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
    let seconds = seconds.ok_or_else(|| format!("the token's {claim} is not a time"))?;
    // Saturates far beyond any clock.
    Ok(Some((seconds * 1000.0) as u64))
}

fn name(key: &str, source: &Source, claims: &Map<String, Value>) -> Result<String, String> {
    let text = match source {
        Source::Value(value) => Some(value.clone()),
        Source::Claim(claim) => find(claims, claim).and_then(text),
    };
    let text = text.ok_or_else(|| format!("the token has no {key}"))?;
    match is_name(&text) {
        true => Ok(text),
        false => Err(format!("the token's {key} is empty, too long or has control characters")),
    }
}

fn roles(mapping: &Mapping, claims: &Map<String, Value>) -> Result<Vec<String>, String> {
    let roles: Vec<String> = match &mapping.roles {
        None => Vec::new(),
        Some(Source::Value(role)) => vec![role.clone()],
        Some(Source::Claim(claim)) => match find(claims, claim) {
            // As `scope` is written (RFC 8693 section 4.2).
            Some(Value::String(text)) => text.split_whitespace().map(str::to_owned).collect(),
            Some(Value::Array(items)) => {
                items.iter().map(text).collect::<Option<_>>().ok_or("a role is not a text")?
            }
            Some(_) => return Err("the token's roles are neither a list nor a text".into()),
            None => Vec::new(),
        },
    };
    match roles.len() <= MAX_ROLES && roles.iter().all(|role| is_name(role)) {
        true => Ok(roles),
        false => Err("the token has too many roles, or one that is no name".into()),
    }
}

/// Those that the token has.
fn attributes(
    mapping: &Mapping,
    claims: &Map<String, Value>,
) -> Result<Vec<(String, String)>, String> {
    let has = |source: &Source| match source {
        Source::Value(_) => true,
        Source::Claim(claim) => find(claims, claim).is_some_and(|value| !value.is_null()),
    };
    let present = mapping.attributes.iter().filter(|(_, source)| has(source));
    present.map(|(key, source)| Ok((key.clone(), name(key, source, claims)?))).collect()
}

fn find<'a>(claims: &'a Map<String, Value>, claim: &str) -> Option<&'a Value> {
    let Some(pointer) = claim.strip_prefix('/') else { return claims.get(claim) };
    let (first, rest) = pointer.split_once('/').unwrap_or((pointer, ""));
    let value = claims.get(&first.replace("~1", "/").replace("~0", "~"))?;
    if rest.is_empty() { Some(value) } else { value.pointer(&format!("/{rest}")) }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

fn is_name(text: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&text.len()) && !text.contains(char::is_control)
}
