//! The in-flight window towards the client: packet ids, acknowledgements, redelivery.

use std::collections::VecDeque;

use hookmq_codec::{PacketId, Qos, ReasonCode};

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
    /// As `Sent`, on this connection; the client may not have it any more, so it is never sent again. Of
    /// QoS 2 PUBREL goes in its place: the client may hold the id, and would take another message for it.
    Withheld(Qos),
    Done,
}

/// What is to be sent again on a resumed session, in the order of the first sending `[MQTT-4.6.0-1]`.
#[derive(Debug)]
pub enum Redelivery<'a> {
    Publish(PacketId, &'a Delivery),
    Release(PacketId),
}

/// What a PUBREC asks of us.
#[derive(Debug)]
pub enum Release {
    /// Answer with PUBREL `[MQTT-4.3.3-4]`. The message is the client's, and is given the first time.
    Send(Option<Delivery>),
    /// The client refused the message: its id is free, nothing is answered.
    Refused(Option<Delivery>),
}

/// What a session had under way when the broker was last running.
#[derive(Debug)]
pub enum Resumed {
    Publish(Delivery),
    /// PUBREC had come.
    Release,
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
        for slot in &mut self.slots {
            match slot {
                Slot::Withheld(Qos::ExactlyOnce) => *slot = Slot::Released,
                Slot::Withheld(_) => *slot = Slot::Done,
                Slot::Sent(_) | Slot::Released | Slot::Done => {}
            }
        }
        self.drop_finished();
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

    /// The packet id that [`Self::assign`] gives next.
    #[inline]
    pub fn next_id(&self) -> PacketId {
        advance(self.first, self.slots.len())
    }

    /// Gives `delivery`, of QoS 1 or 2, a packet id that no other message in flight has.
    ///
    /// # Panics
    /// When the window is not open.
    #[inline]
    pub fn assign(&mut self, delivery: Delivery) -> PacketId {
        assert!(self.is_open(), "the caller asks is_open before it sends");
        let id = self.next_id();
        self.slots.push_back(Slot::Sent(delivery));
        self.sent += 1;
        self.in_flight += 1;
        id
    }

    /// PUBACK: the message is delivered. It is given back, unless it was withheld since.
    pub fn handle_puback(&mut self, id: PacketId) -> Result<Option<Delivery>, PacketIdNotFound> {
        let place = self.place(id)?;
        match self.slots[place].awaited_qos() {
            Some(Qos::AtLeastOnce) => Ok(self.finish(place)),
            _ => Err(PacketIdNotFound),
        }
    }

    /// PUBREC: the client has the message, or with `refused` does not want it.
    pub fn handle_pubrec(
        &mut self,
        id: PacketId,
        refused: Option<ReasonCode>,
    ) -> Result<Release, PacketIdNotFound> {
        let place = self.place(id)?;
        match (&self.slots[place], refused) {
            (Slot::Released, _) => Ok(Release::Send(None)),
            (slot, _) if slot.awaited_qos() != Some(Qos::ExactlyOnce) => Err(PacketIdNotFound),
            (_, None) => {
                let sent = std::mem::replace(&mut self.slots[place], Slot::Released);
                Ok(Release::Send(sent.into_delivery()))
            }
            (_, Some(_)) => Ok(Release::Refused(self.finish(place))),
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
            Slot::Released | Slot::Done | Slot::Withheld(_) => Redelivery::Release(id),
        })
    }

    /// Treats a message as delivered that the client can no longer be sent `[MQTT-3.1.2-25]`. One of QoS 2
    /// is to be released: an earlier connection may have brought it.
    pub fn abandon(&mut self, id: PacketId) -> Result<Option<Delivery>, PacketIdNotFound> {
        let place = self.place(id)?;
        match &self.slots[place] {
            Slot::Sent(delivery) if delivery.qos == Qos::ExactlyOnce => {
                let sent = std::mem::replace(&mut self.slots[place], Slot::Released);
                Ok(sent.into_delivery())
            }
            Slot::Sent(_) => Ok(self.finish(place)),
            Slot::Released | Slot::Done | Slot::Withheld(_) => Err(PacketIdNotFound),
        }
    }

    /// The messages in flight with their packet ids, in the order of the first sending.
    pub fn messages(&self) -> impl Iterator<Item = (PacketId, &Delivery)> {
        self.slots.iter().enumerate().filter_map(|(place, slot)| match slot {
            Slot::Sent(delivery) => Some((advance(self.first, place), delivery)),
            Slot::Released | Slot::Withheld(_) | Slot::Done => None,
        })
    }

    /// Takes up what was under way when the broker was last running. Packet ids were given out in turn,
    /// so the first one comes behind the longest run of ids that nothing has.
    pub fn restore(&mut self, under_way: impl IntoIterator<Item = (PacketId, Resumed)>) {
        let mut under_way: Vec<_> = under_way.into_iter().collect();
        under_way.sort_by_key(|(id, _)| *id);
        under_way.dedup_by_key(|(id, _)| *id);
        let ids: Vec<_> = under_way.iter().map(|(id, _)| *id).collect();
        let before = |place: usize| ids[(place + ids.len() - 1) % ids.len()];
        let gap = |place: &usize| match distance(before(*place), ids[*place]) {
            0 => IDS,
            steps => steps,
        };
        let Some(start) = (0..ids.len()).max_by_key(gap) else { return };
        under_way.rotate_left(start);
        self.first = ids[start];
        self.slots.clear();
        for (id, resumed) in under_way {
            let place = distance(self.first, id);
            self.slots.resize_with(place, || Slot::Done);
            self.slots.push_back(match resumed {
                Resumed::Publish(delivery) => Slot::Sent(delivery),
                Resumed::Release => Slot::Released,
            });
        }
        (self.sent, self.in_flight) = (0, 0);
    }

    /// Takes out what is `lost` to the client, in its order: it is not sent again. What this connection
    /// has sent keeps its id until it is acknowledged or the connection ends.
    pub fn withhold(&mut self, lost: impl Fn(&Delivery) -> bool) -> Vec<(PacketId, Delivery)> {
        let mut withheld = Vec::new();
        for place in (0..self.slots.len()).rev() {
            let Slot::Sent(delivery) = &self.slots[place] else { continue };
            if !lost(delivery) {
                continue;
            }
            let (id, qos, is_sent) = (advance(self.first, place), delivery.qos, place < self.sent);
            let kept = match qos {
                Qos::ExactlyOnce if !is_sent => Slot::Released,
                _ => Slot::Withheld(qos),
            };
            if let Slot::Sent(delivery) = std::mem::replace(&mut self.slots[place], kept) {
                withheld.push((id, delivery));
            }
            if qos < Qos::ExactlyOnce && !is_sent {
                self.finish(place);
            }
        }
        withheld.reverse();
        withheld
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
        let place = distance(self.first, id);
        if place < self.slots.len() { Ok(place) } else { Err(PacketIdNotFound) }
    }

    fn finish(&mut self, place: usize) -> Option<Delivery> {
        let finished = std::mem::replace(&mut self.slots[place], Slot::Done);
        // A client may acknowledge what the connection before has sent it.
        if place < self.sent {
            self.in_flight -= 1;
        }
        self.drop_finished();
        finished.into_delivery()
    }

    #[inline]
    fn drop_finished(&mut self) {
        while let Some(Slot::Done) = self.slots.front() {
            self.slots.pop_front();
            self.sent = self.sent.saturating_sub(1);
            self.first = advance(self.first, 1);
        }
    }
}

impl Slot {
    fn into_delivery(self) -> Option<Delivery> {
        match self {
            Self::Sent(delivery) => Some(delivery),
            Self::Released | Self::Withheld(_) | Self::Done => None,
        }
    }

    /// Of the message that PUBACK or PUBREC is awaited for.
    fn awaited_qos(&self) -> Option<Qos> {
        match self {
            Self::Sent(delivery) => Some(delivery.qos),
            Self::Withheld(qos) => Some(*qos),
            Self::Released | Self::Done => None,
        }
    }

    fn is_shared(&self, shared: SharedId) -> bool {
        matches!(self, Self::Sent(it) if it.shared == Some(shared) && it.qos == Qos::AtLeastOnce)
    }
}

/// How many steps `id` is behind `first`.
fn distance(first: PacketId, id: PacketId) -> usize {
    let (id, first) = (usize::from(id.get()), usize::from(first.get()));
    if id >= first { id - first } else { id + IDS - first }
}

/// The id `steps` behind `id`, going round from 65,535 to 1.
#[inline]
fn advance(id: PacketId, steps: usize) -> PacketId {
    let zero_based = (usize::from(id.get()) - 1 + steps) % IDS;
    PacketId::new(zero_based as u16 + 1).expect("one more than a u16 below its maximum")
}

#[cfg(test)]
mod tests;
