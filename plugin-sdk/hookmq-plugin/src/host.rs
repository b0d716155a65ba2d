//! Whom the plugin asks: the broker where it is a guest, the test kit where it runs natively.

#[cfg(target_arch = "wasm32")]
pub(crate) use crate::bindings::{clock, emit, explain, http, kv, log, metric, secret};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use crate::test::imports::{clock, emit, explain, http, kv, log, metric, secret};
