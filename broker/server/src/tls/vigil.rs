//! Who is connected with which certificate, and whether that is still good.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use hookmq_access::certificate_facts;
use hookmq_codec::ReasonCode;
use hookmq_hooks::CertificateFacts;
use parking_lot::Mutex;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{CertificateError, Error};

use super::refusal::reason;
use super::{Greeting, ListenerTls, TlsServer};

/// The certificates that a listener's connections were let in with. There are as many as
/// connections, which `limits.connections` bounds.
#[derive(Debug, Default)]
pub(super) struct Vigils(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last_id: u64,
    watched: HashMap<u64, Watched>,
}

/// Held as long as its connection: the certificate is watched.
pub struct Vigil {
    listener: Arc<ListenerTls>,
    id: u64,
}

#[derive(Debug)]
struct Watched {
    chain: Arc<[CertificateDer<'static>]>,
    facts: Arc<CertificateFacts>,
    scope: usize,
    /// The generation that has verified it last.
    generation: u64,
    /// Seconds since 1970: the next end of validity in the chain.
    verify_again: u64,
    ended: Option<(Fault, String)>,
    /// Whether its session was found and asked to end.
    told: bool,
}

/// A connection whose certificate is no longer good.
#[derive(Debug)]
pub(super) struct Ended {
    /// Of the watch.
    pub(super) id: u64,
    pub(super) facts: Arc<CertificateFacts>,
    pub(super) fault: Fault,
    /// For an operator.
    pub(super) reason: String,
}

/// The verifier may read an intermediate certificate that has names which we do not read, and so no end.
/// It is asked again after so many seconds.
const UNREADABLE_S: u64 = 30;

/// What became of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Expired,
    Revoked,
    /// No trust anchor of its name vouches for it any more.
    Untrusted,
}

impl Fault {
    pub const ALL: [Self; 3] = [Self::Expired, Self::Revoked, Self::Untrusted];

    pub fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Untrusted => "untrusted",
        }
    }

    /// What the client is told: time has passed, or somebody has decided.
    pub fn reason_code(self) -> ReasonCode {
        match self {
            Self::Expired => ReasonCode::NotAuthorized,
            Self::Revoked | Self::Untrusted => ReasonCode::AdministrativeAction,
        }
    }

    fn of(error: &Error) -> Self {
        match error {
            Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            ) => Self::Expired,
            Error::InvalidCertificate(CertificateError::Revoked) => Self::Revoked,
            _ => Self::Untrusted,
        }
    }
}

impl ListenerTls {
    /// Watches the certificate of a client that the handshake has let in.
    pub fn watch(
        self: &Arc<Self>,
        greeting: &Greeting,
        chain: &[CertificateDer<'_>],
        facts: Arc<CertificateFacts>,
    ) -> Vigil {
        let watched = Watched {
            chain: chain.iter().map(|it| it.clone().into_owned()).collect(),
            verify_again: next_end(chain, UnixTime::now()),
            facts,
            scope: greeting.scope,
            generation: greeting.server.generation,
            ended: None,
            told: false,
        };
        let mut state = self.vigils.0.lock();
        state.last_id += 1;
        let id = state.last_id;
        state.watched.insert(id, watched);
        Vigil { listener: self.clone(), id }
    }

    /// Verifies again whose validity has ended somewhere, and everybody where the material is another;
    /// gives all who are not good any more and have not been told so.
    pub(super) fn inspect(&self, now: UnixTime) -> Vec<Ended> {
        let server = self.current();
        for (id, chain, facts, scope) in self.vigils.due(&server, now) {
            let verified = server.verify_again(scope, &chain, &facts.trust_anchor, now);
            let mut state = self.vigils.0.lock();
            let Some(watched) = state.watched.get_mut(&id) else { continue };
            watched.generation = server.generation;
            watched.verify_again = next_end(&chain, now);
            watched.ended = verified.err();
        }
        let state = self.vigils.0.lock();
        let untold = state.watched.iter().filter(|(_, watched)| !watched.told);
        untold
            .filter_map(|(id, Watched { facts, ended, .. })| {
                let (fault, reason) = ended.clone()?;
                Some(Ended { id: *id, facts: facts.clone(), fault, reason })
            })
            .collect()
    }

    /// That these were asked to end.
    pub(super) fn set_told(&self, told: &HashSet<u64>) {
        let mut state = self.vigils.0.lock();
        for id in told {
            if let Some(watched) = state.watched.get_mut(id) {
                watched.told = true;
            }
        }
    }
}

type Due = (u64, Arc<[CertificateDer<'static>]>, Arc<CertificateFacts>, usize);

impl Vigils {
    /// Collected, because verifying takes long and newcomers must not wait for it.
    fn due(&self, server: &TlsServer, now: UnixTime) -> Vec<Due> {
        let state = self.0.lock();
        let is_due = |watched: &Watched| {
            let stale = watched.generation != server.generation;
            watched.ended.is_none() && (stale || watched.verify_again <= now.as_secs())
        };
        let due = state.watched.iter().filter(|(_, watched)| is_due(watched));
        due.map(|(id, it)| (*id, it.chain.clone(), it.facts.clone(), it.scope)).collect()
    }

    pub(super) fn count(&self) -> usize {
        self.0.lock().watched.len()
    }
}

impl TlsServer {
    /// That the anchor which has let a client in would do so now.
    fn verify_again(
        &self,
        scope: usize,
        chain: &[CertificateDer<'_>],
        trust_anchor: &str,
        now: UnixTime,
    ) -> Result<(), (Fault, String)> {
        let untrusted = || (Fault::Untrusted, "its trust anchor is gone".to_owned());
        let anchors = self.scopes.get(scope).and_then(|scope| scope.anchors.as_ref());
        let anchors = anchors.ok_or_else(untrusted)?.anchors();
        let anchor = anchors.iter().find(|anchor| *anchor.name == *trust_anchor);
        let (leaf, intermediates) = chain.split_first().ok_or_else(untrusted)?;
        match anchor.ok_or_else(untrusted)?.verify_again(leaf, intermediates, now) {
            Ok(_) => Ok(()),
            Err(error) => Err((Fault::of(&error), reason(&error))),
        }
    }
}

/// When `chain` is to be verified again: at the next end of validity in it, in seconds since 1970.
fn next_end(chain: &[CertificateDer<'_>], now: UnixTime) -> u64 {
    let now = now.as_secs();
    let ends = chain.iter().map(|certificate| match certificate_facts(certificate, "") {
        // It is good until the end of that second.
        Ok(facts) => u64::try_from(facts.not_after).unwrap_or(0).saturating_add(1),
        Err(_) => now + UNREADABLE_S,
    });
    ends.filter(|end| *end > now).min().unwrap_or(u64::MAX)
}

impl Drop for Vigil {
    fn drop(&mut self) {
        self.listener.vigils.0.lock().watched.remove(&self.id);
    }
}

impl fmt::Debug for Vigil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vigil({})", self.id)
    }
}
