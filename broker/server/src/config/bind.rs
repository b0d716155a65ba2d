//! Where a listener binds: `tcp://127.0.0.1:1883`, `unix:///run/mqtt.sock`.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;

/// How clients reach a listener.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Bind {
    Network {
        transport: Transport,
        address: SocketAddr,
    },
    /// A file of this machine.
    Unix(PathBuf),
}

/// What carries MQTT over a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Tls,
    /// WebSocket.
    Ws,
    /// WebSocket over TLS.
    Wss,
}

/// Why a text says no place to bind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    #[error("it must start with tcp://, tls://, ws://, wss:// or unix://")]
    Transport,
    #[error("{0:?} is not an IP address with a port, such as 127.0.0.1:1883 or [::1]:1883")]
    Address(String),
    #[error("unix:// needs a path, such as unix:///run/hookmq/mqtt.sock")]
    Path,
}

impl Transport {
    pub fn is_encrypted(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    pub fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }

    /// As before `://`.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }
}

impl FromStr for Bind {
    type Err = BindError;

    fn from_str(text: &str) -> Result<Self, BindError> {
        let (scheme, place) = text.split_once("://").ok_or(BindError::Transport)?;
        let transport = match scheme {
            "tcp" => Transport::Tcp,
            "tls" => Transport::Tls,
            "ws" => Transport::Ws,
            "wss" => Transport::Wss,
            "unix" if place.is_empty() => return Err(BindError::Path),
            "unix" => return Ok(Self::Unix(place.into())),
            _ => return Err(BindError::Transport),
        };
        let address = place.parse().map_err(|_| BindError::Address(place.into()))?;
        Ok(Self::Network { transport, address })
    }
}

impl TryFrom<String> for Bind {
    type Error = BindError;

    fn try_from(text: String) -> Result<Self, BindError> {
        text.parse()
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network { transport, address } => write!(f, "{}://{address}", transport.scheme()),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// Whether only this machine can reach `address`.
pub(crate) fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}
