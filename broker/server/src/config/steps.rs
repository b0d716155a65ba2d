//! The sections `steps` and `budgets`: what happens to steps that fail, what is recorded of them, and what
//! each tenant's may use.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use hookmq_hooks::{BreakerOptions, RecorderOptions, TenantRates};
use serde::Deserialize;

use super::document::{milliseconds, positive};
use crate::broker::limits::Budgets;
use crate::programs::StepOptions;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a map")]
pub(super) struct StepsDocument {
    #[serde(deserialize_with = "positive")]
    breaker_failures: u32,
    #[serde(deserialize_with = "positive")]
    breaker_failing_ms: u64,
    #[serde(deserialize_with = "positive")]
    breaker_window_ms: u64,
    #[serde(deserialize_with = "positive")]
    breaker_backoff_ms: u64,
    #[serde(deserialize_with = "positive")]
    breaker_longest_backoff_ms: u64,
    recorded_questions: usize,
    #[serde(deserialize_with = "positive")]
    recorded_every: u64,
    recorded_bytes: usize,
}

impl Default for StepsDocument {
    fn default() -> Self {
        let (breaker, recorder) = (BreakerOptions::default(), RecorderOptions::default());
        Self {
            breaker_failures: breaker.failures,
            breaker_failing_ms: milliseconds(breaker.failing_time),
            breaker_window_ms: milliseconds(breaker.window),
            breaker_backoff_ms: milliseconds(breaker.backoff),
            breaker_longest_backoff_ms: milliseconds(breaker.longest_backoff),
            recorded_questions: recorder.questions,
            recorded_every: recorder.every,
            recorded_bytes: recorder.bytes,
        }
    }
}

impl From<StepsDocument> for StepOptions {
    fn from(document: StepsDocument) -> Self {
        Self {
            breaker: BreakerOptions {
                failures: document.breaker_failures,
                failing_time: Duration::from_millis(document.breaker_failing_ms),
                window: Duration::from_millis(document.breaker_window_ms),
                backoff: Duration::from_millis(document.breaker_backoff_ms),
                longest_backoff: Duration::from_millis(document.breaker_longest_backoff_ms),
            },
            recorder: RecorderOptions {
                questions: document.recorded_questions,
                every: document.recorded_every,
                bytes: document.recorded_bytes,
            },
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default, expecting = "a map")]
pub(super) struct BudgetsDocument {
    default: RatesDocument,
    tenants: BTreeMap<Arc<str>, RatesDocument>,
}

/// 0: no bound.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default, expecting = "a map")]
struct RatesDocument {
    calls_per_s: u32,
    busy_ms_per_s: u32,
    emitted_per_s: u32,
}

impl From<RatesDocument> for TenantRates {
    fn from(document: RatesDocument) -> Self {
        Self {
            calls: NonZeroU32::new(document.calls_per_s),
            busy_ms: NonZeroU32::new(document.busy_ms_per_s),
            emitted: NonZeroU32::new(document.emitted_per_s),
        }
    }
}

impl From<BudgetsDocument> for Budgets {
    fn from(document: BudgetsDocument) -> Self {
        let tenants = document.tenants.into_iter().map(|(name, rates)| (name, rates.into()));
        Self { others: document.default.into(), tenants: tenants.collect() }
    }
}
