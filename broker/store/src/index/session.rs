//! What happens within one session.

use crate::operation::{NO_MESSAGE, SessionStep};
use crate::{InFlight, MessageId, Presence, Reference, SessionState, StoredSubscription};

impl SessionState {
    /// Takes one step; gives the message that the session does not refer to any more by it.
    pub(super) fn apply(&mut self, step: SessionStep) -> Option<MessageId> {
        match step {
            SessionStep::Close { at, expiry_interval } => {
                (self.presence, self.expiry_interval) = (Presence::Left(at), expiry_interval);
                self.queue.give_back();
            }
            SessionStep::SetWill(will) => {
                return std::mem::replace(&mut self.will, will).map(|old| old.id);
            }
            SessionStep::ScheduleWill(at) => {
                self.will.iter_mut().for_each(|will| will.due_at = Some(at));
            }
            SessionStep::Subscribe(subscription) => self.subscribe(subscription),
            SessionStep::Unsubscribe(filter) => {
                self.subscriptions.retain(|it| it.filter != filter);
                self.subscriptions.shrink_to_fit();
            }
            SessionStep::Assign { id, packet_id } => {
                let message = self.queue.remove(id);
                if message.is_some() || id == NO_MESSAGE {
                    self.in_flight.push_back(InFlight { packet_id, message });
                }
            }
            SessionStep::Release(packet_id) => {
                let slot = self.in_flight.iter_mut().find(|it| it.packet_id == packet_id)?;
                return slot.message.take().map(|it| it.id());
            }
            SessionStep::Complete(packet_id) => {
                return self.complete(|it| it.packet_id == packet_id)?.message.map(|it| it.id());
            }
            SessionStep::Lose { at } => self.presence = Presence::Lost(at),
            SessionStep::Receive(packet_id) => {
                if let Err(place) = self.received.binary_search(&packet_id) {
                    self.received.insert(place, packet_id);
                }
            }
            SessionStep::ReleaseReceived(packet_id) => {
                if let Ok(place) = self.received.binary_search(&packet_id) {
                    self.received.remove(place);
                }
            }
        }
        None
    }

    /// Takes a message out, whether it waits or is in flight.
    pub(super) fn remove(&mut self, id: MessageId) -> Option<Reference> {
        let is_it = |it: &InFlight| it.message.as_ref().is_some_and(|it| it.id() == id);
        self.queue.remove(id).or_else(|| self.complete(is_it)?.message)
    }

    fn complete(&mut self, is_it: impl Fn(&InFlight) -> bool) -> Option<InFlight> {
        let place = self.in_flight.iter().position(is_it)?;
        self.in_flight.remove(place)
    }

    fn subscribe(&mut self, new: StoredSubscription) {
        match self.subscriptions.iter_mut().find(|it| it.filter == new.filter) {
            Some(held) => *held = new,
            None => {
                self.subscriptions.reserve_exact(1);
                self.subscriptions.push(new);
            }
        }
    }
}
