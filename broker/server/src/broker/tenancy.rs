//! What the tables and the configuration say of tenants, put in force for those that are in use.

use std::sync::Arc;

use hookmq_access::{Directory, Quota};
use hookmq_codec::ReasonCode;
use hookmq_core::{Message, NewMessage};
use hookmq_hooks::Client;
use hookmq_store::{Change, NewRecord};

use super::Broker;
use super::limits::Limits;
use super::meter::{Bound, Place};
use super::tenant::Tenant;
use crate::clock;

impl Broker {
    /// What the tables say of a tenant, and else the configuration.
    pub(super) fn apply_tenancy(&self, tenant: &Tenant) {
        let name = &*tenant.name;
        let directory = self.directory.as_ref();
        let disabled = directory.is_some_and(|it| it.watch_tenancy().borrow().is_disabled(name));
        tenant.set_quota(self.quota_of(name), &self.limits);
        tenant.meter.set_disabled(disabled);
    }

    /// A place among the connections of a tenant for a client that the steps have let in.
    ///
    /// # Errors
    /// What CONNACK says, and why.
    pub fn admit_to_tenant(
        &self,
        tenant: &Arc<Tenant>,
        client: &Client,
    ) -> Result<Place, (ReasonCode, &'static str)> {
        if tenant.meter.is_disabled() {
            return Err((ReasonCode::NotAuthorized, "the tenant is disabled"));
        }
        let own = tenant.session(&client.client_id);
        let takes_over = own.is_some_and(|it| it.username == client.username && it.is_online());
        Place::take(tenant, takes_over, clock::now()).map_err(|bound| {
            let reason = match bound {
                Bound::ConnectsPerSecond => "the tenant's clients connect too often",
                _ => "the tenant has as many connections as it may",
            };
            (ReasonCode::QuotaExceeded, reason)
        })
    }

    /// What counts for a tenant, in use or not.
    pub fn quota_of(&self, tenant: &str) -> Quota {
        let tables = self.directory.as_ref().map(|it| it.watch_tenancy().borrow().clone());
        let stored = tables.and_then(|it| it.quota(tenant).copied());
        stored.unwrap_or(*self.limits.quotas.of(tenant))
    }

    /// The tenant of this name, if it has been used.
    pub fn used_tenant(&self, name: &str) -> Option<Arc<Tenant>> {
        self.tenants.read().get(name).cloned()
    }

    /// Ends all connections and sessions of a tenant, without their wills, and forgets what it retains.
    pub fn clear_tenant(self: &Arc<Self>, name: &str) {
        if let Some(rules) = &self.tenant_programs {
            rules.forget(name);
        }
        let Some(tenant) = self.used_tenant(name) else { return };
        let sessions: Vec<_> = tenant.sessions.lock().values().cloned().collect();
        for session in sessions {
            session.doom();
            session.disconnect(ReasonCode::AdministrativeAction);
            self.end_waiting(&tenant, &session);
        }
        let forgotten = tenant.forget_retained().into_iter().map(|message| Change::Retained {
            tenant: tenant.name.clone(),
            record: NewRecord {
                id: self.store.next_id(),
                message: Message::new(NewMessage { payload: &[], ..message.parts() }),
                expires_at: None,
            },
        });
        let forgotten: Vec<_> = forgotten.collect();
        if !forgotten.is_empty() {
            self.store.append(forgotten);
        }
    }
}

/// Puts changed quotas in force, and has the clients of disabled tenants judged again, which ends them,
/// for as long as the task lives.
pub async fn run(broker: Arc<Broker>, directory: Directory) {
    let mut tenancy = directory.watch_tenancy();
    // Whoever came before this task began is looked at, too.
    tenancy.mark_changed();
    // The directory, which has the sender, is held here.
    while tenancy.changed().await.is_ok() {
        tenancy.borrow_and_update();
        for tenant in broker.tenants() {
            broker.apply_tenancy(&tenant);
            if tenant.meter.is_disabled() {
                tenant.judge_where(|_| true);
            }
        }
    }
}

impl Tenant {
    /// Puts a quota in force, where it is another one.
    fn set_quota(&self, quota: Quota, limits: &Limits) {
        if !self.meter.set(quota) {
            return;
        }
        self.budget.set_rates(quota.hook_rates().unwrap_or(limits.budgets.of(&self.name)));
        self.limit_retained(limits.retained, &quota);
        self.recount();
    }
}
