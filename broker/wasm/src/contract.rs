//! The contract's types and calls, generated from `plugin-sdk/wit`.
//!
//! What goes to a guest borrows from the message and the client; what comes back is owned.

#![allow(unsafe_code, dead_code, unused_variables, clippy::all)]

wasmtime::component::bindgen!({
    path: "../../plugin-sdk/wit",
    world: "plugin",
    ownership: Borrowing { duplicate_if_necessary: true },
});

pub(crate) use exports::hookmq::plugin::hooks as calls;
pub(crate) use hookmq::plugin::{clock, emit, explain, http, kv, log, metric, secret, types};
