//! Rights as they would be: a change is tried in a transaction that is never committed.
//!
//! Nobody reads the SQL to find out whether it would commit: the database itself keeps it from doing so.
//! See docs/decisions/0057.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, SqliteConnection};

use super::look_up::{look_up_postgres, look_up_sqlite};
use super::{Database, QueryError, sqlite_options};
use crate::directory::{Answer, DirectoryError, read_answer};
use crate::settings::Kind;
use crate::{NotAdmitted, PrincipalKey};

/// Principals that are compared at once.
pub const MAX_COMPARED: usize = 20_000;

/// Of all, the change included: others wait for the rows that it has changed.
const LONGEST: Duration = Duration::from_secs(60);

/// A function that runs the change: Postgres ends no transaction within one, whatever the change says.
const RUN: &str = "DO $hookmq$ BEGIN EXECUTE current_setting('hookmq.change'); END $hookmq$";

/// Whose rights are wanted.
#[derive(Debug, Clone)]
pub enum Whom {
    These(Vec<PrincipalKey>),
    /// Who has a row in `principals`, before or after.
    AllPrincipals,
}

/// What the directory would answer about one principal.
#[derive(Debug, Clone)]
pub struct Prospect {
    pub before: Result<Answer, DirectoryError>,
    pub after: Result<Answer, DirectoryError>,
}

/// Why nothing can be foretold. Nothing has changed in any case.
#[derive(Debug, thiserror::Error)]
pub enum ProspectError {
    #[error("the change is refused: {0}")]
    Change(String),
    #[error(
        "the change ends the transaction that it is tried in: leave out BEGIN, COMMIT and ROLLBACK"
    )]
    Ended,
    #[error("the tables are not the broker's own, and only those are compared")]
    Foreign,
    #[error("more than {MAX_COMPARED} principals: name some")]
    TooMany,
    #[error("{0}")]
    Query(#[from] QueryError),
}

impl From<sqlx::Error> for ProspectError {
    fn from(error: sqlx::Error) -> Self {
        Self::Query(error.into())
    }
}

impl Database {
    /// Looks principals up as they are, and as they would be if `change` were committed, which it never
    /// is. `change` is SQL of any number of statements, run on a connection of its own.
    ///
    /// What a transaction does not take back stays done: numbers that a sequence has given, and what
    /// functions and commands do outside of the database.
    ///
    /// # Errors
    /// Where the change fails, or would end its transaction; where the database is away, or all takes
    /// longer than a minute.
    pub async fn foresee(
        &self,
        change: &str,
        whom: &Whom,
    ) -> Result<HashMap<PrincipalKey, Prospect>, ProspectError> {
        if self.queries.is_some() {
            return Err(ProspectError::Foreign);
        }
        let work = async {
            match self.url.kind() {
                Kind::Postgres { options, .. } => {
                    let mut trial = Trial::Postgres(options.connect().await?, 0);
                    trial.compare(change, whom).await
                }
                Kind::Sqlite(path) => {
                    let options = sqlite_options(path, self.timeout);
                    let mut trial = Trial::Sqlite(options.connect().await?, Arc::default());
                    trial.compare(change, whom).await
                }
            }
        };
        // A connection that is dropped takes its transaction along.
        let done = tokio::time::timeout(LONGEST, work).await;
        done.unwrap_or(Err(QueryError::Timeout(LONGEST).into()))
    }
}

enum Trial {
    /// With the number of its transaction.
    Postgres(PgConnection, i64),
    /// With whether the transaction has ended.
    Sqlite(SqliteConnection, Arc<AtomicBool>),
}

impl Trial {
    async fn compare(
        &mut self,
        change: &str,
        whom: &Whom,
    ) -> Result<HashMap<PrincipalKey, Prospect>, ProspectError> {
        self.begin().await?;
        let mut before = HashMap::new();
        for key in self.keys(whom).await? {
            let answer = self.look_up(&key).await?;
            before.insert(key, answer);
        }
        self.run(change).await?;
        let mut prospects = HashMap::new();
        let mut after = self.keys(whom).await?;
        after.extend(before.keys().cloned());
        for key in after {
            let gone = Ok(Err(NotAdmitted::NoSuchPrincipal));
            let before = before.get(&key).cloned().unwrap_or(gone);
            let after = self.look_up(&key).await?;
            prospects.insert(key, Prospect { before, after });
        }
        self.end().await?;
        Ok(prospects)
    }

    async fn begin(&mut self) -> Result<(), ProspectError> {
        match self {
            Self::Postgres(connection, number) => {
                // One picture before and after, whatever others commit meanwhile.
                let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ";
                sqlx::raw_sql(begin).execute(&mut *connection).await?;
                let current = sqlx::query_scalar("SELECT txid_current()");
                *number = current.fetch_one(connection).await?;
            }
            Self::Sqlite(connection, ended) => {
                let (on_commit, on_rollback) = (ended.clone(), ended.clone());
                {
                    let mut handle = connection.lock_handle().await?;
                    handle.set_commit_hook(move || {
                        on_commit.store(true, Ordering::Release);
                        // SQLite rolls back instead.
                        false
                    });
                    handle.set_rollback_hook(move || on_rollback.store(true, Ordering::Release));
                }
                sqlx::raw_sql("BEGIN IMMEDIATE").execute(connection).await?;
            }
        }
        Ok(())
    }

    async fn run(&mut self, change: &str) -> Result<(), ProspectError> {
        match self {
            Self::Postgres(connection, number) => {
                sqlx::query("SELECT set_config('hookmq.change', $1, true)")
                    .bind(change)
                    .execute(&mut *connection)
                    .await?;
                sqlx::raw_sql(RUN).execute(&mut *connection).await.map_err(refused)?;
                // What would be refused only at the end.
                let check = sqlx::raw_sql("SET CONSTRAINTS ALL IMMEDIATE");
                check.execute(&mut *connection).await.map_err(refused)?;
                let current = sqlx::query_scalar("SELECT txid_current()");
                let current: i64 = current.fetch_one(connection).await?;
                if current != *number {
                    return Err(ProspectError::Ended);
                }
            }
            Self::Sqlite(connection, ended) => {
                let change = sqlx::raw_sql(AssertSqlSafe(change.to_owned()));
                let done = change.execute(connection).await;
                if ended.load(Ordering::Acquire) {
                    return Err(ProspectError::Ended);
                }
                done.map_err(refused)?;
            }
        }
        Ok(())
    }

    async fn look_up(
        &mut self,
        key: &PrincipalKey,
    ) -> Result<Result<Answer, DirectoryError>, ProspectError> {
        if key.names().any(|name| name.contains('\0')) {
            return Ok(Ok(Err(NotAdmitted::NoSuchPrincipal)));
        }
        let rows = match self {
            Self::Postgres(connection, _) => look_up_postgres(key).fetch_all(connection).await,
            Self::Sqlite(connection, _) => look_up_sqlite(key).fetch_all(connection).await,
        };
        Ok(read_answer(rows?))
    }

    async fn keys(&mut self, whom: &Whom) -> Result<Vec<PrincipalKey>, ProspectError> {
        let keys = match whom {
            Whom::These(keys) => keys.clone(),
            Whom::AllPrincipals => {
                let sql = "SELECT tenant, username FROM principals LIMIT $1";
                let limit = MAX_COMPARED as i64 + 1;
                let found = match self {
                    Self::Postgres(it, _) => sqlx::query_as(sql).bind(limit).fetch_all(it).await?,
                    Self::Sqlite(it, _) => sqlx::query_as(sql).bind(limit).fetch_all(it).await?,
                };
                let key = |(tenant, username): (String, String)| PrincipalKey {
                    tenant: tenant.into(),
                    username: username.into(),
                    client_id: None,
                    roles: Default::default(),
                };
                found.into_iter().map(key).collect()
            }
        };
        if keys.len() > MAX_COMPARED { Err(ProspectError::TooMany) } else { Ok(keys) }
    }

    async fn end(&mut self) -> Result<(), ProspectError> {
        match self {
            Self::Postgres(it, _) => sqlx::raw_sql("ROLLBACK").execute(it).await.map(drop)?,
            Self::Sqlite(it, _) => sqlx::raw_sql("ROLLBACK").execute(it).await.map(drop)?,
        }
        Ok(())
    }
}

/// What the database says, without what is only about this program.
fn refused(error: sqlx::Error) -> ProspectError {
    match error {
        sqlx::Error::Database(error) => ProspectError::Change(error.message().to_owned()),
        other => other.into(),
    }
}
