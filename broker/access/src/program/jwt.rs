//! The step `jwt`: the client is who its token says, and may do what its token says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use hookmq_codec::ReasonCode;
use hookmq_hooks::{
    Access, Attachment, Authentication, AuthorizeVerdict, BoxFuture, Client, ConnectAttempt,
    ConnectVerdict, Denial, FailureKind, HookSet, IdentityPatch, Program, ProgramIdentity, Secret,
    StepFailure,
};

use super::{Refused, builtin, contradiction, deny, verdict};
use crate::certificate::UsernameConflict;
use crate::token::{
    Compact, FetchKeySet, JwtSettings, KeyError, KeyRing, TokenFrom, TokenGrants, Unnamed,
    Unverified,
};
use crate::{BoundPermissions, Ruling};

/// Accepts clients with a good token, and vouches for what that makes of it. Refuses others, also those
/// that bring none. Authorizes by the permissions of tokens.
pub struct JwtProgram {
    identity: ProgramIdentity,
    /// None where it only authorizes.
    authenticator: Option<Authenticator>,
}

struct Authenticator {
    settings: JwtSettings,
    keys: KeyRing,
}

/// A token, and whether it came by AUTH.
struct Shown<'a> {
    token: &'a [u8],
    by_exchange: bool,
}

impl JwtProgram {
    /// Reads keys in files, and begins to ask URLs for theirs by `fetch`. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// Where a file holds no usable key, or there is a URL and nobody to ask it.
    pub fn new(
        settings: JwtSettings,
        fetch: Option<&Arc<dyn FetchKeySet>>,
    ) -> Result<Self, KeyError> {
        let keys = KeyRing::new(&settings.keys, fetch)?;
        let authenticator = Some(Authenticator { settings, keys });
        Ok(Self { identity: builtin(TokenGrants::NAME), authenticator })
    }

    /// For the hook authorize, which needs no configuration.
    pub fn authorizer() -> Self {
        Self { identity: builtin(TokenGrants::NAME), authenticator: None }
    }
}

impl Authenticator {
    async fn authenticate(&self, attempt: &ConnectAttempt) -> Result<ConnectVerdict, StepFailure> {
        let Some(shown) = self.shown(attempt) else {
            return Ok(deny("the client has shown no token"));
        };
        let patch = match self.judge(shown.token, attempt).await? {
            Ok(patch) => patch,
            Err(refused) => return Ok(refused.into()),
        };
        Ok(match shown.by_exchange {
            true => ConnectVerdict::Authenticated { patch, data: Secret::default() },
            false => ConnectVerdict::Accept(patch),
        })
    }

    /// In AUTH, where the client has named its method, or else in CONNECT.
    fn shown<'a>(&self, attempt: &'a ConnectAttempt) -> Option<Shown<'a>> {
        let method = self.settings.authentication_method.as_deref();
        let wish = attempt.authentication.as_ref().filter(|it| Some(it.method()) == method);
        if let Some(exchange) = wish.and_then(Authentication::begin) {
            let token = exchange.opening.expose();
            return Some(Shown { token, by_exchange: true });
        }
        let token = match self.settings.token_from {
            TokenFrom::Password => attempt.password.as_ref()?.expose(),
            TokenFrom::Username => attempt.username.as_ref()?.as_bytes(),
        };
        Some(Shown { token, by_exchange: false })
    }

    async fn judge(
        &self,
        token: &[u8],
        attempt: &ConnectAttempt,
    ) -> Result<Result<IdentityPatch, Refused>, StepFailure> {
        let refused = |why: &dyn std::fmt::Display| Ok(Err(Refused::new(why.to_string())));
        let token = match Compact::read(token, self.settings.maximum_bytes.get()) {
            Ok(token) => token,
            Err(error) => return refused(&error),
        };
        match self.keys.verify(&token).await {
            Ok(()) => {}
            Err(error @ Unverified::NoKeys) => {
                return Err(StepFailure::new(FailureKind::Unavailable, error.to_string()));
            }
            Err(error) => return refused(&error),
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        match self.settings.identify(&token, attempt, now) {
            Ok(patch) => Ok(self.settle(attempt, patch)),
            Err(Unnamed::Unfit(why)) => refused(&why),
            Err(Unnamed::ClientId(own)) => Ok(Err(Refused::foreign_client_id(&own))),
        }
    }

    /// What CONNECT and the steps before say must not contradict the token.
    fn settle(
        &self,
        attempt: &ConnectAttempt,
        patch: IdentityPatch,
    ) -> Result<IdentityPatch, Refused> {
        if let Some(why) = contradiction(&attempt.identity, &patch) {
            return Err(Refused::new(why));
        }
        // A user name that is the token names nobody.
        let claims = self.settings.token_from == TokenFrom::Password
            && self.settings.username_conflict == UsernameConflict::Refuse;
        match (&attempt.username, &patch.username) {
            (Some(claimed), Some(username)) if claims && *claimed != **username => {
                let reason = format!("CONNECT names {claimed:?}, its token {username:?}");
                Err(Refused { reason_code: ReasonCode::BadUserNameOrPassword, reason })
            }
            _ => Ok(patch),
        }
    }
}

impl Program for JwtProgram {
    fn identity(&self) -> &ProgramIdentity {
        &self.identity
    }

    fn hooks(&self) -> HookSet {
        HookSet { connect: true, authorize: true, ..HookSet::default() }
    }

    fn knows_method(&self, method: &str) -> bool {
        let authenticator = self.authenticator.as_ref();
        authenticator.is_some_and(|it| it.settings.authentication_method.as_deref() == Some(method))
    }

    fn authorize_is_cacheable(&self) -> bool {
        true
    }

    fn asks_receive(&self, client: &Client) -> bool {
        TokenGrants::of(client).filter(|grants| grants.decide_alone()).is_some_and(|grants| {
            grants.with_permissions(client, BoundPermissions::speak_of_receive).unwrap_or(true)
        })
    }

    fn connect<'a>(
        &'a self,
        attempt: &'a ConnectAttempt,
    ) -> BoxFuture<'a, Result<ConnectVerdict, StepFailure>> {
        match &self.authenticator {
            Some(authenticator) => Box::pin(authenticator.authenticate(attempt)),
            None => Box::pin(async { Ok(deny("the step `jwt` has no keys")) }),
        }
    }

    /// Has no opinion on clients whose tokens are not what decides.
    fn authorize(
        &self,
        client: &Arc<Client>,
        access: &Access<'_>,
    ) -> Result<AuthorizeVerdict, StepFailure> {
        let Some(grants) = TokenGrants::of(client).filter(|grants| grants.decide_alone()) else {
            return Ok(AuthorizeVerdict::Abstain);
        };
        match grants.with_permissions(client, |permissions| permissions.decide(access)) {
            // Nobody behind it may add to what the token says.
            Ok(Ruling::NoMatch) => {
                let reason = "no permission of the token speaks for it".to_owned();
                Ok(AuthorizeVerdict::Deny(Denial { effect: Default::default(), reason }))
            }
            ruling => Ok(verdict(ruling)),
        }
    }
}

impl JwtSettings {
    /// Who a client is whose token's signature is right; `now` is in seconds since 1970.
    pub(crate) fn identify(
        &self,
        token: &Compact<'_>,
        attempt: &ConnectAttempt,
        now: u64,
    ) -> Result<IdentityPatch, Unnamed> {
        let claims = self.read(token, &attempt.client_id, now)?;
        let tenant = claims.tenant.clone().or_else(|| attempt.identity.tenant.clone());
        let tenant = tenant.ok_or_else(|| {
            let why = "neither a step before `jwt` nor its configuration names a tenant";
            Unnamed::Unfit(why.into())
        })?;
        let mut attachments = BTreeMap::new();
        if let Some(permissions) = claims.permissions {
            let (from, username) = (self.permissions_from, claims.username.clone());
            let grants = TokenGrants::new(permissions, from, tenant.clone(), username);
            attachments.insert(TokenGrants::NAME.into(), Attachment::new(Arc::new(grants)));
        }
        let mut patch = IdentityPatch {
            tenant: Some(tenant),
            username: Some(claims.username),
            client_id: claims.client_id,
            roles: claims.roles,
            attributes: claims.attributes.into_iter().collect(),
            attachments,
            ..IdentityPatch::default()
        };
        patch.limits.expires_at = claims.ends_at;
        Ok(patch)
    }
}
