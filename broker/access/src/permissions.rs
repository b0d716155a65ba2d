//! What a principal may do: permissions, their precedence, and the decision.
//!
//! The definition stands in docs/permissions.md. In short: the permission that decides is the one
//! with the highest priority, then the most specific filter, then deny before allow.

mod bound;
mod comparison;
mod pattern;
mod share_names;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use hookmq_codec::Qos;
use hookmq_hooks::{Action, Attribute, Client, Effect};

pub use bound::{BoundPermissions, DenialReason, NotApplied, Ruling};
pub use comparison::{Comparison, Difference, Leave, ReceiveAsked, compare};
pub use pattern::{FilterPattern, PatternError};
pub use share_names::ShareNames;

/// One row of the table `permissions` that was selected for a principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    pub id: i64,
    pub action: Action,
    pub filter: FilterPattern,
    pub terms: Terms,
    /// Of an allow to subscribe.
    pub share_names: ShareNames,
    pub priority: i64,
    /// What the client notices when this permission denies it.
    pub on_denial: Effect,
    /// The row is for one client id, and applies where a step has bound that client id.
    pub only_client_id: Option<Arc<str>>,
}

/// Whether a permission allows, and how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Terms {
    Deny,
    Allow { maximum_qos: Qos, retain: bool },
}

/// The permissions of a principal, in order of precedence: the first that matches decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PermissionSet(Vec<Arc<Permission>>);

/// Whose values the placeholders take.
#[derive(Debug, Clone, Copy)]
pub struct Holder<'a> {
    pub tenant: &'a str,
    pub username: &'a str,
    /// None where the client id is only the client's claim.
    pub client_id: Option<&'a str>,
    pub attributes: &'a BTreeMap<Arc<str>, Attribute>,
}

impl<'a> Holder<'a> {
    pub(crate) fn of(client: &'a Client) -> Self {
        Self {
            tenant: &client.tenant,
            username: &client.username,
            client_id: client.client_id_bound.then_some(&*client.client_id),
            attributes: &client.attributes,
        }
    }
}

impl PermissionSet {
    pub fn new(permissions: impl IntoIterator<Item = Permission>) -> Self {
        Self::shared(permissions.into_iter().map(Arc::new).collect())
    }

    /// Of permissions that other principals may have, too.
    pub(crate) fn shared(mut permissions: Vec<Arc<Permission>>) -> Self {
        permissions.sort_by(|a, b| a.precedence().cmp(&b.precedence()));
        Self(permissions)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those of both, as if they stood in one table.
    pub(crate) fn and(&self, other: &Self) -> Self {
        Self::shared(self.0.iter().chain(&other.0).cloned().collect())
    }

    /// Puts the holder's values in the placeholders, once, so that deciding is only matching.
    pub fn bind(&self, holder: &Holder<'_>) -> BoundPermissions {
        BoundPermissions::new(&self.0, holder)
    }
}

impl Permission {
    /// Smallest first. Where all that is documented is equal, the more generous permission stands
    /// first and then the older, so that the order of rows in an answer never matters.
    fn precedence(&self) -> impl Ord + '_ {
        let generous = match self.terms {
            Terms::Deny => None,
            Terms::Allow { .. } => Some((Reverse(self.terms), self.share_names != ShareNames::Any)),
        };
        (Reverse(self.priority), Reverse(self.filter.specificity()), generous, self.id)
    }
}
