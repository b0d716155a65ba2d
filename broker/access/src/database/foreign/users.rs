//! All users of tables that are not the broker's own, as its own tables would have them.

use serde_json::Value;

use super::rows::{Asked, is_true, only};
use super::{ForeignQueries, SUPERUSER, Shape, USUAL, alone};
use crate::database::foreign::Kind;
use crate::database::{Database, LookupRow, QueryError};

/// Users that are read; of more, none is.
pub const MAX_USERS: usize = 100_000;

const USERS: Shape = alone("users", &[("username", Kind::Text)], USUAL);

/// What the operator's queries say of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignUser {
    pub username: String,
    pub secret: Option<String>,
    pub superuser: bool,
    /// Actions and filters.
    pub permissions: Vec<(String, String)>,
}

impl Database {
    /// Reads everybody whom `users` names, a query of one column.
    ///
    /// # Errors
    /// Where a query does not fit, or the database is away; where there are more than [`MAX_USERS`].
    pub async fn foreign_users(
        &self,
        queries: &ForeignQueries,
        users: &str,
    ) -> Result<Vec<ForeignUser>, QueryError> {
        self.check_queries(queries).await?;
        let nobody = Asked::default();
        let names = self.ask_foreign(&USERS, users, &nobody, MAX_USERS + 1).await?;
        if names.len() > MAX_USERS {
            let why = format!("it names more than {MAX_USERS}");
            return Err(QueryError::Query { name: USERS.name, why });
        }
        let mut read = Vec::with_capacity(names.len());
        for username in names.into_iter().filter_map(only) {
            let Value::String(username) = username else {
                let why = format!("{username} is no text");
                return Err(QueryError::Query { name: USERS.name, why });
            };
            read.push(self.foreign_user(queries, username).await?);
        }
        Ok(read)
    }

    async fn foreign_user(
        &self,
        queries: &ForeignQueries,
        username: String,
    ) -> Result<ForeignUser, QueryError> {
        let secret = match queries.credential {
            None => None,
            Some(_) => {
                let rows = self.foreign_credential(queries, "", &username).await?;
                rows.into_iter().next().and_then(|row| row.secret)
            }
        };
        let asked = || Asked { username: &username, ..Asked::default() };
        let superuser = match &queries.superuser {
            None => false,
            Some(sql) => {
                let mut rows = self.ask_foreign(&SUPERUSER, sql, &asked(), 1).await?.into_iter();
                rows.next().and_then(only).is_some_and(|value| is_true(&value))
            }
        };
        let own = ForeignQueries { superuser: None, ..queries.clone() };
        let permissions = self.permissions(&own, asked()).await?.into_iter();
        let permission = |row: LookupRow| Some((row.action?, row.filter?));
        let permissions = permissions.filter_map(permission).collect();
        Ok(ForeignUser { username, secret, superuser, permissions })
    }
}
