//! A program at its place in the pipeline.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hookmq_codec::TopicName;

use crate::{Client, Hook, Program, StepSpec};

/// A program with the conditions, the control word and the failure policy of its place.
pub struct Step {
    pub hook: Hook,
    pub spec: StepSpec,
    pub program: Arc<dyn Program>,
    pub counters: Counters,
}

/// What a step has done since this generation of the pipeline began.
#[derive(Debug, Default)]
pub struct Counters {
    calls: AtomicU64,
    failures: AtomicU64,
}

impl Step {
    pub(crate) fn new(hook: Hook, spec: StepSpec, program: Arc<dyn Program>) -> Self {
        Self { hook, spec, program, counters: Counters::default() }
    }

    pub fn name(&self) -> &Arc<str> {
        &self.spec.program.name
    }

    pub(crate) fn wants_client(&self, client: &Client) -> bool {
        self.wants(&client.connection.listener, Some(&client.tenant))
    }

    /// Whether the conditions on listener and tenant hold; a tenant that is not known yet fits none.
    pub(crate) fn wants(&self, listener: &Arc<str>, tenant: Option<&Arc<str>>) -> bool {
        let condition = &self.spec.condition;
        let tenant_fits = condition.tenants.is_empty()
            || tenant.is_some_and(|tenant| condition.tenants.contains(tenant));
        self.wants_listener(listener) && tenant_fits
    }

    pub(crate) fn wants_listener(&self, listener: &Arc<str>) -> bool {
        let listeners = &self.spec.condition.listeners;
        listeners.is_empty() || listeners.contains(listener)
    }

    /// Whether the program itself asks for `topic`.
    pub(crate) fn program_wants(&self, topic: TopicName<'_>) -> bool {
        let topics = self.program.topics();
        topics.is_empty() || topics.iter().any(|filter| filter.matches(topic))
    }
}

impl Counters {
    pub(crate) fn count<T, E>(&self, result: &Result<T, E>) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if result.is_err() {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}
