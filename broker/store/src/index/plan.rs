//! From changes to operations: what a change means for each unit, given how things stand.

use std::num::NonZeroU16;

use hookmq_codec::{PacketId, Qos, TopicFilter};

use super::Index;
use crate::operation::{NO_MESSAGE, Operation, SessionStep};
use crate::{
    Change, MessageId, NewRecord, Opening, QueueKey, QueuedCopy, Reference, RetainedKey,
    RetainedState, SessionKey, SharedKey, StoredSubscription, StoredWill,
};

impl Index {
    /// What `change` comes to. Each operation stands for itself: it needs nothing but its own unit when
    /// it is applied again later.
    pub(crate) fn plan(&self, change: &Change, out: &mut Vec<Operation>) {
        use Operation as Op;
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
                let void = self.session(session).and_then(|it| it.will.as_ref());
                if *opening == Opening::Resumed && void.is_some() {
                    let (session, step) = (session.clone(), SessionStep::SetWill(None));
                    out.push(Op::OfSession { session, step });
                }
            }
            Change::SessionEnded { session } => {
                self.leave_all(session, out);
                let known = self.session(session).is_some();
                out.extend(known.then(|| Op::End { session: session.clone() }));
            }
            Change::Queued { record, copies } => {
                let known = copies.iter().filter(|copy| self.queue(&copy.queue).is_some());
                out.extend(known.map(|copy| Op::Push {
                    queue: copy.queue.clone(),
                    reference: reference(record, copy),
                }));
            }
            Change::Dequeued { queue, id } => out.extend(self.plan_dequeued(queue, *id)),
            Change::Trimmed { queue, messages, bytes, after } => {
                let Some(held) = self.queue(queue) else { return };
                let too_many = held.beyond(*messages, *bytes as u64, *after);
                out.extend(too_many.map(|it| Op::Remove { queue: queue.clone(), id: it.id() }));
            }
            Change::Moved { from, to, id } => {
                let Some(mut reference) = self.find_reference(from, *id) else { return };
                reference.set_taken(matches!(to, QueueKey::Session(_)));
                if self.queue(to).is_some() {
                    out.push(Op::Remove { queue: from.clone(), id: *id });
                    out.push(Op::Push { queue: to.clone(), reference });
                }
            }
            Change::Retained { tenant, record } => {
                let topic = record.message.topic().as_str().into();
                let retained = RetainedKey { tenant: tenant.clone(), topic };
                out.push(match record.message.payload().is_empty() {
                    true => Op::Forget(retained),
                    false => Op::Retain(RetainedState { retained, message: whole(record) }),
                });
            }
            Change::WillCleared { session, id } => {
                let will = self.session(session).and_then(|it| it.will.as_ref());
                let (session, step) = (session.clone(), SessionStep::SetWill(None));
                out.extend(will.filter(|it| it.id == *id).map(|_| Op::OfSession { session, step }));
            }
            Change::Expired { at } => self.plan_expired(*at, out),
            Change::PacketIdAssigned { session, id, copy, packet_id } => {
                let held = self.session(session).and_then(|it| it.queue.find(*id));
                let id = match held.filter(|held| copy.is(held)) {
                    Some(held) => held.id(),
                    // The client would take the next message under this packet id for this one.
                    None if copy.qos == Qos::ExactlyOnce => NO_MESSAGE,
                    None => return,
                };
                let step = SessionStep::Assign { id, packet_id: number(packet_id) };
                out.push(Op::OfSession { session: session.clone(), step });
            }
            // Nothing that outlives the connection.
            Change::Taken { .. } => {}
            other => out.extend(step(other).into_iter().flat_map(|it| self.plan_step(it))),
        }
    }

    /// A step of a session, and what it means for a shared subscription.
    fn plan_step(&self, (session, step): (&SessionKey, SessionStep)) -> Vec<Operation> {
        let Some(state) = self.session(session) else { return Vec::new() };
        let shared = |filter: &TopicFilter| {
            let key = || SharedKey { tenant: session.tenant.clone(), filter: filter.clone() };
            filter.share_name().is_some().then(key)
        };
        let membership = match &step {
            SessionStep::Subscribe(new) if !state.is_subscribed(&new.filter) => {
                shared(&new.filter).map(|shared| Operation::Join { shared })
            }
            SessionStep::Unsubscribe(filter) if state.is_subscribed(filter) => {
                shared(filter).map(|shared| Operation::Leave { shared })
            }
            _ => None,
        };
        let step = Operation::OfSession { session: session.clone(), step };
        membership.into_iter().chain([step]).collect()
    }

    /// What was sent to a session with QoS 1 may have a packet id already.
    fn plan_dequeued(&self, queue: &QueueKey, id: MessageId) -> Option<Operation> {
        let session = match queue {
            QueueKey::Session(session) if self.queue(queue)?.find(id).is_none() => session.clone(),
            _ => return Some(Operation::Remove { queue: queue.clone(), id }),
        };
        let is_it = |it: &Reference| it.id() == id && it.qos() == Qos::AtLeastOnce;
        let mut in_flight = self.session(&session)?.in_flight.iter();
        let slot = in_flight.find(|it| it.message.as_ref().is_some_and(is_it))?;
        let step = SessionStep::Complete(slot.packet_id);
        Some(Operation::OfSession { session, step })
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
    fn find_reference(&self, key: &QueueKey, id: MessageId) -> Option<Reference> {
        if let Some(reference) = self.queue(key)?.find(id) {
            return Some(reference.clone());
        }
        let QueueKey::Session(session) = key else { return None };
        let in_flight = self.session(session)?.in_flight.iter();
        in_flight.filter_map(|it| it.message.as_ref()).find(|it| it.id() == id).cloned()
    }
}

/// The change as a step of one session, where it is that.
fn step(change: &Change) -> Option<(&SessionKey, SessionStep)> {
    use SessionStep as Step;
    Some(match change {
        Change::SessionClosed { session, at, expiry_interval } => {
            (session, Step::Close { at: *at, expiry_interval: *expiry_interval })
        }
        Change::SessionLost { session, at } => (session, Step::Lose { at: *at }),
        Change::WillSet { session, will } => {
            let (id, delay, expiry_interval) = (will.record.id, will.delay, will.expiry_interval);
            let will = StoredWill { id, delay, expiry_interval, due_at: None };
            (session, Step::SetWill(Some(will)))
        }
        Change::WillScheduled { session, at } => (session, Step::ScheduleWill(*at)),
        Change::Subscribed { session, filter, subscription } => {
            let (filter, subscription) = (filter.clone(), *subscription);
            (session, Step::Subscribe(StoredSubscription { filter, subscription }))
        }
        Change::Unsubscribed { session, filter } => (session, Step::Unsubscribe(filter.clone())),
        Change::Released { session, packet_id } => (session, Step::Release(number(packet_id))),
        Change::Completed { session, packet_id } => (session, Step::Complete(number(packet_id))),
        Change::Received { session, packet_id } => (session, Step::Receive(number(packet_id))),
        Change::ReceivedReleased { session, packet_id } => {
            (session, Step::ReleaseReceived(number(packet_id)))
        }
        Change::SessionOpened { .. }
        | Change::SessionEnded { .. }
        | Change::WillCleared { .. }
        | Change::Queued { .. }
        | Change::Dequeued { .. }
        | Change::Trimmed { .. }
        | Change::Taken { .. }
        | Change::Moved { .. }
        | Change::PacketIdAssigned { .. }
        | Change::Retained { .. }
        | Change::Expired { .. } => return None,
    })
}

fn number(packet_id: &PacketId) -> NonZeroU16 {
    NonZeroU16::new(packet_id.get()).expect("a packet id is not zero")
}

fn reference(record: &NewRecord, copy: &QueuedCopy) -> Reference {
    let identifiers = copy.subscription_identifiers.as_deref().unwrap_or_default();
    Reference::new(record.id, copy.qos, copy.retain, record.message.size())
        .expiring(record.expires_at)
        .with_identifiers(identifiers)
}

/// As the retained store refers to a message.
fn whole(record: &NewRecord) -> Reference {
    let message = &record.message;
    Reference::new(record.id, message.qos(), true, message.size()).expiring(record.expires_at)
}
