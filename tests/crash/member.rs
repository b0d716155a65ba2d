//! One client that keeps its session's state over every crash, and does as the specification says.

mod outbox;
mod will;

use std::collections::VecDeque;
use std::time::Instant;

use hookmq_codec::{
    Ack, Connect, ConnectProperties, Disconnect, DisconnectProperties, Packet, PacketId,
    ProtocolVersion, Publish, Qos, ReasonCode, Subscribe, SubscribeProperties, TopicFilter,
    Unsubscribe, UserProperties, decode, frame,
};
use hookmq_tests::client::{ack, at, connect, connect_to_session};
use rand::Rng;
use rand::rngs::StdRng;

use self::outbox::{Outbox, Outgoing};
use self::will::Testament;
pub use self::will::WillHabit;
use crate::link::Link;
use crate::record::{
    Arrival, Carriage, Check, Inbox, MessageKey, Presence, RecipientId, Record, Registers, Value,
};

/// Far longer than any run.
const EXPIRY_S: u32 = 7 * 24 * 3600;

/// What a client is in the play.
#[derive(Debug)]
pub struct Role {
    pub name: String,
    pub version: ProtocolVersion,
    pub keeping: Keeping,
    /// Streams that it publishes.
    pub streams: Vec<usize>,
    /// Retained messages that it publishes.
    pub registers: Vec<(usize, Qos)>,
    pub subscriptions: Vec<Subscription>,
    /// Whether it unsubscribes now and then.
    pub constancy: Constancy,
    /// In 5.0: how much may be in flight to it.
    pub receive_maximum: Option<u16>,
    pub will: Option<WillHabit>,
    /// How often it stays away, of 100 lives of the broker.
    pub absence: u32,
}

/// Whether the session outlives the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    Durable,
    Transient,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Constancy {
    Constant,
    Fickle,
}

#[derive(Debug)]
pub struct Subscription {
    pub filter: String,
    pub qos: Qos,
    /// Who is due what matches: the session, or its shared subscription.
    pub recipient: RecipientId,
    state: Wish,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// SUBSCRIBE is to be sent, or under way.
    Subscribe(Option<PacketId>),
    Subscribed,
    Unsubscribe(Option<PacketId>),
    Unsubscribed,
}

impl Subscription {
    pub fn new(filter: impl Into<String>, qos: Qos, recipient: RecipientId) -> Self {
        Self { filter: filter.into(), qos, recipient, state: Wish::Subscribe(None) }
    }

    /// Without `$share/` and the name of the group.
    fn bare(&self) -> &str {
        match self.filter.strip_prefix("$share/") {
            Some(shared) => shared.split_once('/').map_or(shared, |(_, filter)| filter),
            None => &self.filter,
        }
    }
}

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
}

impl Member {
    pub fn new(role: Role) -> Self {
        Self {
            role,
            link: None,
            phase: Phase::Away,
            presence: Presence::default(),
            outbox: Outbox::default(),
            inbox: Inbox::default(),
            answers: VecDeque::new(),
            testament: Testament::default(),
        }
    }

    pub fn is_away(&self) -> bool {
        self.phase == Phase::Away
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
        let is_settled =
            |it: &Subscription| matches!(it.state, Wish::Subscribed | Wish::Unsubscribed);
        self.is_away() && self.outbox.is_empty()
            || self.is_connected()
                && self.outbox.is_empty()
                && self.answers.is_empty()
                && self.role.subscriptions.iter().all(is_settled)
    }

    /// What is unfinished, for a reader.
    pub fn unfinished(&self) -> String {
        format!("{:?}, {}", self.phase, self.outbox.describe())
    }

    pub fn connect(&mut self, link: Link, stage: &mut Stage<'_>) {
        let Role { name, version, .. } = &self.role;
        let (name, version) = (name.clone(), *version);
        let will = self.testament.write(self.role.will.as_ref(), stage.record);
        let receive_maximum =
            self.role.receive_maximum.filter(|_| version.is_v5()).and_then(std::num::NonZero::new);
        let packet = match self.role.keeping {
            Keeping::Durable => {
                self.presence.asked();
                connect_to_session(version, &name, EXPIRY_S)
            }
            Keeping::Transient => connect(version, &name),
        };
        let properties = ConnectProperties { receive_maximum, ..packet.properties.clone() };
        let will = will.as_ref().map(|it| it.packet());
        let packet = Packet::Connect(Box::new(Connect { will, properties, ..packet }));
        self.link = Some(link);
        self.phase = Phase::Connecting;
        self.send(&packet, stage);
    }

    /// The connection is over, and neither side has said so.
    pub fn cut(&mut self, stage: &mut Stage<'_>) {
        stage.record.history.note(|| format!("{} cuts its connection", self.role.name));
        let will_is_due = self.phase == Phase::Connected;
        self.drop_link();
        if will_is_due {
            self.testament.lost(self.role.will.as_ref(), stage);
        }
    }

    /// Sends DISCONNECT.
    pub fn leave(&mut self, stage: &mut Stage<'_>) {
        self.send_answers(stage);
        let properties = DisconnectProperties::default();
        let reason_code = ReasonCode::Success;
        self.send(&Packet::Disconnect(Disconnect { reason_code, properties }), stage);
        self.phase = Phase::Leaving;
    }

    /// The broker has closed the connection, which it may do after DISCONNECT only.
    pub fn closed(&mut self, stage: &mut Stage<'_>) {
        stage.record.history.note(|| format!("{} is closed", self.role.name));
        match self.phase {
            Phase::Leaving => self.testament.revoked(stage.record),
            _ => {
                let text =
                    format!("{} was closed by the broker in {:?}", self.role.name, self.phase);
                stage.record.violate(Check::Refused, text);
            }
        }
        self.drop_link();
    }

    /// The broker was killed, and all that it had sent was read.
    pub fn killed(&mut self, stage: &mut Stage<'_>) {
        let will_is_due = self.phase == Phase::Connected;
        self.drop_link();
        if will_is_due {
            self.testament.lost(self.role.will.as_ref(), stage);
        }
    }

    /// The delay of a will is over, and its client has not come back.
    pub fn delay_is_over(&mut self, record: &mut Record) {
        self.testament.delay_is_over(record);
    }

    fn drop_link(&mut self) {
        self.link = None;
        self.phase = Phase::Away;
        self.answers.clear();
        for subscription in &mut self.role.subscriptions {
            subscription.state = match subscription.state {
                Wish::Subscribe(_) => Wish::Subscribe(None),
                Wish::Unsubscribe(_) => Wish::Unsubscribe(None),
                known => known,
            };
        }
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
        self.send_subscriptions(stage);
        if let Mood::Busy { window } = stage.mood {
            while self.outbox.len() < window {
                let Some(outgoing) = self.compose(stage) else { break };
                self.send_outgoing(&outgoing, stage);
            }
        }
    }

    /// Wants one of its subscriptions to be otherwise.
    pub fn change_mind(&mut self, stage: &mut Stage<'_>) {
        let subscriptions = &mut self.role.subscriptions;
        if self.role.constancy == Constancy::Fickle && !subscriptions.is_empty() {
            let place = stage.rng.random_range(0..subscriptions.len());
            let subscription = &mut subscriptions[place];
            subscription.state = match subscription.state {
                Wish::Subscribed => Wish::Unsubscribe(None),
                Wish::Unsubscribed => Wish::Subscribe(None),
                waiting => waiting,
            };
            self.act(stage);
        }
    }

    fn handle_connack(&mut self, session_present: bool, stage: &mut Stage<'_>) {
        if self.role.keeping == Keeping::Transient {
            self.presence = Presence::Absent;
        }
        if let Err(wrong) = self.presence.answered(session_present) {
            let text = format!("{}: {wrong}", self.role.name);
            stage.record.violate(Check::Session, text);
        }
        self.phase = Phase::Connected;
        self.testament.came_back(stage);
        if !session_present {
            self.begin_anew();
        }
        for outgoing in self.outbox.again(stage.record, session_present) {
            self.send_outgoing(&outgoing, stage);
        }
    }

    /// The broker has nothing of the session.
    fn begin_anew(&mut self) {
        self.inbox.clear();
        self.outbox.forget_released();
        for subscription in &mut self.role.subscriptions {
            if subscription.state == Wish::Subscribed {
                subscription.state = Wish::Subscribe(None);
            }
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
        let topic = hookmq_codec::TopicName::new(topic).ok()?;
        let matches = |it: &&Subscription| hookmq_codec::filter_matches(it.bare(), topic);
        self.role.subscriptions.iter().find(matches).map(|it| it.recipient)
    }

    /// SUBACK or UNSUBACK.
    fn answered(&mut self, id: PacketId, code: ReasonCode, stage: &mut Stage<'_>) {
        if code.is_failure() {
            let text = format!("{}: {code:?} for SUBSCRIBE or UNSUBSCRIBE", self.role.name);
            stage.record.violate(Check::Refused, text);
        }
        for subscription in &mut self.role.subscriptions {
            let (recipient, bare) = (subscription.recipient, subscription.bare());
            match subscription.state {
                Wish::Subscribe(Some(it)) if it == id => {
                    stage.record.subscribed(recipient, bare);
                    subscription.state = Wish::Subscribed;
                }
                Wish::Unsubscribe(Some(it)) if it == id => {
                    stage.record.unsubscribed(recipient, bare);
                    subscription.state = Wish::Unsubscribed;
                }
                _ => {}
            }
        }
    }

    fn send_subscriptions(&mut self, stage: &mut Stage<'_>) {
        for place in 0..self.role.subscriptions.len() {
            let subscription = &mut self.role.subscriptions[place];
            let recipient = subscription.recipient;
            let filter = TopicFilter::new(&*subscription.filter).expect("a topic filter");
            let packet = match subscription.state {
                Wish::Subscribe(None) => {
                    let packet_id = self.outbox.next_id();
                    subscription.state = Wish::Subscribe(Some(packet_id));
                    stage.record.subscribing(recipient, subscription.bare(), subscription.qos);
                    let filters = vec![(filter, at(subscription.qos))];
                    let properties = SubscribeProperties::default();
                    Packet::Subscribe(Subscribe { packet_id, filters, properties })
                }
                Wish::Unsubscribe(None) => {
                    let packet_id = self.outbox.next_id();
                    subscription.state = Wish::Unsubscribe(Some(packet_id));
                    stage.record.unsubscribing(recipient, subscription.bare());
                    let user_properties = UserProperties::default();
                    let filters = vec![filter];
                    Packet::Unsubscribe(Unsubscribe { packet_id, filters, user_properties })
                }
                _ => continue,
            };
            self.send(&packet, stage);
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

/// A packet in a line of the history.
fn show(packet: &Packet<'_>) -> String {
    let ack = |name, ack: &Ack<'_>| format!("{name} {} {:?}", ack.packet_id.get(), ack.reason_code);
    match packet {
        Packet::Publish(publish) => format!(
            "PUBLISH {} {} number {} QoS {}{}{}",
            publish.packet_id.map_or(0, PacketId::get),
            publish.topic.map_or("", |topic| topic.as_str()),
            String::from_utf8_lossy(publish.payload).split(' ').next().unwrap_or_default(),
            publish.qos as u8,
            if publish.dup { " DUP" } else { "" },
            if publish.retain { " RETAIN" } else { "" },
        ),
        Packet::PubAck(it) => ack("PUBACK", it),
        Packet::PubRec(it) => ack("PUBREC", it),
        Packet::PubRel(it) => ack("PUBREL", it),
        Packet::PubComp(it) => ack("PUBCOMP", it),
        Packet::Connect(it) => format!("CONNECT will {:?}", it.will.as_ref().map(|it| it.topic)),
        Packet::ConnAck(it) => {
            format!("CONNACK {:?} session present {}", it.reason_code, it.session_present)
        }
        Packet::Subscribe(it) => {
            format!("SUBSCRIBE {} {}", it.packet_id.get(), it.filters[0].0)
        }
        Packet::Unsubscribe(it) => {
            format!("UNSUBSCRIBE {} {}", it.packet_id.get(), it.filters[0])
        }
        Packet::SubAck(it) => format!("SUBACK {} {:?}", it.packet_id.get(), it.reason_codes),
        Packet::UnsubAck(it) => format!("UNSUBACK {}", it.packet_id.get()),
        other => format!("{other:?}"),
    }
}
