//! TLS of one listener: its certificate, and whose certificates it accepts from clients.

mod anchors;
mod files;
mod refusal;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use serde::Deserialize;

use self::anchors::TrustAnchors;
pub(crate) use self::files::root_store;

/// What a listener is configured with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// PEM: the listener's certificate and the intermediates behind it.
    pub certificate: PathBuf,
    /// PEM: PKCS #8, PKCS #1 or SEC 1. A file that everybody can read is refused.
    pub key: PathBuf,
    pub client_certificates: ClientCertificates,
    /// In the order in which they are tried.
    pub trust_anchors: Vec<TrustAnchorSettings>,
    pub protocol: ApplicationProtocol,
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
}

/// Why a listener's TLS material cannot be used, and which setting is to blame.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{0}")]
    Certificate(String),
    #[error("{0}")]
    Key(String),
    #[error("{message}")]
    TrustAnchor { index: usize, message: String },
    #[error("{0}")]
    ClientCertificates(String),
}

impl ApplicationProtocol {
    fn alpn(self) -> &'static [u8] {
        match self {
            Self::Mqtt => b"mqtt",
            Self::Http => b"http/1.1",
        }
    }
}

/// The TLS side of a listener, ready for handshakes.
#[derive(Debug, Clone)]
pub struct TlsServer {
    pub config: Arc<ServerConfig>,
    /// None where clients are not asked for a certificate.
    anchors: Option<Arc<TrustAnchors>>,
}

impl TlsServer {
    /// Reads the files that `settings` names. `listener` is its name in the log.
    ///
    /// # Errors
    /// Where a file cannot be read, holds something else, or does not fit to the others.
    pub fn load(listener: &Arc<str>, settings: &TlsSettings) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let chain = files::certificates(&settings.certificate).map_err(TlsError::Certificate)?;
        let key = files::private_key(&settings.key).map_err(TlsError::Key)?;
        let anchors = load_anchors(listener, settings, &provider)?;

        let builder = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Certificate(error.to_string()))?;
        let builder = match &anchors {
            None => builder.with_no_client_auth(),
            Some(anchors) => builder.with_client_cert_verifier(anchors.clone()),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                TlsError::Key("the key does not belong to the certificate".into())
            }
            error => TlsError::Certificate(format!("{}: {error}", settings.certificate.display())),
        })?;
        // A client that speaks another protocol is turned away, one that names none is served.
        config.alpn_protocols = vec![settings.protocol.alpn().to_vec()];
        if anchors.is_some() {
            // A resumed session would skip the verification of the certificate, which may have
            // expired or lost its trust anchor since.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Self { config: Arc::new(config), anchors })
    }

    /// The name of the trust anchor that vouches for `chain`, the certificates that a client has
    /// shown in a handshake, its own first. None where no anchor does (any more).
    pub fn trust_anchor(&self, chain: &[CertificateDer<'_>]) -> Option<&str> {
        let (leaf, intermediates) = chain.split_first()?;
        self.anchors.as_ref()?.vouching(leaf, intermediates, UnixTime::now())
    }
}

fn load_anchors(
    listener: &Arc<str>,
    settings: &TlsSettings,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<TrustAnchors>>, TlsError> {
    let mandatory = match settings.client_certificates {
        ClientCertificates::Required => true,
        ClientCertificates::Optional => false,
        ClientCertificates::None if settings.trust_anchors.is_empty() => return Ok(None),
        ClientCertificates::None => {
            let message = "there are trust anchors, so it must be `required` or `optional`";
            return Err(TlsError::ClientCertificates(message.into()));
        }
    };
    if settings.trust_anchors.is_empty() {
        let message = "client certificates need trust_anchors to be verified by";
        return Err(TlsError::ClientCertificates(message.into()));
    }
    let mut anchors = TrustAnchors::new(listener.clone(), mandatory);
    for (index, TrustAnchorSettings { name, file }) in settings.trust_anchors.iter().enumerate() {
        let at_anchor = |message| TlsError::TrustAnchor { index, message };
        let roots = Arc::new(files::root_store(file).map_err(at_anchor)?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone())
            .build()
            .map_err(|error| at_anchor(format!("{}: {error}", file.display())))?;
        anchors.add(name.clone(), verifier);
    }
    Ok(Some(Arc::new(anchors)))
}

#[cfg(test)]
mod tests;
