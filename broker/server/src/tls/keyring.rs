//! All TLS material of the broker: read again as one whole when it changes, and what becomes of those
//! whose certificates are then no longer good.

mod state;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hookmq_hooks::CertificateFacts;
use parking_lot::Mutex;
use rustls::pki_types::UnixTime;
use time::OffsetDateTime;
use tracing::{info, warn};

pub use self::state::TlsState;
use super::material::{Digests, Material, Stamp, Stamps};
use super::vigil::Ended;
use super::{ListenerTls, TlsServer};
use crate::broker::Broker;

/// The TLS sides of all listeners.
pub struct Keyring {
    listeners: Vec<Arc<ListenerTls>>,
    /// How often files are looked at.
    interval: Duration,
    /// Held during a reload, so that reloads follow one another.
    progress: Mutex<Progress>,
}

struct Progress {
    generation: u64,
    loaded_at: OffsetDateTime,
    loaded: Digests,
    /// What was last tried, in vain or not.
    tried: Digests,
    stamps: Stamps,
    stamped: OffsetDateTime,
    /// Why what was last tried is not in force.
    refused: Option<Refused>,
}

#[derive(Debug, Clone)]
struct Refused {
    at: OffsetDateTime,
    problems: Vec<String>,
}

/// What came of a reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reloaded {
    Applied,
    Unchanged,
    /// What was in force stays. The problems name listener and setting.
    Refused(Vec<String>),
}

/// How often it is looked at whose certificate has ended.
const INSPECTION: Duration = Duration::from_secs(1);

/// File systems tell times so exactly, in seconds; a file that was written since may be written again
/// without another time.
const TICK_S: i64 = 2;

impl Keyring {
    pub fn new(listeners: Vec<Arc<ListenerTls>>, interval: Duration) -> Self {
        let mut loaded = Digests::new();
        for (path, digest) in listeners.iter().flat_map(|listener| &listener.digests) {
            // What has changed in between is read again at once.
            let seen = loaded.entry(path.clone()).or_insert(*digest);
            *seen = seen.filter(|seen| Some(*seen) == *digest);
        }
        listeners.iter().for_each(|listener| listener.warn());
        let now = OffsetDateTime::now_utc();
        let progress = Progress {
            generation: 0,
            loaded_at: now,
            tried: loaded.clone(),
            loaded,
            stamps: Stamps::new(),
            stamped: now,
            refused: None,
        };
        Self { listeners, interval, progress: Mutex::new(progress) }
    }

    /// Watches files and certificates until the task is dropped.
    pub async fn run(self: Arc<Self>, broker: Arc<Broker>) {
        let mut looked = Instant::now();
        loop {
            tokio::time::sleep(INSPECTION.min(self.interval)).await;
            let look = looked.elapsed() >= self.interval;
            if look {
                looked = Instant::now();
            }
            let (keyring, broker) = (self.clone(), broker.clone());
            let turn = tokio::task::spawn_blocking(move || {
                if look {
                    keyring.look(&broker);
                }
                keyring.inspect(&broker);
            });
            if turn.await.is_err() {
                // Whoever is let in must be watched.
                return;
            }
        }
    }

    /// Reads everything again; puts all of it in force, or nothing. Blocks.
    pub fn reload(&self, broker: &Broker) -> Reloaded {
        self.try_reload(&mut self.progress.lock(), broker)
    }

    /// Reloads where files have changed since they were last read.
    fn look(&self, broker: &Broker) {
        let mut progress = self.progress.lock();
        let stamps: Stamps = self.files().map(|path| (path.to_owned(), Stamp::of(path))).collect();
        let settled = progress.stamped.unix_timestamp() - TICK_S;
        let is_settled = |stamp: &Option<Stamp>| stamp.is_none_or(|it| it.changed_s() < settled);
        if stamps == progress.stamps && stamps.values().all(is_settled) {
            return;
        }
        progress.stamps = stamps;
        progress.stamped = OffsetDateTime::now_utc();
        if Material::read(self.files()).digests() != progress.tried {
            self.try_reload(&mut progress, broker);
        }
    }

    fn try_reload(&self, progress: &mut Progress, broker: &Broker) -> Reloaded {
        let material = Material::read(self.files());
        let digests = material.digests();
        progress.tried = digests.clone();
        if digests == progress.loaded {
            progress.refused = None;
            return Reloaded::Unchanged;
        }
        let mut servers = Vec::new();
        let mut problems = Vec::new();
        for ListenerTls { name, settings, current, .. } in self.listeners.iter().map(|it| &**it) {
            let before = current.read().clone();
            match TlsServer::build(name, settings, &material, Some(&before)) {
                Ok(server) => servers.push(Arc::new(server)),
                Err(error) => {
                    problems.push(format!("listener {name}: tls.{}: {error}", error.path()))
                }
            }
        }
        if !problems.is_empty() {
            broker.metrics.tls_reloads_refused.add(1);
            warn!(problems = problems.join("; "), "TLS material refused, the old stays in force");
            progress.refused =
                Some(Refused { at: OffsetDateTime::now_utc(), problems: problems.clone() });
            return Reloaded::Refused(problems);
        }
        for (listener, server) in self.listeners.iter().zip(servers) {
            *listener.current.write() = server;
            listener.warn();
        }
        progress.generation += 1;
        progress.loaded_at = OffsetDateTime::now_utc();
        progress.loaded = digests;
        progress.refused = None;
        broker.metrics.tls_reloads_applied.add(1);
        info!(generation = progress.generation, "TLS material reloaded");
        Reloaded::Applied
    }

    /// Ends the connections of those whose certificates are no longer good. Who has no session yet is
    /// found the next time.
    fn inspect(&self, broker: &Broker) {
        let now = UnixTime::now();
        for listener in &self.listeners {
            let ended = listener.inspect(now);
            if !ended.is_empty() {
                listener.set_told(&tell(broker, listener, &ended));
            }
        }
    }

    fn files(&self) -> impl Iterator<Item = &Path> {
        self.listeners.iter().flat_map(|listener| listener.settings.files())
    }
}

/// Disconnects the holders of these certificates; gives the ids of those that were found.
fn tell(broker: &Broker, listener: &ListenerTls, ended: &[Ended]) -> HashSet<u64> {
    let by_facts: HashMap<*const CertificateFacts, &Ended> =
        ended.iter().map(|ended| (Arc::as_ptr(&ended.facts), ended)).collect();
    let mut told = HashSet::new();
    for session in broker.tenants().iter().flat_map(|tenant| tenant.sessions(usize::MAX)) {
        let why = session.disconnect_where(|client| {
            let facts = client.certificate.as_ref()?;
            by_facts.get(&Arc::as_ptr(facts)).map(|ended| (ended.fault.reason_code(), *ended))
        });
        let Some(Ended { id, facts, fault, reason }) = why else { continue };
        broker.metrics.certificates_ended[*fault as usize].add(1);
        info!(
            listener = &*listener.name,
            tenant = &*session.key.tenant,
            client_id = ?session.key.client_id,
            subject = ?facts.subject.text,
            serial = facts.serial,
            trust_anchor = facts.trust_anchor,
            reason,
            "client certificate no longer good"
        );
        told.insert(*id);
    }
    told
}
