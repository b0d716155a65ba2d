//! Compiled components on disk: a file each, its SHA-256 before its content.
//!
//! The digest tells damage. Against someone who can write to the directory it is no help, so the
//! directory and its files must be this user's alone.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use super::child::MAX_COMPILED_BYTES;

pub(super) const DIGEST_BYTES: usize = 32;

pub(super) struct Cache<'a> {
    pub(super) directory: &'a Path,
    /// Of all files together.
    pub(super) bytes: u64,
}

impl Cache<'_> {
    /// What is kept under `key`; none where it is damaged, or not ours.
    pub(super) fn find(&self, key: &str) -> Option<Vec<u8>> {
        is_private(&fs::metadata(self.directory).ok()?).ok()?;
        let mut file = File::open(self.file(key)).ok()?;
        let metadata = file.metadata().ok()?;
        is_private(&metadata).ok()?;
        if metadata.len() > MAX_COMPILED_BYTES + DIGEST_BYTES as u64 {
            return None;
        }
        let mut digest = [0; DIGEST_BYTES];
        file.read_exact(&mut digest).ok()?;
        let mut compiled = Vec::new();
        (&file).take(MAX_COMPILED_BYTES).read_to_end(&mut compiled).ok()?;
        if Sha256::digest(&compiled)[..] != digest {
            return None;
        }
        // The ones that are used stay the longest. Where the time cannot be set, it goes earlier.
        let _ = file.set_modified(SystemTime::now());
        Some(compiled)
    }

    /// Keeps what was compiled, whole or not at all, and drops what is beyond the bound.
    pub(super) fn keep(&self, key: &str, compiled: &[u8]) -> io::Result<()> {
        is_private(&fs::metadata(self.directory)?)?;
        let part = self.directory.join(format!("{key}.{}.part", std::process::id()));
        let written = self.write(&part, compiled).and_then(|()| fs::rename(&part, self.file(key)));
        if written.is_err() {
            // There is nothing to be done about a file that cannot be removed either.
            let _ = fs::remove_file(&part);
        }
        written.and_then(|()| self.shrink())
    }

    fn write(&self, part: &Path, compiled: &[u8]) -> io::Result<()> {
        // After a crash, one of an earlier process may have the same name.
        let _ = fs::remove_file(part);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(part)?;
        file.write_all(&Sha256::digest(compiled))?;
        file.write_all(compiled)
    }

    fn shrink(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(self.directory)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_file() {
                files.push((metadata.modified()?, metadata.len(), entry.path()));
            }
        }
        files.sort();
        let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, path) in files {
            if total <= self.bytes {
                break;
            }
            fs::remove_file(path)?;
            total -= bytes;
        }
        Ok(())
    }

    fn file(&self, key: &str) -> PathBuf {
        self.directory.join(format!("{key}.compiled"))
    }
}

/// That it belongs to this user, and nobody else may write to it.
#[allow(unsafe_code)]
fn is_private(metadata: &Metadata) -> io::Result<()> {
    // SAFETY: the call has no preconditions and cannot fail.
    let user = unsafe { libc::geteuid() };
    if metadata.uid() == user && metadata.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(io::Error::other("it belongs to another user, or others may write to it"))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use super::*;

    fn directory() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn what_is_kept_is_found_until_it_is_damaged() {
        let directory = directory();
        let cache = Cache { directory: directory.path(), bytes: 1000 };
        assert_eq!(cache.find("a"), None);
        cache.keep("a", b"code").unwrap();
        assert_eq!(cache.find("a"), Some(b"code".to_vec()));
        assert_eq!(cache.find("b"), None);
        let file = directory.path().join("a.compiled");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        let mut bytes = fs::read(&file).unwrap();
        for damage in [0, 31, 32, 35] {
            bytes[damage] ^= 1;
            fs::write(&file, &bytes).unwrap();
            assert_eq!(cache.find("a"), None, "{damage}");
            bytes[damage] ^= 1;
        }
        for length in [0, 10, 32, 35] {
            fs::write(&file, &bytes[..length]).unwrap();
            assert_eq!(cache.find("a"), None, "{length}");
        }
        cache.keep("a", b"code").unwrap();
        assert_eq!(cache.find("a"), Some(b"code".to_vec()));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_others_may_have_written_is_not_used() {
        let directory = directory();
        let cache = Cache { directory: directory.path(), bytes: 1000 };
        cache.keep("a", b"code").unwrap();
        let open = Permissions::from_mode(0o777);
        let private = Permissions::from_mode(0o700);
        fs::set_permissions(directory.path(), open.clone()).unwrap();
        assert_eq!(cache.find("a"), None);
        assert!(cache.keep("b", b"code").is_err());
        fs::set_permissions(directory.path(), private).unwrap();
        assert!(cache.find("a").is_some());
        fs::set_permissions(directory.path().join("a.compiled"), open).unwrap();
        assert_eq!(cache.find("a"), None);
    }

    #[test]
    fn the_oldest_go() {
        let directory = directory();
        let cache = Cache { directory: directory.path(), bytes: 100 };
        for (age, key) in [(30, "a"), (20, "b")] {
            cache.keep(key, b"code").unwrap();
            let file = File::options().write(true).open(cache.file(key)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        }
        assert!(cache.find("a").is_some(), "which makes it the younger one");
        cache.keep("c", b"code").unwrap();
        let kept = ["a", "b", "c"].map(|key| cache.find(key).is_some());
        assert_eq!(kept, [true, false, true]);
    }
}
