//! What survives a restart: the rules of each tenant in one file, written whole or not at all.
//!
//! `<data_dir>/tenant-rules/<SHA-256 of the tenant's name>.json`; a tenant's name may hold anything.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use hookmq_hooks::Hook;
use hookmq_script::RuleOutline;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tracing::error;

use super::super::archive::{digest, write};

/// A rule as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub source: String,
    /// Of the source, lower-case hex.
    pub sha256: String,
    /// What a rollback puts in force.
    pub previous: Option<String>,
    /// RFC 3339, UTC.
    pub pushed_at: String,
    /// In their own words.
    pub pushed_by: String,
    /// Those of the rule, and its topics: if it does not load some day, it fails where it was asked.
    pub authorize: bool,
    pub publish: bool,
    pub deliver: bool,
    pub topics: Vec<String>,
}

impl Kept {
    pub fn new(
        source: &str,
        previous: Option<String>,
        pushed_at: String,
        who: &str,
        outline: &RuleOutline,
    ) -> Self {
        let hooks = outline.hooks;
        Self {
            source: source.to_owned(),
            sha256: outline.sha256.clone(),
            previous,
            pushed_at,
            pushed_by: who[..who.floor_char_boundary(LONGEST_NAME)].to_owned(),
            authorize: hooks.authorize,
            publish: hooks.publish,
            deliver: hooks.deliver,
            topics: outline.topics.iter().map(|filter| filter.as_str().to_owned()).collect(),
        }
    }

    /// That the text is what was pushed.
    pub fn check(&self) -> Result<(), String> {
        match digest(self.source.as_bytes()) == self.sha256 {
            true => Ok(()),
            false => Err("the text has changed on the disk".into()),
        }
    }

    pub fn hooks(&self) -> impl Iterator<Item = Hook> {
        let hooks = [
            (Hook::Authorize, self.authorize),
            (Hook::Publish, self.publish),
            (Hook::Deliver, self.deliver),
        ];
        hooks.into_iter().filter_map(|(hook, has)| has.then_some(hook))
    }
}

/// Bytes of what a person says who they are.
const LONGEST_NAME: usize = 128;

/// The file of one tenant.
#[derive(Serialize)]
struct Page<'a> {
    tenant: &'a str,
    rules: &'a BTreeMap<&'a str, &'a Kept>,
}

#[derive(Deserialize)]
struct OwnedPage {
    tenant: String,
    rules: BTreeMap<String, Kept>,
}

/// The directory of all tenants' rules.
pub struct Archive {
    directory: PathBuf,
    /// Why files are not read, by their stems. Whose they are is found out when the tenant is named.
    unreadable: Mutex<HashMap<String, String>>,
}

impl Archive {
    /// Makes the directory where it is missing.
    pub fn open(directory: &Path) -> io::Result<Self> {
        hookmq_store::make_directory(directory)?;
        Ok(Self { directory: directory.to_owned(), unreadable: Mutex::default() })
    }

    /// The rules of every tenant. A file that cannot be read is remembered, and left as it is.
    pub fn all(&self) -> io::Result<Vec<(String, BTreeMap<String, Kept>)>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            if path.extension().is_none_or(|it| it != "json") {
                continue;
            }
            match read(&path) {
                Ok(page) => all.push((page.tenant, page.rules)),
                Err(reason) => {
                    let file = path.display();
                    error!(%file, reason, "the rules of a tenant cannot be read: its steps fail");
                    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
                    self.unreadable.lock().insert(stem.into_owned(), format!("{file}: {reason}"));
                }
            }
        }
        Ok(all)
    }

    /// Why the tenant's file could not be read.
    pub fn is_unreadable(&self, tenant: &str) -> Option<String> {
        let unreadable = self.unreadable.lock();
        // The digest is for the few brokers that have such a file.
        if unreadable.is_empty() {
            return None;
        }
        unreadable.get(&digest(tenant.as_bytes())).cloned()
    }

    /// Makes these the tenant's rules, durably.
    pub fn keep(&self, tenant: &str, rules: &BTreeMap<&str, &Kept>) -> io::Result<()> {
        if rules.is_empty() {
            return self.forget(tenant);
        }
        write(&self.file(tenant), &serde_json::to_vec(&Page { tenant, rules })?)
    }

    /// Forgets the tenant's rules, durably.
    pub fn forget(&self, tenant: &str) -> io::Result<()> {
        let file = self.file(tenant);
        match fs::remove_file(&file) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.unreadable.lock().remove(&digest(tenant.as_bytes()));
        hookmq_store::sync_name(&file)
    }

    fn file(&self, tenant: &str) -> PathBuf {
        self.directory.join(format!("{}.json", digest(tenant.as_bytes())))
    }
}

fn read(path: &Path) -> Result<OwnedPage, String> {
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    let page: OwnedPage = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    let stem = path.file_stem().and_then(|it| it.to_str());
    match stem == Some(&*digest(page.tenant.as_bytes())) {
        true => Ok(page),
        false => Err("it names another tenant than its name does".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(source: &str) -> Kept {
        Kept {
            source: source.into(),
            sha256: digest(source.as_bytes()),
            previous: None,
            pushed_at: "2030-01-01T00:00:00Z".into(),
            pushed_by: "somebody".into(),
            authorize: false,
            publish: true,
            deliver: false,
            topics: vec!["a/#".into()],
        }
    }

    #[test]
    fn rules_are_found_again_under_whatever_name_a_tenant_has() {
        let directory = tempfile::tempdir().unwrap();
        let archive = Archive::open(&directory.path().join("rules")).unwrap();
        for tenant in ["acme", "../../x", &"ü".repeat(255)] {
            archive.keep(tenant, &BTreeMap::from([("r", &kept(tenant))])).unwrap();
        }
        archive.keep("gone", &BTreeMap::from([("r", &kept("x"))])).unwrap();
        archive.keep("gone", &BTreeMap::new()).unwrap();
        let archive = Archive::open(&directory.path().join("rules")).unwrap();
        let mut all = archive.all().unwrap();
        all.sort_by_key(|(tenant, _)| tenant.len());
        let tenants: Vec<_> = all.iter().map(|(tenant, _)| tenant.len()).collect();
        assert_eq!(tenants, [4, 7, 510]);
        assert_eq!(all[1].1["r"], kept("../../x"));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_read_is_known_for_the_tenants() {
        let directory = tempfile::tempdir().unwrap();
        let archive = Archive::open(directory.path()).unwrap();
        archive.keep("acme", &BTreeMap::from([("r", &kept("x"))])).unwrap();
        let bytes = fs::read(archive.file("acme")).unwrap();
        fs::write(archive.file("globex"), &bytes).unwrap();
        fs::write(archive.file("acme"), &bytes[..bytes.len() / 2]).unwrap();
        assert!(archive.all().unwrap().is_empty());
        let reason = |tenant| archive.is_unreadable(tenant).unwrap_or_default();
        assert!(reason("acme").contains("EOF"), "{}", reason("acme"));
        assert!(reason("globex").contains("another tenant"), "{}", reason("globex"));
        assert_eq!(archive.is_unreadable("initech"), None);
        archive.forget("acme").unwrap();
        assert_eq!(archive.is_unreadable("acme"), None);
    }

    #[test]
    fn a_text_that_has_changed_on_the_disk_is_refused() {
        let mut kept = kept("one");
        assert_eq!(kept.check(), Ok(()));
        kept.source = "two".into();
        assert!(kept.check().is_err());
    }
}
