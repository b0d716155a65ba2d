//! The steps that a tenant has made itself, asked at the places that the operator gives them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hookmq_codec::TopicName;
use parking_lot::Mutex;

use crate::pipeline::Chain;
use crate::step::Due;
use crate::sync::{ArcSwap, AtomicU64 as Generation};
use crate::{
    AssembleError, Client, FailureKind, Hook, ProgramKind, ProgramName, StepFailure, StepParts,
    StepSpec, trial,
};

/// The builtin that holds the place of tenants' own steps.
pub const TENANT_RULES: &str = "tenant_rules";

impl ProgramName {
    /// Whether it stands for what each tenant puts there.
    pub fn is_tenant_rules(&self) -> bool {
        self.kind == ProgramKind::Builtin && &*self.name == TENANT_RULES
    }
}

/// One tenant's own steps. Immutable: calls in flight finish on those that they started with.
///
/// Nothing of it is in the pipeline, so that a change of one tenant's steps rebuilds its own alone, and
/// those of a topic are found among its own alone.
#[derive(Default)]
pub struct TenantSteps {
    authorize: Chain,
    publish: Chain,
    deliver: Chain,
}

impl TenantSteps {
    /// Puts the steps in their order. There are none for connect, where no tenant is known yet.
    ///
    /// # Errors
    /// As [`Pipeline::assemble`](crate::Pipeline::assemble); for a connect step, too.
    pub fn assemble(
        steps: impl IntoIterator<Item = (Hook, StepSpec, StepParts)>,
    ) -> Result<Self, AssembleError> {
        let mut assembled = Self::default();
        for (hook, spec, parts) in steps {
            let program = &parts.active.program;
            let Some(chain) = assembled.chain_mut(hook) else {
                let (position, program) = (1, program.identity().to_string());
                return Err(AssembleError::NoSuchHook { hook, position, program });
            };
            chain.push(hook, spec, parts)?;
        }
        Ok(assembled)
    }

    /// Steps at the hook that are left alone for a while, because they have failed too often.
    pub fn open_breakers(&self, hook: Hook) -> usize {
        let steps = self.chain(hook).into_iter().flat_map(|chain| &chain.steps);
        steps.map(|step| step.active.breakers.open().len()).sum()
    }

    fn is_empty(&self, hook: Hook) -> bool {
        self.chain(hook).is_none_or(|chain| chain.steps.is_empty())
    }

    pub(crate) fn chain(&self, hook: Hook) -> Option<&Chain> {
        match hook {
            Hook::Connect => None,
            Hook::Authorize => Some(&self.authorize),
            Hook::Publish => Some(&self.publish),
            Hook::Deliver => Some(&self.deliver),
        }
    }

    /// Those to ask about a topic, at the `place` that the operator gives them.
    pub(crate) fn due(
        &self,
        (hook, place): (Hook, u16),
        client: &Client,
        topic: TopicName<'_>,
        due: &mut Vec<Due>,
    ) {
        if let Some(chain) = self.chain(hook) {
            let asked = chain.due(client, topic, |_| true);
            due.extend(asked.map(|own| own.within(place)));
        }
    }

    fn chain_mut(&mut self, hook: Hook) -> Option<&mut Chain> {
        match hook {
            Hook::Connect => None,
            Hook::Authorize => Some(&mut self.authorize),
            Hook::Publish => Some(&mut self.publish),
            Hook::Deliver => Some(&mut self.deliver),
        }
    }
}

/// A tenant's own steps in force, shared by all its clients.
pub struct TenantStepsCell {
    current: ArcSwap<TenantSteps>,
    /// Of `current`: its number, and a bit for each hook that it has steps for. Read before each message,
    /// so it stands apart from the pointer.
    mark: Generation,
}

/// Bits of a mark that are not the number.
const HOOKS: u32 = 3;

/// The bit of a hook in a mark; 0 where tenants have no steps.
const fn bit(hook: Hook) -> u64 {
    match hook {
        Hook::Connect => 0,
        Hook::Authorize => 1,
        Hook::Publish => 1 << 1,
        Hook::Deliver => 1 << 2,
    }
}

impl Default for TenantStepsCell {
    fn default() -> Self {
        Self { current: ArcSwap::from_pointee(TenantSteps::default()), mark: Generation::new(0) }
    }
}

impl TenantStepsCell {
    /// Counts up with every change.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.mark.load(Ordering::Acquire) >> HOOKS
    }

    /// Whether the tenant has steps for the hook: most have none, and their messages pass as if there were
    /// no place for any.
    #[inline]
    pub fn has_steps(&self, hook: Hook) -> bool {
        self.mark.load(Ordering::Acquire) & bit(hook) != 0
    }

    pub fn load(&self) -> Arc<TenantSteps> {
        self.current.load_full()
    }

    /// Puts `steps` in force for every call of the tenant that starts from now on. Changes follow one
    /// another.
    pub fn store(&self, steps: TenantSteps) {
        let hooks = Hook::ALL.into_iter().filter(|hook| !steps.is_empty(*hook));
        let hooks: u64 = hooks.map(bit).sum();
        let generation = self.generation() + 1;
        self.current.store(Arc::new(steps));
        self.mark.store(generation << HOOKS | hooks, Ordering::Release);
    }
}

impl std::fmt::Debug for TenantStepsCell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TenantStepsCell").field("generation", &self.generation()).finish()
    }
}

/// What one version of a tenant's program has done at all its places. The tenant sees it; it is small,
/// for there may be many thousands.
#[derive(Debug, Default)]
pub struct TenantAccount {
    calls: AtomicU64,
    failures: AtomicU64,
    nanoseconds: AtomicU64,
    last_failure: Mutex<Option<LastFailure>>,
}

/// A failure of a program's, as its tenant is told.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LastFailure {
    /// Milliseconds since 1970.
    pub at: u64,
    pub hook: Hook,
    pub kind: FailureKind,
    pub message: String,
}

impl TenantAccount {
    pub(crate) fn count(&self, hook: Hook, failure: Option<&StepFailure>) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let Some(failure) = failure else { return };
        self.failures.fetch_add(1, Ordering::Relaxed);
        let mut last = self.last_failure.lock();
        // That it is not asked any more says less than why.
        let is_own = !matches!(failure.kind, FailureKind::BreakerOpen | FailureKind::OverBudget);
        if is_own || last.is_none() {
            let (at, kind, message) = (trial::now(), failure.kind, failure.to_string());
            *last = Some(LastFailure { at, hook, kind, message });
        }
    }

    pub(crate) fn time(&self, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// Answers and failures.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    pub fn busy(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }

    pub fn last_failure(&self) -> Option<LastFailure> {
        self.last_failure.lock().clone()
    }
}

#[cfg(all(test, feature = "interleavings"))]
mod interleavings;

#[cfg(all(test, not(feature = "interleavings")))]
mod tests {
    use super::*;

    #[test]
    fn the_last_failure_is_the_one_that_says_why() {
        let account = TenantAccount::default();
        let failure = |kind| StepFailure::new(kind, "x");
        let kind = |account: &TenantAccount| account.last_failure().map(|it| it.kind);
        account.count(Hook::Publish, None);
        assert_eq!(kind(&account), None);
        account.count(Hook::Publish, Some(&failure(FailureKind::OverBudget)));
        assert_eq!(kind(&account), Some(FailureKind::OverBudget));
        account.count(Hook::Publish, Some(&failure(FailureKind::Timeout)));
        account.count(Hook::Publish, Some(&failure(FailureKind::BreakerOpen)));
        assert_eq!(kind(&account), Some(FailureKind::Timeout));
        assert_eq!((account.calls(), account.failures()), (4, 3));
    }
}
