//! Where key sets may come from.

use std::fmt;
use std::net::IpAddr;

/// The URL of a key set: https, or http on this machine.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct KeySetUrl {
    origin: String,
    /// With the query.
    path: String,
}

/// Why a text is no URL of a key set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeySetUrlError {
    #[error("it must begin with https://, or with http:// and a loopback address or localhost")]
    Scheme,
    #[error("it names no host, or holds a user name, a fragment or white space")]
    Form,
}

impl KeySetUrl {
    /// `https://host:port`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// From the slash on, the query included.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl TryFrom<String> for KeySetUrl {
    type Error = KeySetUrlError;

    fn try_from(text: String) -> Result<Self, KeySetUrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(KeySetUrlError::Scheme)?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        if authority.is_empty()
            || !is_plain
            || authority.contains('@')
            || text.contains(['#', '\\'])
        {
            return Err(KeySetUrlError::Form);
        }
        if scheme != "https" && !(scheme == "http" && is_this_machine(authority)) {
            return Err(KeySetUrlError::Scheme);
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self { origin: format!("{scheme}://{authority}"), path: format!("{slash}{path}") })
    }
}

fn is_this_machine(authority: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse().is_ok_and(|it: IpAddr| it.is_loopback())
}

/// Without the query, which may hold what is not for logs.
impl fmt::Display for KeySetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.split('?').next().unwrap_or_default();
        write!(f, "{}{path}", self.origin)
    }
}
