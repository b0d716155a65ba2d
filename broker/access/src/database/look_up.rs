//! The look-up of a principal in the broker's own tables.

use sqlx::postgres::PgArguments;
use sqlx::query::QueryAs;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Postgres, Sqlite};

use super::LookupRow;
use crate::{MAX_PERMISSIONS, PrincipalKey};

/// At most one row more than [`MAX_PERMISSIONS`].
const LOOK_UP_LIMIT: i64 = MAX_PERMISSIONS as i64 + 1;

pub(super) fn look_up_postgres(
    key: &PrincipalKey,
) -> QueryAs<'static, Postgres, LookupRow, PgArguments> {
    let roles: Vec<String> = key.roles.iter().map(|role| role.to_string()).collect();
    sqlx::query_as(include_str!("look_up_postgres.sql"))
        .bind(key.tenant.to_string())
        .bind(key.username.to_string())
        .bind(key.client_id.as_deref().map(str::to_owned))
        .bind(roles)
        .bind(LOOK_UP_LIMIT)
}

pub(super) fn look_up_sqlite(
    key: &PrincipalKey,
) -> QueryAs<'static, Sqlite, LookupRow, SqliteArguments> {
    let roles: Vec<&str> = key.roles.iter().map(|role| &**role).collect();
    sqlx::query_as(include_str!("look_up_sqlite.sql"))
        .bind(key.tenant.to_string())
        .bind(key.username.to_string())
        .bind(key.client_id.as_deref().map(str::to_owned))
        .bind(serde_json::Value::from(roles).to_string())
        .bind(LOOK_UP_LIMIT)
}
