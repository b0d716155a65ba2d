//! Certificates, keys and other secrets in files.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use hookmq_hooks::Secret;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The longest file that is read, in bytes.
const LONGEST_FILE: u64 = 4 << 20;

/// Permission bits of those who neither own a file nor belong to its group.
pub(super) const OTHERS: u32 = 0o007;

/// Why a file that holds a secret is not used.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    #[error("cannot read {0}: {1}")]
    Io(String, io::Error),
    #[error("{file} is open to others (mode {mode:04o}); run `chmod {advice} {file}`")]
    Open { file: String, mode: u32, advice: &'static str },
}

/// Reads `path`, which must not grant any of the permission bits in `forbidden`.
///
/// # Errors
/// Where it does, or cannot be read.
pub fn read_secret(path: &Path, forbidden: u32) -> Result<Secret, SecretFileError> {
    let shown = || path.display().to_string();
    let failed = |error| SecretFileError::Io(shown(), error);
    let file = File::open(path).map_err(failed)?;
    // The mode of what was opened, not of what the path may mean by now.
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
    if mode & forbidden != 0 {
        let advice = if forbidden == OTHERS { "o-rwx" } else { "go-rwx" };
        return Err(SecretFileError::Open { file: shown(), mode, advice });
    }
    read_all(file).map(Secret::new).map_err(failed)
}

/// The certificates in a PEM file, at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = path.display();
    let pem = File::open(path)
        .and_then(read_all)
        .map_err(|error| format!("cannot read {shown}: {error}"))?;
    let certificates = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("{shown} is not a PEM file: {error}"))?;
    if certificates.is_empty() {
        return Err(format!("{shown} holds no certificate in PEM form"));
    }
    Ok(certificates)
}

pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let pem = read_secret(path, OTHERS).map_err(|error| error.to_string())?;
    PrivateKeyDer::from_pem_slice(pem.expose())
        .map_err(|_| format!("{} holds no unencrypted private key in PEM form", path.display()))
}

pub(super) fn root_store(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for (number, certificate) in (1..).zip(certificates(path)?) {
        roots
            .add(certificate)
            .map_err(|error| format!("certificate {number} in {}: {error}", path.display()))?;
    }
    Ok(roots)
}

fn read_all(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(LONGEST_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST_FILE {
        return Err(io::Error::other("it is too long"));
    }
    Ok(bytes)
}
