//! Who a client is: what its connection shows, what it claims, and what steps have vouched for.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use hookmq_codec::ProtocolVersion;
use parking_lot::Mutex;

use crate::{Authentication, TenantBudget, TenantStepsCell};

/// Who says that an attribute is true.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Voucher {
    /// The broker's own TLS handshake.
    Tls,
    /// A trusted proxy in front of the broker.
    Proxy,
    /// The connect step of this name.
    Step(Arc<str>),
    /// Nobody but the client itself.
    Claim,
}

/// A named fact about a client, with its source.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Attribute {
    pub value: String,
    pub vouched_by: Voucher,
}

/// What the connection itself shows.
#[derive(Debug, Clone)]
pub struct ConnectionFacts {
    /// The listener's name in the configuration.
    pub listener: Arc<str>,
    /// Absent on unix sockets.
    pub peer: Option<SocketAddr>,
    pub protocol: ProtocolVersion,
    /// Whether the bytes came over TLS.
    pub encrypted: bool,
}

/// A verified client certificate. A name that occurs twice is given twice, in the order of the
/// certificate: a mapping that wants one must refuse two.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CertificateFacts {
    pub subject: DistinguishedName,
    pub issuer: DistinguishedName,
    pub san_dns: Vec<String>,
    pub san_uri: Vec<String>,
    pub san_email: Vec<String>,
    pub san_ip: Vec<String>,
    /// Lower-case hex, without leading zeros.
    pub serial: String,
    /// SHA-256 of the certificate's DER, lower-case hex.
    pub fingerprint: String,
    /// Seconds since 1970.
    pub not_before: i64,
    /// Seconds since 1970.
    pub not_after: i64,
    /// Dotted object identifiers, or the short names `clientAuth` and `serverAuth`.
    pub extended_key_usage: Vec<String>,
    /// The configured name of the trust anchor that verified the chain.
    pub trust_anchor: String,
    /// Whose handshake this was: the broker's own or a trusted proxy's.
    pub vouched_by_proxy: bool,
}

/// A subject or an issuer, attribute by attribute.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DistinguishedName {
    pub common_name: Vec<String>,
    pub organization: Vec<String>,
    pub organizational_unit: Vec<String>,
    pub country: Vec<String>,
    /// The whole name as RFC 4514 writes it.
    pub text: String,
}

/// Bytes that must not reach a log; overwritten when dropped.
#[derive(Clone, Default)]
pub struct Secret(Vec<u8>);

impl Secret {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes themselves: to compare or to hash, never to show.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.fill(0);
        std::hint::black_box(&self.0);
    }
}

/// Takes as long for unequal bytes as for equal ones.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        let differences =
            self.0.iter().zip(&other.0).fold(0, |sum, (one, other)| sum | one ^ other);
        self.0.len() == other.0.len() && std::hint::black_box(differences) == 0
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A CONNECT, or a wish to authenticate again, on its way through the connect steps.
#[derive(Debug)]
pub struct ConnectAttempt {
    pub connection: ConnectionFacts,
    pub certificate: Option<Arc<CertificateFacts>>,
    /// As sent; empty where the server is to assign one. A claim.
    pub client_id: String,
    /// As sent. A claim.
    pub username: Option<String>,
    /// Absent where the client authenticates again: AUTH does not carry one.
    pub password: Option<Secret>,
    /// Where the client has named an authentication method.
    pub authentication: Option<Authentication>,
    /// For the databases that steps look the client up in, by all steps so far.
    pub waited: Waited,
    /// What the steps so far have made of it.
    pub identity: Identity,
}

/// How long the steps of one chain have waited, so that one bound can be for all of them together.
#[derive(Debug, Default)]
pub struct Waited(Mutex<Duration>);

impl Waited {
    /// What is left of the time that they may wait.
    pub fn left_of(&self, longest: Duration) -> Duration {
        longest.saturating_sub(*self.0.lock())
    }

    pub fn add(&self, waited: Duration) {
        let mut all = self.0.lock();
        *all = all.saturating_add(waited);
    }
}

/// Whether a user name has the form of a signed token (RFC 7515 section 3.1), which is a secret: three parts
/// in Base64, of which the first begins with `{"`.
pub fn resembles_token(username: &str) -> bool {
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'=');
    let parts = username.split('.');
    username.starts_with("ey")
        && parts.clone().count() == 3
        && parts.flat_map(str::bytes).all(is_base64)
}

impl ConnectAttempt {
    /// A copy without password and authentication data, and without a user name that is a token.
    pub fn without_secrets(&self) -> Self {
        Self {
            connection: self.connection.clone(),
            certificate: self.certificate.clone(),
            client_id: self.client_id.clone(),
            username: self.username.clone().filter(|username| !resembles_token(username)),
            password: None,
            authentication: None,
            waited: Default::default(),
            identity: self.identity.clone(),
        }
    }
}

/// What connect steps have established. Nothing here comes from the client's own word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    pub tenant: Option<Arc<str>>,
    pub username: Option<Arc<str>>,
    /// Set where a step bound the client id; otherwise the claim is used.
    pub client_id: Option<Arc<str>>,
    pub roles: BTreeSet<Arc<str>>,
    pub attributes: BTreeMap<Arc<str>, Attribute>,
    pub attachments: BTreeMap<Arc<str>, Attachment>,
    pub limits: ClientLimits,
}

/// Bounds on one client's connection and session; the broker's own hold beside them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClientLimits {
    /// Milliseconds since 1970, UTC: the connection ends then, as what the client has shown is no longer
    /// valid.
    pub expires_at: Option<u64>,
    /// Seconds that the session may outlive its connections.
    pub session_expiry_maximum: Option<u32>,
    /// Unacknowledged QoS 1 and 2 messages that the client may have sent.
    pub receive_maximum: Option<NonZeroU16>,
}

impl ClientLimits {
    /// What `later` says where it says something; of two ends of validity the sooner.
    pub fn amended(self, later: Self) -> Self {
        Self {
            expires_at: match (self.expires_at, later.expires_at) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            },
            session_expiry_maximum: later.session_expiry_maximum.or(self.session_expiry_maximum),
            receive_maximum: later.receive_maximum.or(self.receive_maximum),
        }
    }
}

/// A connected client, as the hooks after connect see it. Another takes its place when it authenticates
/// again, or its principal changes.
#[derive(Debug, Clone)]
pub struct Client {
    pub tenant: Arc<str>,
    /// The principal's name; a session belongs to (tenant, username, client id).
    pub username: Arc<str>,
    pub client_id: Arc<str>,
    /// Whether a connect step vouched for the client id. If not, it is the client's claim.
    pub client_id_bound: bool,
    pub roles: BTreeSet<Arc<str>>,
    pub attributes: BTreeMap<Arc<str>, Attribute>,
    pub connection: ConnectionFacts,
    pub certificate: Option<Arc<CertificateFacts>>,
    pub attachments: BTreeMap<Arc<str>, Attachment>,
    pub limits: ClientLimits,
    /// Its tenant's.
    pub budget: Arc<TenantBudget>,
    /// Those that its tenant has made.
    pub steps: Arc<TenantStepsCell>,
}

impl Client {
    /// A client of whom no more is known than its name, and of its connection nothing.
    pub fn named(
        tenant: Arc<str>,
        client_id: Arc<str>,
        username: Arc<str>,
        budget: Arc<TenantBudget>,
        steps: Arc<TenantStepsCell>,
    ) -> Self {
        Self {
            tenant,
            username,
            client_id,
            client_id_bound: false,
            roles: BTreeSet::new(),
            attributes: BTreeMap::new(),
            connection: ConnectionFacts {
                listener: "".into(),
                peer: None,
                protocol: ProtocolVersion::V5,
                encrypted: false,
            },
            certificate: None,
            attachments: BTreeMap::new(),
            limits: ClientLimits::default(),
            budget,
            steps,
        }
    }

    pub fn has_role(&self, role: &str) -> bool {
        self.roles.contains(role)
    }
}

/// What a program keeps with a client from its connect step on, for its own later calls; filed under
/// the program's name. Dropped with the client.
#[derive(Clone)]
pub struct Attachment(Arc<dyn Any + Send + Sync>);

impl Attachment {
    pub fn new<T: Any + Send + Sync>(value: Arc<T>) -> Self {
        Self(value)
    }

    /// The value, if it is a `T`.
    pub fn downcast_ref<T: Any>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Attachment(..)")
    }
}

/// Equal where it is the same value.
impl PartialEq for Attachment {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Attachment {}
