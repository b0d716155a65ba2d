//! Messages that leave the publisher's tenant: into another one by a grant, and to guests from others.

use std::collections::BTreeSet;
use std::sync::Arc;

use hookmq_access::TenantGrant;
use hookmq_codec::TopicName;
use hookmq_core::{Message, NewMessage};
use hookmq_hooks::{Access, Action, Effect, Hook, PublishOutcome};
use hookmq_store::Change;

use super::posting::Way;
use super::stored::Admitted;
use super::{Desk, Publisher, Reply, Target, Verdict};
use crate::audit::GrantEvent;
use crate::broker::abroad::{Abroad, Passage, seen_from_abroad};

/// The grants that a connection has used, by their numbers. There are no more than its principal has.
#[derive(Debug, Default)]
pub(super) struct GrantsUsed(BTreeSet<i64>);

impl Publisher {
    /// Puts the first use of a grant on this connection on record.
    pub fn note_grant(&mut self, grant: &TenantGrant) {
        if self.grants_used.get_or_insert_default().0.insert(grant.id) {
            let desk = &self.desk;
            desk.broker.audit.grant(GrantEvent::Used { grant, by: &desk.client });
        }
    }

    /// What becomes of a message that is not simply allowed.
    #[cold]
    pub(super) fn not_at_home(&mut self, verdict: Verdict, parts: NewMessage<'_>) -> Reply {
        if verdict != Verdict::Abroad {
            return self.desk.denied(verdict);
        }
        let access = Access {
            action: Action::Publish,
            topic: parts.topic.as_str(),
            qos: parts.qos,
            retain: parts.retain,
            share_name: None,
        };
        // Time may have ended it since the verdict.
        let passage = self.desk.broker.passage(&self.desk.client, &access);
        let Passage::Granted(grant) = passage else {
            self.routes.entry(access.topic).verdicts = Default::default();
            let (verdict, _) = self.desk.find_passage(&access, false);
            return self.desk.denied(verdict);
        };
        self.note_grant(&grant);
        self.publish_abroad(&grant.target, parts)
    }

    /// Takes a message through the steps, which see it as its publisher named it, and into the tenant
    /// `target`. A step may keep it at home by giving it a topic there, but sends it nowhere else.
    fn publish_abroad(&mut self, target: &Arc<str>, parts: NewMessage<'_>) -> Reply {
        let desk = &mut self.desk;
        let steps =
            self.routes.entry(parts.topic.as_str()).steps.get_or_insert_with(|| {
                desk.pipeline.select(Hook::Publish, &desk.client, parts.topic)
            });
        if steps.is_empty() {
            return self.post_abroad(target, parts);
        }
        let (broker, once, message) =
            (desk.broker.clone(), desk.is_once(parts.qos), Message::new(parts));
        let published = desk.pipeline.publish(steps, &desk.client, message, &*broker);
        let reply = match published.outcome {
            PublishOutcome::Pass(message) if message.topic() == parts.topic => {
                self.post_abroad(target, message.parts())
            }
            outcome => self.settle(outcome),
        };
        self.follow(reply, once, published.emitted)
    }

    /// Retains and posts a message inside another tenant, on the topic that it has there.
    fn post_abroad(&mut self, target: &Arc<str>, parts: NewMessage<'_>) -> Reply {
        let desk = &mut self.desk;
        let inside = Abroad::of(parts.topic.as_str()).map(|it| TopicName::from_checked(it.topic));
        let Some(topic) = inside else {
            return desk.denied(Verdict::Denied(Effect::Refuse));
        };
        // Nothing at home has this topic: what is known about it is known about the target.
        let route = self.routes.entry(parts.topic.as_str());
        let inside = desk.broker.tenant(target);
        let home = std::mem::replace(&mut desk.tenant, inside);
        let parts = NewMessage { topic, ..parts };
        let reply = desk.post(route, topic, parts.retain, || Message::new(parts));
        desk.tenant = home;
        reply
    }
}

impl Desk {
    /// The verdict on what the permissions allow, and whether it lasts until these change: what is said of
    /// grants changes with them.
    pub(super) fn find_passage(&self, access: &Access<'_>, cacheable: bool) -> (Verdict, bool) {
        let passage = self.broker.passage(&self.client, access);
        let Some(denial) = passage.denial() else {
            let is_home = matches!(passage, Passage::Home);
            return (if is_home { Verdict::Allowed } else { Verdict::Abroad }, cacheable);
        };
        self.broker.report_denial(&self.client, access, &denial);
        (Verdict::Denied(denial.effect), cacheable && matches!(passage, Passage::Closed))
    }

    /// The message as sessions of other tenants see it, one for all of them, with the way that each gets
    /// it; what the store is to have of it is among `changes`. One whose queue is full loses it, whatever is
    /// to happen at full queues: nobody is refused because of another tenant's client.
    pub(super) fn admit_guests(
        &mut self,
        guests: &[Target],
        message: &Message,
        retain: bool,
        changes: &mut Vec<Change>,
    ) -> Option<(Message, Vec<Option<Way>>)> {
        let seen = self.see_from_abroad(guests, message)?;
        let mut admitted = Admitted::default();
        for guest in guests {
            let way = self.admit(guest, &seen, retain, &mut admitted);
            self.turn().overflowed += u64::from(way.is_err());
            admitted.ways.push(way.unwrap_or_default());
        }
        let Admitted { ways, copies, displaced } = admitted;
        if !copies.is_empty() {
            changes.push(Change::Queued { record: self.record(&seen), copies });
        }
        changes.extend(displaced);
        Some((seen, ways))
    }

    /// Posts a message of which nothing is stored to sessions of other tenants.
    #[cold]
    pub(super) fn post_to_guests(&mut self, guests: &[Target], message: &Message, retain: bool) {
        let Some(seen) = self.see_from_abroad(guests, message) else { return };
        seen.set_onward_after(message.onward_after());
        for guest in guests {
            self.turn().post_to_session(guest, &seen, retain, Way::Memory);
        }
    }

    fn see_from_abroad(&mut self, guests: &[Target], message: &Message) -> Option<Message> {
        if guests.is_empty() {
            return None;
        }
        let seen = seen_from_abroad(&self.tenant.name, message);
        if seen.is_none() {
            self.turn().overflowed += guests.len() as u64;
        }
        seen
    }
}
