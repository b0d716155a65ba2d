//! The artefacts of one tenant's plugins, and what is compiled of them.
//!
//! `<data_dir>/tenant-rules/<SHA-256 of the tenant's name>/<SHA-256 of the artefact>.wasm`, and
//! `.compiled` beside it, which is made again where it is missing. Each tenant has a directory of its own,
//! so that what one has never depends on what another pushes or deletes.

use std::collections::HashSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use hookmq_store::{make_directory, sync_name};
use tracing::warn;

use super::super::archive::{digest, write};

pub struct Shelf {
    directory: PathBuf,
}

impl Shelf {
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Keeps an artefact, durably.
    pub fn keep(&self, sha256: &str, artefact: &[u8]) -> io::Result<()> {
        make_directory(&self.directory)?;
        match self.read(sha256) {
            // Whoever wrote it may have ended before its name was synced.
            Ok(_) => sync_name(&self.file(sha256)),
            Err(_) => write(&self.file(sha256), artefact),
        }
    }

    /// An artefact as it was pushed.
    pub fn read(&self, sha256: &str) -> Result<Vec<u8>, String> {
        let file = self.file(sha256);
        let artefact = fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        match digest(&artefact) == sha256 {
            true => Ok(artefact),
            false => Err("the artefact has changed on the disk".into()),
        }
    }

    /// Of what is compiled of an artefact; 0 where it is not there.
    pub fn code_bytes(&self, sha256: &str) -> u64 {
        let file = self.directory.join(format!("{sha256}.compiled"));
        fs::metadata(file).map_or(0, |it| it.len())
    }

    /// Removes what belongs to none of these.
    pub fn tidy(&self, needed: &HashSet<String>) {
        if let Err(error) = self.remove_but(needed) {
            let directory = self.directory.display();
            warn!(%directory, %error, "plugins that are gone stay in the data directory");
        }
    }

    fn remove_but(&self, needed: &HashSet<String>) -> io::Result<()> {
        if needed.is_empty() {
            return match fs::remove_dir_all(&self.directory) {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                removed => removed.and_then(|()| sync_name(&self.directory)),
            };
        }
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let is_whole = path.extension().is_some_and(|it| it == "wasm" || it == "compiled");
            let stem = path.file_stem().and_then(|it| it.to_str());
            if !is_whole || stem.is_none_or(|it| !needed.contains(it)) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn file(&self, sha256: &str) -> PathBuf {
        self.directory.join(format!("{sha256}.wasm"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_stays_and_all_else_goes() {
        let directory = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(directory.path().join("tenant"));
        let names = [b"one", b"two"].map(|bytes| {
            let name = digest(bytes);
            shelf.keep(&name, bytes).unwrap();
            fs::write(shelf.directory.join(format!("{name}.compiled")), "code").unwrap();
            name
        });
        fs::write(shelf.directory.join(format!("{}.7.part", names[0])), "torn").unwrap();
        shelf.tidy(&HashSet::from([names[0].clone()]));
        assert_eq!(shelf.read(&names[0]).unwrap(), b"one");
        assert!(shelf.read(&names[1]).is_err());
        assert_eq!(fs::read_dir(&shelf.directory).unwrap().count(), 2);
        fs::write(shelf.file(&names[0]), "another").unwrap();
        assert!(shelf.read(&names[0]).is_err_and(|it| it.contains("has changed")));
        shelf.keep(&names[0], b"one").unwrap();
        assert_eq!(shelf.read(&names[0]).unwrap(), b"one", "it is mended");
        shelf.tidy(&HashSet::new());
        assert!(!shelf.directory.exists());
    }
}
