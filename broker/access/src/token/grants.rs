//! What a client may do by its token, as long as it is connected with it.

use std::sync::{Arc, OnceLock};

use hookmq_hooks::{Attachment, Client};

use super::PermissionsFrom;
use crate::{BoundPermissions, Holder, PermissionSet};

/// Permissions of a token. Attached to the client that has shown it.
pub(crate) struct TokenGrants {
    permissions: PermissionSet,
    from: PermissionsFrom,
    tenant: Arc<str>,
    username: Arc<str>,
    /// Made when first asked for: only then is the client's identity complete.
    bound: OnceLock<Result<BoundPermissions, String>>,
}

impl TokenGrants {
    /// Under which they are attached.
    pub(crate) const NAME: &'static str = "jwt";

    pub(crate) fn new(
        permissions: PermissionSet,
        from: PermissionsFrom,
        tenant: Arc<str>,
        username: Arc<str>,
    ) -> Self {
        Self { permissions, from, tenant, username, bound: OnceLock::new() }
    }

    /// The same for the client with another identity: what was bound for the old one is not of it.
    pub(crate) fn unbound(&self) -> Self {
        Self {
            permissions: self.permissions.clone(),
            from: self.from,
            tenant: self.tenant.clone(),
            username: self.username.clone(),
            bound: OnceLock::new(),
        }
    }

    /// Those of `client`, if a token has brought any.
    pub(crate) fn of(client: &Client) -> Option<&Self> {
        client.attachments.get(Self::NAME).and_then(Attachment::downcast_ref)
    }

    /// Whether they decide without those of the database.
    pub(crate) fn decide_alone(&self) -> bool {
        self.from == PermissionsFrom::Token
    }

    /// Hands the permissions of `client`, which holds these, to `decide`.
    ///
    /// # Errors
    /// Says why the client may do nothing at all.
    pub(crate) fn with_permissions<T>(
        &self,
        client: &Client,
        decide: impl FnOnce(&BoundPermissions) -> T,
    ) -> Result<T, String> {
        let bound = self.bound.get_or_init(|| {
            Ok(self.beside(client, &PermissionSet::default())?.bind(&Holder::of(client)))
        });
        bound.as_ref().map(decide).map_err(Clone::clone)
    }

    /// What counts for `client` where the database permits `stored`.
    ///
    /// # Errors
    /// As [`TokenGrants::with_permissions`].
    pub(crate) fn beside(
        &self,
        client: &Client,
        stored: &PermissionSet,
    ) -> Result<PermissionSet, String> {
        // They were given to somebody else.
        if client.tenant != self.tenant || client.username != self.username {
            return Err("a connect step behind `jwt` has changed who the client is".into());
        }
        Ok(match self.from {
            PermissionsFrom::Both => self.permissions.and(stored),
            PermissionsFrom::Token | PermissionsFrom::Database => self.permissions.clone(),
        })
    }
}
