//! A database of its own for each test, a directory on it, and clients that connect.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hookmq_access::{DatabaseProgram, DatabaseSettings, DatabaseUrl, Directory, Readiness};
use hookmq_codec::{ProtocolVersion, Qos};
use hookmq_hooks::{
    Access, Action, Attribute, AuthorizeVerdict, Client, ConnectAttempt, ConnectVerdict,
    ConnectionFacts, Identity, Program, StepFailure, Voucher,
};
use hookmq_tests::postgres::Postgres;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, Row};

/// For what happens by itself; generous, as the machine may be busy.
pub const DEADLINE: Duration = Duration::from_secs(20);

pub struct World {
    pub settings: DatabaseSettings,
    program: Option<Arc<DatabaseProgram>>,
    directory: Option<Directory>,
    place: Place,
}

enum Place {
    Sqlite { file: PathBuf, _folder: tempfile::TempDir },
    Postgres { url: String, _server: Arc<Postgres> },
}

/// What the steps before `database` have established.
#[derive(Clone)]
pub struct Newcomer {
    pub tenant: Option<&'static str>,
    pub username: &'static str,
    pub bound_client_id: Option<&'static str>,
    pub roles: &'static [&'static str],
}

impl Newcomer {
    pub fn named(username: &'static str) -> Self {
        Self { tenant: Some("acme"), username, bound_client_id: None, roles: &[] }
    }
}

impl World {
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("new/folder/access.db");
        let url = DatabaseUrl::sqlite(&file);
        Self::new(url, Place::Sqlite { file, _folder: folder })
    }

    pub fn postgres() -> Self {
        let server = Postgres::shared().unwrap();
        let url = server.create_database().unwrap();
        Self::new(url.parse().unwrap(), Place::Postgres { url, _server: server })
    }

    /// On a server that the test may stop.
    pub async fn own_postgres(running: bool) -> (Self, Arc<Postgres>) {
        let server = if running { Postgres::start() } else { Postgres::prepare() };
        let server = Arc::new(server.unwrap());
        let url = server.url("postgres");
        let place = Place::Postgres { url: url.clone(), _server: server.clone() };
        (Self::new(url.parse().unwrap(), place), server)
    }

    fn new(url: DatabaseUrl, place: Place) -> Self {
        let poll_interval = Duration::from_millis(50);
        let settings = DatabaseSettings { url, poll_interval, ..DatabaseSettings::default() };
        Self { settings, program: None, directory: None, place }
    }

    pub fn start(mut self) -> Self {
        let directory = Directory::start(self.settings.clone());
        self.program = Some(Arc::new(DatabaseProgram::new(directory.clone())));
        self.directory = Some(directory);
        self
    }

    /// A directory that is ready, with `sql` applied before.
    pub async fn start_with(self, sql: &str) -> Self {
        hookmq_access::Database::open(&self.settings).migrate().await.unwrap();
        self.execute(sql).await.unwrap();
        let world = self.start();
        world.until(|readiness| *readiness == Readiness::Ready).await;
        world
    }

    pub fn directory(&self) -> &Directory {
        self.directory.as_ref().expect("the test has started it")
    }

    pub async fn until(&self, wanted: impl FnMut(&Readiness) -> bool) {
        let mut readiness = self.directory().readiness();
        let reached = tokio::time::timeout(DEADLINE, readiness.wait_for(wanted)).await;
        reached.expect("readiness changes in time").unwrap();
    }

    pub fn sqlite_file(&self) -> &Path {
        match &self.place {
            Place::Sqlite { file, .. } => file,
            Place::Postgres { .. } => panic!("on Postgres"),
        }
    }

    /// Runs SQL as an operator would, past the broker.
    pub async fn execute(&self, sql: &str) -> Result<(), sqlx::Error> {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        match &self.place {
            Place::Sqlite { file, .. } => {
                let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
                let mut connection = options.foreign_keys(true).connect().await?;
                sql.execute(&mut connection).await?;
                connection.close().await
            }
            Place::Postgres { url, .. } => {
                let mut connection = PgConnection::connect(url).await?;
                sql.execute(&mut connection).await?;
                connection.close().await
            }
        }
    }

    /// An open transaction on Postgres in which `sql` has run.
    pub async fn transaction(&self, sql: &str) -> sqlx::Transaction<'static, sqlx::Postgres> {
        let Place::Postgres { url, .. } = &self.place else { panic!("on SQLite") };
        let pool = sqlx::PgPool::connect(url).await.unwrap();
        let mut transaction = pool.begin().await.unwrap();
        let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        sql.execute(&mut *transaction).await.unwrap();
        transaction
    }

    pub async fn count(&self, table: &str) -> i64 {
        let sql = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        match &self.place {
            Place::Sqlite { file, .. } => {
                let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
                let mut connection = options.connect().await.unwrap();
                sqlx::query(sql).fetch_one(&mut connection).await.unwrap().get(0)
            }
            Place::Postgres { url, .. } => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                sqlx::query(sql).fetch_one(&mut connection).await.unwrap().get(0)
            }
        }
    }

    /// The client, or what the step answers instead.
    pub async fn connect(
        &self,
        newcomer: &Newcomer,
    ) -> Result<Connected, Result<ConnectVerdict, StepFailure>> {
        let program = self.program.clone().expect("the test has started it");
        let attempt = attempt(newcomer);
        match program.connect(&attempt).await {
            Ok(ConnectVerdict::Next(patch)) => {
                let client = client(attempt, patch);
                Ok(Connected { client: Arc::new(client), program })
            }
            other => Err(other),
        }
    }

    pub async fn until_connected(&self, newcomer: &Newcomer) -> Connected {
        let attempts = async {
            loop {
                match self.connect(newcomer).await {
                    Ok(connected) => return connected,
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        };
        tokio::time::timeout(DEADLINE, attempts).await.expect("connected in time")
    }
}

fn attempt(newcomer: &Newcomer) -> ConnectAttempt {
    let identity = Identity {
        tenant: newcomer.tenant.map(Into::into),
        username: Some(newcomer.username.into()),
        client_id: newcomer.bound_client_id.map(Into::into),
        roles: newcomer.roles.iter().map(|role| (*role).into()).collect(),
        ..Identity::default()
    };
    ConnectAttempt {
        connection: ConnectionFacts {
            listener: "test".into(),
            peer: None,
            protocol: ProtocolVersion::V5,
            encrypted: false,
        },
        certificate: None,
        client_id: "claimed".into(),
        username: None,
        password: None,
        authentication: None,
        waited: Default::default(),
        identity,
    }
}

/// As the pipeline makes it.
fn client(attempt: ConnectAttempt, patch: hookmq_hooks::IdentityPatch) -> Client {
    let identity = attempt.identity;
    let vouched_by = Voucher::Step("database".into());
    let vouched = |value| Attribute { value, vouched_by: vouched_by.clone() };
    Client {
        tenant: identity.tenant.expect("the step has answered next"),
        username: identity.username.expect("the step has answered next"),
        client_id_bound: identity.client_id.is_some(),
        client_id: identity.client_id.unwrap_or_else(|| attempt.client_id.into()),
        roles: identity.roles.into_iter().chain(patch.roles).collect(),
        attributes: patch.attributes.into_iter().map(|(name, it)| (name, vouched(it))).collect(),
        connection: attempt.connection,
        certificate: None,
        attachments: patch.attachments,
        limits: patch.limits,
        budget: Default::default(),
        steps: Default::default(),
    }
}

pub struct Connected {
    pub client: Arc<Client>,
    program: Arc<DatabaseProgram>,
}

impl std::fmt::Debug for Connected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connected({:?})", self.client.username)
    }
}

impl Connected {
    pub fn publish(&self, topic: &str) -> Result<AuthorizeVerdict, StepFailure> {
        self.ask(Action::Publish, topic, Qos::AtMostOnce)
    }

    pub fn ask(
        &self,
        action: Action,
        topic: &str,
        qos: Qos,
    ) -> Result<AuthorizeVerdict, StepFailure> {
        self.ask_with(action, topic, qos, false)
    }

    pub fn ask_with(
        &self,
        action: Action,
        topic: &str,
        qos: Qos,
        retain: bool,
    ) -> Result<AuthorizeVerdict, StepFailure> {
        let shared = topic.strip_prefix("$share/").and_then(|shared| shared.split_once('/'));
        let (share_name, topic) = shared.map_or((None, topic), |(name, topic)| (Some(name), topic));
        self.program.authorize(&self.client, &Access { action, topic, qos, retain, share_name })
    }
}

/// Waits for what another task brings about.
pub async fn eventually(what: &str, mut reached: impl FnMut() -> bool) {
    let wait = async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let done = tokio::time::timeout(DEADLINE, wait).await;
    assert!(done.is_ok(), "not in time: {what}");
}

/// Runs all at once, on this task.
pub async fn join_all<F: Future>(all: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = all.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        let mut done = true;
        for (future, output) in &mut waiting {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(it) => *output = Some(it),
                    std::task::Poll::Pending => done = false,
                }
            }
        }
        if done { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    waiting.into_iter().filter_map(|(_, output)| output).collect()
}
