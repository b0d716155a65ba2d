//! Asks the operator's queries, and makes of the answers what the broker's own tables would give.

use serde_json::{Map, Number, Value};
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Column, FromRow, Row, TypeInfo, ValueRef};

use super::{
    ACCESS, ACL, CHANGES, CLIENT_ID, CREDENTIAL, ForeignQueries, PERMISSIONS, PRINCIPAL, ROLES,
    SUPERUSER, Shape, TENANT,
};
use crate::database::{CredentialRow, Database, LookupRow, Pools, QueryError};
use crate::{MAX_PERMISSIONS, PrincipalKey};

/// A row, whatever its columns are.
pub(super) struct Object(Map<String, Value>);

/// Whom a query is for.
#[derive(Default)]
pub(super) struct Asked<'a> {
    pub(super) username: &'a str,
    pub(super) tenant: &'a str,
    pub(super) client_id: Option<&'a str>,
    pub(super) access: i32,
}

/// Rows of a query; a principal with more permissions is refused.
const MOST: usize = MAX_PERMISSIONS + 1;

/// What `{access}` is, and the action that the answer permits.
const ACCESSES: [(i32, &str); 3] = [(1, "receive"), (2, "publish"), (4, "subscribe")];

/// What a superuser may.
const EVERYTHING: [(&str, &str); 3] =
    [("publish", "#"), ("subscribe", "#"), ("subscribe", "$SYS/#")];

impl Database {
    pub(in crate::database) async fn look_up_foreign(
        &self,
        queries: &ForeignQueries,
        key: &PrincipalKey,
    ) -> Result<Vec<LookupRow>, QueryError> {
        let (tenant, username) = (&*key.tenant, &*key.username);
        let asked = Asked { username, tenant, client_id: key.client_id.as_deref(), access: 0 };
        let mut first = LookupRow {
            tenant_enabled: true,
            principal_enabled: Some(true),
            tenant_attributes: "{}".into(),
            principal_attributes: None,
            roles: "[]".into(),
            ..LookupRow::default()
        };
        if let Some(sql) = &queries.principal {
            let rows = self.ask_foreign(&PRINCIPAL, sql, &asked, 1).await?;
            let Some(Object(row)) = rows.into_iter().next() else {
                first.principal_enabled = None;
                return Ok(vec![first]);
            };
            first.principal_enabled = Some(row.get("enabled").is_none_or(is_true));
            first.principal_attributes = row.get("attributes").and_then(json_of);
        }
        let mut roles: Vec<Value> = key.roles.iter().map(|role| (&**role).into()).collect();
        if let Some(sql) = &queries.roles {
            roles.extend(
                self.ask_foreign(&ROLES, sql, &asked, MOST).await?.into_iter().filter_map(only),
            );
        }
        first.roles = Value::from(roles).to_string();
        let permissions = self.permissions(queries, asked).await?;
        let mut rows = vec![first];
        // The first row is for the principal, and no permission.
        rows.extend(permissions.into_iter().take(MAX_PERMISSIONS));
        Ok(rows)
    }

    pub(super) async fn permissions(
        &self,
        queries: &ForeignQueries,
        mut asked: Asked<'_>,
    ) -> Result<Vec<LookupRow>, QueryError> {
        if let Some(sql) = &queries.superuser {
            let mut rows = self.ask_foreign(&SUPERUSER, sql, &asked, 1).await?.into_iter();
            if rows.next().and_then(only).is_some_and(|value| is_true(&value)) {
                let all = EVERYTHING.into_iter().zip(1..);
                return Ok(all.map(|((action, filter), id)| allow(id, action, filter)).collect());
            }
        }
        let mut permissions = Vec::new();
        if let Some(sql) = &queries.permissions {
            for (Object(row), id) in
                self.ask_foreign(&PERMISSIONS, sql, &asked, MOST).await?.into_iter().zip(1..)
            {
                permissions.push(permission(id, &row));
            }
        }
        for (access, action) in ACCESSES {
            asked.access = access;
            let Some(sql) = &queries.acl else { break };
            for topic in
                self.ask_foreign(&ACL, sql, &asked, MOST).await?.into_iter().filter_map(only)
            {
                let Value::String(topic) = topic else { continue };
                let filter = topic.replace("%u", "{username}").replace("%c", "{client_id}");
                let id = permissions.len() as i64 + 1;
                permissions.push(allow(id, action, &filter));
            }
        }
        Ok(permissions)
    }

    /// The secret of a principal, if there is one.
    pub(in crate::database) async fn foreign_credential(
        &self,
        queries: &ForeignQueries,
        tenant: &str,
        username: &str,
    ) -> Result<Vec<CredentialRow>, QueryError> {
        let Some(sql) = &queries.credential else {
            let why = "the step `password` needs it, and there is none".into();
            return Err(QueryError::Query { name: CREDENTIAL.name, why });
        };
        let asked = Asked { username, tenant, ..Asked::default() };
        let secret =
            self.ask_foreign(&CREDENTIAL, sql, &asked, 1).await?.into_iter().next().and_then(only);
        let secret = secret.and_then(|it| it.as_str().map(str::to_owned));
        // Nobody asks for this key: SCRAM needs the broker's own tables.
        Ok(vec![CredentialRow { stranger_key: String::new(), secret }])
    }

    /// What says whether something has changed, where there is a query for it. Where there is none, that
    /// the database answers.
    pub(crate) async fn foreign_mark(
        &self,
        queries: &ForeignQueries,
    ) -> Result<String, QueryError> {
        let sql = queries.changes.as_deref().unwrap_or("SELECT 1 AS changes");
        let rows = self.ask_foreign(&CHANGES, sql, &Asked::default(), 1).await?;
        Ok(rows.into_iter().next().and_then(only).unwrap_or_default().to_string())
    }

    /// The rows of a query, at most `limit`.
    pub(super) async fn ask_foreign(
        &self,
        shape: &Shape,
        sql: &str,
        asked: &Asked<'_>,
        limit: usize,
    ) -> Result<Vec<Object>, QueryError> {
        let sql = shape.numbered(sql);
        // On a line of its own, so that a comment at the query's end does not reach it.
        match &self.pools {
            Pools::Postgres(pool) => {
                let sql = format!(
                    "SELECT CAST(to_jsonb(found) AS text) FROM (\n{sql}\n) AS found LIMIT {limit}"
                );
                let mut query = sqlx::query_as(AssertSqlSafe(sql));
                for parameter in shape.parameters {
                    query = match parameter {
                        ACCESS => query.bind(asked.access),
                        other => query.bind(asked.text(other)),
                    };
                }
                self.fetch(pool, query).await
            }
            Pools::Sqlite(pool) => {
                let sql = format!("SELECT * FROM (\n{sql}\n) LIMIT {limit}");
                let mut query = sqlx::query_as(AssertSqlSafe(sql));
                for parameter in shape.parameters {
                    query = match parameter {
                        ACCESS => query.bind(asked.access),
                        other => query.bind(asked.text(other)),
                    };
                }
                self.fetch(pool, query).await
            }
        }
    }
}

impl Asked<'_> {
    fn text(&self, parameter: &str) -> Option<String> {
        match parameter {
            TENANT => Some(self.tenant.to_owned()),
            CLIENT_ID => self.client_id.map(str::to_owned),
            _ => Some(self.username.to_owned()),
        }
    }
}

impl FromRow<'_, PgRow> for Object {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let text: String = row.try_get(0)?;
        serde_json::from_str(&text).map(Self).map_err(|error| sqlx::Error::Decode(error.into()))
    }
}

impl FromRow<'_, SqliteRow> for Object {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        let mut object = Map::new();
        for (place, column) in row.columns().iter().enumerate() {
            let value = row.try_get_raw(place)?;
            let kind = value.type_info().name().to_owned();
            // A column that is null has the type that it was declared with.
            let value = match &*kind {
                _ if value.is_null() => Value::Null,
                "INTEGER" | "BOOLEAN" => row.try_get_unchecked::<i64, _>(place)?.into(),
                "REAL" => Number::from_f64(row.try_get_unchecked(place)?).into(),
                "TEXT" => row.try_get_unchecked::<String, _>(place)?.into(),
                _ => Value::Null,
            };
            object.insert(column.name().to_owned(), value);
        }
        Ok(Self(object))
    }
}

/// The value of the only column.
pub(super) fn only(Object(row): Object) -> Option<Value> {
    row.into_iter().map(|(_, value)| value).next()
}

/// A boolean, or a number that is more than 0. Nothing else is taken for true.
pub(super) fn is_true(value: &Value) -> bool {
    value.as_bool().unwrap_or_else(|| value.as_i64().is_some_and(|number| number > 0))
}

/// An object, or a text that holds one.
fn json_of(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// As a row of the table `permissions`, with its defaults. What does not fit is found when it is read.
fn permission(id: i64, row: &Map<String, Value>) -> LookupRow {
    let there = |name: &str| row.get(name).filter(|value| !value.is_null());
    let text = |name: &str, default: &str| match there(name) {
        Some(value) => value.as_str().map(str::to_owned),
        None => Some(default.to_owned()),
    };
    let number = |name: &str, default| there(name).map_or(Some(default), Value::as_i64);
    LookupRow {
        id: Some(there("id").and_then(Value::as_i64).unwrap_or(id)),
        subject_kind: Some("principal".into()),
        action: there("action").and_then(Value::as_str).map(str::to_owned),
        filter: there("filter").and_then(Value::as_str).map(str::to_owned),
        effect: text("effect", "allow"),
        priority: number("priority", 0),
        max_qos: number("max_qos", 2),
        allow_retain: Some(there("allow_retain").is_none_or(is_true)),
        on_denial: text("on_denial", "refuse"),
        share_names: there("share_names").and_then(json_of),
        ..LookupRow::default()
    }
}

fn allow(id: i64, action: &str, filter: &str) -> LookupRow {
    let values = [("action", action), ("filter", filter)];
    permission(id, &values.into_iter().map(|(name, text)| (name.into(), text.into())).collect())
}
