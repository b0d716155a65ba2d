//! What plugins and rules may use beside their answers: a store of their own, and metrics.

mod key_value;
mod program_metrics;

pub use key_value::{Keeper, KeyValueError, KeyValueLimits, KeyValueStore};
pub use program_metrics::{ProgramMetric, ProgramMetrics};

/// What all programs of a broker share, each of them seeing its own part only.
#[derive(Debug, Default)]
pub struct Services {
    pub key_value: KeyValueStore,
    pub metrics: ProgramMetrics,
}
