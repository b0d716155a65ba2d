//! Reading files: bounded in size, and secrets only where they are kept from others.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use hookmq_hooks::Secret;

/// The longest file that is read, in bytes.
const LONGEST_FILE: u64 = 4 << 20;

/// Permission bits of those who neither own a file nor belong to its group.
pub(crate) const OTHERS: u32 = 0o007;

/// Permission bits of all but the owner.
pub(crate) const ALL_BUT_OWNER: u32 = 0o077;

/// Why a file that holds a secret is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretFileError {
    #[error("cannot read {0}: {1}")]
    Io(String, io::Error),
    #[error("{file} is open to others (mode {mode:04o}); run `chmod {advice} {file}`")]
    Open { file: String, mode: u32, advice: &'static str },
}

/// Reads `path`, which must not grant any of the permission bits in `forbidden`.
///
/// # Errors
/// Where it does, or cannot be read.
pub(crate) fn read_secret(path: &Path, forbidden: u32) -> Result<Secret, SecretFileError> {
    let shown = || path.display().to_string();
    let failed = |error| SecretFileError::Io(shown(), error);
    let file = File::open(path).map_err(failed)?;
    // The mode of what was opened, not of what the path may mean by now.
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
    if mode & forbidden != 0 {
        let advice = if forbidden == OTHERS { "o-rwx" } else { "go-rwx" };
        return Err(SecretFileError::Open { file: shown(), mode, advice });
    }
    read_bounded(file).map(Secret::new).map_err(failed)
}

/// All that is in `file`, unless that is more than any file of a configuration can be.
pub(crate) fn read_bounded(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(LONGEST_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST_FILE {
        return Err(io::Error::other(format!("it is longer than {LONGEST_FILE} bytes")));
    }
    Ok(bytes)
}
