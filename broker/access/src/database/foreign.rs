//! Look-ups in tables that are not the broker's own, by queries of the operator's.
//!
//! Such a database is read and never written. Each query is prepared before it is used: its columns must
//! be those that are known, and of the types that are wanted.

mod rows;
mod users;

use serde::Deserialize;
use sqlx::{AssertSqlSafe, Column, Executor, Postgres, SqlSafeStr, Statement, Type, TypeInfo};

pub use self::users::{ForeignUser, MAX_USERS};
use super::{Database, Pools, QueryError};

/// The queries. Each is for one principal, and may have its parameters by name: `{username}`,
/// `{tenant}`, `{client_id}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ForeignQueries {
    /// `secret`: the password's hash.
    pub credential: Option<String>,
    /// `enabled`, `attributes`. No row: there is no such principal. Without the query, there is whoever
    /// is asked for.
    pub principal: Option<String>,
    /// A number or a boolean: whether everything is allowed.
    pub superuser: Option<String>,
    /// `role`.
    pub roles: Option<String>,
    /// As the table `permissions`, of which `action` and `filter` must be there.
    pub permissions: Option<String>,
    /// Filters for `{access}`: 1 to receive, 2 to publish, 4 to subscribe. `$2` is the access, and `$3`
    /// the client id.
    pub acl: Option<String>,
    /// Any value that is another one when something has changed. Has no parameters.
    pub changes: Option<String>,
    /// On which Postgres calls when something has changed.
    pub notify_channel: Option<String>,
}

/// A column's name and its type, as far as the database knows it.
type Found = (String, Option<String>);

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Flag,
    Number,
    Json,
    Any,
}

/// What a query gives.
struct Shape {
    name: &'static str,
    /// The first ones must be there.
    columns: &'static [(&'static str, Kind)],
    required: usize,
    /// A query of a single column may name it as it likes.
    alone: bool,
    /// In the order of their numbers.
    parameters: [&'static str; 4],
}

/// As the numbers of parameters have them.
const USUAL: [&str; 4] = [USERNAME, TENANT, CLIENT_ID, ACCESS];

/// As mosquitto-go-auth has them.
const OF_ACL: [&str; 4] = [USERNAME, ACCESS, CLIENT_ID, TENANT];

const USERNAME: &str = "{username}";
const TENANT: &str = "{tenant}";
const CLIENT_ID: &str = "{client_id}";
const ACCESS: &str = "{access}";

const CREDENTIAL: Shape = alone("credential", &[("secret", Kind::Text)], USUAL);
const SUPERUSER: Shape = alone("superuser", &[("superuser", Kind::Flag)], USUAL);
const ROLES: Shape = alone("roles", &[("role", Kind::Text)], USUAL);
const ACL: Shape = alone("acl", &[("topic", Kind::Text)], OF_ACL);
const CHANGES: Shape = alone("changes", &[("changes", Kind::Any)], USUAL);

const PRINCIPAL: Shape = Shape {
    name: "principal",
    columns: &[("enabled", Kind::Flag), ("attributes", Kind::Json)],
    required: 0,
    alone: false,
    parameters: USUAL,
};

const PERMISSIONS: Shape = Shape {
    name: "permissions",
    columns: &[
        ("action", Kind::Text),
        ("filter", Kind::Text),
        ("id", Kind::Number),
        ("effect", Kind::Text),
        ("priority", Kind::Number),
        ("max_qos", Kind::Number),
        ("allow_retain", Kind::Flag),
        ("on_denial", Kind::Text),
        ("share_names", Kind::Json),
    ],
    required: 2,
    alone: false,
    parameters: USUAL,
};

const fn alone(
    name: &'static str,
    columns: &'static [(&'static str, Kind)],
    parameters: [&'static str; 4],
) -> Shape {
    Shape { name, columns, required: 1, alone: true, parameters }
}

impl ForeignQueries {
    /// All that there are.
    fn all(&self) -> impl Iterator<Item = (&'static Shape, &str)> {
        [
            (&CREDENTIAL, &self.credential),
            (&PRINCIPAL, &self.principal),
            (&SUPERUSER, &self.superuser),
            (&ROLES, &self.roles),
            (&PERMISSIONS, &self.permissions),
            (&ACL, &self.acl),
            (&CHANGES, &self.changes),
        ]
        .into_iter()
        .filter_map(|(shape, sql)| Some((shape, sql.as_deref()?)))
    }
}

impl Database {
    /// The operator's queries, where the tables are not the broker's own.
    pub(crate) fn foreign(&self) -> Option<&ForeignQueries> {
        self.queries.as_deref()
    }

    /// Prepares every query and looks at its columns.
    pub(crate) async fn check_queries(&self, queries: &ForeignQueries) -> Result<(), QueryError> {
        let work = async {
            for (shape, sql) in queries.all() {
                let wrong = |why: String| QueryError::Query { name: shape.name, why };
                let columns = self.columns(shape, sql).await.map_err(|error| match error {
                    sqlx::Error::Database(error) => wrong(error.message().to_owned()),
                    other => other.into(),
                });
                shape.check(&columns?).map_err(wrong)?;
            }
            Ok(())
        };
        let late = tokio::time::timeout(self.timeout, work).await;
        late.unwrap_or(Err(QueryError::Timeout(self.timeout)))
    }

    /// Name and type of each column. SQLite knows types of values only.
    async fn columns(&self, shape: &Shape, sql: &str) -> Result<Vec<Found>, sqlx::Error> {
        // Asked as it will be: not everything that is a statement may stand in another one.
        let sql = format!("SELECT * FROM (\n{}\n) AS found", shape.numbered(sql));
        let sql = AssertSqlSafe(sql).into_sql_str();
        Ok(match &self.pools {
            Pools::Postgres(pool) => {
                let types = shape.parameters.map(|parameter| match parameter {
                    ACCESS => <i32 as Type<Postgres>>::type_info(),
                    _ => <String as Type<Postgres>>::type_info(),
                });
                let mut connection = pool.acquire().await?;
                let statement = (&mut *connection).prepare_with(sql, &types).await?;
                let columns = statement.columns().iter();
                columns.map(|it| (it.name().into(), Some(it.type_info().name().into()))).collect()
            }
            Pools::Sqlite(pool) => {
                let mut connection = pool.acquire().await?;
                let statement = (&mut *connection).prepare(sql).await?;
                statement.columns().iter().map(|it| (it.name().into(), None)).collect()
            }
        })
    }
}

impl Shape {
    /// The query with numbers in the place of names. A text in quotes stays as it is: there, `{username}`
    /// is a placeholder of a filter.
    fn numbered(&self, sql: &str) -> String {
        let numbered = |text: &str| {
            let replaced = |text: String, (number, name): (usize, &&str)| {
                text.replace(*name, &format!("${number}"))
            };
            (1..).zip(&self.parameters).fold(text.to_owned(), replaced)
        };
        let parts = sql.trim_end().trim_end_matches(';').split('\'').enumerate();
        let part = |(place, text): (usize, &str)| match place % 2 {
            0 => numbered(text),
            _ => text.to_owned(),
        };
        parts.map(part).collect::<Vec<_>>().join("'")
    }

    /// That the columns are those that are known, and can be read.
    fn check(&self, found: &[Found]) -> Result<(), String> {
        if let ([(name, kind)], true) = (self.columns, self.alone) {
            return match found {
                [(column, found)] => kind.check(column, found.as_deref()),
                _ => Err(format!("it has {} columns, and {name} alone is wanted", found.len())),
            };
        }
        let known = || self.columns.iter().map(|it| it.0).collect::<Vec<_>>().join(", ");
        for (column, found) in found {
            match self.columns.iter().find(|(name, _)| name == column) {
                Some((_, kind)) => kind.check(column, found.as_deref())?,
                None => {
                    return Err(format!("column {column:?} is not known; there are {}", known()));
                }
            }
        }
        let wanted = self.columns[..self.required].iter().map(|it| it.0);
        match wanted.into_iter().find(|name| !found.iter().any(|(column, _)| column == name)) {
            Some(missing) => Err(format!("it has no column {missing:?}; there are {}", known())),
            None => Ok(()),
        }
    }
}

impl Kind {
    /// Types as Postgres names them.
    fn check(self, column: &str, found: Option<&str>) -> Result<(), String> {
        let Some(found) = found else { return Ok(()) };
        let number = matches!(found, "INT2" | "INT4" | "INT8");
        let text = matches!(found, "TEXT" | "VARCHAR" | "CHAR" | "NAME" | "citext" | "unknown");
        let (fits, wanted) = match self {
            Self::Text => (text, "text"),
            Self::Flag => (number || found == "BOOL", "boolean or a whole number"),
            Self::Number => (number, "a whole number"),
            Self::Json => (text || matches!(found, "JSON" | "JSONB"), "json or text"),
            Self::Any => (true, ""),
        };
        match fits {
            true => Ok(()),
            false => Err(format!("column {column:?} is of type {found}, and {wanted} is wanted")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_numbered_outside_of_quotes() {
        let sql = "SELECT 'it''s {username}', \"t\" WHERE a = {username} AND b = {access}; ";
        let numbered = "SELECT 'it''s {username}', \"t\" WHERE a = $1 AND b = ";
        assert_eq!(PERMISSIONS.numbered(sql), format!("{numbered}$4"));
        assert_eq!(ACL.numbered(sql), format!("{numbered}$2"));
    }
}
