//! A sender's half of QoS 1 and 2: what is in flight, and what is sent again.

use std::collections::VecDeque;

use hookmq_codec::{Ack, Packet, PacketId, Publish, Qos, ReasonCode};
use hookmq_tests::client::{ack, packet_id, publish};

use super::{Stage, payload_of};
use crate::record::{Check, MessageKey, Record, Registers, Value};

/// In the order in which they were sent first.
#[derive(Debug, Default)]
pub struct Outbox {
    in_flight: VecDeque<Outgoing>,
    numbering: Numbering,
    last_id: u16,
}

/// Which packet id a message gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Numbering {
    /// The next one, so that an id hardly comes twice.
    #[default]
    Upwards,
    /// The lowest that is free, so that each is in use again as soon as its exchange is over.
    Lowest,
}

/// Far above the lowest ids that are ever free.
const BEHIND_LOWEST: u16 = 1000;

#[derive(Debug, Clone, Copy)]
pub struct Outgoing {
    id: PacketId,
    what: What,
    qos: Qos,
    /// How often PUBLISH was sent.
    times: u32,
    /// How often PUBREL was sent; 0 before PUBREC.
    releases: u32,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Message(MessageKey),
    Value { register: usize, write: u64, value: Value },
}

/// The topic and payload of what is in flight.
#[derive(Debug)]
pub struct Content {
    topic: String,
    payload: Vec<u8>,
    retain: bool,
}

impl Outbox {
    pub fn new(numbering: Numbering) -> Self {
        Self { numbering, ..Self::default() }
    }

    pub fn len(&self) -> usize {
        self.in_flight.len()
    }

    pub fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
    }

    pub fn describe(&self) -> String {
        format!("in flight: {:?}", self.in_flight.iter().take(3).collect::<Vec<_>>())
    }

    /// A packet id that nothing in flight has, and no message gets soon.
    pub fn next_id(&mut self) -> PacketId {
        let first = match self.numbering {
            Numbering::Upwards => 1,
            Numbering::Lowest => BEHIND_LOWEST,
        };
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(first).max(first);
            let id = packet_id(self.last_id);
            if self.is_free(id) {
                return id;
            }
        }
    }

    fn message_id(&mut self) -> PacketId {
        match self.numbering {
            Numbering::Upwards => self.next_id(),
            Numbering::Lowest => {
                let mut ids = (1..BEHIND_LOWEST).map(packet_id);
                ids.find(|id| self.is_free(*id)).expect("windows are smaller")
            }
        }
    }

    fn is_free(&self, id: PacketId) -> bool {
        self.in_flight.iter().all(|it| it.id != id)
    }

    pub fn message(&mut self, key: MessageKey, qos: Qos) -> Outgoing {
        self.put(What::Message(key), qos)
    }

    pub fn value(&mut self, register: usize, write: u64, value: Value, qos: Qos) -> Outgoing {
        self.put(What::Value { register, write, value }, qos)
    }

    fn put(&mut self, what: What, qos: Qos) -> Outgoing {
        let outgoing = Outgoing { id: self.message_id(), what, qos, times: 1, releases: 0 };
        self.in_flight.push_back(outgoing);
        outgoing
    }

    /// The client is back: all that is in flight, for sending it again `[MQTT-4.4.0-1]`.
    pub fn again(&mut self, record: &mut Record, session_present: bool) -> Vec<Outgoing> {
        for outgoing in &mut self.in_flight {
            if outgoing.releases > 0 {
                outgoing.releases += 1;
                continue;
            }
            outgoing.times = if session_present { outgoing.times + 1 } else { 1 };
            if let What::Message(key) = outgoing.what {
                record.sent_again(key);
            }
        }
        self.in_flight.iter().copied().collect()
    }

    /// The broker does not have the session: what it has taken, it has taken.
    pub fn forget_released(&mut self) {
        self.in_flight.retain(|it| it.releases == 0);
    }

    pub fn handle_puback(&mut self, ack: &Ack<'_>, name: &str, stage: &mut Stage<'_>) {
        match self.place(ack, |it| it.qos == Qos::AtLeastOnce) {
            Some(place) => {
                let outgoing = self.in_flight.remove(place).expect("its place was just found");
                accepted(&outgoing, ack.reason_code, name, stage);
            }
            None => confused("PUBACK", ack, name, stage),
        }
    }

    /// Gives the PUBREL that answers.
    pub fn handle_pubrec(
        &mut self,
        answer: &Ack<'_>,
        name: &str,
        stage: &mut Stage<'_>,
    ) -> Option<Ack<'static>> {
        let Some(place) = self.place(answer, |it| it.qos == Qos::ExactlyOnce) else {
            confused("PUBREC", answer, name, stage);
            return None;
        };
        let outgoing = &mut self.in_flight[place];
        if outgoing.releases == 0 {
            accepted(outgoing, answer.reason_code, name, stage);
        }
        outgoing.releases += 1;
        if answer.reason_code.is_failure() {
            self.in_flight.remove(place);
            return None;
        }
        Some(ack(answer.packet_id))
    }

    pub fn handle_pubcomp(&mut self, ack: &Ack<'_>, name: &str, stage: &mut Stage<'_>) {
        let Some(place) = self.place(ack, |it| it.releases > 0) else {
            return confused("PUBCOMP", ack, name, stage);
        };
        let outgoing = self.in_flight.remove(place).expect("its place was just found");
        // One whose PUBREL may have come before is over for the broker.
        if ack.reason_code.is_failure() && outgoing.releases == 1 {
            let text = format!("{name}: PUBCOMP {:?} for {outgoing:?}", ack.reason_code);
            stage.record.violate(Check::PacketId, text);
        }
    }

    fn place(&self, ack: &Ack<'_>, fits: impl Fn(&Outgoing) -> bool) -> Option<usize> {
        self.in_flight.iter().position(|it| it.id == ack.packet_id && fits(it))
    }
}

/// PUBACK or PUBREC says that the broker has the message, or will not have it.
fn accepted(outgoing: &Outgoing, code: ReasonCode, name: &str, stage: &mut Stage<'_>) {
    if code.is_failure() {
        let text = format!("{name}: {code:?} for {outgoing:?}");
        return stage.record.violate(Check::Refused, text);
    }
    match outgoing.what {
        What::Message(key) => stage.record.confirmed(key),
        What::Value { register, write, .. } => stage.registers.acknowledged(register, write),
    }
}

fn confused(packet: &str, ack: &Ack<'_>, name: &str, stage: &mut Stage<'_>) {
    let text = format!("{name}: {packet} for {:?}, which is not in flight", ack.packet_id);
    stage.record.violate(Check::PacketId, text);
}

impl Outgoing {
    pub fn content(&self, record: &Record, registers: &Registers) -> Content {
        match self.what {
            What::Message(key) => {
                let (topic, payload) = (record.topic(key).to_owned(), payload_of(key, record));
                Content { topic, payload, retain: false }
            }
            What::Value { register, value, .. } => Content {
                topic: registers.topic(register).to_owned(),
                payload: registers.payload(register, value),
                retain: true,
            },
        }
    }
}

impl Content {
    /// PUBLISH, or PUBREL once PUBREC has come.
    pub fn packet(&self, outgoing: &Outgoing) -> Packet<'_> {
        if outgoing.releases > 0 {
            return Packet::PubRel(ack(outgoing.id));
        }
        Packet::Publish(Publish {
            dup: outgoing.times > 1,
            retain: self.retain,
            packet_id: Some(outgoing.id),
            ..publish(&self.topic, &self.payload, outgoing.qos)
        })
    }
}

#[cfg(test)]
mod tests;
