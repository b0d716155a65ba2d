//! The connect step `scram`: SCRAM-SHA-256 against the credentials in the database.

use std::num::NonZeroU32;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hookmq_hooks::{
    Authentication, BoxFuture, ConnectAttempt, ConnectVerdict, Exchange, FailureKind, HookSet,
    IdentityPatch, Program, ProgramIdentity, Secret, StepFailure,
};

use super::{builtin, deny, failure, named};
use crate::Directory;
use crate::client_id::NamedClientIdRule;
use crate::name::some_name;
use crate::scram::{ClientFirst, SCRAM_SHA_256, ScramSecret};

/// Of credentials, in the database.
const KIND: &str = "scram-sha-256";

/// Authenticates clients that name the method SCRAM-SHA-256, and vouches for tenant and username.
/// Passes others on.
pub struct ScramProgram {
    identity: ProgramIdentity,
    directory: Directory,
    settings: ScramSettings,
}

/// What the step takes from the configuration.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScramSettings {
    /// Where no step before has named one.
    #[serde(deserialize_with = "some_name")]
    pub tenant: Option<Arc<str>>,
    /// That a client is shown whose name is not known. Should be as many as credentials have, or
    /// those who are known can be told from those who are not.
    pub iterations: NonZeroU32,
    /// The client ids that belong to who knows the password; none: any.
    pub client_id: Option<NamedClientIdRule>,
}

impl ScramSettings {
    /// What a new credential has, unless something else is asked for. RFC 7677 section 4: about 0.1 s
    /// of a processor's time when it was written.
    pub const ITERATIONS: NonZeroU32 = NonZeroU32::new(15_000).expect("it is not 0");
}

impl Default for ScramSettings {
    fn default() -> Self {
        Self { tenant: None, iterations: Self::ITERATIONS, client_id: None }
    }
}

impl ScramProgram {
    pub fn new(directory: Directory, settings: ScramSettings) -> Self {
        Self { identity: builtin("scram"), directory, settings }
    }

    async fn authenticate(
        &self,
        attempt: &ConnectAttempt,
        exchange: Exchange<'_>,
    ) -> Result<ConnectVerdict, StepFailure> {
        let first = match ClientFirst::read(exchange.opening.expose()) {
            Ok(first) => first,
            Err(error) => return Ok(deny(error.to_string())),
        };
        let Some(tenant) = attempt.identity.tenant.as_ref().or(self.settings.tenant.as_ref())
        else {
            return Ok(deny("neither a step before `scram` nor its configuration names a tenant"));
        };
        let username: Arc<str> = first.username().into();
        if contradicts(attempt, &username) {
            return Ok(deny(format!("{username:?} is somebody else in the same CONNECT")));
        }
        let found = self.directory.credential(tenant, &username, KIND, &attempt.waited).await;
        let found = found.map_err(failure)?;
        // Made for everybody, so that it takes as long for everybody.
        let (key, iterations) = (found.stranger_key(), self.settings.iterations);
        let stranger = ScramSecret::of_stranger(key, tenant, &username, iterations);
        let is_known = found.secret().is_some();
        let secret = match found.secret() {
            None => stranger,
            Some(secret) => secret.parse().map_err(|error| {
                let message = format!("the credential of {username:?}: {error}");
                StepFailure::new(FailureKind::Error, message)
            })?,
        };
        let nonce = BASE64_STANDARD.encode(rand::random::<[u8; 18]>());
        let challenged = first.challenge(secret, &nonce);
        let Some(answer) = exchange.challenge(challenged.message()).await else {
            return Ok(deny("the client has broken off"));
        };
        Ok(match challenged.finish(answer.expose()) {
            Ok(last_word) if is_known => {
                found.proved();
                let rule = self.settings.client_id.as_ref();
                match named(attempt, tenant.clone(), username, rule) {
                    Ok(patch) => {
                        let data = Secret::new(last_word.into());
                        ConnectVerdict::Authenticated { patch, data }
                    }
                    Err(refused) => refused.into(),
                }
            }
            Err(error) if is_known => deny(format!("{username:?} of {tenant:?}: {error}")),
            _ => deny(format!("{username:?} of {tenant:?} has no credential that counts")),
        })
    }
}

impl Program for ScramProgram {
    fn identity(&self) -> &ProgramIdentity {
        &self.identity
    }

    fn hooks(&self) -> HookSet {
        HookSet::CONNECT
    }

    fn knows_method(&self, method: &str) -> bool {
        method == SCRAM_SHA_256
    }

    fn connect<'a>(
        &'a self,
        attempt: &'a ConnectAttempt,
    ) -> BoxFuture<'a, Result<ConnectVerdict, StepFailure>> {
        let wish = attempt.authentication.as_ref().filter(|it| it.method() == SCRAM_SHA_256);
        match wish.and_then(Authentication::begin) {
            Some(exchange) => Box::pin(self.authenticate(attempt, exchange)),
            None => Box::pin(async { Ok(ConnectVerdict::Next(IdentityPatch::default())) }),
        }
    }
}

/// Whether CONNECT itself or a step before names somebody else. What SCRAM proves is then not what the
/// others believe.
fn contradicts(attempt: &ConnectAttempt, username: &str) -> bool {
    let claimed = attempt.username.as_deref().is_some_and(|claimed| {
        stringprep::saslprep(claimed).map_or(true, |prepared| prepared != username)
    });
    claimed || attempt.identity.username.as_deref().is_some_and(|vouched| vouched != username)
}
