//! Messages that somebody is guaranteed: first into the store, then to those who are due them.

use hookmq_codec::{Qos, ReasonCode};
use hookmq_core::{CommitSequence, Message, QueueLimits, Shared};
use hookmq_store::{Change, MessageId, NewRecord, QueueKey, QueuedCopy, Room};

use super::posting::Way;
use super::{Desk, Reply};
use crate::broker::limits::QueueFull;
use crate::broker::mailbox::Admission;
use crate::broker::meter::Bound;
use crate::broker::share::Share;
use crate::broker::tenant::{Recipients, Target};

/// Whether the store has to have the message for one of its recipients.
pub(super) fn is_durable(recipients: &Recipients, message: &Message) -> bool {
    let mut targets = recipients.sessions.iter().chain(&recipients.guests);
    targets.any(|target| is_guaranteed(target, message))
        || recipients.shares.iter().any(|share| share.is_durable())
}

/// Whether the message would take up room in the store, and does not make some by what it removes.
fn needs_room(recipients: &Recipients, message: &Message, retain: bool) -> bool {
    match retain {
        true => !message.payload().is_empty(),
        false => message.qos() > Qos::AtMostOnce && is_durable(recipients, message),
    }
}

fn is_guaranteed(target: &Target, message: &Message) -> bool {
    message.qos().min(target.maximum_qos) > Qos::AtMostOnce && target.session.is_durable()
}

/// Where a message is due, and what is to be stored for that.
#[derive(Default)]
pub(super) struct Admitted {
    /// For each of the sessions.
    pub(super) ways: Vec<Option<Way>>,
    pub(super) copies: Vec<QueuedCopy>,
    /// What makes room for it.
    pub(super) displaced: Vec<Change>,
}

fn copy_of_share(share: &Share, message: &Message) -> Option<QueuedCopy> {
    (message.qos() > Qos::AtMostOnce && share.is_durable()).then(|| QueuedCopy {
        queue: share.key(),
        qos: message.qos(),
        retain: message.retain(),
        subscription_identifiers: None,
    })
}

/// A queue is full, and the message is for nobody.
pub(super) struct Refused;

/// Gives back the room that was made for a message.
fn renounce(recipients: &Recipients, ways: &[Option<Way>], message: &Message) {
    let admitted = recipients.sessions.iter().zip(ways);
    let admitted = admitted.filter(|(_, way)| **way == Some(Way::Store));
    admitted.for_each(|(target, _)| target.session.mailbox.renounce(message.size()));
}

impl Desk {
    /// Retains the message, stores it for those who are guaranteed it and what is to be stored along
    /// with it, and posts it to everybody.
    ///
    /// In this order: whoever has the message may acknowledge it at once, and what is removed from the
    /// store has to be there.
    pub(super) fn store_and_post(
        &mut self,
        recipients: &Recipients,
        message: &Message,
        retain: bool,
    ) -> Reply {
        if matches!(self.broker.store.room(), Room::Full | Room::Failed)
            && needs_room(recipients, message, retain)
        {
            return self.refused();
        }
        self.turn().post_gathered();
        // Before anybody sees it retained.
        let record = retain.then(|| self.record(message));
        let (tenant, broker) = (self.tenant.clone(), self.broker.clone());
        let Some(Admitted { ways, copies, displaced }) =
            self.admit_all(recipients, message, retain)
        else {
            broker.metrics.publishes_refused.add(1);
            return self.refused();
        };
        // Held until the change is in its place: what is stored last is what is retained last.
        let mut retained = retain.then(|| tenant.retained_mut());
        if retained.as_mut().is_some_and(|retained| retained.retain(message).is_err()) {
            renounce(recipients, &ways, message);
            self.tenant.meter.note(Bound::Retained);
            return self.refused();
        }
        let once = self.is_once(message.qos());
        let mut changes: Vec<_> = self.along.take().map(|it| it.change).into_iter().collect();
        if let Some(record) = record.clone() {
            let tenant = self.tenant.name.clone();
            changes.push(Change::Retained { tenant, record });
        }
        if !copies.is_empty() {
            let record = record.unwrap_or_else(|| self.record(message));
            changes.push(Change::Queued { record, copies });
        }
        changes.extend(displaced);
        let abroad = self.admit_guests(&recipients.guests, message, retain, &mut changes);
        let commit = match changes.is_empty() {
            true => CommitSequence::NONE,
            false => broker.store.append(changes),
        };
        drop(retained);
        if let Some(behind) = &mut self.behind {
            **behind = commit.max(**behind);
            message.set_onward_after(**behind);
        } else if once {
            message.set_onward_after(commit);
        }
        self.post_by_ways(&recipients.sessions, message, retain, ways);
        if let Some((seen, ways)) = abroad {
            seen.set_onward_after(message.onward_after());
            self.post_by_ways(&recipients.guests, &seen, retain, ways);
        }
        for share in &recipients.shares {
            if !self.turn().post_to_share(share, message)
                && let Some(settled) = share.settled(message)
            {
                broker.store.append(vec![settled]);
            }
        }
        Reply::done(commit)
    }

    fn post_by_ways(
        &mut self,
        targets: &[Target],
        message: &Message,
        retain: bool,
        ways: Vec<Option<Way>>,
    ) {
        for (target, way) in targets.iter().zip(ways) {
            if let Some(way) = way {
                self.turn().post_to_session(target, message, retain, way);
            }
        }
    }

    /// Makes room for the message wherever it is due; none where it is to be refused for want of room.
    fn admit_all(
        &mut self,
        recipients: &Recipients,
        message: &Message,
        retain: bool,
    ) -> Option<Admitted> {
        let mut admitted = Admitted::default();
        let mut is_refused = false;
        for target in &recipients.sessions {
            let way = self.admit(target, message, retain, &mut admitted);
            is_refused |= way.is_err();
            admitted.ways.push(way.unwrap_or_default());
        }
        for share in &recipients.shares {
            match share.refuses(message) {
                None => admitted.copies.extend(copy_of_share(share, message)),
                Some(Shared::Overflow) => is_refused |= self.refuses(),
                Some(_) => {}
            }
        }
        if is_refused {
            renounce(recipients, &admitted.ways, message);
            return None;
        }
        Some(admitted)
    }

    /// Which way a session gets the message, if it does.
    pub(super) fn admit(
        &mut self,
        target: &Target,
        message: &Message,
        retain: bool,
        admitted: &mut Admitted,
    ) -> Result<Option<Way>, Refused> {
        if !is_guaranteed(target, message) {
            return Ok(Some(Way::Memory));
        }
        let mailbox = &target.session.mailbox;
        let queue = || QueueKey::Session(target.session.key.clone());
        match (mailbox.admit(message.size()), self.broker.limits.queue_full) {
            (Admission::Admitted, _) => {}
            (Admission::Unwanted, _) => return Ok(None),
            (Admission::Overflow, QueueFull::Refuse) => return Err(Refused),
            (Admission::Overflow, QueueFull::DropNewest) => {
                self.turn().overflowed += 1;
                return Ok(None);
            }
            (Admission::Overflow, QueueFull::DropOldest) => {
                let displaced = mailbox.admit_for_oldest(message.size());
                self.turn().overflowed +=
                    displaced.ids.len() as u64 + u64::from(displaced.trims_behind.is_some());
                let ids = displaced.ids.into_iter().map(MessageId);
                admitted.displaced.extend(ids.map(|id| Change::Dequeued { queue: queue(), id }));
                let QueueLimits { messages, bytes } = self.broker.limits.queue;
                admitted.displaced.extend(displaced.trims_behind.map(|after| {
                    let after = MessageId(after);
                    Change::Trimmed { queue: queue(), messages, bytes, after }
                }));
            }
        }
        admitted.copies.push(QueuedCopy {
            queue: queue(),
            qos: message.qos().min(target.maximum_qos),
            retain: retain && target.retain_as_published,
            subscription_identifiers: target.subscription_identifiers.clone(),
        });
        Ok(Some(Way::Store))
    }

    fn refuses(&self) -> bool {
        self.broker.limits.queue_full == QueueFull::Refuse
    }

    /// The message as it is stored, under an id of its own.
    pub(super) fn record(&self, message: &Message) -> NewRecord {
        message.set_stored(self.broker.store.next_id().0);
        NewRecord::of(message.clone())
    }

    /// There is no room for the message.
    #[cold]
    fn refused(&self) -> Reply {
        // Before version 5 an acknowledgement can only accept [MQTT-4.8.0-2].
        let disconnect = !self.client.connection.protocol.is_v5();
        Reply { disconnect, ..Reply::settled(ReasonCode::QuotaExceeded) }
    }
}
