//! Rows for a tenant that does not exist yet.

use sqlx::{ColumnIndex, Decode, Encode, Executor, IntoArguments, Pool, Type};

use super::{Database, Pools, QueryError};

impl Database {
    /// Runs `script`, whole or not at all, unless there is a tenant of that name. Says whether it ran.
    pub async fn seed(&self, tenant: &str, script: &'static str) -> Result<bool, QueryError> {
        match &self.pools {
            Pools::Postgres(pool) => seed(pool, tenant, script).await,
            Pools::Sqlite(pool) => seed(pool, tenant, script).await,
        }
    }
}

async fn seed<DB>(pool: &Pool<DB>, tenant: &str, script: &'static str) -> Result<bool, QueryError>
where
    DB: sqlx::Database,
    DB::Arguments: IntoArguments<DB>,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    for<'q> String: Encode<'q, DB> + Type<DB>,
    for<'r> i64: Decode<'r, DB> + Type<DB>,
    usize: ColumnIndex<DB::Row>,
{
    let mut transaction = pool.begin().await?;
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM tenants WHERE name = $1")
        .bind(tenant.to_owned())
        .fetch_one(&mut *transaction)
        .await?;
    if count == 0 {
        sqlx::raw_sql(script).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(count == 0)
}
