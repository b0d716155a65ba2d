//! Messages that somebody is guaranteed: first into the store, then to those who are due them.

use hookmq_codec::{Qos, ReasonCode};
use hookmq_core::{CommitSequence, Message};
use hookmq_store::{Change, MessageId, NewRecord, QueueKey, QueuedCopy, Room, WallClock};

use super::{Desk, Reply, Way};
use crate::broker::mailbox::Admission;
use crate::broker::meter::Bound;
use crate::broker::share::Share;
use crate::broker::tenant::{Recipients, Target};

/// Whether the store has to have the message for one of its recipients.
pub(super) fn is_durable(recipients: &Recipients, message: &Message) -> bool {
    recipients.sessions.iter().any(|target| is_guaranteed(target, message))
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
        // Before anybody sees it retained.
        let record = retain.then(|| self.record(message));
        let (tenant, broker) = (self.tenant.clone(), self.broker.clone());
        // Held until the change is in its place: what is stored last is what is retained last.
        let mut retained = retain.then(|| tenant.retained_mut());
        if retained.as_mut().is_some_and(|retained| retained.retain(message).is_err()) {
            self.tenant.meter.note(Bound::Retained);
            return self.refused();
        }
        let mut copies = Vec::new();
        let sessions = recipients.sessions.iter();
        let ways: Vec<_> =
            sessions.map(|target| self.admit(target, message, retain, &mut copies)).collect();
        for share in &recipients.shares {
            copies.extend(self.copy_of_share(share, message));
        }
        let mut changes: Vec<_> = self.along.take().map(|it| *it).into_iter().collect();
        if let Some(record) = record.clone() {
            let tenant = self.tenant.name.clone();
            changes.push(Change::Retained { tenant, record });
        }
        if !copies.is_empty() {
            let record = record.unwrap_or_else(|| self.record(message));
            changes.push(Change::Queued { record, copies });
        }
        let commit = match changes.is_empty() {
            true => CommitSequence::NONE,
            false => broker.store.append(changes),
        };
        drop(retained);
        if message.qos() == Qos::ExactlyOnce {
            message.set_onward_after(commit);
        }
        for (target, way) in recipients.sessions.iter().zip(ways) {
            if let Some(way) = way {
                self.post_to_session(target, message, retain, way);
            }
        }
        for share in &recipients.shares {
            if !self.post_to_share(share, message) && share.is_durable() {
                let id = MessageId(message.stored());
                broker.store.append(vec![Change::Dequeued { queue: share.key(), id }]);
            }
        }
        Reply::done(commit)
    }

    /// Which way a session gets the message, if it does.
    fn admit(
        &mut self,
        target: &Target,
        message: &Message,
        retain: bool,
        copies: &mut Vec<QueuedCopy>,
    ) -> Option<Way> {
        if !is_guaranteed(target, message) {
            return Some(Way::Memory);
        }
        match target.session.mailbox.admit(message.size()) {
            Admission::Admitted => {
                copies.push(QueuedCopy {
                    queue: QueueKey::Session(target.session.key.clone()),
                    qos: message.qos().min(target.maximum_qos),
                    retain: retain && target.retain_as_published,
                    subscription_identifiers: target.subscription_identifiers.clone(),
                });
                Some(Way::Store)
            }
            Admission::Overflow => {
                self.overflowed += 1;
                None
            }
            Admission::Unwanted => None,
        }
    }

    fn copy_of_share(&self, share: &Share, message: &Message) -> Option<QueuedCopy> {
        let wanted = message.qos() > Qos::AtMostOnce && share.is_durable() && share.takes(message);
        wanted.then(|| QueuedCopy {
            queue: share.key(),
            qos: message.qos(),
            retain: message.retain(),
            subscription_identifiers: None,
        })
    }

    /// The message as it is stored, under an id of its own.
    fn record(&self, message: &Message) -> NewRecord {
        let id = self.broker.store.next_id();
        message.set_stored(id.0);
        let expires_at = message.expires_at().map(|at| WallClock::now().unix(at));
        NewRecord { id, message: message.clone(), expires_at }
    }

    /// There is no room for the message.
    #[cold]
    fn refused(&self) -> Reply {
        // Before version 5 an acknowledgement can only accept [MQTT-4.8.0-2].
        let disconnect = !self.client.connection.protocol.is_v5();
        Reply { disconnect, ..Reply::settled(ReasonCode::QuotaExceeded) }
    }
}
