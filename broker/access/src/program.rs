//! The builtin steps: `certificate`, `database`, `jwt`, `password`, `scram`, `anonymous`, `open`.

mod certificate;
mod jwt;
mod password;
mod scram;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use hookmq_codec::{Qos, ReasonCode};
use hookmq_hooks::{
    Access, Attachment, AuthorizeVerdict, BoxFuture, Client, ConnectAttempt, ConnectVerdict,
    Denial, Effect, FailureKind, HookSet, Identity, IdentityPatch, Program, ProgramIdentity,
    ProgramKind, StepFailure, Waited, note,
};

pub use self::certificate::CertificateProgram;
pub use self::jwt::JwtProgram;
pub use self::password::{PasswordProgram, PasswordSettings};
pub use self::scram::{ScramProgram, ScramSettings};
use crate::client_id::{Foreign, NamedClientIdRule};
use crate::directory::Grants;
use crate::name::name;
use crate::token::TokenGrants;
use crate::{
    BoundPermissions, DATABASE, Directory, DirectoryError, NotAdmitted, PrincipalKey, Ruling,
};

/// Looks up the principal that earlier connect steps have named, and authorizes by its permissions.
/// Does not authenticate: whoever does must accept.
///
/// Stands behind the steps that bind the client id and give roles: both select permissions.
pub struct DatabaseProgram {
    identity: ProgramIdentity,
    directory: Directory,
}

/// Accepts everybody as the same principal.
pub struct AnonymousProgram {
    identity: ProgramIdentity,
    settings: AnonymousSettings,
}

/// Who a client is that did not say it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AnonymousSettings {
    #[serde(deserialize_with = "name")]
    pub tenant: Arc<str>,
    #[serde(deserialize_with = "name")]
    pub username: Arc<str>,
    pub roles: BTreeSet<Arc<str>>,
}

impl Default for AnonymousSettings {
    fn default() -> Self {
        Self { tenant: "default".into(), username: "anonymous".into(), roles: BTreeSet::new() }
    }
}

/// Allows everything.
pub struct OpenProgram {
    identity: ProgramIdentity,
}

impl DatabaseProgram {
    pub fn new(directory: Directory) -> Self {
        Self { identity: builtin(DATABASE), directory }
    }

    async fn identify(&self, attempt: &ConnectAttempt) -> Result<ConnectVerdict, StepFailure> {
        let identity = &attempt.identity;
        let (Some(tenant), Some(username)) = (&identity.tenant, &identity.username) else {
            return Ok(deny("no step before `database` has named a tenant and a username"));
        };
        let key = PrincipalKey {
            tenant: tenant.clone(),
            username: username.clone(),
            client_id: identity.client_id.clone(),
            roles: identity.roles.clone(),
        };
        let grants = match self.directory.grants(key, &attempt.waited).await.map_err(failure)? {
            Ok(grants) => grants,
            Err(refused) => {
                return Ok(deny(format!("principal {username:?} of {tenant:?}: {refused}")));
            }
        };
        let standing = grants.standing();
        let principal = match &*standing {
            Ok(principal) => principal,
            Err(reason) => return Ok(deny(reason.as_str())),
        };
        Ok(ConnectVerdict::Next(IdentityPatch {
            roles: principal.roles.clone(),
            attributes: principal.attributes.clone(),
            attachments: BTreeMap::from([(DATABASE.into(), Attachment::new(grants))]),
            ..IdentityPatch::default()
        }))
    }
}

impl Directory {
    /// Gives a client that is only described what the connect step `database` would have given it: its
    /// permissions, and the roles and attributes of its principal.
    ///
    /// # Errors
    /// As [`Directory::principal`].
    pub async fn complete(
        &self,
        client: &mut Client,
    ) -> Result<Result<(), NotAdmitted>, DirectoryError> {
        let key = PrincipalKey {
            tenant: client.tenant.clone(),
            username: client.username.clone(),
            client_id: client.client_id_bound.then(|| client.client_id.clone()),
            roles: client.roles.clone(),
        };
        let grants = match self.grants(key, &Waited::default()).await? {
            Ok(grants) => grants,
            Err(refused) => return Ok(Err(refused)),
        };
        if let Ok(principal) = &*grants.standing() {
            client.roles.extend(principal.roles.iter().cloned());
            let given = principal.attributes_beside(&BTreeMap::new());
            client.attributes.extend(given);
        }
        client.attachments.insert(DATABASE.into(), Attachment::new(grants));
        Ok(Ok(()))
    }

    /// The client with the roles and attributes that its principal has now, where those that the step
    /// `database` has given it are others. What another step has said counts more.
    pub fn renewed(client: &Client) -> Option<Client> {
        let grants = grants(client)?;
        let standing = grants.standing();
        let principal = standing.as_ref().as_ref().ok()?;
        let attributes = principal.attributes_beside(&client.attributes);
        if client.roles == principal.roles && client.attributes == attributes {
            return None;
        }
        let mut renewed = Client { roles: principal.roles.clone(), attributes, ..client.clone() };
        // Placeholders have taken the values of before.
        renewed.attachments.insert(DATABASE.into(), Attachment::new(grants.unbound()));
        if let Some(token) = TokenGrants::of(client) {
            let token = Attachment::new(Arc::new(token.unbound()));
            renewed.attachments.insert(TokenGrants::NAME.into(), token);
        }
        Some(renewed)
    }

    /// What the step `database` has looked the client up by, if it was asked and the client is still
    /// the one that was looked up.
    pub fn looked_up(client: &Client) -> Option<PrincipalKey> {
        let key = grants(client)?.key();
        let client_id = client.client_id_bound.then_some(&client.client_id);
        let same = key.tenant == client.tenant
            && key.username == client.username
            && key.client_id.as_ref() == client_id;
        same.then(|| key.clone())
    }

    /// Why a client may do nothing any more that the step `database`, or `certificate` by the table's
    /// mappings, has let in, if that is so.
    pub fn dismissed(&self, client: &Client) -> Option<String> {
        let standing = grants(client).and_then(|it| it.standing().as_ref().as_ref().err().cloned());
        standing.or_else(|| self.mapped_otherwise(client))
    }
}

/// What the step has left with the client, if it was asked.
fn grants(client: &Client) -> Option<&Grants> {
    client.attachments.get(DATABASE).and_then(Attachment::downcast_ref::<Grants>)
}

impl Program for DatabaseProgram {
    fn identity(&self) -> &ProgramIdentity {
        &self.identity
    }

    fn hooks(&self) -> HookSet {
        HookSet { connect: true, authorize: true, ..HookSet::default() }
    }

    fn authorize_is_cacheable(&self) -> bool {
        true
    }

    /// One permission with the action `receive` is enough, so that it is not written in vain. Who may do
    /// nothing any more receives nothing.
    fn asks_receive(&self, client: &Client) -> bool {
        grants(client).is_some_and(|grants| {
            grants.with_permissions(client, BoundPermissions::speak_of_receive).unwrap_or(true)
        })
    }

    fn connect<'a>(
        &'a self,
        attempt: &'a ConnectAttempt,
    ) -> BoxFuture<'a, Result<ConnectVerdict, StepFailure>> {
        Box::pin(self.identify(attempt))
    }

    fn authorize(
        &self,
        client: &Arc<Client>,
        access: &Access<'_>,
    ) -> Result<AuthorizeVerdict, StepFailure> {
        let Some(grants) = grants(client) else {
            let message = "`database` was not among the connect steps of this client";
            return Err(StepFailure::new(FailureKind::Error, message));
        };
        if !self.directory.is_current() {
            let message = "the database has been away for too long";
            return Err(StepFailure::new(FailureKind::Unavailable, message));
        }
        let ruling = grants.with_permissions(client, |permissions| permissions.decide(access));
        Ok(verdict(ruling))
    }
}

impl AnonymousProgram {
    pub fn new(settings: AnonymousSettings) -> Self {
        Self { identity: builtin("anonymous"), settings }
    }
}

impl Program for AnonymousProgram {
    fn identity(&self) -> &ProgramIdentity {
        &self.identity
    }

    fn hooks(&self) -> HookSet {
        HookSet::CONNECT
    }

    fn connect<'a>(
        &'a self,
        _: &'a ConnectAttempt,
    ) -> BoxFuture<'a, Result<ConnectVerdict, StepFailure>> {
        let AnonymousSettings { tenant, username, roles } = self.settings.clone();
        let patch = IdentityPatch {
            tenant: Some(tenant),
            username: Some(username),
            roles,
            ..IdentityPatch::default()
        };
        Box::pin(async { Ok(ConnectVerdict::Accept(patch)) })
    }
}

impl OpenProgram {
    pub fn new() -> Self {
        Self { identity: builtin("open") }
    }
}

impl Default for OpenProgram {
    fn default() -> Self {
        Self::new()
    }
}

impl Program for OpenProgram {
    fn identity(&self) -> &ProgramIdentity {
        &self.identity
    }

    fn hooks(&self) -> HookSet {
        HookSet { authorize: true, ..HookSet::default() }
    }

    fn authorize_is_cacheable(&self) -> bool {
        true
    }

    fn authorize(&self, _: &Arc<Client>, _: &Access<'_>) -> Result<AuthorizeVerdict, StepFailure> {
        Ok(AuthorizeVerdict::Allow)
    }
}

/// What permissions have come to, or why there are none.
fn verdict(ruling: Result<Ruling, String>) -> AuthorizeVerdict {
    if let Ok(Ruling::Allow { permission, .. } | Ruling::Deny { permission, .. }) = &ruling {
        note("permission", || PermissionName(*permission).to_string());
    }
    match ruling {
        Ok(Ruling::Allow { maximum_qos: Qos::ExactlyOnce, .. }) => AuthorizeVerdict::Allow,
        Ok(Ruling::Allow { maximum_qos, .. }) => AuthorizeVerdict::AllowUpTo(maximum_qos),
        Ok(Ruling::Deny { permission, effect, reason }) => {
            let reason = format!("permission {}: {reason}", PermissionName(permission));
            AuthorizeVerdict::Deny(Denial { effect, reason })
        }
        Ok(Ruling::NoMatch) => AuthorizeVerdict::Abstain,
        Err(reason) => AuthorizeVerdict::Deny(Denial { effect: Effect::default(), reason }),
    }
}

/// A row's number, or a place in a token, which is numbered downwards.
struct PermissionName(i64);

impl fmt::Display for PermissionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            row @ 0.. => write!(f, "{row}"),
            place => write!(f, "{} of the token", place.unsigned_abs()),
        }
    }
}

/// What `patch` says otherwise than the steps before.
fn contradiction(identity: &Identity, patch: &IdentityPatch) -> Option<String> {
    let names = [
        ("tenant", &identity.tenant, &patch.tenant),
        ("username", &identity.username, &patch.username),
        ("client id", &identity.client_id, &patch.client_id),
    ];
    names.into_iter().find_map(|(what, before, now)| {
        let (before, now) = (before.as_ref()?, now.as_ref()?);
        let differs = || format!("its {what} is {now:?}, but a step before says {before:?}");
        (before != now).then(differs)
    })
}

/// Who the client with this name is, with a client id of its own where there is a rule for that.
fn named(
    attempt: &ConnectAttempt,
    tenant: Arc<str>,
    username: Arc<str>,
    rule: Option<&NamedClientIdRule>,
) -> Result<IdentityPatch, Refused> {
    let client_id = rule.map(|rule| rule.0.bind_named(&attempt.client_id, &tenant, &username));
    let client_id = client_id.transpose().map_err(|foreign| match foreign {
        Foreign::Unfit(why) => Refused::new(format!("no client id can be made: {why}")),
        Foreign::NotOwn(own) => Refused::foreign_client_id(&own),
    })?;
    let patch = IdentityPatch {
        tenant: Some(tenant),
        username: Some(username),
        client_id,
        ..IdentityPatch::default()
    };
    match contradiction(&attempt.identity, &patch) {
        Some(why) => Err(Refused::new(why)),
        None => Ok(patch),
    }
}

/// A denial on its way to be one.
struct Refused {
    reason_code: ReasonCode,
    reason: String,
}

impl Refused {
    fn new(reason: impl Into<String>) -> Self {
        Self { reason_code: ReasonCode::NotAuthorized, reason: reason.into() }
    }

    fn foreign_client_id(own: &str) -> Self {
        let reason = format!("the client id is another's: this client's are {own:?}");
        Self { reason_code: ReasonCode::ClientIdentifierNotValid, reason }
    }
}

impl From<Refused> for ConnectVerdict {
    fn from(Refused { reason_code, reason }: Refused) -> Self {
        Self::Deny { reason_code, reason }
    }
}

fn builtin(name: &str) -> ProgramIdentity {
    ProgramIdentity {
        kind: ProgramKind::Builtin,
        name: name.into(),
        version: String::new(),
        sha256: String::new(),
    }
}

fn deny(reason: impl Into<String>) -> ConnectVerdict {
    Refused::new(reason).into()
}

fn failure(error: DirectoryError) -> StepFailure {
    let kind = match error {
        DirectoryError::Unavailable(_) => FailureKind::Unavailable,
        DirectoryError::TooManyPermissions => FailureKind::Limit,
        DirectoryError::Unreadable(_) => FailureKind::Error,
    };
    StepFailure::new(kind, error.to_string())
}
