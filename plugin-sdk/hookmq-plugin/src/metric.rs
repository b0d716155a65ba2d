//! Figures for the operator's monitoring. Needs the capability `metric`.
//!
//! A name has 1 to 64 characters of `a-z`, `0-9` and `_`; a figure of another name is not kept. The
//! broker adds plugin and tenant.
//!
//! ```
//! # use hookmq_plugin::metric;
//! metric::count("dropped", 1);
//! metric::set("queue_length", 7.0);
//! ```

/// Adds to a counter.
pub fn count(name: &str, increase: u64) {
    crate::host::metric::count(name, increase);
}

/// Sets a gauge.
pub fn set(name: &str, value: f64) {
    crate::host::metric::set(name, value);
}
