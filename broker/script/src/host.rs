//! What the broker lends to rules: the time, a store of small values, figures.

use std::sync::Arc;
use std::time::Duration;

use hookmq_hooks::KeyValueError;

/// The world outside of a rule. The engine bounds how often one call asks.
pub trait RuleHost {
    /// Milliseconds since 1970, UTC.
    fn now(&self) -> u64;

    /// What is kept under `key`, unless it has expired.
    fn value(&self, owner: Owner<'_>, key: &str) -> Option<Vec<u8>>;

    /// Keeps `value` in the place of what was there, for `lifetime` or until it is deleted.
    ///
    /// # Errors
    /// Where a bound of the store is reached; what was there before stays.
    fn keep(
        &self,
        owner: Owner<'_>,
        key: &str,
        value: Vec<u8>,
        lifetime: Option<Duration>,
    ) -> Result<(), KeyValueError>;

    /// Forgets what is kept under `key`.
    fn forget(&self, owner: Owner<'_>, key: &str);

    /// Adds to a number, which begins at 0; gives the sum. `lifetime` counts from the beginning.
    ///
    /// # Errors
    /// Where a bound of the store is reached, or something else is kept there.
    fn increase(
        &self,
        owner: Owner<'_>,
        key: &str,
        by: i64,
        lifetime: Option<Duration>,
    ) -> Result<i64, KeyValueError>;

    /// Adds to a counter. What is beyond the host's bounds is not kept.
    fn count(&self, owner: Owner<'_>, figure: &str, by: u64);

    /// Sets a gauge; as [`Self::count`].
    fn set(&self, owner: Owner<'_>, figure: &str, value: f64);
}

/// A host that calls from many threads share.
pub type SharedHost = Arc<dyn RuleHost + Send + Sync>;

/// Whose values and figures they are. A rule sees its own, of the tenant that it is called for.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    pub rule: &'a str,
    /// Empty in connect, before a step has named one.
    pub tenant: &'a str,
}
