//! The admin API: where it listens, and the token that opens it.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use hookmq_hooks::Secret;
use rand::RngCore;
use tempfile::NamedTempFile;

use crate::admin::Patience;

use super::file::{ALL_BUT_OWNER, read_secret};

/// Bytes of randomness in a token that the broker makes.
const TOKEN_ENTROPY: usize = 32;

/// The shortest token that is taken from a file, in bytes.
const SHORTEST_TOKEN: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminConfig {
    pub address: SocketAddr,
    /// Only its owner may be able to read it.
    pub token_file: PathBuf,
    /// Names of hosts, without ports.
    pub hosts: Vec<Box<str>>,
    pub patience: Patience,
}

impl AdminConfig {
    /// The token in the file; if there is none, a new one is made and written there.
    ///
    /// # Errors
    /// Where the file is open to others, or cannot be read or made, or its token is too short.
    pub fn token(&self) -> Result<Secret> {
        load_or_create_token(&self.token_file)
    }
}

/// As [`AdminConfig::token`].
pub(crate) fn load_or_create_token(file: &Path) -> Result<Secret> {
    let shown = file.display();
    if !file.try_exists().with_context(|| format!("look for {shown}"))? {
        create_token(file).with_context(|| format!("make the admin token {shown}"))?;
    }
    read_token(file)
}

/// The token that is in `file`.
pub(super) fn read_token(file: &Path) -> Result<Secret> {
    let secret = read_secret(file, ALL_BUT_OWNER)?;
    let token = secret.expose().trim_ascii();
    ensure!(
        token.len() >= SHORTEST_TOKEN && token.iter().all(u8::is_ascii_graphic),
        "{} must hold {SHORTEST_TOKEN} or more printable ASCII characters",
        file.display()
    );
    Ok(Secret::new(token.to_vec()))
}

/// Whatever happens meanwhile, there is a whole token or none. Others than the owner cannot read it.
fn create_token(file: &Path) -> Result<()> {
    let directory = file.parent().unwrap_or(Path::new("."));
    hookmq_store::make_directory(directory)?;
    let mut token = [0; TOKEN_ENTROPY];
    rand::rng().fill_bytes(&mut token);
    let mut made = NamedTempFile::new_in(directory)?;
    made.write_all(format!("{}\n", hex::encode(token)).as_bytes())?;
    made.as_file().sync_all()?;
    made.persist_noclobber(file)?;
    Ok(hookmq_store::sync_name(file)?)
}
