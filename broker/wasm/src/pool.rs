//! Instances of one plugin version, kept apart by tenant.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use hashbrown::HashMap;
use hookmq_hooks::{FailureKind, Kept, StepFailure};
use parking_lot::Mutex;

use crate::instance::Instance;

/// Instances of one plugin version. A tenant's instances are never used for another tenant.
pub(crate) struct Pool {
    /// Read at every call, replaced when a tenant comes for the first time.
    tenants: ArcSwap<HashMap<Arc<str>, Arc<TenantPool>>>,
    budget: Arc<Budget>,
    instances_per_tenant: u32,
    calls_per_instance: u32,
    /// Itself, for the budget's list.
    own: Weak<Pool>,
}

pub(crate) struct TenantPool {
    pub(crate) tenant: Arc<str>,
    idle: Kept<Box<Instance>>,
    live: Arc<AtomicU32>,
}

impl Pool {
    /// A pool whose idle instances make room for others when `budget` is used up.
    pub(crate) fn new(
        budget: &Arc<Budget>,
        instances_per_tenant: u32,
        calls_per_instance: u32,
    ) -> Arc<Self> {
        Arc::new_cyclic(|own| Self {
            tenants: ArcSwap::default(),
            budget: budget.clone(),
            instances_per_tenant,
            calls_per_instance,
            own: own.clone(),
        })
    }

    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Calls `use_instance` with an idle instance of the tenant, or with a new one where there is
    /// none. The instance is kept unless the call failed.
    pub(crate) fn with<R>(
        &self,
        tenant: &str,
        create: impl FnOnce(Arc<str>, Slot) -> Result<Instance, StepFailure>,
        use_instance: impl FnOnce(&mut Instance) -> Result<R, StepFailure>,
    ) -> Result<R, StepFailure> {
        let tenants = self.tenants.load();
        let added;
        let tenant_pool = match tenants.get(tenant) {
            Some(tenant_pool) => tenant_pool,
            None => {
                added = self.add(tenant);
                &added
            }
        };
        let mut instance = match tenant_pool.idle.take() {
            Some(instance) => instance,
            None => Box::new(create(tenant_pool.tenant.clone(), self.slot(tenant_pool)?)?),
        };
        let answer = use_instance(&mut instance)?;
        instance.calls += 1;
        if instance.calls < self.calls_per_instance {
            tenant_pool.idle.give_back(instance);
        }
        Ok(answer)
    }

    fn slot(&self, tenant_pool: &TenantPool) -> Result<Slot, StepFailure> {
        let limit = self.instances_per_tenant;
        let Some(tenant) = Count::take(&tenant_pool.live, limit) else {
            let message = format!("all {limit} instances that the tenant may have are busy");
            return Err(StepFailure::new(FailureKind::Limit, message));
        };
        match self.budget.take() {
            Some(all) => {
                // Only now, for the list forgets whoever has no instance.
                self.budget.list(&self.own);
                Ok(Slot { _tenant: Some(tenant), _all: all })
            }
            None => {
                let limit = self.budget.limit;
                let message = format!("all {limit} instances of the plugin host are busy");
                Err(StepFailure::new(FailureKind::Limit, message))
            }
        }
    }

    fn add(&self, tenant: &str) -> Arc<TenantPool> {
        let added = Arc::new(TenantPool {
            tenant: tenant.into(),
            idle: Kept::default(),
            live: Arc::default(),
        });
        self.tenants.rcu(|tenants| {
            let mut tenants = HashMap::clone(tenants);
            // Pools of tenants that are gone would otherwise pile up.
            if tenants.len() > 2 * self.budget.limit as usize {
                tenants.retain(|_, pool| pool.live.load(Ordering::Relaxed) > 0);
            }
            tenants.entry(added.tenant.clone()).or_insert_with(|| added.clone());
            tenants
        });
        self.tenants.load().get(tenant).unwrap_or(&added).clone()
    }

    /// Drops the tenant's idle instances.
    pub(crate) fn refresh(&self, tenant: &str) {
        if let Some(pool) = self.tenants.load().get(tenant) {
            pool.idle.clear();
        }
    }

    /// Instances that there are, idle or at work.
    pub(crate) fn instances(&self) -> u32 {
        let tenants = self.tenants.load();
        tenants.values().map(|pool| pool.live.load(Ordering::Relaxed)).sum()
    }

    /// Drops one idle instance, if there is any.
    fn drop_idle(&self) -> bool {
        let tenants = self.tenants.load();
        tenants.values().any(|pool| pool.idle.take().is_some())
    }
}

/// How many instances there may be in all.
pub(crate) struct Budget {
    live: Arc<AtomicU32>,
    limit: u32,
    /// Who has instances, each once, or had some: idle ones may have to go. There may be far more
    /// pools.
    pools: Mutex<VecDeque<Weak<Pool>>>,
}

impl Budget {
    pub(crate) fn new(limit: u32) -> Arc<Self> {
        Arc::new(Self { live: Arc::default(), limit, pools: Mutex::default() })
    }

    /// The right to an instance that is no tenant's.
    pub(crate) fn slot(&self) -> Option<Slot> {
        Some(Slot { _tenant: None, _all: self.take()? })
    }

    /// One instance's share, for which an idle one may have to go.
    fn take(&self) -> Option<Count> {
        loop {
            let count = Count::take(&self.live, self.limit);
            if count.is_some() || !self.drop_idle() {
                return count;
            }
        }
    }

    pub(crate) fn instances(&self) -> u32 {
        self.live.load(Ordering::Relaxed)
    }

    /// Remembers a pool that has an instance.
    fn list(&self, pool: &Weak<Pool>) {
        let mut pools = self.pools.lock();
        if !pools.iter().any(|listed| listed.ptr_eq(pool)) {
            pools.push_back(pool.clone());
        }
    }

    /// Drops one idle instance of any pool, if there is any.
    fn drop_idle(&self) -> bool {
        let most = self.pools.lock().len();
        for _ in 0..most {
            let mut pools = self.pools.lock();
            let Some(listed) = pools.pop_front() else { return false };
            let Some(pool) = listed.upgrade().filter(|pool| pool.instances() > 0) else { continue };
            // Another pool comes first next time.
            pools.push_back(listed);
            drop(pools);
            if pool.drop_idle() {
                return true;
            }
        }
        false
    }
}

/// The right to one instance, of its tenant's and of all; given back when dropped.
pub(crate) struct Slot {
    _tenant: Option<Count>,
    _all: Count,
}

/// One of a bounded number; given back when dropped.
struct Count(Arc<AtomicU32>);

impl Count {
    fn take(live: &Arc<AtomicU32>, limit: u32) -> Option<Self> {
        let more = |count| (count < limit).then_some(count + 1);
        live.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(Self(live.clone()))
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
