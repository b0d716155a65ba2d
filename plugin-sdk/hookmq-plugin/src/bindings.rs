//! The contract's types and functions, as generated from `wit/hookmq-plugin.wit`.

#![allow(unsafe_code, missing_docs, clippy::all)]

wit_bindgen::generate!({
    path: "../wit",
    world: "plugin",
    pub_export_macro: true,
    export_macro_name: "export_bindings",
    additional_derives: [PartialEq],
    generate_unused_types: true,
});

pub use exports::hookmq::plugin::hooks::Guest;
pub use hookmq::plugin::types::*;
pub use hookmq::plugin::{clock, emit, explain, http, kv, log, metric, secret};
