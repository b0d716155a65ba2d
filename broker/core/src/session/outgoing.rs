//! The in-flight window towards the client: packet ids, acknowledgements, redelivery.

use std::collections::VecDeque;

use hookmq_codec::{PacketId, Qos};

use super::Delivery;
use crate::{Message, SharedId};

/// Messages of QoS 1 and 2 that were sent and are not yet acknowledged to the end.
///
/// Packet ids are given out in turn, so the window is a queue in which an id's place is its distance
/// from the first one: looking one up costs nothing. An acknowledged slot in the middle stays, empty,
/// until those before it are done.
#[derive(Debug)]
pub struct Outgoing {
    slots: VecDeque<Slot>,
    /// Of the first slot, or the next to be given out when there is none.
    first: PacketId,
    /// Slots at the front that this connection has sent, or sent again.
    sent: usize,
    /// How many of `sent` are not empty.
    in_flight: usize,
    window: usize,
}

#[derive(Debug)]
enum Slot {
    /// Waits for PUBACK or PUBREC.
    Sent(Delivery),
    /// PUBREC came; waits for PUBCOMP.
    Released,
    Done,
}

/// What is to be sent again on a resumed session, in the order of the first sending `[MQTT-4.6.0-1]`.
#[derive(Debug)]
pub enum Redelivery<'a> {
    Publish(PacketId, &'a Delivery),
    Release(PacketId),
}

/// What a PUBREC asks of us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Answer with PUBREL `[MQTT-4.3.3-4]`.
    Send,
    /// The client refused the message: its id is free, nothing is answered.
    Refused,
}

/// The client acknowledged what is not in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the packet identifier is not in flight")]
pub struct PacketIdNotFound;

/// There is one id fewer than a `u16` has values: zero is none.
const IDS: usize = u16::MAX as usize;

impl Default for Outgoing {
    fn default() -> Self {
        Self { slots: VecDeque::new(), first: PacketId::MIN, sent: 0, in_flight: 0, window: 0 }
    }
}

impl Outgoing {
    /// A connection begins. `window` messages may be in flight: the client's receive maximum, or less.
    /// What an earlier connection has left unacknowledged is to be sent again, within it.
    pub fn handle_connected(&mut self, window: u16) {
        self.window = usize::from(window);
        self.sent = 0;
        self.in_flight = 0;
    }

    /// Whether one more message of QoS 1 or 2 may be sent; not before all redeliveries.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.in_flight < self.window && !self.has_redeliveries() && self.slots.len() < IDS
    }

    /// Whether something is still to be sent again.
    #[inline]
    pub fn has_redeliveries(&self) -> bool {
        self.sent < self.slots.len()
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Gives `delivery`, of QoS 1 or 2, a packet id that no other message in flight has.
    ///
    /// # Panics
    /// When the window is not open.
    #[inline]
    pub fn assign(&mut self, delivery: Delivery) -> PacketId {
        assert!(self.is_open(), "the caller asks is_open before it sends");
        let id = advance(self.first, self.slots.len());
        self.slots.push_back(Slot::Sent(delivery));
        self.sent += 1;
        self.in_flight += 1;
        id
    }

    /// PUBACK: the message is delivered.
    pub fn handle_puback(&mut self, id: PacketId) -> Result<(), PacketIdNotFound> {
        let place = self.place(id)?;
        match &self.slots[place] {
            Slot::Sent(delivery) if delivery.qos == Qos::AtLeastOnce => {
                self.finish(place);
                Ok(())
            }
            _ => Err(PacketIdNotFound),
        }
    }

    /// PUBREC: the client has the message, or with `refused` does not want it.
    pub fn handle_pubrec(
        &mut self,
        id: PacketId,
        refused: Option<hookmq_codec::ReasonCode>,
    ) -> Result<Release, PacketIdNotFound> {
        let place = self.place(id)?;
        match (&self.slots[place], refused) {
            (Slot::Sent(delivery), None) if delivery.qos == Qos::ExactlyOnce => {
                self.slots[place] = Slot::Released;
                Ok(Release::Send)
            }
            (Slot::Sent(delivery), Some(_)) if delivery.qos == Qos::ExactlyOnce => {
                self.finish(place);
                Ok(Release::Refused)
            }
            (Slot::Released, _) => Ok(Release::Send),
            _ => Err(PacketIdNotFound),
        }
    }

    /// PUBCOMP: the exchange is over.
    pub fn handle_pubcomp(&mut self, id: PacketId) -> Result<(), PacketIdNotFound> {
        let place = self.place(id)?;
        match self.slots[place] {
            Slot::Released => {
                self.finish(place);
                Ok(())
            }
            _ => Err(PacketIdNotFound),
        }
    }

    /// What is to be sent again next to a client that has come back `[MQTT-4.4.0-1]`; none while its
    /// window is full. PUBREL does not wait for the window `[MQTT-3.3.4-10]`.
    pub fn poll_redelivery(&mut self) -> Option<Redelivery<'_>> {
        while let Some(Slot::Done) = self.slots.get(self.sent) {
            self.sent += 1;
        }
        let place = self.sent;
        let slot = self.slots.get(place)?;
        if matches!(slot, Slot::Sent(_)) && self.in_flight >= self.window {
            return None;
        }
        self.sent += 1;
        self.in_flight += 1;
        let id = advance(self.first, place);
        Some(match slot {
            Slot::Sent(delivery) => Redelivery::Publish(id, delivery),
            Slot::Released | Slot::Done => Redelivery::Release(id),
        })
    }

    /// Treats a message as delivered that the client can no longer be sent `[MQTT-3.1.2-25]`.
    pub fn abandon(&mut self, id: PacketId) -> Result<(), PacketIdNotFound> {
        let place = self.place(id)?;
        match self.slots[place] {
            Slot::Sent(_) => {
                self.finish(place);
                Ok(())
            }
            Slot::Released | Slot::Done => Err(PacketIdNotFound),
        }
    }

    /// Whether messages of QoS 1 from a shared subscription are in flight.
    pub fn holds_shared(&self, shared: SharedId) -> bool {
        self.slots.iter().any(|slot| slot.is_shared(shared))
    }

    /// Takes out the messages of QoS 1 in flight that came from a shared subscription, in their order.
    /// One of QoS 2 stays: it may be with the client already `[MQTT-4.8.2-4]`.
    pub fn take_shared(&mut self, shared: SharedId) -> Vec<Message> {
        let mut taken = Vec::new();
        for place in (0..self.slots.len()).rev() {
            if self.slots[place].is_shared(shared)
                && let Slot::Sent(delivery) = &self.slots[place]
            {
                taken.push(delivery.message.clone());
                self.finish(place);
            }
        }
        taken.reverse();
        taken
    }

    /// Gives back the memory that only a busy window needs.
    pub fn shrink(&mut self) {
        self.slots.shrink_to_fit();
    }

    fn place(&self, id: PacketId) -> Result<usize, PacketIdNotFound> {
        let (id, first) = (usize::from(id.get()), usize::from(self.first.get()));
        let place = if id >= first { id - first } else { id + IDS - first };
        if place < self.slots.len() { Ok(place) } else { Err(PacketIdNotFound) }
    }

    fn finish(&mut self, place: usize) {
        self.slots[place] = Slot::Done;
        // A client may acknowledge what the connection before has sent it.
        if place < self.sent {
            self.in_flight -= 1;
        }
        while let Some(Slot::Done) = self.slots.front() {
            self.slots.pop_front();
            self.sent = self.sent.saturating_sub(1);
            self.first = advance(self.first, 1);
        }
    }
}

impl Slot {
    fn is_shared(&self, shared: SharedId) -> bool {
        matches!(self, Self::Sent(it) if it.shared == Some(shared) && it.qos == Qos::AtLeastOnce)
    }
}

/// The id `steps` behind `id`, going round from 65,535 to 1.
#[inline]
fn advance(id: PacketId, steps: usize) -> PacketId {
    let zero_based = (usize::from(id.get()) - 1 + steps) % IDS;
    PacketId::new(zero_based as u16 + 1).expect("one more than a u16 below its maximum")
}

#[cfg(test)]
mod tests {
    use hookmq_codec::{ReasonCode, TopicName};

    use super::*;
    use crate::NewMessage;

    fn delivery(qos: Qos, payload: &[u8]) -> Delivery {
        let message = Message::new(NewMessage {
            topic: TopicName::new("t").unwrap(),
            forwarded_properties: &[],
            payload,
            qos,
            retain: false,
            expires_at: None,
            publisher: 0,
        });
        Delivery { message, qos, retain: false, subscription_identifiers: None, shared: None }
    }

    fn open(window: u16) -> Outgoing {
        let mut outgoing = Outgoing::default();
        outgoing.handle_connected(window);
        outgoing
    }

    /// What is sent again at once to a client that comes back with this window.
    fn reconnect(outgoing: &mut Outgoing, window: u16) -> Vec<(u16, Option<Vec<u8>>)> {
        outgoing.handle_connected(window);
        let mut again = Vec::new();
        while let Some(redelivery) = outgoing.poll_redelivery() {
            again.push(match redelivery {
                Redelivery::Publish(id, delivery) => {
                    (id.get(), Some(delivery.message.payload().to_vec()))
                }
                Redelivery::Release(id) => (id.get(), None),
            });
        }
        again
    }

    fn id(id: u16) -> PacketId {
        PacketId::new(id).unwrap()
    }

    #[test]
    fn puback_frees_the_inflight_window() {
        let mut outgoing = open(2);
        let first = outgoing.assign(delivery(Qos::AtLeastOnce, b"1"));
        outgoing.assign(delivery(Qos::AtLeastOnce, b"2"));
        assert!(!outgoing.is_open());
        outgoing.handle_puback(first).unwrap();
        assert!(outgoing.is_open());
        assert_eq!(outgoing.handle_puback(first), Err(PacketIdNotFound));
    }

    #[test]
    fn ids_go_round_without_zero_and_without_reuse_in_flight() {
        let mut outgoing = open(3);
        let mut last = 0;
        for _ in 0..200_000 {
            let given = outgoing.assign(delivery(Qos::AtLeastOnce, b""));
            assert_eq!(given.get(), if last == u16::MAX { 1 } else { last + 1 });
            last = given.get();
            outgoing.handle_puback(given).unwrap();
        }
        assert!(outgoing.slots.is_empty());
    }

    #[test]
    fn an_id_that_is_never_acknowledged_is_never_given_out_again() {
        let mut outgoing = open(2);
        let stuck = outgoing.assign(delivery(Qos::AtLeastOnce, b"stuck"));
        let mut others = 0;
        while outgoing.is_open() {
            let other = outgoing.assign(delivery(Qos::AtLeastOnce, b""));
            assert_ne!(other, stuck);
            outgoing.handle_puback(other).unwrap();
            others += 1;
        }
        assert_eq!(others, IDS - 1);
        outgoing.handle_puback(stuck).unwrap();
        assert!(outgoing.is_open());
    }

    #[test]
    fn acknowledgements_out_of_order_keep_the_order_of_the_rest() {
        let mut outgoing = open(10);
        for payload in [b"1", b"2", b"3"] {
            outgoing.assign(delivery(Qos::AtLeastOnce, payload));
        }
        outgoing.handle_puback(id(2)).unwrap();
        let left = reconnect(&mut outgoing, 10);
        assert_eq!(left, [(1, Some(b"1".to_vec())), (3, Some(b"3".to_vec()))]);
    }

    #[test]
    fn redeliveries_keep_to_the_new_window_and_come_before_what_is_new() {
        let mut outgoing = open(10);
        for payload in [b"1", b"2", b"3"] {
            outgoing.assign(delivery(Qos::AtLeastOnce, payload));
        }
        assert_eq!(reconnect(&mut outgoing, 1), [(1, Some(b"1".to_vec()))]);
        // It has come over the old connection, and is acknowledged over the new.
        outgoing.handle_puback(id(2)).unwrap();
        assert!(outgoing.poll_redelivery().is_none(), "the first one still fills the window");
        outgoing.handle_puback(id(1)).unwrap();
        assert!(!outgoing.is_open(), "the third one comes first");
        assert!(matches!(outgoing.poll_redelivery(), Some(Redelivery::Publish(..))));
        outgoing.abandon(id(3)).unwrap();
        assert!(outgoing.is_open());
        assert_eq!(outgoing.assign(delivery(Qos::AtLeastOnce, b"4")), id(4));
    }

    #[test]
    fn releases_do_not_wait_for_the_window() {
        let mut outgoing = open(3);
        for _ in 0..2 {
            let given = outgoing.assign(delivery(Qos::ExactlyOnce, b""));
            outgoing.handle_pubrec(given, None).unwrap();
        }
        assert_eq!(reconnect(&mut outgoing, 1), [(1, None), (2, None)]);
        assert!(!outgoing.is_open());
    }

    #[test]
    fn qos_2_goes_by_pubrec_and_pubcomp() {
        let mut outgoing = open(1);
        let given = outgoing.assign(delivery(Qos::ExactlyOnce, b""));
        assert_eq!(outgoing.handle_puback(given), Err(PacketIdNotFound));
        assert_eq!(outgoing.handle_pubcomp(given), Err(PacketIdNotFound));
        assert_eq!(outgoing.handle_pubrec(given, None), Ok(Release::Send));
        assert_eq!(reconnect(&mut outgoing, 1), [(given.get(), None)]);
        assert_eq!(outgoing.handle_pubrec(given, None), Ok(Release::Send), "a repeated PUBREC");
        assert!(!outgoing.is_open());
        outgoing.handle_pubcomp(given).unwrap();
        assert!(outgoing.is_open());
    }

    #[test]
    fn a_refusing_pubrec_ends_the_exchange() {
        let mut outgoing = open(1);
        let given = outgoing.assign(delivery(Qos::ExactlyOnce, b""));
        let refused = Some(ReasonCode::QuotaExceeded);
        assert_eq!(outgoing.handle_pubrec(given, refused), Ok(Release::Refused));
        assert!(outgoing.is_open());
    }

    #[test]
    fn messages_of_a_shared_subscription_are_taken_out_in_order() {
        let shared = |number| Some(SharedId(std::num::NonZeroU32::new(number).unwrap()));
        let mut outgoing = open(10);
        for (payload, qos, number) in [
            (b"1", Qos::AtLeastOnce, 7),
            (b"2", Qos::AtLeastOnce, 8),
            (b"3", Qos::ExactlyOnce, 7),
            (b"4", Qos::AtLeastOnce, 7),
        ] {
            outgoing.assign(Delivery { shared: shared(number), ..delivery(qos, payload) });
        }
        let taken = outgoing.take_shared(shared(7).unwrap());
        assert_eq!(taken.iter().map(Message::payload).collect::<Vec<_>>(), [b"1", b"4"]);
        assert!(!outgoing.holds_shared(shared(7).unwrap()));
        assert_eq!(outgoing.in_flight(), 2);
        let left = [(2, Some(b"2".to_vec())), (3, Some(b"3".to_vec()))];
        assert_eq!(reconnect(&mut outgoing, 10), left);
    }
}
