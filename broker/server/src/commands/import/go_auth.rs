//! The database of mosquitto-go-auth, by its queries.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use hookmq_access::{Database, DatabaseSettings, DatabaseUrl, ForeignQueries, ForeignUser};
use tokio::runtime::Builder;

use super::{Effect, Import, Permission, Subject, text_of};

/// What is above everything that a user may do.
const SUPERUSER: i32 = 10;

/// As go-auth's documentation names tables and columns.
const QUERIES: &str = "
pg_userquery SELECT pass FROM account WHERE username = $1
pg_superquery SELECT count(*) FROM account WHERE username = $1 AND super = 1
pg_aclquery SELECT topic FROM acl WHERE username = $1 AND (rw & $2) > 0
";

#[derive(Debug, Args)]
pub struct GoAuthOptions {
    /// Whose principals they become; the tenant is made where it does not exist.
    #[arg(long, value_name = "NAME")]
    tenant: String,

    /// The database: postgres://user:password@host/database or sqlite:path/to/file. Nothing is written
    /// there.
    #[arg(long, value_name = "URL", env = "HOOKMQ_DSN", hide_env_values = true)]
    dsn: DatabaseUrl,

    /// Mosquitto's configuration, of which the lines with userquery, superquery and aclquery are read;
    /// unless set, the tables are `account` (username, pass, super) and `acl` (username, topic, rw).
    #[arg(long, value_name = "FILE")]
    queries: Option<PathBuf>,

    /// The names of all users, which none of go-auth's queries tells.
    #[arg(long, value_name = "SQL", default_value = "SELECT username FROM account")]
    users: String,
}

impl GoAuthOptions {
    pub(super) fn tenant(&self) -> &str {
        &self.tenant
    }

    pub(super) fn read(&self) -> Result<Import> {
        let queries = match &self.queries {
            None => read_queries(QUERIES)?,
            Some(file) => {
                let shown = file.display();
                read_queries(&text_of(file)?).with_context(|| format!("read {shown}"))?
            }
        };
        let settings = DatabaseSettings { url: self.dsn.clone(), ..DatabaseSettings::default() };
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let users = runtime.block_on(async {
            let database = Database::open(&settings);
            database.foreign_users(&queries, &self.users).await
        });
        let users = users.with_context(|| format!("read the {}", self.dsn))?;
        let mut import = Import::default();
        if queries.acl.is_none() {
            import.note("there is no aclquery: go-auth lets everybody do everything, and here nobody may do anything");
        }
        for user in users {
            add(&mut import, user);
        }
        Ok(import)
    }
}

/// Of Postgres and SQLite alike, with whatever stands before it.
pub(super) fn read_queries(text: &str) -> Result<ForeignQueries> {
    let mut queries = ForeignQueries::default();
    for line in text.lines() {
        let Some((key, sql)) = line.trim().split_once(char::is_whitespace) else { continue };
        let option = key.strip_prefix("auth_opt_").or(key.strip_prefix("plugin_opt_"));
        let option = option.unwrap_or(key);
        let place = match option.strip_prefix("pg_").or(option.strip_prefix("sqlite_")) {
            Some("userquery") => &mut queries.credential,
            Some("superquery") => &mut queries.superuser,
            Some("aclquery") => &mut queries.acl,
            _ => continue,
        };
        if place.replace(sql.trim().to_owned()).is_some() {
            bail!("{key} is there twice");
        }
    }
    if queries.credential.is_none() {
        bail!("there is no line with pg_userquery or sqlite_userquery");
    }
    Ok(queries)
}

fn add(import: &mut Import, user: ForeignUser) {
    let ForeignUser { username, secret, superuser, permissions } = user;
    if !super::is_name(&username) {
        return import.note(format!("{username:?} cannot be a user name, left out"));
    }
    let place = format!("user {username:?}");
    match secret {
        Some(secret) => import.password(&username, &secret, &place),
        None => {
            import.principal(&username);
            import.note(format!("{place} has no password"));
        }
    }
    let subject = Subject::Principal(username);
    let mut permit = |action, filter: &str, priority| {
        let (subject, filter) = (subject.clone(), filter.to_owned());
        let permission = Permission { subject, action, filter, effect: Effect::Allow, priority };
        import.permit(permission, &place);
    };
    for (action, filter) in permissions {
        let action = match &*action {
            "publish" => "publish",
            "subscribe" => "subscribe",
            _ => "receive",
        };
        permit(action, &filter, 0);
    }
    if superuser {
        for action in ["publish", "subscribe", "receive"] {
            permit(action, "#", SUPERUSER);
        }
        permit("subscribe", "$SYS/#", SUPERUSER);
        permit("receive", "$SYS/#", SUPERUSER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_found_in_mosquittos_configuration() {
        let text = "
            listener 1883
            auth_opt_backends postgres
            auth_opt_pg_userquery SELECT a FROM b WHERE c = $1 limit 1
            auth_opt_pg_aclquery  SELECT topic FROM acl
            # auth_opt_pg_superquery SELECT 1
        ";
        let queries = read_queries(text).unwrap();
        assert_eq!(queries.credential.as_deref(), Some("SELECT a FROM b WHERE c = $1 limit 1"));
        assert_eq!(queries.acl.as_deref(), Some("SELECT topic FROM acl"));
        assert_eq!(queries.superuser, None);
        assert!(read_queries("auth_opt_backends files").is_err());
        assert!(read_queries(&format!("{QUERIES}{QUERIES}")).is_err());
        let plain = read_queries("sqlite_userquery SELECT 1\nplugin_opt_sqlite_aclquery SELECT 2");
        assert_eq!(plain.unwrap().acl.as_deref(), Some("SELECT 2"));
    }
}
