//! Where the clients are that `cargo xtask test` installs, and how their scenarios are run.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use hookmq_tests::process::Running;

const INSTALL: &str =
    "`cargo xtask test` installs it; HOOKMQ_CLIENTS_DIR can name another directory";

/// `name` among the installed clients.
pub fn installed(name: &str) -> PathBuf {
    let path = directory().join(name);
    assert!(path.exists(), "there is no {}: {INSTALL}", path.display());
    path
}

/// A file of this folder.
pub fn source(name: &str) -> PathBuf {
    package().join("clients").join(name)
}

/// Runs a program that ends by itself and says what went wrong, if anything.
pub fn run(command: &mut Command) {
    let mut process = Running::spawn(command.stdin(Stdio::null()), INSTALL);
    let status = process.wait("the client");
    assert!(status.success(), "{command:?}: {status}");
}

fn directory() -> PathBuf {
    if let Some(directory) = std::env::var_os("HOOKMQ_CLIENTS_DIR") {
        return PathBuf::from(directory);
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").filter(|cache| !cache.is_empty());
    let cache = cache.map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache");
    cache.unwrap_or_else(home).join("hookmq/clients")
}

/// Where the package lies now; the test may have been built elsewhere.
fn package() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the test").into()
}
