//! Subscriptions to topics of other tenants: whether a grant leads there, and what is seen of them.

use hookmq_codec::TopicFilter;
use hookmq_core::{Message, Subscription};
use hookmq_hooks::{Access, Decision, Denial};

use super::Stream;
use super::driver::Driver;
use super::rights::subscribe_access;
use crate::broker::abroad::{Abroad, Passage, is_abroad, seen_from_abroad};

impl<S: Stream> Driver<S> {
    /// Whether a filter that the permissions allow may be subscribed to. A shared subscription reaches no
    /// other tenant: its members would take messages from each other whose grants differ.
    pub(super) fn decide_abroad(
        &self,
        filter: &TopicFilter,
        access: &Access<'_>,
        decision: Decision,
    ) -> Decision {
        self.judge_abroad(filter, access, decision).unwrap_or_else(Decision::Denied)
    }

    /// As [`Self::decide_abroad`].
    ///
    /// # Errors
    /// Where nobody can say.
    pub(super) fn judge_abroad(
        &self,
        filter: &TopicFilter,
        access: &Access<'_>,
        decision: Decision,
    ) -> Result<Decision, Denial> {
        if !is_abroad(access.topic) || !matches!(decision, Decision::Allowed { .. }) {
            return Ok(decision);
        }
        let passage = match filter.share_name() {
            None => self.broker.passage(&self.client, access),
            Some(_) => Passage::Closed,
        };
        match (passage.denial(), passage) {
            (None, _) => Ok(decision),
            (Some(denial), Passage::Unknown) => Err(denial),
            (Some(denial), _) => Ok(Decision::Denied(denial)),
        }
    }

    /// Puts a granted subscription in force where it leads, too.
    pub(super) fn go_abroad(&mut self, filter: &TopicFilter, subscription: Subscription) {
        let access = subscribe_access(filter, subscription.options.maximum_qos);
        let passage = || self.broker.passage(&self.client, &access);
        let Passage::Granted(grant) = passage() else {
            // It was there a moment ago.
            return self.opened.handle.judge_again();
        };
        self.broker.admit_guest(&self.opened.handle, filter, subscription);
        if passage().denial().is_some() {
            self.broker.leave_abroad(self.opened.handle.id, [filter]);
            self.opened.handle.judge_again();
        }
        self.publisher.note_grant(&grant);
    }

    /// Has what the session keeps of other tenants be in force there: while the client was away, a grant
    /// may have been withdrawn and given again.
    pub(super) fn return_abroad(&mut self) {
        let held = self.opened.session.subscriptions.iter();
        let abroad = held.filter(|(filter, _)| is_abroad(filter.as_str()));
        let abroad: Vec<_> = abroad.map(|(filter, it)| (filter.clone(), *it)).collect();
        for (filter, subscription) in abroad {
            self.go_abroad(&filter, subscription);
        }
    }

    /// The retained messages that match a filter, as the client sees them: as [`Tenant::retained`] has
    /// them.
    pub(super) fn retained(
        &self,
        filter: &TopicFilter,
        after: Option<&str>,
        most: usize,
    ) -> (Vec<Message>, Option<Box<str>>) {
        if !is_abroad(filter.bare()) {
            return self.tenant.retained(filter.bare(), after, most);
        }
        let Some(abroad) = Abroad::of(filter.bare()) else { return Default::default() };
        let Some(target) = self.broker.used_tenant(abroad.tenant) else {
            return Default::default();
        };
        let (retained, next) = target.retained(abroad.topic, after, most);
        let seen = retained.iter().filter_map(|it| seen_from_abroad(&target.name, it));
        let seen = seen.inspect(|it| {
            // It is another message to the store than the one that is retained.
            if self.opened.handle.is_durable() {
                it.set_stored(self.broker.store.next_id().0);
            }
        });
        (seen.collect(), next)
    }
}
