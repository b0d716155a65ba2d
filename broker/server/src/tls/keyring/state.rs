//! What TLS material is in force, for the admin API.

use hookmq_access::{CrlFacts, certificate_facts};
use rustls::pki_types::CertificateDer;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Keyring, Progress};
use crate::tls::anchors::TrustAnchor;
use crate::tls::{ListenerTls, Scope};

/// Of all listeners with TLS.
#[derive(Debug, Serialize)]
pub struct TlsState {
    /// Counts reloads since the start.
    generation: u64,
    loaded_at: String,
    /// Why the files as they are now are not in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<RefusedState>,
    listeners: Vec<ListenerState>,
}

#[derive(Debug, Serialize)]
struct RefusedState {
    at: String,
    problems: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ListenerState {
    name: String,
    /// Connections with a client certificate.
    watched: usize,
    /// The first is for clients that name no server of the others.
    certificates: Vec<ScopeState>,
}

#[derive(Debug, Serialize)]
struct ScopeState {
    server_names: Vec<String>,
    /// Of the broker's certificate, unless it is too odd to be read.
    #[serde(flatten)]
    certificate: Option<CertificateState>,
    trust_anchors: Vec<AnchorState>,
}

#[derive(Debug, Serialize)]
struct CertificateState {
    subject: String,
    serial: String,
    fingerprint: String,
    not_after: String,
}

#[derive(Debug, Serialize)]
struct AnchorState {
    name: String,
    revocation_lists: Vec<ListState>,
}

#[derive(Debug, Serialize)]
struct ListState {
    issuer: String,
    this_update: String,
    next_update: String,
    revoked: usize,
}

impl Keyring {
    /// What is in force.
    pub fn state(&self) -> TlsState {
        let Progress { generation, loaded_at, refused, .. } = &*self.progress.lock();
        let refused = refused.as_ref().map(|refused| RefusedState {
            at: rfc3339(refused.at),
            problems: refused.problems.clone(),
        });
        let listeners = self.listeners.iter().map(|listener| listener_state(listener));
        TlsState {
            generation: *generation,
            loaded_at: rfc3339(*loaded_at),
            refused,
            listeners: listeners.collect(),
        }
    }
}

fn listener_state(listener: &ListenerTls) -> ListenerState {
    let named = listener.settings.named.iter();
    let names = named.map(|it| it.names.iter().map(|name| name.as_str().to_owned()).collect());
    let server = listener.current();
    let scopes = std::iter::once(Vec::new()).chain(names).zip(&server.scopes);
    ListenerState {
        name: listener.name.to_string(),
        watched: listener.vigils.count(),
        certificates: scopes
            .map(|(server_names, scope)| scope_state(server_names, scope))
            .collect(),
    }
}

fn scope_state(server_names: Vec<String>, scope: &Scope) -> ScopeState {
    let anchors = scope.anchors.as_ref().map_or(&[][..], |anchors| anchors.anchors());
    ScopeState {
        server_names,
        certificate: scope.chain.first().and_then(certificate_state),
        trust_anchors: anchors.iter().map(anchor_state).collect(),
    }
}

fn certificate_state(der: &CertificateDer<'_>) -> Option<CertificateState> {
    let facts = certificate_facts(der, "").ok()?;
    Some(CertificateState {
        subject: facts.subject.text,
        serial: facts.serial,
        fingerprint: facts.fingerprint,
        not_after: of_seconds(facts.not_after),
    })
}

fn anchor_state(anchor: &TrustAnchor) -> AnchorState {
    let list = |list: &CrlFacts| ListState {
        issuer: list.issuer.clone(),
        this_update: of_seconds(list.this_update),
        next_update: of_seconds(list.next_update),
        revoked: list.revoked,
    };
    AnchorState {
        name: anchor.name.to_string(),
        revocation_lists: anchor.lists.iter().map(list).collect(),
    }
}

fn of_seconds(seconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp(seconds).map(rfc3339).unwrap_or_default()
}

fn rfc3339(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_default()
}
