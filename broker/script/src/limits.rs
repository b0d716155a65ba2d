//! What one call of a rule may use.

use std::time::Duration;

/// Bounds on a rule and on each call of it.
///
/// They stop mistakes, not attackers: memory is bounded by these sizes together with the deadline,
/// not accounted. What a tenant writes runs in a plugin's sandbox instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleLimits {
    /// Bytes of source.
    pub source_size: usize,
    /// Expressions and statements in one call.
    pub operations: u64,
    /// Functions of the rule that may wait for one another.
    pub call_levels: usize,
    /// Bytes of all strings in one value.
    pub string_size: usize,
    /// Elements of all arrays in one value; also the most that `split` gives. It bounds how deep
    /// values nest as well, and with it the stack.
    pub array_size: usize,
    /// Entries of all object maps in one value.
    pub map_size: usize,
    /// Variables alive in one function.
    pub variables: usize,
    /// Functions in one rule.
    pub functions: usize,
    /// Bytes of a text or a payload that is read as JSON.
    pub json_size: usize,
    /// Messages emitted in one call.
    pub emissions: usize,
    /// Bytes of topics and payloads emitted in one call.
    pub emitted_size: usize,
    /// Lines logged in one call.
    pub log_lines: usize,
    /// Times that one call asks the host to keep, give or count something.
    pub host_calls: usize,
    /// Wall time of one call.
    pub deadline: Duration,
    /// Wall time of one `test_` function, which runs when the rule is loaded.
    pub test_deadline: Duration,
}

impl Default for RuleLimits {
    fn default() -> Self {
        Self {
            source_size: 64 * 1024,
            operations: 100_000,
            call_levels: 24,
            string_size: 256 * 1024,
            array_size: 1024,
            map_size: 1024,
            variables: 128,
            functions: 128,
            json_size: 256 * 1024,
            emissions: 16,
            emitted_size: 256 * 1024,
            log_lines: 16,
            host_calls: 64,
            deadline: Duration::from_millis(10),
            test_deadline: Duration::from_secs(2),
        }
    }
}
