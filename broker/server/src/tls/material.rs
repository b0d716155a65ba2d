//! Certificates, keys and revocation lists in files, read at one moment.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use hookmq_hooks::Secret;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use sha2::{Digest, Sha256};

use super::settings::OpenKey;
use crate::config::file::{OTHERS, SecretFileError, read_bounded};

/// What some files held at one moment, so that what is loaded together belongs together.
pub(super) struct Material(BTreeMap<PathBuf, Result<Content, String>>);

struct Content {
    bytes: Secret,
    /// Permission bits.
    mode: u32,
}

/// SHA-256 of each file with its mode; none where it cannot be read.
pub(super) type Digests = BTreeMap<PathBuf, Option<[u8; 32]>>;

/// When files were last changed, as cheap as it can be had.
pub(super) type Stamps = BTreeMap<PathBuf, Option<Stamp>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    length: u64,
    mode: u32,
    /// Nanoseconds since 1970, of the content and of the file.
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            inode: metadata.ino(),
            length: metadata.len(),
            mode: metadata.mode(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// Seconds since 1970. Whoever writes twice in one tick of the file system's clock is seen once.
    pub(super) fn changed_s(&self) -> i64 {
        self.changed.0.max(self.modified.0)
    }
}

impl Material {
    pub(super) fn read<'a>(files: impl Iterator<Item = &'a Path>) -> Self {
        let mut material = BTreeMap::new();
        for path in files {
            if !material.contains_key(path) {
                material.insert(path.to_owned(), Content::read(path));
            }
        }
        Self(material)
    }

    pub(super) fn digests(&self) -> Digests {
        let digest = |content: &Result<Content, String>| {
            let content = content.as_ref().ok()?;
            let hash = Sha256::new().chain_update(content.mode.to_be_bytes());
            Some(hash.chain_update(content.bytes.expose()).finalize().into())
        };
        self.0.iter().map(|(path, content)| (path.clone(), digest(content))).collect()
    }

    fn content(&self, path: &Path) -> Result<&Content, String> {
        match self.0.get(path) {
            Some(Ok(content)) => Ok(content),
            Some(Err(error)) => Err(error.clone()),
            None => Err(format!("{} was not read", path.display())),
        }
    }

    /// The certificates in a PEM file, at least one.
    pub(super) fn certificates(&self, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
        let shown = path.display();
        let certificates = CertificateDer::pem_slice_iter(self.content(path)?.bytes.expose())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| format!("{shown} is not a PEM file: {error}"))?;
        if certificates.is_empty() {
            return Err(format!("{shown} holds no certificate in PEM form"));
        }
        Ok(certificates)
    }

    /// Adds to `warnings` what is open to others although that is allowed.
    pub(super) fn private_key(
        &self,
        path: &Path,
        open: OpenKey,
        warnings: &mut Vec<String>,
    ) -> Result<PrivateKeyDer<'static>, String> {
        let Content { bytes, mode } = self.content(path)?;
        let file = path.display().to_string();
        if mode & OTHERS != 0 {
            let error = SecretFileError::Open { file: file.clone(), mode: *mode, advice: "o-rwx" };
            match open {
                OpenKey::Refuse => return Err(error.to_string()),
                OpenKey::Warn => warnings.push(error.to_string()),
            }
        }
        PrivateKeyDer::from_pem_slice(bytes.expose())
            .map_err(|_| format!("{file} holds no unencrypted private key in PEM form"))
    }

    /// The certificates in a PEM file, as trust anchors.
    pub(super) fn root_store(&self, path: &Path) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        for (number, certificate) in (1..).zip(self.certificates(path)?) {
            roots
                .add(certificate)
                .map_err(|error| format!("certificate {number} in {}: {error}", path.display()))?;
        }
        Ok(roots)
    }

    /// The lists in a PEM file, or the only one in a DER file.
    pub(super) fn revocation_lists(
        &self,
        path: &Path,
    ) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
        let bytes = self.content(path)?.bytes.expose();
        let shown = path.display();
        // DER begins with the tag of a sequence.
        if bytes.first() == Some(&0x30) {
            return Ok(vec![bytes.to_vec().into()]);
        }
        let lists = CertificateRevocationListDer::pem_slice_iter(bytes)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| format!("{shown} is not a PEM file: {error}"))?;
        if lists.is_empty() {
            return Err(format!("{shown} holds no certificate revocation list"));
        }
        Ok(lists)
    }
}

impl Content {
    fn read(path: &Path) -> Result<Self, String> {
        let failed = |error| format!("cannot read {}: {error}", path.display());
        let file = File::open(path).map_err(failed)?;
        // The mode of what was opened, not of what the path may mean by now.
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
        Ok(Self { bytes: read_bounded(file).map(Secret::new).map_err(failed)?, mode })
    }
}

/// The certificates in a PEM file, as trust anchors.
pub(crate) fn root_store(path: &Path) -> Result<RootCertStore, String> {
    Material::read(std::iter::once(path)).root_store(path)
}
