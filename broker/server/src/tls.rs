//! TLS of one listener: the certificates that it shows, and whose it accepts from clients.
//!
//! What is in the files is a [`TlsServer`], immutable and replaced as a whole; handshakes finish with the
//! one that they began with.

mod anchors;
mod keyring;
mod material;
mod refusal;
mod settings;
mod vigil;

use std::sync::Arc;

use parking_lot::RwLock;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::NoServerSessionStorage;
use tracing::warn;

use self::anchors::{TrustAnchor, TrustAnchors, Unusable};
pub use self::keyring::{Keyring, Reloaded, TlsState};
pub(crate) use self::material::root_store;
use self::material::{Digests, Material};
pub use self::settings::{
    ApplicationProtocol, ClientCertificates, CrlSettings, NamedScope, OpenKey, ScopeSettings,
    ServerPattern, TlsSettings, TrustAnchorSettings, WhenUnusable,
};
use self::vigil::Vigils;
pub use self::vigil::{Fault, Vigil};

/// The TLS side of a listener.
#[derive(Debug)]
pub struct ListenerTls {
    /// The listener's.
    name: Arc<str>,
    settings: TlsSettings,
    /// Of the files that it was first loaded from.
    digests: Digests,
    current: RwLock<Arc<TlsServer>>,
    vigils: Vigils,
}

/// Everything that a listener's handshakes need, as it was read at one moment.
#[derive(Debug)]
pub struct TlsServer {
    /// Counts reloads, from 0.
    generation: u64,
    /// The default, then those with names.
    scopes: Vec<Scope>,
}

/// What clients see that name certain servers.
#[derive(Debug)]
struct Scope {
    config: Arc<ServerConfig>,
    /// The broker's own, its first.
    chain: Vec<CertificateDer<'static>>,
    /// What is accepted although it is not safe, because that is configured.
    warnings: Vec<String>,
    /// None where clients are not asked for a certificate.
    anchors: Option<Arc<TrustAnchors>>,
}

/// Why a listener's TLS material cannot be used, and which setting is to blame.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct TlsError {
    /// None in the default scope, otherwise the position in `server_names`.
    pub server_name: Option<usize>,
    pub setting: TlsSetting,
    pub message: String,
}

/// A setting of a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsSetting {
    Certificate,
    Key,
    ClientCertificates,
    /// By its position.
    TrustAnchor(usize),
    Crl(usize),
}

/// What a client that began a handshake will see.
pub struct Greeting {
    server: Arc<TlsServer>,
    scope: usize,
}

impl ListenerTls {
    /// Reads the files that `settings` names. `name` is the listener's, for the log.
    ///
    /// # Errors
    /// Where a file cannot be read, holds something else, or does not fit to the others.
    pub fn load(name: Arc<str>, settings: TlsSettings) -> Result<Self, TlsError> {
        let material = Material::read(settings.files());
        let server = TlsServer::build(&name, &settings, &material, None)?;
        Ok(Self {
            digests: material.digests(),
            current: RwLock::new(Arc::new(server)),
            vigils: Vigils::default(),
            name,
            settings,
        })
    }

    pub fn settings(&self) -> &TlsSettings {
        &self.settings
    }

    /// What a client sees that names `server_name`, or none.
    pub fn greet(&self, server_name: Option<&str>) -> Greeting {
        Greeting { server: self.current(), scope: self.settings.scope_of(server_name) }
    }

    /// Tells of what is not safe.
    fn warn(&self) {
        for warning in self.current().scopes.iter().flat_map(|scope| &scope.warnings) {
            warn!(listener = &*self.name, warning, "TLS material");
        }
    }

    fn current(&self) -> Arc<TlsServer> {
        self.current.read().clone()
    }
}

impl Greeting {
    pub fn config(&self) -> Arc<ServerConfig> {
        self.scope().config.clone()
    }

    /// The name of the trust anchor that vouches for `chain`, the certificates that a client has
    /// shown in a handshake, its own first. None where no anchor does (any more).
    pub fn trust_anchor(&self, chain: &[CertificateDer<'_>]) -> Option<&Arc<str>> {
        let (leaf, intermediates) = chain.split_first()?;
        self.scope().anchors.as_ref()?.vouching(leaf, intermediates, UnixTime::now())
    }

    fn scope(&self) -> &Scope {
        &self.server.scopes[self.scope]
    }
}

/// Gets random numbers ready on the calling thread. The library gathers the seed for each thread from the
/// processor's jitter when it is first asked, which takes tens of milliseconds: all whom a worker serves
/// would wait for that behind its first handshake.
pub fn seed_random_numbers() {
    // Without a seed now, the first handshake asks again, and fails if it must.
    let _ = aws_lc_rs::default_provider().secure_random.fill(&mut [0]);
}

impl TlsServer {
    /// `before` is the version that this one is to replace.
    fn build(
        listener: &Arc<str>,
        settings: &TlsSettings,
        material: &Material,
        before: Option<&TlsServer>,
    ) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let build = |(number, scope): (usize, &ScopeSettings)| {
            let before = before.and_then(|before| before.scopes.get(number));
            let builder =
                ScopeBuilder { listener, settings, material, before, provider: &provider };
            builder.build(scope).map_err(|(setting, message)| TlsError {
                server_name: number.checked_sub(1),
                setting,
                message,
            })
        };
        let scopes = settings.scopes().enumerate().map(build).collect::<Result<_, _>>()?;
        let generation = before.map_or(0, |before| before.generation + 1);
        Ok(Self { generation, scopes })
    }
}

/// What a scope is built from.
struct ScopeBuilder<'a> {
    listener: &'a Arc<str>,
    settings: &'a TlsSettings,
    material: &'a Material,
    before: Option<&'a Scope>,
    provider: &'a Arc<CryptoProvider>,
}

type AtSetting<T> = Result<T, (TlsSetting, String)>;

impl ScopeBuilder<'_> {
    fn build(&self, scope: &ScopeSettings) -> AtSetting<Scope> {
        let at = |setting| move |message| (setting, message);
        let (material, open_key) = (self.material, self.settings.open_key);
        let chain =
            material.certificates(&scope.certificate).map_err(at(TlsSetting::Certificate))?;
        let mut warnings = Vec::new();
        let key = material.private_key(&scope.key, open_key, &mut warnings);
        let key = key.map_err(at(TlsSetting::Key))?;
        let anchors = self.anchors(scope, &mut warnings)?;

        let builder = ServerConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| (TlsSetting::Certificate, error.to_string()))?;
        let builder = match &anchors {
            None => builder.with_no_client_auth(),
            Some(anchors) => builder.with_client_cert_verifier(anchors.clone()),
        };
        let mut config =
            builder.with_single_cert(chain.clone(), key).map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => {
                    (TlsSetting::Key, "the key does not belong to the certificate".into())
                }
                error => {
                    let message = format!("{}: {error}", scope.certificate.display());
                    (TlsSetting::Certificate, message)
                }
            })?;
        // A client that speaks another protocol is turned away, one that names none is served.
        config.alpn_protocols = vec![self.settings.protocol.alpn().to_vec()];
        if anchors.is_some() {
            // A resumed session would skip the verification of the certificate, which may have
            // expired, been revoked or lost its trust anchor since.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Scope { config: Arc::new(config), chain, warnings, anchors })
    }

    fn anchors(
        &self,
        scope: &ScopeSettings,
        warnings: &mut Vec<String>,
    ) -> AtSetting<Option<Arc<TrustAnchors>>> {
        let refused = |message: &str| Err((TlsSetting::ClientCertificates, message.into()));
        let mandatory = match scope.client_certificates {
            ClientCertificates::Required => true,
            ClientCertificates::Optional => false,
            ClientCertificates::None if scope.trust_anchors.is_empty() => return Ok(None),
            ClientCertificates::None => {
                return refused("there are trust anchors, so it must be `required` or `optional`");
            }
        };
        if scope.trust_anchors.is_empty() {
            return refused("client certificates need trust_anchors to be verified by");
        }
        let before = self.before.and_then(|scope| scope.anchors.as_ref());
        let mut anchors = TrustAnchors::new(self.listener.clone(), mandatory);
        for (index, anchor) in scope.trust_anchors.iter().enumerate() {
            let before = before.and_then(|anchors| anchors.anchors().get(index));
            let had_lists = before.is_some_and(|anchor| !anchor.lists.is_empty());
            let (material, provider) = (self.material, self.provider);
            let anchor = TrustAnchor::load(anchor, material, had_lists, provider, warnings);
            anchors.add(anchor.map_err(|unusable| match unusable {
                Unusable::Anchor(message) => (TlsSetting::TrustAnchor(index), message),
                Unusable::Crl(message) => (TlsSetting::Crl(index), message),
            })?);
        }
        Ok(Some(Arc::new(anchors)))
    }
}

impl std::fmt::Display for TlsSetting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Certificate => f.write_str("certificate"),
            Self::Key => f.write_str("key"),
            Self::ClientCertificates => f.write_str("client_certificates"),
            Self::TrustAnchor(index) => write!(f, "trust_anchors[{index}].file"),
            Self::Crl(index) => write!(f, "trust_anchors[{index}].crl.file"),
        }
    }
}

impl TlsError {
    /// The setting as it stands in the configuration, below the listener's `tls`.
    fn path(&self) -> String {
        match self.server_name {
            None => self.setting.to_string(),
            Some(index) => format!("server_names[{index}].{}", self.setting),
        }
    }
}

#[cfg(test)]
mod tests;
