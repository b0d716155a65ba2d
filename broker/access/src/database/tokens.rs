//! Tokens for the admin API, each good for one tenant. Only their hashes are kept.

use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, FromRow};

use super::{Database, Pools, QueryError};

/// A token as it can be shown.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct TokenRecord {
    pub tenant: String,
    pub name: String,
    /// As the database writes them.
    pub created_at: String,
    pub expires_at: Option<String>,
}

/// Tokens of one tenant that are shown at most.
const SHOWN: i64 = 1000;

const RECORD: &str = "SELECT tenant, admin_tokens.name AS name, \
    CAST(admin_tokens.created_at AS text) AS created_at, CAST(expires_at AS text) AS expires_at \
    FROM admin_tokens";

impl Database {
    /// The token with this hash, if it is good now. `hash` is SHA-256 in hexadecimal: what a
    /// comparison tells by its time is nothing of the token.
    pub async fn token(&self, hash: &str) -> Result<Option<TokenRecord>, QueryError> {
        let is_good = match &self.pools {
            Pools::Postgres(_) => "expires_at > now()",
            Pools::Sqlite(_) => "julianday(expires_at) > julianday('now')",
        };
        let sql = format!(
            "{RECORD} JOIN tenants ON tenants.name = tenant AND enabled \
            WHERE hash = $1 AND (expires_at IS NULL OR {is_good})"
        );
        Ok(self.ask(sql, &[hash]).await?.into_iter().next())
    }

    /// The tokens of a tenant by name, those that are over, too.
    pub async fn tokens(&self, tenant: &str) -> Result<Vec<TokenRecord>, QueryError> {
        let sql = format!("{RECORD} WHERE tenant = $1 ORDER BY admin_tokens.name LIMIT {SHOWN}");
        self.ask(sql, &[tenant]).await
    }

    /// Keeps a token, for so many seconds or for good; none where the tenant has one of the name.
    pub async fn create_token(
        &self,
        tenant: &str,
        name: &str,
        hash: &str,
        seconds: Option<u32>,
    ) -> Result<Option<TokenRecord>, QueryError> {
        let expires_at = self.in_seconds(seconds);
        let sql = format!(
            "INSERT INTO admin_tokens (tenant, name, hash, expires_at) \
            VALUES ($1, $2, $3, {expires_at}) ON CONFLICT (tenant, name) DO NOTHING \
            RETURNING tenant, name, CAST(created_at AS text) AS created_at, \
            CAST(expires_at AS text) AS expires_at"
        );
        Ok(self.ask(sql, &[tenant, name, hash]).await?.into_iter().next())
    }

    /// Deletes a token; false where there is none.
    pub async fn delete_token(&self, tenant: &str, name: &str) -> Result<bool, QueryError> {
        let sql = "DELETE FROM admin_tokens WHERE tenant = $1 AND name = $2 \
            RETURNING tenant, name, CAST(created_at AS text) AS created_at, NULL AS expires_at";
        Ok(!self.ask::<TokenRecord>(sql.into(), &[tenant, name]).await?.is_empty())
    }

    /// The rows of a statement whose parameters are texts.
    pub(super) async fn ask<Row>(
        &self,
        sql: String,
        values: &[&str],
    ) -> Result<Vec<Row>, QueryError>
    where
        Row: for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
    {
        let values = values.iter().map(|value| (*value).to_owned());
        match &self.pools {
            Pools::Postgres(pool) => {
                let query = sqlx::query_as(AssertSqlSafe(sql));
                self.fetch(pool, values.fold(query, |query, value| query.bind(value))).await
            }
            Pools::Sqlite(pool) => {
                let query = sqlx::query_as(AssertSqlSafe(sql));
                self.fetch(pool, values.fold(query, |query, value| query.bind(value))).await
            }
        }
    }
}
