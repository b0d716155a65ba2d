//! The `listeners` section: where clients arrive, and what is asked of them there.

mod check;
mod tls;

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, de::Error};

use super::bind::{Bind, is_loopback};
use crate::tls::{ClientCertificates, ListenerTls, OpenKey, ServerPattern, WhenUnusable};

/// A place where clients arrive.
#[derive(Debug, Clone)]
pub struct ListenerConfig {
    pub name: Arc<str>,
    /// A path is final.
    pub bind: Bind,
    /// Permission bits of a unix socket.
    pub mode: u32,
    pub tls: Option<Arc<ListenerTls>>,
    /// Present where clients come over WebSocket.
    pub websocket: Option<WebSocketSettings>,
    /// Present where clients come through a proxy that says whose connection it is.
    pub proxies: Option<TrustedProxies>,
    /// Under which the certificates count that proxies vouch for; none: they do not.
    pub proxy_anchor: Option<Arc<str>>,
    /// Whether strangers may be let in although other machines can reach it.
    pub allow_public_anonymous: bool,
}

/// Which WebSockets are let in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a map")]
pub struct WebSocketSettings {
    /// Of the request; none: any.
    pub path: Option<String>,
    /// Sites whose pages may connect; none: any. Clients that are no browsers name none.
    pub origins: Vec<String>,
}

/// Those whose PROXY headers are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedProxies(Vec<Network>);

/// Addresses that begin with the same bits. IPv4 is seen as the part of IPv6 that it is mapped to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Network {
    bits: u128,
    prefix: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a map")]
pub(super) struct ListenerDocument {
    name: String,
    bind: Bind,
    tls: Option<TlsDocument>,
    #[serde(default)]
    allow_public_plaintext: bool,
    #[serde(default)]
    allow_public_anonymous: bool,
    websocket: Option<WebSocketSettings>,
    proxy_protocol: Option<ProxyDocument>,
    #[serde(default, deserialize_with = "mode")]
    mode: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a map")]
struct TlsDocument {
    certificate: PathBuf,
    key: PathBuf,
    #[serde(default)]
    open_key: OpenKey,
    #[serde(default)]
    client_certificates: ClientCertificates,
    #[serde(default)]
    trust_anchors: Vec<TrustAnchorDocument>,
    #[serde(default)]
    server_names: Vec<ServerNameDocument>,
}

/// What is absent is that of the listener.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a map")]
struct ServerNameDocument {
    names: Vec<ServerPattern>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    client_certificates: Option<ClientCertificates>,
    trust_anchors: Option<Vec<TrustAnchorDocument>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a map")]
struct TrustAnchorDocument {
    name: String,
    file: PathBuf,
    crl: Option<CrlDocument>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a map")]
struct CrlDocument {
    file: PathBuf,
    #[serde(default)]
    when_unusable: WhenUnusable,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a map")]
struct ProxyDocument {
    trusted: Vec<Network>,
    trust_anchor: Option<String>,
}

/// Of a unix socket: its owner alone.
const PRIVATE: u32 = 0o600;

impl ListenerConfig {
    /// Without TLS and proxies, for whoever can reach it.
    pub fn plain(name: Arc<str>, bind: Bind) -> Self {
        let is_websocket =
            matches!(&bind, Bind::Network { transport, .. } if transport.is_websocket());
        let websocket = is_websocket.then(WebSocketSettings::default);
        Self {
            name,
            bind,
            mode: PRIVATE,
            tls: None,
            websocket,
            proxies: None,
            proxy_anchor: None,
            allow_public_anonymous: false,
        }
    }
}

impl WebSocketSettings {
    /// Whether a page of `origin` may connect.
    pub fn allows(&self, origin: &str) -> bool {
        self.origins.is_empty() || self.origins.iter().any(|it| it.eq_ignore_ascii_case(origin))
    }
}

impl TrustedProxies {
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }
}

impl Network {
    pub fn contains(&self, address: IpAddr) -> bool {
        (self.bits ^ bits(address)).leading_zeros() >= self.prefix
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (address, prefix) = match text.split_once('/') {
                Some((address, prefix)) => (address, Some(prefix)),
                None => (text, None),
            };
            let address: IpAddr = address.parse().ok()?;
            let outside = if address.is_ipv4() { 96 } else { 0 };
            let prefix = match prefix {
                Some(prefix) => outside + u32::from(prefix.parse::<u8>().ok()?),
                None => u128::BITS,
            };
            let bits = bits(address);
            // With bits behind the prefix, something else was meant.
            let is_whole = prefix <= u128::BITS && bits.checked_shl(prefix).unwrap_or(0) == 0;
            is_whole.then_some(Self { bits, prefix })
        };
        parse().ok_or_else(|| {
            format!("{text:?} is no IP address or network, such as 10.0.0.1 or 10.0.0.0/8")
        })
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl ListenerConfig {
    /// The names of those that may vouch for a client's certificate: anchors of its own and its proxies.
    pub fn trust_anchors(&self) -> Vec<&Arc<str>> {
        let own = self.tls.as_ref().map(|tls| tls.settings().trust_anchors()).unwrap_or_default();
        own.into_iter().chain(&self.proxy_anchor).collect()
    }

    /// Whether other machines can reach it and get in without a certificate.
    pub fn is_public(&self) -> bool {
        let asks = self.tls.as_ref().is_some_and(|tls| tls.settings().requires_certificates());
        let Bind::Network { address, .. } = &self.bind else { return false };
        !is_loopback(*address) && !asks
    }
}

/// Octal digits, as a string: a number would be decimal.
fn mode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let mode = u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o777);
    mode.map(Some).ok_or_else(|| D::Error::custom("it must be octal digits, such as \"0660\""))
}
