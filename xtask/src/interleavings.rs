//! `cargo xtask interleavings`: what threads hand over, under a model that tries the orders of its steps.

use std::path::Path;

use anyhow::Result;

use crate::cargo::{self, Cargo};

/// One at a time: a feature of one crate would have all others built anew that stand above it.
const CALLS: [&[&str]; 3] = [
    &["--package", "hookmq-hooks", "--lib", "interleavings::"],
    &["--package", "hookmq-store", "--lib", "interleavings::"],
    &["--package", "hookmq-interleavings", "--test", "mailbox", "--test", "sessions"],
];

pub fn interleavings(root: &Path) -> Result<()> {
    let cargo = Cargo::new(root)?;
    for call in CALLS {
        let mut command = cargo.command(&["test", "--features", "interleavings"]);
        // Whether the broker's packages are here says nothing about the model's.
        command.args(call).env_remove("CARGO_NET_OFFLINE");
        cargo::run(&mut command, &format!("the interleavings of {}", call[1]))?;
    }
    Ok(())
}
