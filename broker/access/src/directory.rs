//! Who is known, and what they may do: looked up once, remembered, kept current.

mod bans;
mod cache;
mod concerned;
mod credentials;
mod grants;
mod listening;
mod mappings;
mod principal;
mod renewal;
mod tenancy;
mod tenant_grants;
mod upkeep;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use hookmq_hooks::Waited;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, SemaphorePermit, watch};
use tokio::task::AbortHandle;

use crate::{Bans, Database, DatabaseSettings, Mappings, QueryError, Tenancy, TenantGrants};
use cache::{Cache, Slot};
pub use concerned::Concerned;
use concerned::News;
use credentials::Credentials;
pub(crate) use grants::{Grants, Held, Registry};
pub(crate) use principal::read as read_answer;
pub use principal::{Answer, MAX_PERMISSIONS, NotAdmitted, Principal};
use renewal::BatchSize;
use upkeep::Rounds;

/// Whose answer is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PrincipalKey {
    pub tenant: Arc<str>,
    pub username: Arc<str>,
    /// Where a step has bound it; a mere claim selects nothing.
    pub client_id: Option<Arc<str>>,
    /// Given by other steps, beside those in the database.
    pub roles: BTreeSet<Arc<str>>,
}

impl PrincipalKey {
    /// All texts in it.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        [&self.tenant, &self.username].into_iter().chain(&self.client_id).chain(&self.roles)
    }
}

/// Whether the database can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// Not reached yet.
    Starting,
    Ready,
    NotReady {
        /// Names the database, never its password.
        reason: String,
    },
}

/// Why there is no answer. The client is refused, and may come back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryError {
    #[error("{0}")]
    Unavailable(String),
    #[error("more than {MAX_PERMISSIONS} permissions apply")]
    TooManyPermissions,
    #[error("the database's answer cannot be read: {0}")]
    Unreadable(String),
}

/// A handle on the directory. Upkeep ends with the last handle.
#[derive(Clone)]
pub struct Directory {
    shared: Arc<Shared>,
    _upkeep: Arc<[AbortOnDrop; 2]>,
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Shared {
    database: Database,
    settings: DatabaseSettings,
    cache: Mutex<Cache>,
    credentials: Arc<Credentials>,
    /// Look-ups in flight.
    permits: Semaphore,
    registry: Arc<Registry>,
    readiness: watch::Sender<Readiness>,
    /// None until they have been read.
    bans: watch::Sender<Option<Arc<Bans>>>,
    /// None until they have been read.
    mappings: watch::Sender<Option<Arc<Mappings>>>,
    tenancy: watch::Sender<Arc<Tenancy>>,
    /// None until they have been read.
    tenant_grants: watch::Sender<Option<Arc<TenantGrants>>>,
    /// Counts up before and after answers are replaced.
    generation: AtomicU64,
    /// Set where the last contact with the database is too long ago to go on.
    expired: AtomicBool,
    /// The change log is to be read now: a look-up has failed, or the database has called.
    look_now: Notify,
    rounds: watch::Sender<Rounds>,
    /// The database has called. Where it has no change log, everybody is looked up again.
    called: AtomicBool,
    news: News,
    /// Principals that are looked up at once when a change concerns many.
    batches: BatchSize,
}

impl Directory {
    /// Starts without waiting for the database, on the current tokio runtime: a task connects,
    /// migrates, reads the change log, and says in [`Directory::readiness`] how it goes.
    pub fn start(settings: DatabaseSettings) -> Self {
        let shared = Arc::new(Shared {
            database: Database::open(&settings),
            cache: Mutex::new(Cache::new(settings.cached_principals)),
            credentials: Arc::new(Credentials::new(settings.cached_principals)),
            permits: Semaphore::new(settings.max_connections.max(1) as usize),
            registry: Arc::default(),
            readiness: watch::Sender::new(Readiness::Starting),
            bans: watch::Sender::default(),
            mappings: watch::Sender::default(),
            tenancy: watch::Sender::default(),
            tenant_grants: watch::Sender::default(),
            generation: AtomicU64::new(0),
            expired: AtomicBool::new(false),
            look_now: Notify::new(),
            rounds: watch::Sender::default(),
            called: AtomicBool::new(false),
            news: News::default(),
            batches: BatchSize::default(),
            settings,
        });
        let upkeep = AbortOnDrop(tokio::spawn(upkeep::run(shared.clone())).abort_handle());
        let listening = AbortOnDrop(tokio::spawn(listening::run(shared.clone())).abort_handle());
        Self { shared, _upkeep: Arc::new([upkeep, listening]) }
    }

    pub fn readiness(&self) -> watch::Receiver<Readiness> {
        self.shared.readiness.subscribe()
    }

    /// Moves whenever what a client may do may have changed: a remembered decision of an older
    /// generation is void.
    pub fn permissions_generation(&self) -> u64 {
        self.shared.generation.load(Ordering::Acquire)
    }

    /// Looks a principal up, from memory where the answer is current. Takes no longer than the
    /// configured timeout.
    ///
    /// # Errors
    /// Where the database is away and nothing about the principal is known from before.
    pub async fn principal(&self, key: &PrincipalKey) -> Result<Answer, DirectoryError> {
        self.shared.principal(key, &Waited::default()).await
    }

    /// Looks a principal up, and keeps the answer current for as long as it is held. Takes no longer
    /// than the configured timeout leaves after what was `waited`.
    pub(crate) async fn grants(
        &self,
        key: PrincipalKey,
        waited: &Waited,
    ) -> Result<Result<Arc<Grants>, NotAdmitted>, DirectoryError> {
        let mut generation = self.permissions_generation();
        let principal = match self.shared.principal(&key, waited).await? {
            Ok(principal) => principal,
            Err(refused) => return Ok(Err(refused)),
        };
        let held = Held::register(&self.shared.registry, key, principal);
        // A change may have been applied to all that were registered while this one was not yet.
        while generation != self.permissions_generation() {
            generation = self.permissions_generation();
            match self.shared.principal(held.key(), waited).await? {
                Ok(principal) => held.replace(Ok(principal)),
                Err(refused) => return Ok(Err(refused)),
            }
        }
        Ok(Ok(Grants::new(held)))
    }

    /// Whether what is remembered may still be relied upon.
    pub(crate) fn is_current(&self) -> bool {
        self.shared.is_current()
    }
}

impl Shared {
    async fn principal(
        &self,
        key: &PrincipalKey,
        waited: &Waited,
    ) -> Result<Answer, DirectoryError> {
        if key.names().any(|name| name.contains('\0')) {
            // Postgres cannot even be asked about it.
            return Ok(Err(NotAdmitted::NoSuchPrincipal));
        }
        let slot = self.cache.lock().slot(key);
        if let Some(answer) = self.remembered(&slot) {
            return Ok(answer);
        }
        let result = self.within_what_is_left(waited, self.ask_once(&slot, key)).await;
        let Err(DirectoryError::Unavailable(_)) = result else { return result };
        self.look_now.notify_one();
        // The change log has been read since the answer was given, up to the last contact.
        let known = slot.answer().filter(|_| self.is_current());
        known.map_or(result, Ok)
    }

    /// The answer that needs no question.
    fn remembered(&self, slot: &Slot) -> Option<Answer> {
        slot.answer_within(self.settings.cache_ttl).filter(|_| self.is_current())
    }

    fn is_current(&self) -> bool {
        !self.expired.load(Ordering::Acquire)
    }

    /// Asks the database, unless somebody else has just done so for the same principal.
    async fn ask_once(&self, slot: &Slot, key: &PrincipalKey) -> Result<Answer, DirectoryError> {
        let _turn = slot.turn.lock().await;
        if let Some(answer) = self.remembered(slot) {
            return Ok(answer);
        }
        self.check_reachable()?;
        self.ask(slot, key).await
    }

    /// Waits for an answer, for as long as all look-ups of a chain may take that has `waited` already.
    async fn within_what_is_left<T>(
        &self,
        waited: &Waited,
        answer: impl Future<Output = Result<T, DirectoryError>>,
    ) -> Result<T, DirectoryError> {
        let left = waited.left_of(self.settings.timeout);
        if left.is_zero() {
            return Err(self.too_slow());
        }
        let begun = Instant::now();
        let answer = tokio::time::timeout(left, answer).await;
        waited.add(begun.elapsed());
        answer.unwrap_or_else(|_| Err(self.too_slow()))
    }

    fn check_reachable(&self) -> Result<(), DirectoryError> {
        let away = match &*self.readiness.borrow() {
            Readiness::Ready => return Ok(()),
            Readiness::Starting => format!("{} is not reached yet", self.database.url()),
            Readiness::NotReady { reason } => reason.clone(),
        };
        Err(DirectoryError::Unavailable(away))
    }

    /// The right to ask. The wait for it is half of the time at the most: a question that is given up
    /// costs its connection, so whoever asks is to have time for the answer.
    async fn permit(&self) -> Result<SemaphorePermit<'_>, DirectoryError> {
        let permit = tokio::time::timeout(self.settings.timeout / 2, self.permits.acquire()).await;
        permit.map_err(|_| self.too_busy())?.map_err(|_| self.too_busy())
    }

    fn too_busy(&self) -> DirectoryError {
        let (url, limit) = (self.database.url(), self.settings.max_connections);
        DirectoryError::Unavailable(format!("all {limit} connections to {url} are busy"))
    }

    fn too_slow(&self) -> DirectoryError {
        let (url, limit) = (self.database.url(), self.settings.timeout.as_millis());
        DirectoryError::Unavailable(format!("{url} did not answer within {limit} ms"))
    }

    /// Asks the database, and remembers the answer unless it may be outdated by now.
    async fn ask(&self, slot: &Slot, key: &PrincipalKey) -> Result<Answer, DirectoryError> {
        let _permit = self.permit().await?;
        let generation = self.generation.load(Ordering::Acquire);
        let rows = self.database.look_up(key).await.map_err(|error| self.unavailable(&error))?;
        let answer = principal::read(rows)?;
        self.remember(slot, &answer, generation);
        Ok(answer)
    }

    fn unavailable(&self, error: &QueryError) -> DirectoryError {
        DirectoryError::Unavailable(format!("{}: {error}", self.database.url()))
    }

    /// Keeps an answer to what was asked in `generation`, unless it may be outdated by now.
    fn remember(&self, slot: &Slot, answer: &Answer, generation: u64) {
        let size = answer.as_ref().map_or(0, |principal| principal.permissions.len());
        if slot.remember_if(answer, || generation == self.generation.load(Ordering::Acquire)) {
            self.cache.lock().note_size(size);
        }
    }
}
