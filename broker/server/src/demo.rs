//! A complete set-up to try the broker with: certificates, a configuration, principals.

mod certificates;

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf, absolute};

use anyhow::{Context, Result};

use self::certificates::{Authority, Purpose};
use crate::config::load_or_create_token;

/// The tenant of the demo.
pub const TENANT: &str = "demo";

/// Principals, roles and permissions of [`TENANT`], for SQLite and Postgres alike; to be executed
/// while there is no such tenant.
pub const SEED: &str = include_str!("demo/seed.sql");

/// The devices and people of the demo that have a certificate.
const CLIENTS: [&str; 2] = ["sensor-1", "operator-1"];

/// Where the demo finds what ships with the broker.
#[derive(Debug, Clone, Copy)]
pub struct DemoPaths<'a> {
    /// The broker's data; the demo is made in `demo/` there.
    pub data_dir: &'a Path,
    pub rules: &'a Path,
    pub plugins: &'a Path,
}

/// What [`create`] has made or found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demo {
    /// Holds the certificates and keys: `devices-ca`, `server`, `sensor-1`, `operator-1`.
    pub directory: PathBuf,
    pub config: PathBuf,
}

/// Makes what is missing of the demo and leaves alone what is there.
///
/// # Errors
/// Where a file cannot be read or written, or a certificate has lost its key.
pub fn create(paths: DemoPaths<'_>) -> Result<Demo> {
    let directory = absolute(paths.data_dir)?.join("demo");
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)
        .with_context(|| format!("make {}", directory.display()))?;

    let authority = Authority::load_or_create(&directory.join("devices-ca"))?;
    authority.issue(&directory.join("server"), &Purpose::Server)?;
    for name in CLIENTS {
        authority.issue(&directory.join(name), &Purpose::Client { name, tenant: TENANT })?;
    }
    let config = directory.join("hookmq.yaml");
    write_new(&config, &configuration(&directory, paths)?, 0o644)?;
    load_or_create_token(&paths.data_dir.join("admin.token"))?;
    Ok(Demo { directory, config })
}

fn configuration(directory: &Path, paths: DemoPaths<'_>) -> Result<String> {
    let mut text = include_str!("demo/hookmq.yaml").to_owned();
    for (placeholder, path) in [
        ("@DATA@", paths.data_dir),
        ("@DEMO@", directory),
        ("@RULES@", paths.rules),
        ("@PLUGINS@", paths.plugins),
    ] {
        let path = absolute(path)?;
        let path = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
        // Between double quotes, YAML reads what JSON writes.
        let quoted = serde_json::to_string(path)?;
        text = text.replace(placeholder, quoted.trim_matches('"'));
    }
    Ok(text)
}

/// Writes `path` unless it exists.
fn write_new(path: &Path, text: &str, mode: u32) -> Result<()> {
    let what = || format!("write {}", path.display());
    let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = match opened {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
        opened => opened.with_context(what)?,
    };
    file.write_all(text.as_bytes()).with_context(what)
}

#[cfg(test)]
mod tests;
