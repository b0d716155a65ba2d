//! Tenants and their quotas, as the tables have them.

use sqlx::{AssertSqlSafe, FromRow};

use super::{Database, Pools, QueryError};
use crate::quota::Quota;

/// A row of `tenants`, with that of `quotas`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantRecord {
    pub name: String,
    pub enabled: bool,
    /// A JSON object.
    pub attributes: String,
    /// As the database writes it.
    pub created_at: String,
    pub quota: Option<Quota>,
}

/// What is to be different; none where it stays as it is.
#[derive(Debug, Clone, Default)]
pub struct TenantChange {
    pub enabled: Option<bool>,
    /// A JSON object.
    pub attributes: Option<String>,
    pub quota: QuotaChange,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum QuotaChange {
    #[default]
    Keep,
    /// The row goes: the configuration counts.
    Remove,
    /// These bounds change, each a column of the table; the others stay.
    Set(Vec<(&'static str, Option<u64>)>),
}

#[derive(FromRow)]
struct RecordRow {
    attributes: String,
    created_at: String,
    #[sqlx(flatten)]
    tenancy: TenancyRow,
}

/// A tenant that has a quota or is disabled.
#[derive(FromRow)]
pub(crate) struct TenancyRow {
    pub name: String,
    pub enabled: bool,
    pub has_quota: bool,
    #[sqlx(flatten)]
    pub quota: QuotaRow,
}

/// The columns of `quotas`.
#[derive(FromRow)]
pub(crate) struct QuotaRow {
    connections: Option<i64>,
    connects_per_s: Option<i64>,
    messages_in_per_s: Option<i64>,
    bytes_in_per_s: Option<i64>,
    messages_out_per_s: Option<i64>,
    bytes_out_per_s: Option<i64>,
    sessions: Option<i64>,
    subscriptions: Option<i64>,
    retained_messages: Option<i64>,
    retained_bytes: Option<i64>,
    queued_bytes: Option<i64>,
    hook_calls_per_s: Option<i64>,
    hook_busy_ms_per_s: Option<i64>,
    hook_emitted_per_s: Option<i64>,
}

impl From<QuotaRow> for Quota {
    fn from(row: QuotaRow) -> Self {
        // The tables refuse what is negative.
        let bound = |column: Option<i64>| column.map(|it| u64::try_from(it).unwrap_or(0));
        Self {
            connections: bound(row.connections),
            connects_per_s: bound(row.connects_per_s),
            messages_in_per_s: bound(row.messages_in_per_s),
            bytes_in_per_s: bound(row.bytes_in_per_s),
            messages_out_per_s: bound(row.messages_out_per_s),
            bytes_out_per_s: bound(row.bytes_out_per_s),
            sessions: bound(row.sessions),
            subscriptions: bound(row.subscriptions),
            retained_messages: bound(row.retained_messages),
            retained_bytes: bound(row.retained_bytes),
            queued_bytes: bound(row.queued_bytes),
            hook_calls_per_s: bound(row.hook_calls_per_s),
            hook_busy_ms_per_s: bound(row.hook_busy_ms_per_s),
            hook_emitted_per_s: bound(row.hook_emitted_per_s),
        }
    }
}

/// Does the same on either engine, within the time limit.
macro_rules! on_either {
    ($self:ident, $pool:ident => $work:expr) => {{
        let work = async {
            match &$self.pools {
                Pools::Postgres($pool) => $work,
                Pools::Sqlite($pool) => $work,
            }
        };
        let limit = $self.timeout;
        tokio::time::timeout(limit, work).await.unwrap_or(Err(QueryError::Timeout(limit)))
    }};
}

const RECORD: &str = "SELECT CAST(attributes AS text) AS attributes, \
    CAST(created_at AS text) AS created_at, \
    name, enabled, quotas.tenant IS NOT NULL AS has_quota, quotas.* \
    FROM tenants LEFT JOIN quotas ON quotas.tenant = name";

impl Database {
    /// Tenants by name, from behind `after`.
    pub async fn tenants(
        &self,
        after: &str,
        limit: usize,
    ) -> Result<Vec<TenantRecord>, QueryError> {
        let sql = format!("{RECORD} WHERE name > $1 ORDER BY name LIMIT $2");
        self.records(sql, after, limit).await
    }

    pub async fn tenant(&self, name: &str) -> Result<Option<TenantRecord>, QueryError> {
        let found = self.records(format!("{RECORD} WHERE name = $1 LIMIT $2"), name, 1).await?;
        Ok(found.into_iter().next())
    }

    async fn records(
        &self,
        sql: String,
        name: &str,
        limit: usize,
    ) -> Result<Vec<TenantRecord>, QueryError> {
        let (name, limit) = (name.to_owned(), limit as i64);
        let rows: Vec<RecordRow> = match &self.pools {
            Pools::Postgres(pool) => {
                let query = sqlx::query_as(AssertSqlSafe(sql)).bind(name).bind(limit);
                self.fetch(pool, query).await?
            }
            Pools::Sqlite(pool) => {
                let query = sqlx::query_as(AssertSqlSafe(sql)).bind(name).bind(limit);
                self.fetch(pool, query).await?
            }
        };
        let record = |row: RecordRow| TenantRecord {
            name: row.tenancy.name,
            enabled: row.tenancy.enabled,
            attributes: row.attributes,
            created_at: row.created_at,
            quota: row.tenancy.has_quota.then(|| row.tenancy.quota.into()),
        };
        Ok(rows.into_iter().map(record).collect())
    }

    /// Makes a tenant, enabled unless `of` says otherwise; false where there is one of the name.
    pub async fn create_tenant(&self, name: &str, of: &TenantChange) -> Result<bool, QueryError> {
        let insert = format!(
            "INSERT INTO tenants (name, enabled, attributes) \
            VALUES ($1, coalesce($2, true), coalesce({}, '{{}}')) ON CONFLICT DO NOTHING",
            self.json("$3")
        );
        self.write_tenant(Some(insert), name, of).await
    }

    /// Changes a tenant; false where there is none of the name.
    pub async fn change_tenant(&self, name: &str, to: &TenantChange) -> Result<bool, QueryError> {
        // An update would have all its principals looked up again.
        let update = (to.enabled.is_some() || to.attributes.is_some()).then(|| {
            let attributes = self.json("$3");
            format!(
                "UPDATE tenants SET enabled = coalesce($2, enabled), \
                attributes = coalesce({attributes}, attributes) WHERE name = $1"
            )
        });
        if update.is_none() && self.tenant(name).await?.is_none() {
            return Ok(false);
        }
        self.write_tenant(update, name, to).await
    }

    /// Deletes a tenant and all that belongs to it; false where there is none of the name.
    pub async fn delete_tenant(&self, name: &str) -> Result<bool, QueryError> {
        on_either!(self, pool => {
            let delete = sqlx::query("DELETE FROM tenants WHERE name = $1").bind(name);
            Ok(delete.execute(pool).await?.rows_affected() > 0)
        })
    }

    /// Runs `sql` with the change's values, then writes the quota: both, or where the first does
    /// nothing, which it says, none.
    async fn write_tenant(
        &self,
        sql: Option<String>,
        name: &str,
        change: &TenantChange,
    ) -> Result<bool, QueryError> {
        let quota = change.quota.sql();
        on_either!(self, pool => {
            let mut whole = pool.begin().await?;
            if let Some(sql) = sql {
                let query = sqlx::query(AssertSqlSafe(sql)).bind(name).bind(change.enabled);
                let done = query.bind(change.attributes.as_deref()).execute(&mut *whole).await?;
                if done.rows_affected() == 0 {
                    return Ok(false);
                }
            }
            if let Some(quota) = quota {
                sqlx::query(AssertSqlSafe(quota)).bind(name).execute(&mut *whole).await?;
            }
            whole.commit().await?;
            Ok(true)
        })
    }

    /// A text as a JSON value.
    pub(super) fn json(&self, text: &str) -> String {
        match &self.pools {
            Pools::Postgres(_) => format!("CAST({text} AS jsonb)"),
            Pools::Sqlite(_) => text.to_owned(),
        }
    }

    /// The tenants that have a quota or are disabled, the oldest first.
    pub(crate) async fn tenancy(&self, limit: usize) -> Result<Vec<TenancyRow>, QueryError> {
        let sql = "SELECT name, enabled, quotas.tenant IS NOT NULL AS has_quota, quotas.* \
            FROM tenants LEFT JOIN quotas ON quotas.tenant = name \
            WHERE NOT enabled OR quotas.tenant IS NOT NULL ORDER BY created_at, name LIMIT $1";
        let limit = limit as i64;
        match &self.pools {
            Pools::Postgres(pool) => self.fetch(pool, sqlx::query_as(sql).bind(limit)).await,
            Pools::Sqlite(pool) => self.fetch(pool, sqlx::query_as(sql).bind(limit)).await,
        }
    }
}

impl QuotaChange {
    /// With the tenant as its parameter. All else in it are numbers, and names of columns.
    fn sql(&self) -> Option<String> {
        let bounds = match self {
            Self::Keep => return None,
            Self::Remove => return Some("DELETE FROM quotas WHERE tenant = $1".into()),
            Self::Set(bounds) => bounds,
        };
        let (mut columns, mut values, mut updates) = (String::new(), String::new(), String::new());
        for (column, bound) in bounds {
            columns += &format!(", {column}");
            values += &bound.map_or(", NULL".into(), |bound| format!(", {bound}"));
            updates += &format!(", {column} = excluded.{column}");
        }
        Some(format!(
            "INSERT INTO quotas (tenant{columns}) VALUES ($1{values}) \
            ON CONFLICT (tenant) DO UPDATE SET tenant = excluded.tenant{updates}"
        ))
    }
}
