//! The connect step `password`: user name and password of CONNECT against the database.

#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread::available_parallelism;

use hookmq_hooks::{
    BoxFuture, Checks, ConnectAttempt, ConnectVerdict, FailureKind, HookSet, Program,
    ProgramIdentity, Secret, StepFailure,
};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::{builtin, deny, failure, named};
use crate::client_id::NamedClientIdRule;
use crate::name::some_name;
use crate::{Directory, PasswordHash};

/// Of credentials, in the database.
const KIND: &str = "password";

/// Accepts clients that know their password, and vouches for tenant and username. Refuses others, also
/// those that bring none.
pub struct PasswordProgram {
    identity: ProgramIdentity,
    directory: Directory,
    settings: PasswordSettings,
    /// To try a password takes a processor's time and memory, which connected clients need as well.
    checks: Arc<Semaphore>,
    effort: Arc<Effort>,
    /// The hash that was looked at last. Somebody unknown is tried against it, for the time that takes.
    stranger: Mutex<Option<Arc<PasswordHash>>>,
}

/// What is counted of the passwords that are tried.
#[derive(Default)]
struct Effort {
    running: AtomicU32,
    begun: AtomicU64,
}

/// A password that is being tried.
struct Trying(Arc<Effort>);

impl Effort {
    fn begin(self: Arc<Self>) -> Trying {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.running.fetch_add(1, Ordering::Relaxed);
        Trying(self)
    }
}

impl Drop for Trying {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the step takes from the configuration.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PasswordSettings {
    /// Where no step before has named one.
    #[serde(deserialize_with = "some_name")]
    pub tenant: Option<Arc<str>>,
    /// Passwords that are tried at once; the others wait, until their connect timeout.
    pub checks: NonZeroUsize,
    /// The client ids that belong to who knows the password; none: any.
    pub client_id: Option<NamedClientIdRule>,
}

impl Default for PasswordSettings {
    /// Half of the processors.
    fn default() -> Self {
        let processors = available_parallelism().map_or(1, NonZeroUsize::get);
        let checks = NonZeroUsize::new(processors / 2).unwrap_or(NonZeroUsize::MIN);
        Self { tenant: None, checks, client_id: None }
    }
}

impl PasswordProgram {
    pub fn new(directory: Directory, settings: PasswordSettings) -> Self {
        let checks = Arc::new(Semaphore::new(settings.checks.get().min(Semaphore::MAX_PERMITS)));
        let (identity, stranger) = (builtin("password"), Mutex::default());
        Self { identity, directory, settings, checks, effort: Arc::default(), stranger }
    }

    async fn authenticate(&self, attempt: &ConnectAttempt) -> Result<ConnectVerdict, StepFailure> {
        let (Some(username), Some(password)) = (&attempt.username, &attempt.password) else {
            return Ok(deny("no user name with a password"));
        };
        let Some(tenant) = attempt.identity.tenant.as_ref().or(self.settings.tenant.as_ref())
        else {
            return Ok(deny(
                "neither a step before `password` nor its configuration names a tenant",
            ));
        };
        let vouched = attempt.identity.username.as_deref();
        if vouched.is_some_and(|vouched| vouched != username) {
            return Ok(deny(format!("{username:?} is somebody else to a step before")));
        }
        let found = self.directory.credential(tenant, username, KIND, &attempt.waited).await;
        let found = found.map_err(failure)?;
        let known = found.secret().map(str::parse::<PasswordHash>).transpose();
        let known = known.map_err(|error| {
            let message = format!("the password of {username:?} in the database: {error}");
            StepFailure::new(FailureKind::Error, message)
        })?;
        let is_known = known.is_some();
        let is_right = self.check(known, password.clone()).await?;
        Ok(match (is_known, is_right) {
            (true, true) => {
                found.proved();
                let (username, rule) = (username.as_str().into(), self.settings.client_id.as_ref());
                named(attempt, tenant.clone(), username, rule)
                    .map_or_else(ConnectVerdict::from, ConnectVerdict::Accept)
            }
            (true, false) => deny(format!("{username:?} of {tenant:?}: the password is wrong")),
            (false, _) => deny(format!("{username:?} of {tenant:?} has no password that counts")),
        })
    }

    /// Tries the password, or does as much work for nothing.
    async fn check(
        &self,
        known: Option<PasswordHash>,
        password: Secret,
    ) -> Result<bool, StepFailure> {
        let hash = match known {
            Some(hash) => {
                let hash = Arc::new(hash);
                *self.stranger.lock() = Some(hash.clone());
                Some(hash)
            }
            None => self.stranger.lock().clone(),
        };
        let ended = |_| StepFailure::new(FailureKind::Error, "the check has come to no end");
        let permit = self.checks.clone().acquire_owned().await;
        let permit = permit.map_err(|_| StepFailure::new(FailureKind::Error, "shutting down"))?;
        let effort = self.effort.clone();
        // The permit goes along: work goes on where the client has gone.
        let check = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let _trying = effort.begin();
            match hash {
                Some(hash) => hash.verify(password.expose()),
                None => {
                    PasswordHash::derive(password.expose());
                    false
                }
            }
        });
        check.await.map_err(ended)
    }
}

impl Program for PasswordProgram {
    fn identity(&self) -> &ProgramIdentity {
        &self.identity
    }

    fn hooks(&self) -> HookSet {
        HookSet::CONNECT
    }

    fn connect<'a>(
        &'a self,
        attempt: &'a ConnectAttempt,
    ) -> BoxFuture<'a, Result<ConnectVerdict, StepFailure>> {
        Box::pin(self.authenticate(attempt))
    }

    fn checks(&self) -> Option<Checks> {
        Some(Checks {
            running: self.effort.running.load(Ordering::Relaxed),
            begun: self.effort.begun.load(Ordering::Relaxed),
        })
    }
}
