//! Versions that were pushed, and how each program stands: what survives a restart.
//!
//! `<data_dir>/programs/<kind>-<name>/` holds each version under its SHA-256, `standing.json`, and
//! `history.jsonl`, a line for each change; when that is full it takes the place of
//! `history.older.jsonl`.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use hookmq_hooks::{ProgramKind, ProgramName, Stage};
use hookmq_store::{make_directory, sync_name};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const HISTORY: &str = "history.jsonl";
const OLDER_HISTORY: &str = "history.older.jsonl";
/// Bytes; thousands of changes.
const FULL: u64 = 1 << 20;

/// How one program stands. Versions are named by their SHA-256, in lower-case hex.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// None where the operator's file is in force.
    pub active: Option<String>,
    /// What a rollback puts in force again.
    pub previous: Option<String>,
    pub candidate: Option<Candidacy>,
}

/// A version that may take the place of the one in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidacy {
    pub sha256: String,
    /// None where it has passed its checks and is not asked yet.
    pub stage: Option<Stage>,
}

/// One change, as the history keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// RFC 3339, UTC.
    pub at: String,
    /// Who asked for it, in their own words.
    pub who: String,
    pub change: Change,
    /// The version that it is about.
    pub sha256: String,
    /// Of the pipeline after the change.
    pub generation: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    Pushed,
    Staged,
    Promoted,
    RolledBack,
    Withdrawn,
}

/// The directory of all versions.
pub struct Archive {
    directory: PathBuf,
}

/// Versions of one program that are kept beyond those that it stands by.
const KEPT: usize = 8;

impl Archive {
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    pub fn standing(&self, name: &ProgramName) -> io::Result<Standing> {
        match fs::read(self.of(name).join("standing.json")) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Standing::default()),
            Err(error) => Err(error),
        }
    }

    /// As [`Self::standing`], which lasts from now on: who wrote it may have ended before its name was
    /// synced.
    pub fn lasting_standing(&self, name: &ProgramName) -> io::Result<Standing> {
        match sync_name(&self.of(name).join("standing.json")) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => self.standing(name),
        }
    }

    /// The bytes of a version, which are what they were when it was kept.
    pub fn version(&self, name: &ProgramName, sha256: &str) -> io::Result<Vec<u8>> {
        let bytes = fs::read(self.file(name, sha256))?;
        match digest(&bytes) == sha256 {
            true => Ok(bytes),
            false => Err(io::Error::new(ErrorKind::InvalidData, "a kept version has changed")),
        }
    }

    /// Keeps a version; gives its SHA-256.
    pub fn keep(&self, name: &ProgramName, bytes: &[u8]) -> io::Result<String> {
        let sha256 = digest(bytes);
        if self.version(name, &sha256).is_ok() {
            return Ok(sha256);
        }
        make_directory(&self.of(name))?;
        write(&self.file(name, &sha256), bytes)?;
        Ok(sha256)
    }

    /// Makes `standing` last, and writes down how it came about.
    pub fn record(
        &self,
        name: &ProgramName,
        standing: &Standing,
        transition: &Transition,
    ) -> io::Result<()> {
        let directory = self.of(name);
        make_directory(&directory)?;
        write(&directory.join("standing.json"), &serde_json::to_vec_pretty(standing)?)?;
        let mut line = serde_json::to_vec(transition)?;
        line.push(b'\n');
        let history = directory.join(HISTORY);
        if fs::metadata(&history).is_ok_and(|it| it.len() > FULL) {
            fs::rename(&history, directory.join(OLDER_HISTORY))?;
        }
        fs::OpenOptions::new().create(true).append(true).open(history)?.write_all(&line)?;
        self.tidy(name, standing)
    }

    /// The latest changes, newest first.
    pub fn history(&self, name: &ProgramName, most: usize) -> io::Result<Vec<Transition>> {
        let mut history = Vec::<Transition>::new();
        for file in [OLDER_HISTORY, HISTORY] {
            let text = match fs::read(self.of(name).join(file)) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                text => text?,
            };
            // A line that a crash has cut short tells nothing.
            let lines = text.split(|&byte| byte == b'\n');
            history.extend(lines.filter_map(|line| serde_json::from_slice(line).ok()));
        }
        history.reverse();
        history.truncate(most);
        Ok(history)
    }

    /// Removes the oldest versions that nothing stands by.
    fn tidy(&self, name: &ProgramName, standing: &Standing) -> io::Result<()> {
        let candidate = standing.candidate.as_ref().map(|candidate| &candidate.sha256);
        let needed: Vec<_> = [standing.active.as_ref(), standing.previous.as_ref(), candidate]
            .into_iter()
            .flatten()
            .map(|sha256| self.file(name, sha256))
            .collect();
        let mut others = Vec::new();
        for entry in fs::read_dir(self.of(name))? {
            let path = entry?.path();
            let is_version = path.extension().is_some_and(|it| it == extension(name));
            if is_version && !needed.contains(&path) {
                others.push((fs::metadata(&path)?.modified()?, path));
            }
        }
        others.sort();
        for (_, path) in others.iter().take(others.len().saturating_sub(KEPT)) {
            fs::remove_file(path)?;
        }
        Ok(())
    }

    fn of(&self, name: &ProgramName) -> PathBuf {
        self.directory.join(format!("{}-{}", name.kind.name(), name.name))
    }

    fn file(&self, name: &ProgramName, sha256: &str) -> PathBuf {
        self.of(name).join(format!("{sha256}.{}", extension(name)))
    }
}

fn extension(name: &ProgramName) -> &'static str {
    if name.kind == ProgramKind::Rule { "rhai" } else { "wasm" }
}

pub(super) fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Puts a file in the place of another as a whole, and on the disk.
pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let part = path.with_added_extension("part");
    let mut file = fs::File::create(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&part, path)?;
    sync_name(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transition(change: Change, generation: u64) -> Transition {
        let (at, who) = ("2030-01-01T00:00:00Z".into(), "somebody".into());
        Transition { at, who, change, sha256: "00".into(), generation, stage: None }
    }

    fn rule() -> ProgramName {
        ProgramName { kind: ProgramKind::Rule, name: "alarm".into() }
    }

    #[test]
    fn versions_standing_and_history_are_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let archive = || Archive::new(directory.path().join("programs"));
        assert_eq!(archive().standing(&rule()).unwrap(), Standing::default());
        assert_eq!(archive().history(&rule(), 10).unwrap(), []);
        let sha256 = archive().keep(&rule(), b"one").unwrap();
        let stage = Some(Stage::Canary { share: 100, tenants: ["a".to_owned()].into() });
        let candidate = Some(Candidacy { sha256: sha256.clone(), stage });
        let standing = Standing { candidate, ..Standing::default() };
        for generation in 1..=3 {
            let transition = transition(Change::Staged, generation);
            archive().record(&rule(), &standing, &transition).unwrap();
        }
        assert_eq!(archive().standing(&rule()).unwrap(), standing);
        assert_eq!(archive().version(&rule(), &sha256).unwrap(), b"one");
        let history = archive().history(&rule(), 2).unwrap();
        assert_eq!(history.iter().map(|it| it.generation).collect::<Vec<_>>(), [3, 2]);
        let full = directory.path().join("programs/rule-alarm").join(HISTORY);
        for generation in 4..=9 {
            fs::OpenOptions::new().append(true).open(&full).unwrap().set_len(FULL + 1).unwrap();
            archive().record(&rule(), &standing, &transition(Change::Staged, generation)).unwrap();
        }
        let history = archive().history(&rule(), 3).unwrap();
        assert_eq!(history.iter().map(|it| it.generation).collect::<Vec<_>>(), [9, 8]);
    }

    #[test]
    fn a_version_that_has_changed_on_the_disk_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let archive = Archive::new(directory.path().into());
        let sha256 = archive.keep(&rule(), b"one").unwrap();
        fs::write(archive.file(&rule(), &sha256), b"two").unwrap();
        assert!(archive.version(&rule(), &sha256).is_err());
    }

    #[test]
    fn old_versions_go_and_what_is_needed_stays() {
        let directory = tempfile::tempdir().unwrap();
        let archive = Archive::new(directory.path().into());
        let first = archive.keep(&rule(), b"first").unwrap();
        for number in 0..20 {
            archive.keep(&rule(), format!("{number}").as_bytes()).unwrap();
        }
        let standing = Standing { previous: Some(first.clone()), ..Standing::default() };
        archive.record(&rule(), &standing, &transition(Change::Promoted, 1)).unwrap();
        assert_eq!(archive.version(&rule(), &first).unwrap(), b"first");
        let versions = fs::read_dir(archive.of(&rule())).unwrap();
        let versions =
            versions.filter(|it| it.as_ref().unwrap().path().extension().unwrap() == "rhai");
        assert_eq!(versions.count(), KEPT + 1);
    }
}
