//! What connected clients hold: permissions that are replaced beneath them.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use arc_swap::{ArcSwap, ArcSwapOption};
use hookmq_hooks::Client;
use parking_lot::Mutex;

use super::{Principal, PrincipalKey};
use crate::token::TokenGrants;
use crate::{BoundPermissions, Holder};

/// The permissions of one connected client. Attached to it, and dropped with it.
pub(crate) struct Grants {
    held: Arc<Held>,
    /// Made when first asked for: only then is the client's identity complete.
    bound: ArcSwapOption<Bound>,
}

/// What was looked up for a client, and is kept current.
pub(crate) struct Held {
    key: PrincipalKey,
    /// All that the principal has had since the client connected.
    roles: Mutex<BTreeSet<Arc<str>>>,
    standing: ArcSwap<Standing>,
    id: u64,
    registry: Arc<Registry>,
}

/// The principal, or why it may do nothing any more.
pub(crate) type Standing = Result<Arc<Principal>, String>;

/// Permissions with the standing that they were made from.
struct Bound {
    standing: Arc<Standing>,
    permissions: Result<BoundPermissions, String>,
}

/// All that is held.
#[derive(Default)]
pub(crate) struct Registry {
    next: AtomicU64,
    held: Mutex<HashMap<u64, Weak<Held>>>,
}

impl Registry {
    /// Those that `concerns` names.
    pub(super) fn select(&self, concerns: impl Fn(&PrincipalKey) -> bool) -> Vec<Arc<Held>> {
        // Upgraded outside the lock: the last holder may let go in between, and dropping takes it.
        let held: Vec<_> = self.held.lock().values().cloned().collect();
        held.iter().filter_map(Weak::upgrade).filter(|held| concerns(&held.key)).collect()
    }
}

impl Held {
    pub(super) fn register(
        registry: &Arc<Registry>,
        key: PrincipalKey,
        principal: Arc<Principal>,
    ) -> Arc<Self> {
        let id = registry.next.fetch_add(1, Ordering::Relaxed);
        let held = Arc::new(Self {
            key,
            roles: Mutex::new(principal.roles.clone()),
            standing: ArcSwap::from_pointee(Ok(principal)),
            id,
            registry: registry.clone(),
        });
        registry.held.lock().insert(id, Arc::downgrade(&held));
        held
    }

    pub(super) fn key(&self) -> &PrincipalKey {
        &self.key
    }

    pub(super) fn replace(&self, standing: Standing) {
        if let Ok(principal) = &standing {
            self.roles.lock().extend(principal.roles.iter().cloned());
        }
        self.standing.store(Arc::new(standing));
    }

    /// The principal as it was last seen; an error where it may do nothing any more.
    pub(crate) fn standing(&self) -> Arc<Standing> {
        self.standing.load_full()
    }
}

impl Grants {
    pub(super) fn new(held: Arc<Held>) -> Arc<Self> {
        Arc::new(Self { held, bound: ArcSwapOption::empty() })
    }

    pub(crate) fn key(&self) -> &PrincipalKey {
        &self.held.key
    }

    /// As [`Held::standing`].
    pub(crate) fn standing(&self) -> Arc<Standing> {
        self.held.standing()
    }

    /// The same for the client with another identity: what was bound for the old one is not of it.
    pub(crate) fn unbound(&self) -> Arc<Self> {
        Self::new(self.held.clone())
    }

    /// Hands the permissions of `client`, which holds these grants, to `decide`.
    ///
    /// # Errors
    /// Says why the client may do nothing at all.
    pub(crate) fn with_permissions<T>(
        &self,
        client: &Client,
        decide: impl FnOnce(&BoundPermissions) -> T,
    ) -> Result<T, String> {
        let standing = self.held.standing.load();
        let current = self.bound.load();
        if let Some(bound) = &*current
            && Arc::ptr_eq(&bound.standing, &standing)
        {
            return bound.permissions.as_ref().map(decide).map_err(Clone::clone);
        }
        let permissions = self.bind(client, &standing);
        let bound = Arc::new(Bound { standing: standing.clone(), permissions });
        self.bound.store(Some(bound.clone()));
        bound.permissions.as_ref().map(decide).map_err(Clone::clone)
    }

    fn bind(&self, client: &Client, standing: &Standing) -> Result<BoundPermissions, String> {
        let principal = standing.as_ref().map_err(Clone::clone)?;
        let client_id = client.client_id_bound.then_some(&client.client_id);
        let key = self.key();
        // What was looked up belongs to another identity, and a denial might be missing.
        if client.tenant != key.tenant
            || client.username != key.username
            || client_id != key.client_id.as_ref()
            || !client.roles.is_subset(&self.held.roles.lock())
        {
            return Err("a connect step behind `database` has changed who the client is".into());
        }
        let holder = Holder::of(client);
        match TokenGrants::of(client) {
            None => Ok(principal.permissions.bind(&holder)),
            Some(grants) => Ok(grants.beside(client, &principal.permissions)?.bind(&holder)),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.registry.held.lock().remove(&self.id);
    }
}
