//! Subscriptions in a tenant that clients of other tenants have by a grant.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::SystemTime;

use hookmq_access::{TenantGrants, Wish};
use hookmq_codec::TopicName;
use hookmq_core::{Subscription, TopicTree};
use hookmq_hooks::Action;
use parking_lot::RwLock;
use rustc_hash::FxHashMap;

use super::session_handle::SessionHandle;
use super::tenant::{Target, Tenant};

/// Who listens in from other tenants. A session has no more of them than subscriptions of its own, where
/// each of them stands, too.
#[derive(Debug, Default)]
pub struct Guests(RwLock<Book>);

#[derive(Debug, Default)]
struct Book {
    tree: TopicTree<u64, (Arc<SessionHandle>, Subscription)>,
    /// The same, by session and filter.
    entries: FxHashMap<(u64, Box<str>), (Arc<SessionHandle>, Subscription)>,
}

impl Guests {
    pub fn count(&self) -> usize {
        self.0.read().entries.len()
    }

    /// Adds those who are due a message on `topic` that `publisher` sends.
    pub(super) fn find(
        &self,
        topic: TopicName<'_>,
        publisher: u64,
        targets: &mut Vec<Target>,
        identifiers: &mut Vec<(u64, NonZeroU32)>,
    ) {
        self.0.read().tree.for_each_match(topic, |key, (session, subscription)| {
            let Subscription { options, identifier } = subscription;
            if !(options.no_local && key == publisher) {
                identifiers.extend(identifier.map(|identifier| (key, identifier)));
                targets.push(Target::new(session, options));
            }
        });
    }
}

impl Tenant {
    /// Adds or replaces a subscription of a session that is another tenant's.
    pub(super) fn admit_guest(
        &self,
        filter: &str,
        session: &Arc<SessionHandle>,
        subscription: Subscription,
    ) {
        let mut book = self.guests.0.write();
        let entry = (session.clone(), subscription);
        let before = book.entries.insert((session.id, filter.into()), entry.clone());
        // Sessions that are judged again come with what is there.
        if before.is_none_or(|(_, before)| before != subscription) {
            book.tree.insert(filter, session.id, entry);
            self.note_change();
        }
    }

    pub(super) fn dismiss_guest(&self, session: u64, filter: &str) {
        let mut book = self.guests.0.write();
        if book.entries.remove(&(session, filter.into())).is_some() {
            book.tree.remove(filter, session);
            self.note_change();
        }
    }

    /// Ends the subscriptions of guests to which no grant leads; gives whose they were.
    pub(super) fn dismiss_guests(
        &self,
        grants: &TenantGrants,
        now: SystemTime,
    ) -> Vec<Arc<SessionHandle>> {
        let mut dismissed = Vec::new();
        if self.guests.count() == 0 {
            return dismissed;
        }
        let mut book = self.guests.0.write();
        let Book { tree, entries } = &mut *book;
        entries.retain(|(key, filter), (session, _)| {
            let wish = Wish {
                tenant: &session.key.tenant,
                username: &session.username,
                target: &self.name,
                action: Action::Subscribe,
                topic: filter,
            };
            let stays = grants.find(&wish, now).is_some();
            if !stays {
                tree.remove(filter, *key);
                dismissed.push(session.clone());
            }
            stays
        });
        if !dismissed.is_empty() {
            self.note_change();
        }
        dismissed
    }
}
