//! The store's directory: who may use it, what is known about it beside the engine's file, and room.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A directory that this process has for itself.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    /// Held while the process lives; the system lets go of it then.
    _lock: File,
    mark: File,
    /// How often the mark was written.
    marks: u64,
}

/// A directory whose store is looked at, and stays as it is.
#[derive(Debug)]
pub(crate) struct Sight {
    /// None where there is no lock, as in a copy: nobody uses it.
    _lock: Option<File>,
    /// The last commit that is known to have been durable; 0 where none is.
    pub durable: u64,
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    #[error("{}: another process uses this store, a broker or `hookmq store`", .0.display())]
    Locked(PathBuf),
    #[error("{}: {source}", .path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// How much of a file system is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    pub free: u64,
    pub total: u64,
}

/// Bytes given up when the disk is full, so that deletions can be written down.
const RESERVE: usize = 8 << 20;

const DATABASE: &str = "store.sqlite";
const LOG: &str = "store.sqlite-wal";
const MARK: &str = "mark";
const LOCK: &str = "lock";

const FILES: [&str; 5] = [DATABASE, LOG, MARK, "reserve", LOCK];

/// A mark's two places are a sector apart: while one is written, the other stands.
const PLACE: u64 = 4096;

impl Directory {
    /// Makes the directory where it is not there, and takes it.
    pub(crate) fn open(path: &Path) -> Result<Self, DirectoryError> {
        let failed = |source| DirectoryError::Io { path: path.to_owned(), source };
        make_directory(path).map_err(failed)?;
        let lock = private(&path.join(LOCK)).map_err(failed)?;
        take(&lock, path)?;
        let mark = private(&path.join(MARK)).map_err(failed)?;
        let directory = Self { path: path.to_owned(), _lock: lock, mark, marks: 0 };
        directory.make_private().map_err(failed)?;
        Ok(directory)
    }

    /// Keeps others from a directory that is there already, and changes nothing in it.
    pub(crate) fn look_at(path: &Path) -> Result<Sight, DirectoryError> {
        let open = |name| match File::open(path.join(name)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(DirectoryError::Io { path: path.join(name), source }),
        };
        let lock = open(LOCK)?;
        lock.iter().try_for_each(|lock| take(lock, path))?;
        Ok(Sight { _lock: lock, durable: open(MARK)?.map_or(0, |mark| durable(&mark)) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn database(&self) -> PathBuf {
        database(&self.path)
    }

    /// The last commit that is known to have been durable; 0 where none is.
    pub(crate) fn durable(&self) -> u64 {
        durable(&self.mark)
    }

    /// Leaves no store, where one was begun that is good for nothing.
    pub(crate) fn clear(&self) {
        for name in [DATABASE, LOG] {
            let _ = fs::remove_file(self.path.join(name));
        }
    }

    /// Notes a commit after it became durable. The note itself is not waited for: behind the truth it
    /// says less, and never anything wrong.
    pub(crate) fn set_durable(&mut self, commit: u64) -> io::Result<()> {
        let commit = commit.to_le_bytes();
        let mark = [&commit[..], &crc32fast::hash(&commit).to_le_bytes()].concat();
        let marks = self.marks + 1;
        self.mark.write_all_at(&mark, marks % 2 * PLACE)?;
        // One that failed is written again in its place: the other stands.
        self.marks = marks;
        Ok(())
    }

    /// Claims nothing any more: for a store whose end may be lost with the machine.
    pub(crate) fn forget_durable(&self) -> io::Result<()> {
        self.mark.set_len(0)?;
        self.mark.sync_all()
    }

    pub(crate) fn space(&self) -> io::Result<Space> {
        let it = rustix::fs::statvfs(&self.path)?;
        Ok(Space { free: it.f_bavail * it.f_frsize, total: it.f_blocks * it.f_frsize })
    }

    /// Bytes of the engine's write-ahead log, which are written anew again and again.
    pub(crate) fn log_bytes(&self) -> u64 {
        fs::metadata(self.path.join(LOG)).map_or(0, |it| it.len())
    }

    /// Sets bytes aside, where they are not.
    pub(crate) fn reserve(&self) -> io::Result<()> {
        let path = self.path.join("reserve");
        if fs::metadata(&path).is_ok_and(|it| it.len() >= RESERVE as u64) {
            return Ok(());
        }
        let mut file = private(&path)?;
        let bytes = [1; 64 << 10];
        let written = (0..RESERVE / bytes.len()).try_for_each(|_| file.write_all(&bytes));
        let written = written.and_then(|()| file.sync_all());
        if written.is_err() {
            self.give_up_reserve();
        }
        written
    }

    /// Says whether there was something to give up.
    pub(crate) fn give_up_reserve(&self) -> bool {
        fs::remove_file(self.path.join("reserve")).is_ok()
    }

    /// Files of the store that were put there with other permissions are the owner's alone from now on.
    fn make_private(&self) -> io::Result<()> {
        for name in FILES {
            let path = self.path.join(name);
            if fs::symlink_metadata(&path).is_ok_and(|it| it.is_file()) {
                fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
            }
        }
        File::open(&self.path)?.sync_all()
    }
}

/// Makes a directory that only its owner may enter, where it is not there. Its name survives the end of the
/// machine, and so do those of the directories above that are made for it.
///
/// # Errors
/// Where it cannot be made, or the name of what was made cannot be synced.
pub fn make_directory(path: &Path) -> io::Result<()> {
    let is_new = |it: &&Path| !it.as_os_str().is_empty() && !it.exists();
    let new: Vec<&Path> = path.ancestors().take_while(is_new).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    if new.is_empty() {
        // Whoever made it may have ended before it was synced. What lies above may be others' alone.
        return match sync_name(path) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            synced => synced,
        };
    }
    new.into_iter().try_for_each(sync_name)
}

/// Syncs the directory that `path` is in, so that its name there survives the end of the machine.
///
/// # Errors
/// Where the directory cannot be opened or synced.
pub fn sync_name(path: &Path) -> io::Result<()> {
    let above = path.parent().filter(|it| !it.as_os_str().is_empty());
    File::open(above.unwrap_or(Path::new(".")))?.sync_all()
}

/// Bytes of the database and its write-ahead log.
pub(crate) fn file_bytes(directory: &Path) -> u64 {
    let length = |name| fs::metadata(directory.join(name)).map_or(0, |it| it.len());
    length(DATABASE) + length(LOG)
}

/// Where a store in `directory` has its records.
pub(crate) fn database(directory: &Path) -> PathBuf {
    directory.join(DATABASE)
}

fn take(lock: &File, directory: &Path) -> Result<(), DirectoryError> {
    let directory = || directory.to_owned();
    lock.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => DirectoryError::Locked(directory()),
        TryLockError::Error(source) => DirectoryError::Io { path: directory(), source },
    })
}

fn durable(mark: &File) -> u64 {
    let read = |place: u64| {
        let mut bytes = [0; 12];
        mark.read_exact_at(&mut bytes, place * PLACE).ok()?;
        let (commit, checksum) = bytes.split_first_chunk::<8>()?;
        let fits = checksum == crc32fast::hash(commit).to_le_bytes();
        fits.then(|| u64::from_le_bytes(*commit))
    };
    read(0).max(read(1)).unwrap_or(0)
}

fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_that_is_torn_leaves_the_one_before() {
        let place = tempfile::tempdir().unwrap();
        let mut directory = Directory::open(place.path()).unwrap();
        assert_eq!(directory.durable(), 0);
        directory.set_durable(7).unwrap();
        directory.set_durable(9).unwrap();
        assert_eq!(directory.durable(), 9);
        directory.mark.write_all_at(&[0xff; 5], 0).unwrap();
        assert_eq!(directory.durable(), 7);
        directory.forget_durable().unwrap();
        assert_eq!(directory.durable(), 0);
    }

    #[test]
    fn a_directory_has_one_user_and_its_files_one_reader() {
        let place = tempfile::tempdir().unwrap();
        let directory = Directory::open(&place.path().join("store")).unwrap();
        directory.reserve().unwrap();
        let second = Directory::open(&place.path().join("store"));
        assert!(matches!(second, Err(DirectoryError::Locked(_))));
        for entry in fs::read_dir(&directory.path).unwrap() {
            let mode = entry.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert!(directory.give_up_reserve());
        assert!(!directory.give_up_reserve());
    }
}
