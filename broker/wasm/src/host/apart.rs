//! What strangers write: compiled within bounds of its own, and kept where they have a place of theirs.

use std::io;
use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::{PluginHost, Prepared};
use crate::compilation::{self, ApartLimits};
use crate::{LoadError, Manifest, artefact};

/// What the compiler has made of one artefact.
pub struct MachineCode {
    /// Of the artefact.
    sha256: String,
    code: Vec<u8>,
}

impl PluginHost {
    /// Checks and compiles an artefact of which nothing is kept here: the code comes along, for a shelf.
    /// Beyond manifest and imports nothing of it is looked at in this process. The time that the compiler
    /// is busy with it, on one processor, is added to `busy`, whatever comes of it.
    ///
    /// # Errors
    /// As [`Self::prepare`].
    pub fn prepare_apart(
        &self,
        bytes: &[u8],
        limits: ApartLimits,
        busy: &mut Duration,
    ) -> Result<(Prepared, MachineCode), LoadError> {
        let (manifest, sha256) = outlined(bytes)?;
        let (component, code) = self.compiler.compile_apart(&self.engine, bytes, limits, busy)?;
        let prepared = self.linked(manifest, sha256.clone(), &component)?;
        Ok((prepared, MachineCode { sha256, code }))
    }

    /// Takes the code of an artefact from a shelf; none where it is not there, or another version of the
    /// broker has left it. Whoever may write to the shelf is trusted.
    ///
    /// # Errors
    /// As [`Self::prepare`].
    pub fn prepare_kept(&self, bytes: &[u8], shelf: &Path) -> Result<Option<Prepared>, LoadError> {
        let (manifest, sha256) = outlined(bytes)?;
        match compilation::find_kept(&self.engine, shelf, &sha256) {
            None => Ok(None),
            Some(component) => self.linked(manifest, sha256, &component).map(Some),
        }
    }
}

impl Prepared {
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }
}

impl MachineCode {
    /// Of the file that keeps it.
    pub fn bytes(&self) -> u64 {
        compilation::kept_bytes(&self.code)
    }

    /// Keeps it as `<SHA-256 of the artefact>.compiled` in a directory that is nobody else's.
    ///
    /// # Errors
    /// Where it cannot be written, or others may write there.
    pub fn keep(&self, shelf: &Path) -> io::Result<()> {
        compilation::keep(shelf, &self.sha256, &self.code)
    }
}

/// The manifest, without its schema, which is for people: there may be many plugins, and a schema takes
/// many times its bytes.
fn outlined(bytes: &[u8]) -> Result<(Manifest, String), LoadError> {
    let manifest = Manifest { config_schema: None, ..artefact::checked(bytes)? };
    Ok((manifest, hex::encode(Sha256::digest(bytes))))
}
