//! `hookmq import`: what another broker knows of clients and permissions, as SQL for the tables.

mod acl;
mod dynsec;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod go_auth;
mod sql;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};
use hookmq_access::{FilterPattern, PasswordHash};

use self::go_auth::GoAuthOptions;
pub(crate) use self::sql::{Effect, Permission, Subject};

/// Bytes of a file.
const LONGEST_FILE: u64 = 256 << 20;

#[derive(Debug, Subcommand)]
pub enum ImportCommand {
    /// Read Mosquitto's files, print SQL for the tables, and tell what could not be expressed.
    Mosquitto(MosquittoOptions),
    /// Read the database of mosquitto-go-auth, print SQL for the tables, and tell what could not be
    /// expressed.
    GoAuth(GoAuthOptions),
}

/// At least one file.
#[derive(Debug, Args)]
pub struct MosquittoOptions {
    /// Whose principals they become; the tenant is made where it does not exist.
    #[arg(long, value_name = "NAME")]
    tenant: String,

    /// What `acl_file` names.
    #[arg(long, value_name = "FILE")]
    acl: Option<PathBuf>,

    /// What `password_file` names, its passwords hashed.
    #[arg(long, value_name = "FILE")]
    passwd: Option<PathBuf>,

    /// The configuration of the plugin for dynamic security.
    #[arg(long, value_name = "FILE")]
    dynsec: Option<PathBuf>,

    /// The principal that clients without a user name are.
    #[arg(long, value_name = "NAME", default_value = "anonymous")]
    anonymous: String,

    /// Let everybody subscribe to anything, as Mosquitto's ACL file does, and check each delivery.
    #[arg(long)]
    broad_subscriptions: bool,
}

/// What there is to write, and what cannot be.
#[derive(Debug, Default)]
pub(crate) struct Import {
    principals: Vec<Principal>,
    permissions: Vec<Permission>,
    /// What a reader has to know, each with the line where there is one.
    notes: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
struct Principal {
    username: String,
    enabled: bool,
    password: Option<String>,
    roles: Vec<String>,
}

impl ImportCommand {
    /// Prints SQL to standard output, and the report to standard error.
    ///
    /// # Errors
    /// Where a file cannot be read, or none is named.
    pub fn run(&self) -> Result<()> {
        let (import, tenant) = match self {
            Self::Mosquitto(options) => (options.read()?, &*options.tenant),
            Self::GoAuth(options) => (options.read()?, options.tenant()),
        };
        print!("{}", import.to_sql(tenant)?);
        for note in &import.notes {
            eprintln!("hookmq: {note}");
        }
        eprintln!("hookmq: {}", import.summary());
        Ok(())
    }
}

impl MosquittoOptions {
    fn read(&self) -> Result<Import> {
        if self.acl.is_none() && self.passwd.is_none() && self.dynsec.is_none() {
            bail!("name a file: --acl, --passwd or --dynsec");
        }
        let mut import = Import::default();
        if let Some(file) = &self.passwd {
            import.read_passwords(&text_of(file)?);
        }
        if let Some(file) = &self.acl {
            let deliveries = self.broad_subscriptions;
            acl::read(&mut import, &text_of(file)?, &self.anonymous, deliveries);
        }
        if let Some(file) = &self.dynsec {
            let text = text_of(file)?;
            dynsec::read(&mut import, &text, &self.anonymous)
                .with_context(|| format!("read {}", file.display()))?;
        }
        Ok(import)
    }
}

fn text_of(file: &Path) -> Result<String> {
    let length = fs::metadata(file).with_context(|| format!("read {}", file.display()))?.len();
    ensure!(length <= LONGEST_FILE, "{} is too long", file.display());
    fs::read_to_string(file).with_context(|| format!("read {}", file.display()))
}

impl Import {
    fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// The principal of this name, made where there is none yet.
    fn principal(&mut self, username: &str) -> &mut Principal {
        let found = self.principals.iter().position(|it| it.username == username);
        let place = found.unwrap_or_else(|| {
            self.principals.push(Principal {
                username: username.to_owned(),
                enabled: true,
                password: None,
                roles: vec![],
            });
            self.principals.len() - 1
        });
        &mut self.principals[place]
    }

    /// `name:hash`, a line each.
    fn read_passwords(&mut self, text: &str) {
        for (number, line) in (1..).zip(text.lines()) {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let Some((username, hash)) = line.split_once(':') else {
                self.note(format!("password file, line {number}: not NAME:HASH, left out"));
                continue;
            };
            self.password(username, hash.trim(), &format!("password file, line {number}"));
        }
    }

    fn password(&mut self, username: &str, hash: &str, place: &str) {
        if !is_name(username) {
            return self.note(format!("{place}: the user name cannot be kept, left out"));
        }
        let known =
            self.principals.iter().any(|it| it.username == username && it.password.is_some());
        if known {
            return self.note(format!("{place}: {username:?} once more, left out"));
        }
        // Made in any case: it has permissions, and may get another password.
        let principal = self.principal(username);
        match hash.parse::<PasswordHash>() {
            Ok(_) => principal.password = Some(hash.to_owned()),
            Err(error) => {
                self.note(format!("{place}: the password of {username:?} is left out: {error}"));
            }
        }
    }

    /// Adds a permission, unless its filter is none.
    fn permit(&mut self, permission: Permission, place: &str) {
        if let Err(error) = FilterPattern::new(&permission.filter) {
            let filter = &permission.filter;
            return self.note(format!("{place}: {filter:?} is left out: {error}"));
        }
        if permission.filter.contains("{client_id}") {
            self.note(format!(
                "{place}: {:?} applies where a connect step binds the client id, not to a mere claim",
                permission.filter
            ));
        }
        if !self.permissions.contains(&permission) {
            self.permissions.push(permission);
        }
    }

    fn summary(&self) -> String {
        let passwords = self.principals.iter().filter(|it| it.password.is_some()).count();
        format!(
            "{} principals, {passwords} passwords, {} permissions, {} remarks",
            self.principals.len(),
            self.permissions.len(),
            self.notes.len()
        )
    }
}

/// Whether the tables take it as a username.
fn is_name(name: &str) -> bool {
    fits(name, 1024)
}

/// Whether the tables take it as the name of a tenant or a role.
fn is_short_name(name: &str) -> bool {
    fits(name, 255)
}

fn fits(name: &str, most: usize) -> bool {
    (1..=most).contains(&name.chars().count()) && !name.chars().any(char::is_control)
}

/// Mosquitto's placeholders as ours.
fn filter_of(topic: &str) -> String {
    topic.replace("%u", "{username}").replace("%c", "{client_id}")
}

#[cfg(test)]
mod tests;
