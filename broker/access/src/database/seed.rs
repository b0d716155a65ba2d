//! Rows for a tenant that does not exist yet.

use super::{Database, Pools, QueryError};

impl Database {
    /// Runs `script`, whole or not at all, unless there is a tenant of that name. Says whether it ran.
    pub async fn seed(&self, tenant: &str, script: &'static str) -> Result<bool, QueryError> {
        let exists = "SELECT count(*) FROM tenants WHERE name = $1";
        match &self.pools {
            Pools::Postgres(pool) => {
                let mut transaction = pool.begin().await?;
                let count: i64 =
                    sqlx::query_scalar(exists).bind(tenant).fetch_one(&mut *transaction).await?;
                if count == 0 {
                    sqlx::raw_sql(script).execute(&mut *transaction).await?;
                }
                transaction.commit().await?;
                Ok(count == 0)
            }
            Pools::Sqlite(pool) => {
                let mut transaction = pool.begin().await?;
                let count: i64 =
                    sqlx::query_scalar(exists).bind(tenant).fetch_one(&mut *transaction).await?;
                if count == 0 {
                    sqlx::raw_sql(script).execute(&mut *transaction).await?;
                }
                transaction.commit().await?;
                Ok(count == 0)
            }
        }
    }
}
