//! What survives a restart: the programs of each tenant in one file, written whole or not at all.
//!
//! `<data_dir>/tenant-rules/<SHA-256 of the tenant's name>.json`; a tenant's name may hold anything. The
//! artefacts of plugins are in a directory beside it, see [`Shelf`].

mod kept;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tracing::{error, warn};

use super::super::archive::{digest, write};
use super::shelf::Shelf;

pub use self::kept::{Kept, KeptPlugin, KeptRule, PluginVersion, Pushed};

/// The file of one tenant.
#[derive(Serialize)]
struct Page<'a> {
    tenant: &'a str,
    rules: BTreeMap<&'a str, &'a KeptRule>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    plugins: BTreeMap<&'a str, &'a KeptPlugin>,
}

#[derive(Deserialize)]
struct OwnedPage {
    tenant: String,
    rules: BTreeMap<String, KeptRule>,
    #[serde(default)]
    plugins: BTreeMap<String, KeptPlugin>,
}

/// The directory of all tenants' programs.
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

    /// The programs of every tenant. A file that cannot be read is remembered, and left as it is.
    pub fn all(&self) -> io::Result<Vec<(String, BTreeMap<String, Kept>)>> {
        // Who wrote them may have ended before their names were synced. Who pushes one of them again is
        // granted what is in force.
        fs::File::open(&self.directory)?.sync_all()?;
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            if path.is_dir() {
                self.remove_orphan(&path);
                continue;
            }
            if path.extension().is_none_or(|it| it != "json") {
                continue;
            }
            match read(&path) {
                Ok(page) => all.push((page.tenant, page.programs)),
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

    /// Where the tenant's artefacts are.
    pub fn shelf(&self, tenant: &str) -> Shelf {
        Shelf::new(self.directory.join(digest(tenant.as_bytes())))
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

    /// Makes these the tenant's programs, durably.
    pub fn keep(&self, tenant: &str, programs: &BTreeMap<&str, &Kept>) -> io::Result<()> {
        if programs.is_empty() {
            return self.forget(tenant);
        }
        let mut page = Page { tenant, rules: BTreeMap::new(), plugins: BTreeMap::new() };
        for (name, kept) in programs {
            match kept {
                Kept::Rule(rule) => drop(page.rules.insert(name, rule)),
                Kept::Plugin(plugin) => drop(page.plugins.insert(name, plugin)),
            }
        }
        write(&self.file(tenant), &serde_json::to_vec(&page)?)
    }

    /// Forgets the tenant's programs, durably; its artefacts are to be [tidied](Shelf::tidy) away.
    pub fn forget(&self, tenant: &str) -> io::Result<()> {
        let file = self.file(tenant);
        match fs::remove_file(&file) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.unreadable.lock().remove(&digest(tenant.as_bytes()));
        hookmq_store::sync_name(&file)
    }

    /// Removes the artefacts of a tenant that has no file: its first push was cut short, or its end.
    fn remove_orphan(&self, directory: &Path) {
        if directory.with_extension("json").exists() {
            return;
        }
        if let Err(error) = fs::remove_dir_all(directory) {
            let directory = directory.display();
            warn!(%directory, %error, "plugins of no tenant stay in the data directory");
        }
    }

    fn file(&self, tenant: &str) -> PathBuf {
        self.directory.join(format!("{}.json", digest(tenant.as_bytes())))
    }
}

/// What a file says.
struct Read {
    tenant: String,
    programs: BTreeMap<String, Kept>,
}

fn read(path: &Path) -> Result<Read, String> {
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    let page: OwnedPage = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    let stem = path.file_stem().and_then(|it| it.to_str());
    if stem != Some(&*digest(page.tenant.as_bytes())) {
        return Err("it names another tenant than its name does".into());
    }
    let OwnedPage { tenant, rules, plugins } = page;
    let rules = rules.into_iter().map(|(name, rule)| (name, Kept::Rule(rule)));
    let mut programs: BTreeMap<_, _> = rules.collect();
    for (name, plugin) in plugins {
        if programs.insert(name, Kept::Plugin(plugin)).is_some() {
            return Err("a rule and a plugin have the same name".into());
        }
    }
    Ok(Read { tenant, programs })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed() -> Pushed {
        Pushed {
            pushed_at: "2030-01-01T00:00:00Z".into(),
            pushed_by: "somebody".into(),
            authorize: false,
            publish: true,
            deliver: false,
            topics: vec!["a/#".into()],
        }
    }

    fn kept_rule(source: &str) -> KeptRule {
        let sha256 = digest(source.as_bytes());
        KeptRule { source: source.into(), sha256, previous: None, pushed: pushed() }
    }

    fn kept(source: &str) -> Kept {
        Kept::Rule(kept_rule(source))
    }

    fn kept_plugin() -> Kept {
        let version = |config| PluginVersion {
            sha256: digest(b"artefact"),
            version: "1.0.0".into(),
            config,
            bytes: 8,
            compiled_bytes: 80,
        };
        let (config, previous) = (serde_json::json!({"prefix": 1}), version(Default::default()));
        let previous = Some(previous);
        Kept::Plugin(KeptPlugin { version: version(config), previous, pushed: pushed() })
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
    fn rules_and_plugins_of_a_tenant_are_in_one_file() {
        let directory = tempfile::tempdir().unwrap();
        let archive = Archive::open(directory.path()).unwrap();
        let (rule, plugin) = (kept("x"), kept_plugin());
        archive.keep("acme", &BTreeMap::from([("r", &rule), ("p", &plugin)])).unwrap();
        // What a broker without plugins has written.
        let rules = BTreeMap::from([("r", kept_rule("x"))]);
        let page = serde_json::json!({"tenant": "globex", "rules": rules});
        fs::write(archive.file("globex"), page.to_string()).unwrap();
        for tenant in ["acme", "initech"] {
            archive.shelf(tenant).keep(&digest(b"artefact"), b"artefact").unwrap();
        }
        let mut all = archive.all().unwrap();
        all.sort_by_key(|(tenant, _)| tenant.len());
        assert_eq!(all[0].1, BTreeMap::from([("p".into(), plugin), ("r".into(), rule.clone())]));
        assert_eq!(all[1].1, BTreeMap::from([("r".into(), rule)]));
        // Whose first push was cut short.
        assert!(archive.shelf("initech").read(&digest(b"artefact")).is_err());
        assert!(archive.shelf("acme").read(&digest(b"artefact")).is_ok());
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
        let mut kept = kept_rule("one");
        assert_eq!(kept.check(), Ok(()));
        kept.source = "two".into();
        assert!(kept.check().is_err());
    }
}
