//! A copy of the tree with a target directory of its own, where mutants live. Both stay, so that the
//! next run finds all that did not change built.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::list::{self, Mutant};
use crate::{announce, plugins};

pub struct Place {
    pub tree: PathBuf,
    pub target: PathBuf,
    /// What each run of a test has said.
    pub output: PathBuf,
    /// The plugins that ship, built from the repository itself.
    pub plugins: PathBuf,
    /// Held as long as the place is used.
    _lock: File,
}

impl Place {
    /// Copies the repository at `root` as it is, with what is not committed.
    pub fn prepare(root: &Path) -> Result<Self> {
        let own = plugins::target_directory(root);
        let place = own.join("mutants");
        let [tree, target, output] = ["tree", "target", "output"].map(|name| place.join(name));
        for directory in [&tree, &target, &output] {
            fs::create_dir_all(directory).context("make a place for mutants")?;
        }
        let lock = File::create(place.join("lock")).context("lock the place of the mutants")?;
        ensure!(lock.try_lock().is_ok(), "mutants are tried already, in {}", place.display());
        announce(&format!("copy the tree to {}", tree.display()));
        copy(root, &tree)?;
        Ok(Self { tree, target, output, plugins: own.join("plugins"), _lock: lock })
    }

    /// Has the tree be with the mutant while `trial` runs.
    pub fn with<T>(&self, mutant: &Mutant, trial: impl FnOnce() -> Result<T>) -> Result<T> {
        let mutated = list::mutated(&self.tree, mutant)?;
        let mut originals = Vec::new();
        for (file, text) in mutated {
            let file = self.tree.join(file);
            originals.push((file.clone(), fs::read(&file)?));
            fs::write(&file, text).with_context(|| format!("write {}", file.display()))?;
        }
        let tried = trial();
        for (file, text) in originals {
            fs::write(&file, text).with_context(|| format!("restore {}", file.display()))?;
        }
        tried
    }
}

/// Copies what git knows, or would take, where it differs: cargo builds what was written anew.
fn copy(root: &Path, tree: &Path) -> Result<()> {
    let list = Command::new("git")
        .current_dir(root)
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .output()
        .context("start git")?;
    ensure!(list.status.success(), "git ls-files: {}", String::from_utf8_lossy(&list.stderr));
    let names = String::from_utf8(list.stdout).context("names of files")?;
    let mut kept = BTreeSet::new();
    // A file that is deleted and not committed yet is named, and not there.
    for name in names.split_terminator('\0').filter(|name| root.join(name).is_file()) {
        let (from, to) = (root.join(name), tree.join(name));
        let present = fs::read(&to).ok();
        if present.is_none() || present != Some(fs::read(&from)?) {
            fs::create_dir_all(to.parent().unwrap_or(tree))?;
            fs::copy(&from, &to).with_context(|| format!("copy {name}"))?;
        }
        kept.insert(to);
    }
    remove_others(tree, &kept)
}

fn remove_others(directory: &Path, kept: &BTreeSet<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_others(&path, kept)?;
        } else if !kept.contains(&path) {
            fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_no_more_in_the_repository_go_from_the_copy() {
        let tree = std::env::temp_dir().join(format!("hookmq-mutants-{}", std::process::id()));
        fs::create_dir_all(tree.join("a")).unwrap();
        let (kept, other) = (tree.join("a/kept"), tree.join("a/other"));
        fs::write(&kept, "").unwrap();
        fs::write(&other, "").unwrap();
        remove_others(&tree, &BTreeSet::from([kept.clone()])).unwrap();
        let left = (kept.exists(), other.exists());
        fs::remove_dir_all(&tree).unwrap();
        assert_eq!(left, (true, false));
    }
}
