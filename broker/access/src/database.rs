//! Postgres or SQLite behind one small surface: migrations, one look-up, the change log.

mod bans;
mod foreign;
mod look_up;
mod look_up_many;
mod prospect;
mod seed;
mod tenant_grants;
mod tenants;
mod tokens;

use std::fs::{DirBuilder, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::PgPoolOptions;
use sqlx::query::QueryAs;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, Executor, FromRow, IntoArguments, PgPool, Pool, SqlitePool};

pub use self::bans::{BanRecord, MAX_TENANT_BANS, NewBan};
pub use self::foreign::{ForeignQueries, ForeignUser, MAX_USERS};
use self::look_up::{look_up_postgres, look_up_sqlite};
pub(crate) use self::look_up_many::{Asked, ManyRow, Subject};
pub use self::prospect::{MAX_COMPARED, Prospect, ProspectError, Whom};
pub(crate) use self::tenant_grants::TenantGrantRow;
pub use self::tenant_grants::{MAX_GRANTS_INTO_TENANT, NewTenantGrant, TenantGrantRecord};
pub use self::tenants::{QuotaChange, TenantChange, TenantRecord};
pub use self::tokens::TokenRecord;
use crate::settings::Kind;
use crate::{DatabaseSettings, DatabaseUrl, PrincipalKey};

/// A large table may take its time to be altered.
const MIGRATION_TIMEOUT: Duration = Duration::from_secs(300);

/// Between two attempts on a file that another broker is setting up.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// Where principals and permissions are kept.
#[derive(Clone)]
pub struct Database {
    pools: Pools,
    url: DatabaseUrl,
    timeout: Duration,
    /// Where the tables are not the broker's own.
    queries: Option<Arc<ForeignQueries>>,
}

#[derive(Clone)]
enum Pools {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

/// Why the database gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    #[error("{0}")]
    Sql(#[from] sqlx::Error),
    #[error("migrating: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("the file cannot be created: {0}")]
    File(#[from] std::io::Error),
    #[error("the query `{name}`: {why}")]
    Query { name: &'static str, why: String },
}

impl QueryError {
    /// Whether the tables do not take what was to be written.
    pub fn is_refusal(&self) -> bool {
        let Self::Sql(sqlx::Error::Database(error)) = self else { return false };
        error.is_check_violation() || error.is_foreign_key_violation()
    }
}

/// One row of a look-up: the principal, and one of its permissions.
#[derive(Debug, Default, FromRow)]
pub(crate) struct LookupRow {
    pub tenant_enabled: bool,
    pub principal_enabled: Option<bool>,
    pub tenant_attributes: String,
    pub principal_attributes: Option<String>,
    /// A JSON array.
    pub roles: String,
    pub id: Option<i64>,
    pub subject_kind: Option<String>,
    pub subject: Option<String>,
    pub action: Option<String>,
    pub filter: Option<String>,
    pub effect: Option<String>,
    pub priority: Option<i64>,
    pub max_qos: Option<i64>,
    pub allow_retain: Option<bool>,
    /// A JSON array; none: of any name.
    pub share_names: Option<String>,
    pub on_denial: Option<String>,
}

/// The answer to a question for a credential.
#[derive(Clone, FromRow)]
pub(crate) struct CredentialRow {
    /// Random, and the same for as long as the database lives.
    pub stranger_key: String,
    /// None where there is no credential, or none that counts.
    pub secret: Option<String>,
}

/// A ban that is not over.
#[derive(Debug, FromRow)]
pub(crate) struct BanRow {
    pub id: i64,
    /// None: of every tenant.
    pub tenant: Option<String>,
    pub kind: String,
    pub subject: String,
    pub reason: String,
    /// Seconds since 1970. None: for good.
    pub expires_at: Option<i64>,
}

/// A certificate mapping that counts.
#[derive(Debug, FromRow)]
pub(crate) struct MappingRow {
    pub id: i64,
    pub priority: i64,
    pub trust_anchor: String,
    pub vouched_by: String,
    pub issuer: Option<String>,
    pub match_field: Option<String>,
    pub match_value: Option<String>,
    pub tenant: String,
    pub username: String,
    pub client_id: Option<String>,
    /// A JSON array.
    pub roles: String,
    /// A JSON object.
    pub attributes: String,
}

/// How far the change log has come. A sequence number alone would miss what commits late, and what
/// another server has written under the same number after a failover.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub(crate) struct LogMark {
    pub last: i64,
    pub length: i64,
    pub newest: String,
}

/// One line of the change log.
#[derive(Debug, Clone, PartialEq, Eq, Hash, FromRow)]
pub(crate) struct LogLine {
    pub seq: i64,
    /// When it was written, as the database puts it.
    pub at: String,
    /// None: every tenant.
    pub tenant: Option<String>,
    /// None: the whole tenant.
    pub username: Option<String>,
    /// A table, and what was done to it.
    pub what: String,
}

impl Database {
    /// Prepares the connections without making one; what is wrong shows when it is asked.
    pub fn open(settings: &DatabaseSettings) -> Self {
        let timeout = settings.timeout;
        let pools = match settings.url.kind() {
            Kind::Postgres { options, .. } => Pools::Postgres(
                PgPoolOptions::new()
                    .max_connections(settings.max_connections.max(1))
                    .acquire_timeout(timeout)
                    .connect_lazy_with((**options).clone()),
            ),
            Kind::Sqlite(path) => Pools::Sqlite(
                SqlitePoolOptions::new()
                    .max_connections(settings.max_connections.max(1))
                    .acquire_timeout(timeout)
                    .connect_lazy_with(sqlite_options(path, timeout)),
            ),
        };
        let queries = settings.queries.clone().map(Arc::new);
        Self { pools, url: settings.url.clone(), timeout, queries }
    }

    /// For one connection more, which Postgres calls on when something changes.
    pub(crate) fn pool_for_listening(&self) -> Option<PgPool> {
        let Kind::Postgres { options, .. } = self.url.kind() else { return None };
        let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(self.timeout);
        let pool = pool.max_lifetime(None).idle_timeout(None);
        Some(pool.connect_lazy_with((**options).clone()))
    }

    /// Its address, without a password.
    pub fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    /// Brings the schema up to date; without effect where it is. Several brokers may do so at once.
    pub async fn migrate(&self) -> Result<(), QueryError> {
        if let Kind::Sqlite(path) = self.url.kind() {
            create_private_file(path)?;
        }
        // On a connection of its own: the lock would outlive a failure in a pooled one.
        let work = async {
            match &self.pools {
                Pools::Postgres(pool) => {
                    let mut connection = pool.acquire().await?.detach();
                    let migrator = sqlx::migrate!("../../migrations/postgres");
                    migrator.run_direct(None, &mut connection, false).await?;
                    Ok(connection.close().await?)
                }
                Pools::Sqlite(pool) => loop {
                    match migrate_sqlite(pool).await {
                        Err(error) if is_busy(&error) => tokio::time::sleep(BUSY_PAUSE).await,
                        done => break done,
                    }
                },
            }
        };
        tokio::time::timeout(MIGRATION_TIMEOUT, work)
            .await
            .unwrap_or(Err(QueryError::Timeout(MIGRATION_TIMEOUT)))
    }

    /// All about a principal in one round trip: at most one row more than [`crate::MAX_PERMISSIONS`], and
    /// none where the tenant is unknown.
    pub(crate) async fn look_up(&self, key: &PrincipalKey) -> Result<Vec<LookupRow>, QueryError> {
        if let Some(queries) = &self.queries {
            return self.look_up_foreign(queries, key).await;
        }
        match &self.pools {
            Pools::Postgres(pool) => self.fetch(pool, look_up_postgres(key)).await,
            Pools::Sqlite(pool) => self.fetch(pool, look_up_sqlite(key)).await,
        }
    }

    /// One row, or none where the broker's own rows are missing.
    pub(crate) async fn credential(
        &self,
        tenant: &str,
        username: &str,
        kind: &'static str,
    ) -> Result<Vec<CredentialRow>, QueryError> {
        if let Some(queries) = &self.queries {
            return self.foreign_credential(queries, tenant, username).await;
        }
        let sql = include_str!("database/credential.sql");
        let (tenant, username) = (tenant.to_owned(), username.to_owned());
        match &self.pools {
            Pools::Postgres(pool) => {
                self.fetch(pool, sqlx::query_as(sql).bind(tenant).bind(username).bind(kind)).await
            }
            Pools::Sqlite(pool) => {
                self.fetch(pool, sqlx::query_as(sql).bind(tenant).bind(username).bind(kind)).await
            }
        }
    }

    pub(crate) async fn log_mark(&self) -> Result<LogMark, QueryError> {
        let sql = "SELECT coalesce(max(seq), 0) AS last, count(*) AS length, \
            coalesce(CAST(max(at) AS text), '') AS newest FROM change_log";
        let marks = match &self.pools {
            Pools::Postgres(pool) => self.fetch(pool, sqlx::query_as(sql)).await?,
            Pools::Sqlite(pool) => self.fetch(pool, sqlx::query_as(sql)).await?,
        };
        marks.into_iter().next().ok_or(QueryError::Sql(sqlx::Error::RowNotFound))
    }

    /// The newest lines, the newest first.
    pub(crate) async fn log_lines(&self, limit: usize) -> Result<Vec<LogLine>, QueryError> {
        let sql = "SELECT seq, CAST(at AS text) AS at, tenant, username, what FROM change_log \
            ORDER BY seq DESC LIMIT $1";
        match &self.pools {
            Pools::Postgres(pool) => self.fetch(pool, sqlx::query_as(sql).bind(limit as i64)).await,
            Pools::Sqlite(pool) => self.fetch(pool, sqlx::query_as(sql).bind(limit as i64)).await,
        }
    }

    /// The bans that are not over, the newest first.
    pub(crate) async fn bans(&self, limit: usize) -> Result<Vec<BanRow>, QueryError> {
        let limit = limit as i64;
        match &self.pools {
            Pools::Postgres(pool) => {
                let sql = include_str!("database/bans_postgres.sql");
                self.fetch(pool, sqlx::query_as(sql).bind(limit)).await
            }
            Pools::Sqlite(pool) => {
                let sql = include_str!("database/bans_sqlite.sql");
                self.fetch(pool, sqlx::query_as(sql).bind(limit)).await
            }
        }
    }

    /// The certificate mappings that count, the oldest first.
    pub(crate) async fn mappings(&self, limit: usize) -> Result<Vec<MappingRow>, QueryError> {
        let (sql, limit) = (include_str!("database/mappings.sql"), limit as i64);
        match &self.pools {
            Pools::Postgres(pool) => self.fetch(pool, sqlx::query_as(sql).bind(limit)).await,
            Pools::Sqlite(pool) => self.fetch(pool, sqlx::query_as(sql).bind(limit)).await,
        }
    }

    /// Deletes the lines up to and including `seq`.
    pub(crate) async fn trim_log(&self, seq: i64) -> Result<(), QueryError> {
        let sql = "DELETE FROM change_log WHERE seq <= $1";
        match &self.pools {
            Pools::Postgres(pool) => {
                self.fetch::<_, (i64,)>(pool, sqlx::query_as(sql).bind(seq)).await?
            }
            Pools::Sqlite(pool) => {
                self.fetch::<_, (i64,)>(pool, sqlx::query_as(sql).bind(seq)).await?
            }
        };
        Ok(())
    }

    /// Runs a query within the time limit. A connection that did not answer is closed rather than
    /// given back: its peer may be gone without a word.
    async fn fetch<DB, Row>(
        &self,
        pool: &Pool<DB>,
        query: QueryAs<'_, DB, Row, DB::Arguments>,
    ) -> Result<Vec<Row>, QueryError>
    where
        DB: sqlx::Database,
        DB::Arguments: IntoArguments<DB>,
        for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
        Row: for<'r> FromRow<'r, DB::Row> + Send + Unpin,
    {
        let work = async {
            let mut lease = Lease(Some(pool.acquire().await?));
            let Some(connection) = &mut lease.0 else {
                return Err(QueryError::Sql(sqlx::Error::PoolClosed));
            };
            let rows = query.fetch_all(&mut **connection).await?;
            drop(lease.0.take());
            Ok(rows)
        };
        tokio::time::timeout(self.timeout, work)
            .await
            .unwrap_or(Err(QueryError::Timeout(self.timeout)))
    }
}

async fn migrate_sqlite(pool: &SqlitePool) -> Result<(), QueryError> {
    let mut connection = pool.acquire().await?.detach();
    // The migrator itself takes no lock on SQLite.
    let mut alone = connection.begin_with("BEGIN IMMEDIATE").await?;
    let migrator = sqlx::migrate!("../../migrations/sqlite");
    migrator.run_direct(None, &mut *alone, false).await?;
    alone.commit().await?;
    Ok(connection.close().await?)
}

/// SQLite waits for locks by itself, except where two that switch a new file to its write-ahead log
/// would wait for each other: there it refuses one of them at once.
fn is_busy(error: &QueryError) -> bool {
    const SQLITE_BUSY: i64 = 5;
    let QueryError::Sql(sqlx::Error::Database(error)) = error else { return false };
    let code = error.code().and_then(|code| code.parse::<i64>().ok());
    // The upper bits tell which kind of busy.
    code.is_some_and(|code| code & 0xff == SQLITE_BUSY)
}

/// A connection that leaves the pool unless its query has come to an end.
struct Lease<DB: sqlx::Database>(Option<PoolConnection<DB>>);

impl<DB: sqlx::Database> Drop for Lease<DB> {
    fn drop(&mut self) {
        drop(self.0.take().map(PoolConnection::detach));
    }
}

fn sqlite_options(path: &Path, timeout: Duration) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .foreign_keys(true)
        .busy_timeout(timeout)
}

/// A new file is for its owner alone, and so are the files that SQLite puts beside it. One that
/// exists keeps the mode that its owner chose.
fn create_private_file(path: &Path) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}
