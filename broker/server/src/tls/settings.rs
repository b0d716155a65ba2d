//! What a listener's TLS is configured with: paths and policies, and no material yet.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use serde::Deserialize;

/// What a listener is configured with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// For clients that name no server, or one that no scope has.
    pub default: ScopeSettings,
    /// For clients that name one of these servers (SNI).
    pub named: Vec<NamedScope>,
    pub open_key: OpenKey,
    pub protocol: ApplicationProtocol,
}

/// What is shown to clients that name certain servers, and asked of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedScope {
    pub names: Vec<ServerPattern>,
    pub settings: ScopeSettings,
}

/// A certificate of the broker, and whose certificates it accepts from clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeSettings {
    /// PEM: the certificate and the intermediates behind it.
    pub certificate: PathBuf,
    /// PEM: PKCS #8, PKCS #1 or SEC 1.
    pub key: PathBuf,
    pub client_certificates: ClientCertificates,
    /// In the order in which they are tried.
    pub trust_anchors: Vec<TrustAnchorSettings>,
}

/// A server's name, or with `*.` in front all names with one label more.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct ServerPattern(String);

/// What becomes of a private key that everybody on the machine can touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OpenKey {
    #[default]
    Refuse,
    /// It is used, and the log warns.
    Warn,
}

/// What is spoken over TLS, by its name in ALPN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ApplicationProtocol {
    #[default]
    Mqtt,
    /// HTTP/1.1, for WebSocket.
    Http,
}

/// Whether clients are asked for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientCertificates {
    /// Not asked for.
    #[default]
    None,
    /// Asked for; a client without one goes on, one with a bad one does not.
    Optional,
    /// A client without one is refused.
    Required,
}

/// Authorities that may issue client certificates, under the name that access rules know them by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustAnchorSettings {
    pub name: Arc<str>,
    /// PEM: one or more certificates.
    pub file: PathBuf,
    /// None: nobody's certificate is ever revoked.
    pub crl: Option<CrlSettings>,
}

/// Where the certificates stand that an anchor's authorities have revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrlSettings {
    /// PEM, one or more lists; or DER, one.
    pub file: PathBuf,
    pub when_unusable: WhenUnusable,
}

/// What becomes of certificates of which nobody can say whether they are revoked: the list is absent,
/// malformed, out of date, or not that of their issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenUnusable {
    #[default]
    Refuse,
    /// They are accepted, unless a list that is out of date names them.
    Allow,
}

impl TlsSettings {
    /// The scopes by their number: the default, then those with names.
    pub(super) fn scopes(&self) -> impl Iterator<Item = &ScopeSettings> {
        std::iter::once(&self.default).chain(self.named.iter().map(|scope| &scope.settings))
    }

    /// Every file that is read; some perhaps more than once.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        self.scopes().flat_map(|scope| {
            let anchors = scope.trust_anchors.iter().flat_map(|anchor| {
                let crl = anchor.crl.as_ref().map(|crl| &*crl.file);
                std::iter::once(&*anchor.file).chain(crl)
            });
            [&*scope.certificate, &*scope.key].into_iter().chain(anchors)
        })
    }

    /// The names of the anchors that may vouch for a client, each once.
    pub fn trust_anchors(&self) -> Vec<&Arc<str>> {
        let mut names: Vec<_> =
            self.scopes().flat_map(|scope| &scope.trust_anchors).map(|it| &it.name).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Whether nobody gets in without a certificate.
    pub fn requires_certificates(&self) -> bool {
        self.scopes().all(|scope| scope.client_certificates == ClientCertificates::Required)
    }

    /// The number of the scope for clients that name `server`.
    pub(super) fn scope_of(&self, server: Option<&str>) -> usize {
        let Some(server) = server else { return 0 };
        let first = |fits: fn(&ServerPattern, &str) -> bool| {
            self.named.iter().position(|scope| scope.names.iter().any(|it| fits(it, server)))
        };
        let found = first(ServerPattern::is).or_else(|| first(ServerPattern::covers));
        found.map_or(0, |position| position + 1)
    }
}

impl ServerPattern {
    fn is(&self, server: &str) -> bool {
        self.0.eq_ignore_ascii_case(server)
    }

    fn covers(&self, server: &str) -> bool {
        let behind = server.split_once('.').map(|(_, behind)| behind);
        let domain = self.0.strip_prefix("*.");
        domain.zip(behind).is_some_and(|(domain, behind)| domain.eq_ignore_ascii_case(behind))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ServerPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let domain = text.strip_prefix("*.").unwrap_or(text);
        match rustls::pki_types::DnsName::try_from(domain) {
            Ok(_) => Ok(Self(text.to_ascii_lowercase())),
            Err(_) => Err(format!(
                "{text:?} is no server's name, such as mqtt.example.com or *.example.com"
            )),
        }
    }
}

impl TryFrom<String> for ServerPattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl ApplicationProtocol {
    pub(super) fn alpn(self) -> &'static [u8] {
        match self {
            Self::Mqtt => b"mqtt",
            Self::Http => b"http/1.1",
        }
    }
}
