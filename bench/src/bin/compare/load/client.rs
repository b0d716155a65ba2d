//! Publishers and subscribers: what they send, and what they make of what comes.

use std::io;

use hookmq_codec::{
    Ack, AckKind, AckProperties, OutgoingPublish, Packet, PacketId, Publish, Qos, TopicName,
};

use super::stamp::{Form, Stamp};
use super::wire::{VERSION, Wire, unexpected};
use super::{Load, Pace};

/// How long a publisher waits for deliveries before it takes the missing ones for lost, in nanoseconds.
const STALL: u64 = 1_000_000_000;
/// Bytes that a publisher lets wait for its socket.
const WAITING: usize = 64 * 1024;

pub struct Publisher {
    pub wire: Wire,
    number: usize,
    qos: Qos,
    form: Form,
    topic: String,
    payload: Vec<u8>,
    /// Messages.
    pub sent: u64,
    /// Copies of them that have arrived. A duplicate does not count.
    pub delivered: u64,
    pub unacknowledged: PacketIds,
    windows: Option<Windows>,
    pub stalls: u64,
}

struct Windows {
    /// Copies.
    undelivered: u64,
    unacknowledged: usize,
    /// Copies that are not waited for any more.
    given_up: u64,
    /// What had arrived when, in nanoseconds, something last had.
    progress: (u64, u64),
}

pub struct Subscriber {
    pub wire: Wire,
    pub number: usize,
}

/// Identifiers in use.
#[derive(Default)]
pub struct PacketIds {
    used: Vec<bool>,
    count: usize,
    last: u16,
}

impl Publisher {
    pub fn new(load: &Load, number: usize, wire: Wire) -> Self {
        let windows = match load.pace {
            Pace::Rate(_) => None,
            Pace::Windows { undelivered, unacknowledged } => Some(Windows {
                undelivered: undelivered * load.plan.copies(),
                unacknowledged,
                given_up: 0,
                progress: (0, 0),
            }),
        };
        let mut topic = String::new();
        load.plan.topic(number, 0, &mut topic);
        Self {
            wire,
            number,
            qos: load.qos,
            form: load.form,
            topic,
            payload: load.form.payload(load.payload),
            sent: 0,
            delivered: 0,
            unacknowledged: PacketIds::default(),
            windows,
            stalls: 0,
        }
    }

    /// How many messages the windows let it send at `now`.
    pub fn allowed(&mut self, now: u64, copies: u64) -> u64 {
        let Some(windows) = &mut self.windows else { return u64::MAX };
        if windows.progress.0 != self.delivered {
            windows.progress = (self.delivered, now);
        }
        let due = self.sent * copies;
        let mut undelivered = due.saturating_sub(self.delivered + windows.given_up);
        if undelivered == 0 {
            windows.progress.1 = now;
        } else if now > windows.progress.1 + STALL {
            windows.given_up += undelivered;
            windows.progress.1 = now;
            undelivered = 0;
            self.stalls += 1;
        }
        let delivery = windows.undelivered.saturating_sub(undelivered) / copies;
        match self.qos {
            Qos::AtMostOnce => delivery,
            _ => {
                let left = windows.unacknowledged.saturating_sub(self.unacknowledged.count);
                delivery.min(left as u64)
            }
        }
    }

    /// Whether another message would only wait.
    pub fn is_full(&self) -> bool {
        self.wire.waiting() >= WAITING || self.unacknowledged.count > usize::from(u16::MAX / 2)
    }

    pub fn topic_of_next(&mut self, plan: &super::Plan) {
        plan.topic(self.number, self.sent, &mut self.topic);
    }

    /// Puts the next message into the output.
    #[inline]
    pub fn publish(&mut self, due: u64) -> io::Result<()> {
        let stamp = Stamp { publisher: self.number as u32, sequence: self.sent, due };
        self.form.write(stamp, &mut self.payload);
        let packet_id = match self.qos {
            Qos::AtMostOnce => None,
            _ => Some(self.unacknowledged.take()),
        };
        let packet = OutgoingPublish {
            topic: TopicName::new(&self.topic).map_err(io::Error::other)?,
            payload: &self.payload,
            dup: false,
            qos: self.qos,
            retain: false,
            packet_id,
            message_expiry_interval: None,
            topic_alias: None,
            omit_topic: false,
            subscription_identifiers: &[],
            forwarded_properties: &[],
        };
        packet.encode(VERSION, &mut self.wire.out);
        self.sent += 1;
        Ok(())
    }

    /// What the broker answers.
    pub fn handle(&mut self, packet: &Packet<'_>) -> io::Result<()> {
        match packet {
            Packet::PubAck(ack) | Packet::PubComp(ack) if self.unacknowledged.free(ack) => Ok(()),
            Packet::PubRec(ack) => acknowledge(&mut self.wire, AckKind::PubRel, ack.packet_id),
            other => Err(unexpected(other)),
        }
    }
}

impl Subscriber {
    pub fn new(number: usize, wire: Wire) -> Self {
        Self { wire, number }
    }

    /// The message, if it is one; it is acknowledged.
    #[inline]
    pub fn handle<'a>(&mut self, packet: &'a Packet<'_>) -> io::Result<Option<&'a Publish<'a>>> {
        match packet {
            Packet::Publish(publish) => {
                if let Some(packet_id) = publish.packet_id {
                    let kind = match publish.qos {
                        Qos::ExactlyOnce => AckKind::PubRec,
                        _ => AckKind::PubAck,
                    };
                    acknowledge(&mut self.wire, kind, packet_id)?;
                }
                Ok(Some(publish))
            }
            Packet::PubRel(ack) => {
                acknowledge(&mut self.wire, AckKind::PubComp, ack.packet_id)?;
                Ok(None)
            }
            other => Err(unexpected(other)),
        }
    }
}

impl PacketIds {
    /// The next that is free. Fewer than there are may be in use.
    fn take(&mut self) -> PacketId {
        if self.used.is_empty() {
            self.used = vec![false; usize::from(u16::MAX) + 1];
        }
        loop {
            self.last = self.last.checked_add(1).unwrap_or(1);
            let used = &mut self.used[usize::from(self.last)];
            if !*used {
                *used = true;
                self.count += 1;
                return PacketId::new(self.last).unwrap_or(PacketId::MIN);
            }
        }
    }

    /// Whether it was in use, and the broker has taken the message.
    fn free(&mut self, ack: &Ack<'_>) -> bool {
        let place = usize::from(ack.packet_id.get());
        let was_used = self.used.get_mut(place).is_some_and(std::mem::take);
        self.count -= usize::from(was_used);
        was_used && !ack.reason_code.is_failure()
    }

    pub fn count(&self) -> usize {
        self.count
    }
}

fn acknowledge(wire: &mut Wire, kind: AckKind, packet_id: PacketId) -> io::Result<()> {
    let ack = Ack {
        packet_id,
        reason_code: hookmq_codec::ReasonCode::Success,
        properties: AckProperties::default(),
    };
    ack.encode(kind, VERSION, &mut wire.out).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ack(packet_id: PacketId) -> Ack<'static> {
        let reason_code = hookmq_codec::ReasonCode::Success;
        Ack { packet_id, reason_code, properties: AckProperties::default() }
    }

    #[test]
    fn a_packet_id_is_used_again_only_when_it_is_acknowledged() {
        let mut ids = PacketIds::default();
        let first = ids.take();
        let others: Vec<_> = (1..u16::MAX).map(|_| ids.take()).collect();
        assert!(!others.contains(&first));
        assert_eq!(ids.count(), usize::from(u16::MAX));
        assert!(ids.free(&ack(first)));
        assert!(!ids.free(&ack(first)), "it is free");
        assert_eq!(ids.take(), first);
    }
}
