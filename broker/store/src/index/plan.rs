//! From changes to operations: what a change means for each unit, given how things stand.

use hookmq_core::Message;

use super::{Index, number};
use crate::operation::Operation;
use crate::{
    Change, NewRecord, Opening, QueueKey, QueuedCopy, Reference, RetainedKey, RetainedState,
    SessionKey, SharedKey, StoredSubscription, StoredWill,
};

impl Index {
    /// What `change` comes to. Each operation stands for itself: it needs nothing but its own unit when
    /// it is applied again later.
    pub(crate) fn plan(&self, change: &Change, out: &mut Vec<Operation>) {
        use Operation as Op;
        let begins =
            |it: &Change| matches!(it, Change::SessionOpened { .. } | Change::Retained { .. });
        if !begins(change) && concerned(change).is_some_and(|it| self.session(it).is_none()) {
            return;
        }
        match change {
            Change::SessionOpened { session, username, expiry_interval, epoch, opening } => {
                if *opening == Opening::Clean {
                    self.leave_all(session, out);
                }
                out.push(Op::Open {
                    session: session.clone(),
                    username: username.clone(),
                    expiry_interval: *expiry_interval,
                    epoch: *epoch,
                    opening: *opening,
                });
            }
            Change::SessionClosed { session, at, expiry_interval } => out.push(Op::Close {
                session: session.clone(),
                at: *at,
                expiry_interval: *expiry_interval,
            }),
            Change::SessionEnded { session } => {
                self.leave_all(session, out);
                out.push(Op::End { session: session.clone() });
            }
            Change::WillSet { session, will } => {
                let stored = StoredWill {
                    id: will.record.id,
                    delay: will.delay,
                    expiry_interval: will.expiry_interval,
                    due_at: None,
                };
                out.push(Op::SetWill { session: session.clone(), will: Some(stored) });
            }
            Change::WillCleared { session } => {
                out.push(Op::SetWill { session: session.clone(), will: None });
            }
            Change::WillScheduled { session, at } => {
                out.push(Op::ScheduleWill { session: session.clone(), at: *at });
            }
            Change::Subscribed { session, filter, subscription } => {
                let known = self.session(session).is_some_and(|it| it.is_subscribed(filter));
                if filter.share_name().is_some() && !known {
                    let (tenant, filter) = (session.tenant.clone(), filter.clone());
                    out.push(Op::Join { shared: SharedKey { tenant, filter } });
                }
                let (filter, subscription) = (filter.clone(), *subscription);
                let subscription = StoredSubscription { filter, subscription };
                out.push(Op::Subscribe { session: session.clone(), subscription });
            }
            Change::Unsubscribed { session, filter } => {
                let known = self.session(session).is_some_and(|it| it.is_subscribed(filter));
                if filter.share_name().is_some() && known {
                    let (tenant, filter) = (session.tenant.clone(), filter.clone());
                    out.push(Op::Leave { shared: SharedKey { tenant, filter } });
                }
                out.push(Op::Unsubscribe { session: session.clone(), filter: filter.clone() });
            }
            Change::Queued { record, copies } => {
                let known = copies.iter().filter(|copy| self.queue(&copy.queue).is_some());
                out.extend(known.map(|copy| Op::Push {
                    queue: copy.queue.clone(),
                    reference: reference(record, copy),
                }));
            }
            Change::Dequeued { queue, id } => {
                out.push(Op::Remove { queue: queue.clone(), id: *id });
            }
            Change::Moved { from, to, id } => {
                let Some(reference) = self.find_reference(from, *id) else { return };
                if self.queue(to).is_none() {
                    return;
                }
                out.push(Op::Remove { queue: from.clone(), id: *id });
                out.push(Op::Push { queue: to.clone(), reference });
            }
            Change::PacketIdAssigned { session, id, packet_id } => out.push(Op::Assign {
                session: session.clone(),
                id: *id,
                packet_id: number(*packet_id),
            }),
            Change::Released { session, packet_id } => {
                let (session, packet_id) = (session.clone(), number(*packet_id));
                out.push(Op::Release { session, packet_id });
            }
            Change::Completed { session, packet_id } => {
                let (session, packet_id) = (session.clone(), number(*packet_id));
                out.push(Op::Complete { session, packet_id });
            }
            Change::Received { session, packet_id } => {
                let (session, packet_id) = (session.clone(), number(*packet_id));
                out.push(Op::Receive { session, packet_id });
            }
            Change::ReceivedReleased { session, packet_id } => {
                let (session, packet_id) = (session.clone(), number(*packet_id));
                out.push(Op::ReleaseReceived { session, packet_id });
            }
            Change::Retained { tenant, record } => {
                let topic = record.message.topic().as_str().into();
                let retained = RetainedKey { tenant: tenant.clone(), topic };
                out.push(match record.message.payload().is_empty() {
                    true => Op::Forget(retained),
                    false => Op::Retain(RetainedState { retained, message: whole(record) }),
                });
            }
        }
    }

    /// The session leaves every shared subscription that it is a member of.
    fn leave_all(&self, session: &SessionKey, out: &mut Vec<Operation>) {
        let Some(state) = self.session(session) else { return };
        let shared = state.subscriptions.iter().filter(|it| it.filter.share_name().is_some());
        out.extend(shared.map(|it| {
            let (tenant, filter) = (session.tenant.clone(), it.filter.clone());
            Operation::Leave { shared: SharedKey { tenant, filter } }
        }));
    }

    /// In the queue, or in flight.
    fn find_reference(&self, key: &QueueKey, id: crate::MessageId) -> Option<Reference> {
        if let Some(reference) = self.queue(key)?.find(id) {
            return Some(reference.clone());
        }
        let QueueKey::Session(session) = key else { return None };
        let in_flight = self.session(session)?.in_flight.iter();
        in_flight.filter_map(|it| it.message.as_ref()).find(|it| it.id() == id).cloned()
    }
}

/// The one session that a change is about.
fn concerned(change: &Change) -> Option<&SessionKey> {
    match change {
        Change::SessionOpened { session, .. }
        | Change::SessionClosed { session, .. }
        | Change::SessionEnded { session }
        | Change::WillSet { session, .. }
        | Change::WillCleared { session }
        | Change::WillScheduled { session, .. }
        | Change::Subscribed { session, .. }
        | Change::Unsubscribed { session, .. }
        | Change::PacketIdAssigned { session, .. }
        | Change::Released { session, .. }
        | Change::Completed { session, .. }
        | Change::Received { session, .. }
        | Change::ReceivedReleased { session, .. } => Some(session),
        Change::Queued { .. }
        | Change::Dequeued { .. }
        | Change::Moved { .. }
        | Change::Retained { .. } => None,
    }
}

fn reference(record: &NewRecord, copy: &QueuedCopy) -> Reference {
    let identifiers = copy.subscription_identifiers.as_deref().unwrap_or_default();
    let size = Message::size(&record.message);
    Reference::new(record.id, copy.qos, copy.retain, size)
        .expiring(record.expires_at)
        .with_identifiers(identifiers)
}

/// As the retained store refers to a message.
fn whole(record: &NewRecord) -> Reference {
    let message = &record.message;
    Reference::new(record.id, message.qos(), true, message.size()).expiring(record.expires_at)
}
