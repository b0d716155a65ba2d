//! Where a listener binds: `tcp://127.0.0.1:1883`.

use std::net::SocketAddr;
use std::str::FromStr;

use serde::Deserialize;

/// A listener's transport and address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Bind {
    pub transport: Transport,
    pub address: SocketAddr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Tls,
}

/// Why a text says no place to bind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    #[error("{0}:// is not supported yet; tcp:// and tls:// are")]
    NotYet(String),
    #[error("it must start with tcp:// or tls://")]
    Transport,
    #[error("{0:?} is not an IP address with a port, such as 127.0.0.1:1883 or [::1]:1883")]
    Address(String),
}

impl FromStr for Bind {
    type Err = BindError;

    fn from_str(text: &str) -> Result<Self, BindError> {
        let (scheme, address) = text.split_once("://").ok_or(BindError::Transport)?;
        let transport = match scheme {
            "tcp" => Transport::Tcp,
            "tls" => Transport::Tls,
            "ws" | "wss" | "unix" => return Err(BindError::NotYet(scheme.into())),
            _ => return Err(BindError::Transport),
        };
        let address = address.parse().map_err(|_| BindError::Address(address.into()))?;
        Ok(Self { transport, address })
    }
}

impl TryFrom<String> for Bind {
    type Error = BindError;

    fn try_from(text: String) -> Result<Self, BindError> {
        text.parse()
    }
}

/// Whether only this machine can reach `address`.
pub(crate) fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}
