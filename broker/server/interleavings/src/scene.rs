//! In place of the broker as a whole: what opening and leaving sessions needs of it.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use hookmq_codec::{ReasonCode, TopicFilter};
use hookmq_core::{Outgoing, QueueLimits};
use hookmq_hooks::{Client, TenantBudget, TenantStepsCell};
use hookmq_store::{SessionKey, Store};

use super::metrics::{Counter, Metrics};
use super::session_handle::SessionHandle;
use super::store::ModelStore;
use super::tenant::Tenant;
use super::timers::{Event, Timers};

pub struct Broker {
    pub store: Arc<dyn Store>,
    /// The same, to be looked at.
    pub stored: Arc<ModelStore>,
    pub(super) limits: Limits,
    pub(super) metrics: Metrics,
    pub(super) timers: Timers,
    pub(super) next_session_id: AtomicU64,
    /// That were published.
    pub(super) wills: Counter,
    tenant: Arc<Tenant>,
}

pub(super) struct Limits {
    pub(super) receive_maximum: u16,
    pub(super) sessions: usize,
    pub(super) queue: QueueLimits,
}

impl Broker {
    pub fn new() -> Arc<Self> {
        let store = Arc::new(ModelStore::default());
        let queue = QueueLimits { messages: 100, bytes: 1 << 20 };
        Arc::new(Self {
            store: store.clone(),
            stored: store.clone(),
            limits: Limits { receive_maximum: 10, sessions: 10, queue },
            metrics: Metrics::default(),
            timers: Timers::default(),
            next_session_id: AtomicU64::new(1),
            wills: Counter::default(),
            tenant: Arc::new(Tenant::new("t".into(), queue, store)),
        })
    }

    /// The one there is, whatever its name.
    pub fn tenant(&self, _: &Arc<str>) -> Arc<Tenant> {
        self.tenant.clone()
    }

    pub fn client(&self, client_id: &str) -> Arc<Client> {
        let (budget, steps) = (Arc::<TenantBudget>::default(), Arc::<TenantStepsCell>::default());
        let tenant = self.tenant.name.clone();
        Arc::new(Client::named(tenant, client_id.into(), "u".into(), budget, steps))
    }

    /// Wills that were published, and sessions that have expired.
    pub fn counts(&self) -> [u64; 2] {
        [self.wills.value(), self.metrics.sessions_expired.value()]
    }

    /// What was set so far: wills, and the ends of sessions.
    pub fn set_so_far(&self) -> Vec<Event> {
        self.timers.take()
    }

    /// These fall due; ends of sessions where `ends` says so.
    pub fn let_time_pass(self: &Arc<Self>, events: Vec<Event>, ends: bool) {
        let due = events.into_iter().filter(|event| ends || !event.ends_session);
        due.for_each(|event| self.handle_timer(event));
    }

    /// As when the tenant is cleared.
    pub fn clear(&self) {
        let sessions: Vec<_> = self.tenant.sessions.lock().values().cloned().collect();
        for session in sessions {
            session.doom();
            session.disconnect(ReasonCode::AdministrativeAction);
            self.end_waiting(&self.tenant, &session);
        }
    }

    pub(super) async fn recover_in_flight(
        &self,
        session: &SessionKey,
        _: &mut Outgoing,
    ) -> Result<(), ReasonCode> {
        unreachable!("the broker has not been started again, and {session:?} has begun since")
    }

    pub(super) fn leave_abroad<'a>(
        &self,
        _session: u64,
        _filters: impl IntoIterator<Item = &'a TopicFilter>,
    ) {
    }

    /// Who has the place of the session with this client id.
    pub fn find(&self, client_id: &str) -> Option<Arc<SessionHandle>> {
        self.tenant.sessions.lock().get(client_id).cloned()
    }
}
