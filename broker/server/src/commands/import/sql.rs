//! The statements. Postgres and SQLite understand them alike.

use std::fmt::Write;

use anyhow::{Result, ensure};

use super::{Import, is_short_name};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    Everyone,
    Principal(String),
    Role(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Allow,
    Deny,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Permission {
    pub subject: Subject,
    /// As in the table.
    pub action: &'static str,
    pub filter: String,
    pub effect: Effect,
    pub priority: i32,
}

impl Import {
    /// One transaction: all or nothing. A second import of the same files changes passwords, and adds
    /// no permission twice.
    pub(super) fn to_sql(&self, tenant: &str) -> Result<String> {
        ensure!(is_short_name(tenant), "{tenant:?} cannot be the name of a tenant");
        let tenant = quoted(tenant);
        let mut sql = String::from("BEGIN;\n");
        let mut line = |line: std::fmt::Arguments<'_>| {
            writeln!(sql, "{line}").expect("a String takes everything");
        };
        line(format_args!("INSERT INTO tenants (name) VALUES ({tenant}) ON CONFLICT DO NOTHING;"));
        for principal in &self.principals {
            let (username, enabled) = (quoted(&principal.username), principal.enabled);
            line(format_args!(
                "INSERT INTO principals (tenant, username, enabled) \
                 VALUES ({tenant}, {username}, {enabled}) ON CONFLICT DO NOTHING;"
            ));
            if let Some(password) = &principal.password {
                line(format_args!(
                    "INSERT INTO credentials (tenant, username, kind, secret) \
                     VALUES ({tenant}, {username}, 'password', {}) \
                     ON CONFLICT (tenant, username, kind) DO UPDATE SET secret = excluded.secret;",
                    quoted(password)
                ));
            }
            for role in &principal.roles {
                line(format_args!(
                    "INSERT INTO principal_roles (tenant, username, role) \
                     VALUES ({tenant}, {username}, {}) ON CONFLICT DO NOTHING;",
                    quoted(role)
                ));
            }
        }
        for permission in &self.permissions {
            let (kind, subject) = match &permission.subject {
                Subject::Everyone => ("everyone", ""),
                Subject::Principal(name) => ("principal", name.as_str()),
                Subject::Role(name) => ("role", name.as_str()),
            };
            let effect = if permission.effect == Effect::Allow { "allow" } else { "deny" };
            let values = format!(
                "'{kind}' AS subject_kind, {} AS subject, '{}' AS action, {} AS filter, \
                 '{effect}' AS effect, {} AS priority",
                quoted(subject),
                permission.action,
                quoted(&permission.filter),
                permission.priority
            );
            line(format_args!(
                "INSERT INTO permissions (tenant, subject_kind, subject, action, filter, effect, priority) \
                 SELECT {tenant}, wanted.* FROM (SELECT {values}) AS wanted WHERE NOT EXISTS (\
                 SELECT 1 FROM permissions AS known WHERE known.tenant = {tenant} \
                 AND known.subject_kind = wanted.subject_kind AND known.subject = wanted.subject \
                 AND known.action = wanted.action AND known.filter = wanted.filter \
                 AND known.effect = wanted.effect AND known.priority = wanted.priority);"
            ));
        }
        line(format_args!("COMMIT;"));
        Ok(sql)
    }
}

/// A text in SQL. Nothing here holds NUL or ends a line.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
