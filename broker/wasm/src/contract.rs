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

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    /// SHA-256 of its lines without comments.
    const FROZEN: &str = "e23f6d99df218db41d46168b09e0ca7ecc9690938036585f97731997a64ff37e";

    #[test]
    fn the_contract_is_frozen() {
        let text = include_str!("../../../plugin-sdk/wit/hookmq-plugin.wit");
        let lines = text.lines().map(str::trim);
        let code = lines.filter(|line| !line.is_empty() && !line.starts_with("//"));
        let digest = hex::encode(Sha256::digest(code.collect::<Vec<_>>().join("\n")));
        assert_eq!(
            digest, FROZEN,
            "a change of the contract needs another version beside this one"
        );
    }
}
