//! What all connections share: tenants, the pipeline, the store, limits and counters.

pub mod abroad;
pub mod bans;
pub mod guests;
pub mod identities;
pub mod limits;
pub mod mailbox;
pub mod mappings;
pub mod memory;
pub mod meter;
pub mod metrics;
pub mod protocol;
pub mod publisher;
pub mod recovery;
pub mod rights;
pub mod session_handle;
pub mod sessions;
pub mod share;
pub mod sweep;
mod sync;
pub mod sys;
pub mod tenancy;
pub mod tenant;
pub mod timers;
pub mod topic_cache;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::Poll;
use std::time::{Duration, Instant};

use hookmq_access::Directory;
use hookmq_codec::{ReasonCode, TopicName};
use hookmq_core::{CommitSequence, Delivery, Message, NewMessage, Shared};
use hookmq_hooks::{
    Access, BreakerChange, Client, Denial, LoggedAnswer, Observer, Pipeline, PipelineCell,
    Services, Step, StepFailure, TENANT_RULES,
};
use hookmq_store::{Change, MessageId, SessionKey, Store};
use parking_lot::{Mutex, RwLock};
use tokio::runtime::{Handle, RuntimeFlavor};
use tracing::{info, warn};

use self::limits::Limits;
use self::mailbox::Posted;
use self::memory::Memory;
use self::metrics::Metrics;
use self::protocol::ProtocolOptions;
use self::publisher::{Publisher, Will};
use self::rights::RightsOptions;
use self::tenant::{Recipients, Tenant};
use self::timers::Timers;
use crate::admission::Admission;
use crate::audit::{Audit, Foreign};
use crate::clock;
use crate::programs::TenantPrograms;

/// The state behind every listener. Connections hold it and call it from their own tasks.
pub struct Broker {
    pub pipeline: PipelineCell,
    pub limits: Limits,
    pub protocol: ProtocolOptions,
    pub rights: RightsOptions,
    pub metrics: Metrics,
    pub store: Arc<dyn Store>,
    pub started: Instant,
    pub admission: Admission,
    pub memory: Arc<Memory>,
    pub audit: Audit,
    /// What plugins and rules keep.
    pub services: Arc<Services>,
    /// Where permissions come from, if not from the pipeline's programs alone.
    directory: Option<Directory>,
    /// Present where the pipeline has a place for them.
    pub tenant_programs: Option<Arc<TenantPrograms>>,
    tenants: RwLock<HashMap<Arc<str>, Arc<Tenant>>>,
    next_session_id: AtomicU64,
    /// Messages in the store from here on are of this start.
    pub first_id: AtomicU64,
    timers: Timers,
    /// Wills for other tenants that were due before the grants were known; at most one for each session
    /// that the store had at the start.
    wills_abroad: Mutex<Vec<(Arc<Tenant>, Will)>>,
    /// When each step's failures were last written to the log, and how many were not since.
    reported: Mutex<HashMap<Arc<str>, (Instant, u64)>>,
}

/// What programs have beside the pipeline.
#[derive(Default)]
pub struct BesidePipeline {
    pub services: Arc<Services>,
    pub tenant_programs: Option<Arc<TenantPrograms>>,
}

/// A step that fails for every message is named in the log this often.
const REPORT_EVERY: Duration = Duration::from_secs(1);

impl Broker {
    pub fn new(
        pipeline: Pipeline,
        limits: Limits,
        protocol: ProtocolOptions,
        rights: RightsOptions,
        store: Arc<dyn Store>,
        directory: Option<Directory>,
        beside: BesidePipeline,
    ) -> Arc<Self> {
        let BesidePipeline { services, tenant_programs } = beside;
        let memory = Arc::new(Memory::of(&limits));
        Arc::new(Self {
            pipeline: PipelineCell::new(pipeline),
            admission: Admission::new(&limits, memory.clone()),
            memory,
            audit: Audit::default(),
            limits,
            protocol,
            rights,
            metrics: Metrics::default(),
            store,
            started: clock::now(),
            directory,
            services,
            tenant_programs,
            tenants: RwLock::default(),
            next_session_id: AtomicU64::new(1),
            first_id: AtomicU64::new(0),
            timers: Timers::default(),
            wills_abroad: Mutex::default(),
            reported: Mutex::default(),
        })
    }

    /// The tenant of this name; an empty name space where it has none yet.
    pub fn tenant(&self, name: &Arc<str>) -> Arc<Tenant> {
        if let Some(tenant) = self.tenants.read().get(name) {
            return tenant.clone();
        }
        let mut tenants = self.tenants.write();
        let new = || {
            let (memory, store) = (self.memory.clone(), self.store.clone());
            let steps = self.tenant_programs.as_ref().map(|rules| rules.cell(name));
            let steps = steps.unwrap_or_default();
            let tenant = Tenant::new(name.clone(), &self.limits, memory, store, steps);
            let tenant = Arc::new(tenant);
            // Under the lock: whoever changes what is said of tenants finds this one, or was before.
            self.apply_tenancy(&tenant);
            tenant
        };
        tenants.entry(name.clone()).or_insert_with(new).clone()
    }

    /// The tenants that have been used, by name.
    pub fn tenants(&self) -> Vec<Arc<Tenant>> {
        let mut tenants: Vec<_> = self.tenants.read().values().cloned().collect();
        tenants.sort_by(|one, other| one.name.cmp(&other.name));
        tenants
    }

    /// Moves when permissions may have changed.
    #[inline]
    pub fn access_generation(&self) -> u64 {
        self.directory.as_ref().map_or(0, Directory::permissions_generation)
    }

    /// Why a client may do nothing any more, if the directory has let it in and would not do so again.
    pub fn dismissed(&self, client: &Client) -> Option<String> {
        self.directory.as_ref()?.dismissed(client)
    }

    /// Publishes a will as its client would have, or keeps it until that can be told; says whether it is
    /// settled.
    pub fn publish_will(self: &Arc<Self>, tenant: &Arc<Tenant>, will: Will) -> bool {
        let Some(will) = self.keep_for_abroad(tenant, will) else { return false };
        let lifetime = will.expiry_interval.map(|seconds| Duration::from_secs(seconds.into()));
        let parts = NewMessage {
            expires_at: lifetime.map(|lifetime| clock::now() + lifetime),
            ..will.message.parts()
        };
        let client = will.client.clone();
        let session =
            SessionKey { tenant: tenant.name.clone(), client_id: client.client_id.clone() };
        let id = MessageId(will.message.stored());
        let mut publisher = Publisher::new(self.clone(), tenant.clone(), client, parts.publisher);
        // It is published once: where the store has it, it is forgotten in the same commit.
        publisher.publish_will(parts, Change::WillCleared { session, id }, will.judged);
        publisher.flush();
        true
    }

    /// Publishes a message of the broker's own: retained in memory only, past hooks and permissions to
    /// publish.
    fn announce(self: &Arc<Self>, tenant: &Tenant, message: &Message) {
        // There are few, on topics that nobody else can publish on.
        let _ = tenant.announce(message);
        let mut recipients = Recipients::default();
        tenant.recipients(message.topic(), message.publisher(), &mut recipients);
        for share in recipients.shares {
            if let Shared::Call(session) = share.post(message.clone()) {
                session.mailbox.wake();
            }
        }
        for target in recipients.sessions {
            let delivery = Delivery {
                message: message.clone(),
                qos: message.qos(),
                retain: target.retain_as_published,
                subscription_identifiers: target.subscription_identifiers,
                shared: None,
            };
            if target.session.mailbox.post(delivery) == Posted::WakeLater {
                target.session.mailbox.wake();
            }
        }
    }

    /// Waits until `commit` is durable.
    pub async fn durable(&self, commit: CommitSequence) {
        std::future::poll_fn(|context| {
            if self.store.durable() >= commit {
                return Poll::Ready(());
            }
            self.store.wake_when_durable(commit, context.waker());
            Poll::Pending
        })
        .await;
    }

    /// Tells every client to go, because the broker stops.
    pub fn disconnect_all(&self) {
        for tenant in self.tenants() {
            tenant.disconnect_all(ReasonCode::ServerShuttingDown);
        }
    }

    pub(crate) fn report_denial(&self, client: &Client, access: &Access<'_>, denial: &Denial) {
        self.audit.denied(client, access, denial);
    }

    pub(crate) fn report_stopped_emission(
        &self,
        client: &Client,
        topic: TopicName<'_>,
        step: &Arc<str>,
    ) {
        self.metrics.emissions_stopped.add(1);
        if let Some(unreported) = self.may_report(reported_as(step)) {
            warn!(
                tenant = &*client.tenant,
                step = &**step,
                topic = ?Foreign(topic.as_str()),
                unreported,
                "emitted message stopped: too many hops or messages from one publish"
            );
        }
    }

    /// Whether to write about `step` now, and how often it was not written about.
    fn may_report(&self, step: &str) -> Option<u64> {
        let now = clock::now();
        let mut reported = self.reported.lock();
        match reported.get_mut(step) {
            None => {
                reported.insert(step.into(), (now, 0));
                Some(0)
            }
            Some((last, unreported)) if now.duration_since(*last) < REPORT_EVERY => {
                *unreported += 1;
                None
            }
            Some((last, unreported)) => {
                *last = now;
                Some(std::mem::take(unreported))
            }
        }
    }
}

/// What the lines about a step are counted under: those about all tenants' rules together, so that no
/// tenant fills the log. No step of the operator's has a slash in its name.
fn reported_as(step: &str) -> &str {
    if step.contains('/') { TENANT_RULES } else { step }
}

impl Observer for Broker {
    /// The other connections of this worker thread go on in another one.
    fn aside(&self, work: &mut dyn FnMut()) {
        let runtime = Handle::try_current().map(|runtime| runtime.runtime_flavor());
        match runtime {
            Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
            _ => work(),
        }
    }

    fn breaker_changed(&self, step: &Step, tenant: &str, change: BreakerChange) {
        let (name, hook) = (&**step.name(), step.hook);
        if let BreakerChange::Opened(_) = change {
            self.metrics.breakers_opened.add(1);
        }
        if step.is_tenants() && self.may_report(TENANT_RULES).is_none() {
            return;
        }
        match change {
            BreakerChange::Opened(backoff) => {
                let backoff_ms = backoff.as_millis() as u64;
                warn!(
                    step = name,
                    ?hook,
                    tenant,
                    backoff_ms,
                    "step fails again and again: its breaker is open"
                );
            }
            BreakerChange::Closed => info!(step = name, ?hook, tenant, "step answers again"),
        }
    }

    fn logged(&self, step: &Step, logged: LoggedAnswer<'_>) {
        let (tenant, username, client_id) = logged.question.whose();
        let notes = logged.notes.iter().filter(|note| note.about != "log");
        let notes = notes.map(|note| format!("{}: {}", note.about, note.text));
        // Debug formatting escapes what could pass for another line.
        info!(
            step = &**step.name(),
            hook = ?step.hook,
            version = &*logged.version.program.identity().sha256,
            ?tenant,
            ?username,
            ?client_id,
            topic = ?Foreign(logged.question.topic()),
            answer = %logged.answer,
            notes = ?notes.collect::<Vec<_>>(),
            microseconds = logged.took.as_micros() as u64,
            left_out = logged.left_out,
            "step answered"
        );
    }

    fn step_failed(&self, step: &Step, failure: &StepFailure) {
        self.metrics.step_failures.add(1);
        if let Some(unreported) = self.may_report(reported_as(step.name())) {
            warn!(
                step = &**step.name(),
                hook = ?step.hook,
                kind = ?failure.kind,
                // Its words may be a guest's or a client's; as a text it is escaped.
                error = failure.to_string(),
                unreported,
                "step failed"
            );
        }
    }
}
