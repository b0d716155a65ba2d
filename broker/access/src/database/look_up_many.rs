//! The look-up of many principals at once in the broker's own tables, in one question.
//!
//! A permission that many of them have in common, of a role or of everyone, is answered once.

use std::collections::BTreeSet;

use sqlx::FromRow;

use super::{Database, LookupRow, Pools, QueryError};
use crate::PrincipalKey;

/// Rows of one answer: 10 MiB, where they are as long as rows usually are.
const MOST_ROWS: usize = 20_000;

/// A row about a principal, or one of the permissions of a subject.
#[derive(Debug, FromRow)]
pub(crate) struct ManyRow {
    /// Of a principal: which of those that were asked for, from 1.
    pub place: Option<i64>,
    /// Of a permission.
    pub tenant: Option<String>,
    #[sqlx(flatten)]
    pub row: LookupRow,
}

/// Whom permissions are for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Subject {
    pub tenant: String,
    pub kind: String,
    pub name: String,
}

/// What one question is about.
pub(crate) struct Asked {
    /// By tenant and username, each once, in the order of their places.
    principals: BTreeSet<(String, String)>,
    /// All but the roles that the database gives.
    subjects: BTreeSet<Subject>,
}

impl Subject {
    /// Those whose permissions `key` has before the database has been asked for its roles.
    pub(crate) fn of(key: &PrincipalKey) -> impl Iterator<Item = Self> + '_ {
        let client_id = key.client_id.iter().map(|client_id| ("client_id", &**client_id));
        [("principal", &*key.username), ("everyone", "")]
            .into_iter()
            .chain(client_id)
            .chain(key.roles.iter().map(|role| ("role", &**role)))
            .map(|(kind, name)| Self {
                tenant: key.tenant.to_string(),
                kind: kind.into(),
                name: name.into(),
            })
    }

    pub(crate) fn role(key: &PrincipalKey, role: &str) -> Self {
        Self { tenant: key.tenant.to_string(), kind: "role".into(), name: role.into() }
    }
}

impl Asked {
    pub(crate) fn new<'a>(keys: impl Iterator<Item = &'a PrincipalKey> + Clone) -> Self {
        let name = |key: &PrincipalKey| (key.tenant.to_string(), key.username.to_string());
        Self {
            principals: keys.clone().map(name).collect(),
            subjects: keys.flat_map(Subject::of).collect(),
        }
    }

    /// Who is at a place of the answer.
    pub(crate) fn principals(&self) -> impl Iterator<Item = (i64, &(String, String))> {
        (1..).zip(&self.principals)
    }
}

impl Database {
    /// All about many principals, in one round trip and as of one instant. None where that is too much
    /// for one answer: fewer are to be asked for at once.
    pub(crate) async fn look_up_many(
        &self,
        asked: &Asked,
    ) -> Result<Option<Vec<ManyRow>>, QueryError> {
        let limit = MOST_ROWS as i64 + 1;
        let rows: Vec<ManyRow> = match &self.pools {
            Pools::Postgres(pool) => {
                let (tenants, usernames): (Vec<_>, Vec<_>) =
                    asked.principals.iter().cloned().unzip();
                let column = |of: fn(&Subject) -> &String| -> Vec<String> {
                    asked.subjects.iter().map(|subject| of(subject).clone()).collect()
                };
                let query = sqlx::query_as(include_str!("look_up_many_postgres.sql"))
                    .bind(tenants)
                    .bind(usernames)
                    .bind(column(|subject| &subject.tenant))
                    .bind(column(|subject| &subject.kind))
                    .bind(column(|subject| &subject.name))
                    .bind(limit);
                self.fetch(pool, query).await?
            }
            Pools::Sqlite(pool) => {
                let subjects = asked.subjects.iter().map(|it| [&it.tenant, &it.kind, &it.name]);
                let query = sqlx::query_as(include_str!("look_up_many_sqlite.sql"))
                    .bind(serde_json::json!(asked.principals).to_string())
                    .bind(serde_json::json!(subjects.collect::<Vec<_>>()).to_string())
                    .bind(limit);
                self.fetch(pool, query).await?
            }
        };
        Ok((rows.len() <= MOST_ROWS).then_some(rows))
    }
}
