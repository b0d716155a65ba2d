//! Certificates and keys in PEM files.

use std::fs::File;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::file::{OTHERS, read_bounded, read_secret};

/// The certificates in a PEM file, at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = path.display();
    let pem = File::open(path)
        .and_then(read_bounded)
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

/// The certificates in a PEM file, as trust anchors.
pub(crate) fn root_store(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for (number, certificate) in (1..).zip(certificates(path)?) {
        roots
            .add(certificate)
            .map_err(|error| format!("certificate {number} in {}: {error}", path.display()))?;
    }
    Ok(roots)
}
