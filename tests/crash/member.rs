//! One client that keeps its session's state over every crash, and does as the specification says.

mod coming;
mod outbox;
mod role;
mod show;
mod subscription;
mod will;

use std::collections::VecDeque;
use std::time::Instant;

use hookmq_codec::{Ack, Packet, PacketId, Publish, Qos, ReasonCode, TopicName, decode, frame};
use hookmq_tests::client::ack;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedMutRandom;

pub use self::outbox::Numbering;
use self::outbox::{Outbox, Outgoing};
pub use self::role::{Constancy, Keeping, Role};
use self::show::show;
pub use self::subscription::Subscription;
use self::will::Testament;
pub use self::will::WillHabit;
use crate::link::Link;
use crate::record::{
    Arrival, Carriage, Check, Inbox, MessageKey, Presence, RecipientId, Record, Registers, Value,
};

/// What all clients act on.
pub struct Stage<'a> {
    pub record: &'a mut Record,
    pub registers: &'a mut Registers,
    pub rng: &'a mut StdRng,
    pub mood: Mood,
    pub now: Instant,
}

/// How clients act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// They publish, change subscriptions, come and go; acknowledgements wait a little.
    Busy { window: usize },
    /// They finish what they have begun.
    Finishing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Away,
    /// CONNECT was sent.
    Connecting,
    Connected,
    /// DISCONNECT was sent.
    Leaving,
}

#[derive(Debug)]
pub struct Member {
    pub role: Role,
    link: Option<Link>,
    phase: Phase,
    presence: Presence,
    outbox: Outbox,
    inbox: Inbox,
    /// Answers that have not been sent, in their order.
    answers: VecDeque<Packet<'static>>,
    testament: Testament,
    /// Whether the latest CONNECT was to end the session: until CONNACK has come nobody knows of which
    /// session packet ids and subscriptions are, so each further one ends it again.
    start: Start,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    Resuming,
    Clean,
}

impl Member {
    pub fn new(role: Role) -> Self {
        Self {
            outbox: Outbox::new(role.numbering),
            role,
            link: None,
            phase: Phase::Away,
            presence: Presence::default(),
            inbox: Inbox::default(),
            answers: VecDeque::new(),
            testament: Testament::default(),
            start: Start::Resuming,
        }
    }

    pub fn is_away(&self) -> bool {
        self.phase == Phase::Away
    }

    pub fn is_connecting(&self) -> bool {
        self.phase == Phase::Connecting
    }

    pub fn is_connected(&self) -> bool {
        self.phase == Phase::Connected
    }

    /// Whether `connection` is the one that it has.
    pub fn has(&self, connection: u64) -> bool {
        self.link.as_ref().is_some_and(|link| link.number == connection)
    }

    /// Whether nothing that it has begun is unfinished.
    pub fn is_done(&self) -> bool {
        self.is_away() && self.outbox.is_empty()
            || self.is_connected()
                && self.outbox.is_empty()
                && self.answers.is_empty()
                && (!self.is_durable()
                    || self.role.subscriptions.iter().all(Subscription::is_settled))
    }

    /// Whether the session outlives the present connection.
    fn is_durable(&self) -> bool {
        self.role.keeping == Keeping::Durable
            && (self.start == Start::Resuming || self.role.version.is_v5())
    }

    /// What is unfinished, for a reader.
    pub fn unfinished(&self) -> String {
        format!("{:?}, {}", self.phase, self.outbox.describe())
    }

    /// A packet has come on the connection that it has.
    pub fn handle(&mut self, bytes: &[u8], stage: &mut Stage<'_>) {
        let whole = frame(bytes, u32::MAX).expect("it was framed before").expect("it is whole");
        let packet = decode(whole, self.role.version).expect("the broker sends packets");
        stage.record.history.note(|| format!("{} < {}", self.role.name, show(&packet)));
        if self.phase == Phase::Leaving {
            return;
        }
        match packet {
            Packet::ConnAck(connack) if connack.reason_code == ReasonCode::Success => {
                self.handle_connack(connack.session_present, stage);
            }
            Packet::Publish(publish) => self.handle_publish(&publish, stage),
            Packet::PubAck(ack) => self.outbox.handle_puback(&ack, &self.role.name, stage),
            Packet::PubRec(ack) => {
                let release = self.outbox.handle_pubrec(&ack, &self.role.name, stage);
                self.answers.extend(release.map(Packet::PubRel));
            }
            Packet::PubComp(ack) => self.outbox.handle_pubcomp(&ack, &self.role.name, stage),
            Packet::PubRel(ack) => self.handle_pubrel(&ack, stage),
            Packet::SubAck(suback) => {
                self.answered(suback.packet_id, suback.reason_codes[0], stage);
            }
            Packet::UnsubAck(unsuback) => {
                let code = unsuback.reason_codes.first().copied();
                self.answered(unsuback.packet_id, code.unwrap_or(ReasonCode::Success), stage);
            }
            other => {
                let text = format!("{} got {other:?}", self.role.name);
                stage.record.violate(Check::Refused, text);
            }
        }
        self.act(stage);
    }

    /// Sends what it may, and is in the mood for.
    pub fn act(&mut self, stage: &mut Stage<'_>) {
        if !self.is_connected() {
            return;
        }
        if stage.mood == Mood::Finishing || stage.rng.random_ratio(1, 2) {
            self.send_answers(stage);
        }
        if self.is_durable() {
            self.send_subscriptions(stage);
        }
        if let Mood::Busy { window } = stage.mood {
            while self.outbox.len() < window {
                let Some(outgoing) = self.compose(stage) else { break };
                self.send_outgoing(&outgoing, stage);
            }
        }
    }

    /// Wants one of its subscriptions to be otherwise.
    pub fn change_mind(&mut self, stage: &mut Stage<'_>) {
        if self.role.constancy == Constancy::Fickle
            && let Some(subscription) = self.role.subscriptions.choose_mut(stage.rng)
        {
            subscription.change();
            self.act(stage);
        }
    }

    fn handle_publish(&mut self, publish: &Publish<'_>, stage: &mut Stage<'_>) {
        let topic = publish.topic.expect("the broker was allowed no aliases").as_str();
        let key = stage.record.identify(topic, publish.payload);
        let is_new = match (publish.qos, publish.packet_id) {
            (Qos::AtLeastOnce, Some(id)) => {
                if let Err(wrong) = self.inbox.publish_at_least_once(id) {
                    self.confused(wrong, stage);
                }
                self.answers.push_back(Packet::PubAck(ack(id)));
                true
            }
            (Qos::ExactlyOnce, Some(id)) => {
                self.answers.push_back(Packet::PubRec(ack(id)));
                match self.inbox.publish(id, key, publish.dup) {
                    Arrival::First => true,
                    Arrival::Again => false,
                    Arrival::Wrong(wrong) => {
                        self.confused(wrong, stage);
                        true
                    }
                }
            }
            _ => true,
        };
        if !is_new {
            stage.record.figures.redelivered += 1;
            return;
        }
        let Some(recipient) = self.recipient(topic) else {
            let text = format!("{} got {topic:?}, for which it never asked", self.role.name);
            return stage.record.violate(Check::Subscription, text);
        };
        let connection = self.link.as_ref().map(|link| link.number).unwrap_or_default();
        let Publish { qos, dup, packet_id, .. } = *publish;
        let carriage = Carriage { connection, qos, dup, packet_id, at: stage.now };
        stage.record.delivered(recipient, topic, publish.payload, carriage);
    }

    fn handle_pubrel(&mut self, release: &Ack<'_>, stage: &mut Stage<'_>) {
        if let Err(wrong) = self.inbox.release(release.packet_id) {
            self.confused(wrong, stage);
        }
        self.answers.push_back(Packet::PubComp(ack(release.packet_id)));
    }

    fn confused(&self, wrong: String, stage: &mut Stage<'_>) {
        stage.record.violate(Check::PacketId, format!("{}: {wrong}", self.role.name));
    }

    fn recipient(&self, topic: &str) -> Option<RecipientId> {
        let topic = TopicName::new(topic).ok()?;
        self.role.subscriptions.iter().find(|it| it.matches(topic)).map(|it| it.recipient)
    }

    /// SUBACK or UNSUBACK.
    fn answered(&mut self, id: PacketId, code: ReasonCode, stage: &mut Stage<'_>) {
        if code.is_failure() {
            let text = format!("{}: {code:?} for SUBSCRIBE or UNSUBSCRIBE", self.role.name);
            stage.record.violate(Check::Refused, text);
        }
        for subscription in &mut self.role.subscriptions {
            subscription.answered(id, stage.record);
        }
    }

    fn send_subscriptions(&mut self, stage: &mut Stage<'_>) {
        for place in 0..self.role.subscriptions.len() {
            let Self { role, outbox, .. } = self;
            let packet = role.subscriptions[place].ask(|| outbox.next_id(), stage.record);
            if let Some(packet) = packet {
                self.send(&packet, stage);
            }
        }
    }

    /// A new message in flight, on one of its streams or registers.
    fn compose(&mut self, stage: &mut Stage<'_>) -> Option<Outgoing> {
        let (streams, registers) = (self.role.streams.len(), self.role.registers.len());
        if streams + registers == 0 {
            return None;
        }
        let place = stage.rng.random_range(0..streams + registers);
        Some(match self.role.streams.get(place) {
            Some(stream) => {
                let key = stage.record.sent(*stream);
                self.outbox.message(key, stage.record.qos(key))
            }
            None => {
                let (register, qos) = self.role.registers[place - streams];
                let removes = stage.rng.random_ratio(1, 4);
                let value = |number| if removes { Value::Nothing } else { Value::Number(number) };
                let (write, value) = stage.registers.written(register, value);
                self.outbox.value(register, write, value, qos)
            }
        })
    }

    fn send_outgoing(&mut self, outgoing: &Outgoing, stage: &mut Stage<'_>) {
        let content = outgoing.content(stage.record, stage.registers);
        self.send(&content.packet(outgoing), stage);
    }

    fn send_answers(&mut self, stage: &mut Stage<'_>) {
        while let Some(answer) = self.answers.pop_front() {
            if let Packet::PubComp(ack) = &answer {
                self.inbox.complete(ack.packet_id);
            }
            self.send(&answer, stage);
        }
    }

    fn send(&mut self, packet: &Packet<'_>, stage: &mut Stage<'_>) {
        stage.record.history.note(|| format!("{} > {}", self.role.name, show(packet)));
        let mut bytes = Vec::new();
        packet.encode(self.role.version, &mut bytes).expect("a packet of this version");
        if let Some(link) = &mut self.link {
            link.send(&bytes);
        }
    }
}

/// The key of a message as a will or an outgoing message carries it.
fn payload_of(key: MessageKey, record: &Record) -> Vec<u8> {
    key.payload(record.topic(key))
}
