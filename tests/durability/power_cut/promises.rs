//! What a broker has promised its clients, out of the packets that came and left.

mod group;
mod register;
mod session;

use std::collections::{BTreeMap, HashMap};

use hookmq_codec::{
    Connect, Packet, ProtocolVersion, Publish, Qos, TopicFilter, TopicName, decode, frame,
};

use super::recording::Event;
pub use group::Group;
pub use register::Register;
pub use session::{Due, Gone, Session, Stage};

/// In the order in which the broker heard of them, which is each publisher's own.
pub type MessageNumber = usize;

/// A message of QoS 1 or 2. No two have the same payload.
#[derive(Debug, Clone)]
pub struct Message {
    /// How its payload begins.
    pub name: String,
    /// Unique over all lives.
    pub publisher: (u32, u32),
    pub topic: String,
    pub qos: Qos,
    pub retain: bool,
    pub acknowledged: bool,
    /// Seconds.
    pub expiry_interval: Option<u32>,
}

/// Seconds that a session of 3.1.1 lasts, as the configuration has it where it says nothing.
const EXPIRY_MAXIMUM: u32 = 7 * 24 * 3600;

/// No packets are refused in what is recorded, and one client writes a retained message.
#[derive(Debug, Clone, Default)]
pub struct Promises {
    pub sessions: BTreeMap<String, Session>,
    pub retained: BTreeMap<String, Register<Option<Vec<u8>>>>,
    pub messages: Vec<Message>,
    pub by_payload: HashMap<Vec<u8>, MessageNumber>,
    /// By the filter of the shared subscription.
    pub groups: BTreeMap<TopicFilter, Group>,
    /// Messages without an answer.
    unanswered: Vec<MessageNumber>,
    connections: BTreeMap<u32, Connection>,
    pub answers: u64,
    /// Lives of the broker that are over: connections are counted anew where another recording goes on.
    lives: u32,
}

#[derive(Debug, Clone)]
struct Connection {
    client_id: String,
    version: ProtocolVersion,
    clean: bool,
    /// Whether the session outlives it, and for how many seconds.
    lasting: bool,
    expiry_interval: u32,
    will: Option<Vec<u8>>,
    left: bool,
    published: HashMap<u16, Published>,
    /// What SUBSCRIBE and UNSUBSCRIBE ask for.
    asked: HashMap<u16, Vec<(TopicFilter, Option<Qos>)>>,
}

/// What waits for PUBACK or PUBREC.
#[derive(Debug, Clone)]
struct Published {
    message: Option<MessageNumber>,
    retained: Option<(String, Option<Vec<u8>>)>,
}

impl Promises {
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Received { connection, packets } => {
                packets.iter().for_each(|it| self.received(*connection, it));
            }
            Event::Sent { connection, packets } => {
                packets.iter().for_each(|it| self.sent(*connection, it));
            }
            Event::Closed { connection } => self.closed(*connection),
            Event::Stopping => self.forget_wills(),
            Event::Ended => self.ended(),
            _ => {}
        }
    }

    fn received(&mut self, number: u32, bytes: &[u8]) {
        let version = self.connections.get(&number).map_or(ProtocolVersion::V5, |it| it.version);
        let packet = match packet(bytes, version) {
            Packet::Connect(connect) => return self.connect(number, &connect),
            Packet::Publish(publish) => return self.publish(number, &publish),
            other => other,
        };
        let (connection, session) = self.parties(number);
        match packet {
            Packet::Subscribe(subscribe) => {
                let filters = subscribe.filters.into_iter();
                let wanted = filters.map(|(filter, it)| (filter, Some(it.maximum_qos))).collect();
                self.subscriptions_change(number, subscribe.packet_id.get(), wanted);
            }
            Packet::Unsubscribe(unsubscribe) => {
                let wanted = unsubscribe.filters.into_iter().map(|it| (it, None)).collect();
                self.subscriptions_change(number, unsubscribe.packet_id.get(), wanted);
            }
            Packet::PubAck(ack) | Packet::PubRec(ack) => {
                let message = session.acknowledged(ack.packet_id);
                self.goes(message, Gone::Perhaps);
            }
            Packet::PubRel(ack) => {
                session.received.entry(ack.packet_id.get()).or_default().begin(false);
            }
            Packet::PubComp(ack) => session.completed(ack.packet_id),
            Packet::Disconnect(disconnect) => {
                connection.left = true;
                session.will.begin(None);
                if let Some(seconds) = disconnect.properties.session_expiry_interval {
                    session.expiry_interval.begin(seconds);
                }
            }
            Packet::PingReq => {}
            other => panic!("not in what is recorded: {other:?}"),
        }
    }

    fn sent(&mut self, number: u32, bytes: &[u8]) {
        let (connection, session) = self.parties(number);
        let packet = packet(bytes, connection.version);
        match packet {
            Packet::Publish(publish) => {
                let (id, qos) = (publish.packet_id, publish.qos);
                if let (Some(id), Some(message)) = (id, self.by_payload.get(publish.payload)) {
                    let message = *message;
                    self.parties(number).1.sends(message, id, qos);
                }
                return;
            }
            Packet::PubRel(ack) => {
                let message = session.releases(ack.packet_id);
                self.goes(message, Gone::Yes);
            }
            Packet::PingResp | Packet::Disconnect(_) => return,
            Packet::ConnAck(_) => {
                if connection.clean {
                    *session = Session::default();
                    session.exists = Register::new(connection.lasting);
                    session.will = Register::new(connection.will.clone());
                    session.expiry_interval = Register::new(connection.expiry_interval);
                } else {
                    session.exists.confirm(&true);
                    session.will.confirm(&connection.will);
                    session.expiry_interval.confirm(&connection.expiry_interval);
                }
            }
            Packet::SubAck(ack) | Packet::UnsubAck(ack) => {
                for (filter, qos) in
                    connection.asked.remove(&ack.packet_id.get()).unwrap_or_default()
                {
                    session.subscriptions.entry(filter).or_default().confirm(&qos);
                }
            }
            Packet::PubAck(ack) => self.accepted(number, ack.packet_id.get()),
            Packet::PubRec(ack) => {
                session.received.entry(ack.packet_id.get()).or_default().confirm(&true);
                self.accepted(number, ack.packet_id.get());
            }
            Packet::PubComp(ack) => {
                session.received.entry(ack.packet_id.get()).or_default().confirm(&false);
            }
            other => panic!("not in what is recorded: {other:?}"),
        }
        self.answers += 1;
    }

    fn connect(&mut self, number: u32, connect: &Connect<'_>) {
        let client_id = connect.client_id.to_owned();
        let expiry_interval = match connect.version {
            ProtocolVersion::V5 => connect.properties.session_expiry_interval.unwrap_or(0),
            _ if connect.clean_start => 0,
            _ => EXPIRY_MAXIMUM,
        };
        let lasting = expiry_interval > 0;
        let session = self.sessions.entry(client_id.clone()).or_default();
        let will = connect.will.as_ref().map(|it| it.payload.to_vec());
        match connect.clean_start {
            true => session.begins_anew = true,
            false => {
                session.exists.begin(true);
                session.will.begin(will.clone());
                session.expiry_interval.begin(expiry_interval);
            }
        }
        let connection = Connection {
            client_id,
            version: connect.version,
            clean: connect.clean_start,
            lasting,
            expiry_interval,
            will,
            left: false,
            published: HashMap::new(),
            asked: HashMap::new(),
        };
        self.connections.insert(number, connection);
    }

    fn publish(&mut self, number: u32, publish: &Publish<'_>) {
        let (Some(topic), Some(id)) = (publish.topic, publish.packet_id) else { return };
        let (topic, id) = (topic.as_str(), id.get());
        let payload = (!publish.payload.is_empty()).then(|| publish.payload.to_vec());
        let retained = publish.retain.then(|| (topic.to_owned(), payload.clone()));
        if let Some((topic, payload)) = &retained {
            self.retained.entry(topic.clone()).or_default().begin(payload.clone());
        }
        let message = payload.map(|payload| self.message(number, publish, payload));
        let (connection, session) = self.parties(number);
        if publish.qos == Qos::ExactlyOnce && connection.lasting {
            session.received.entry(id).or_default().begin(true);
        }
        connection.published.insert(id, Published { message, retained });
    }

    /// The message of this payload; one that comes again is the same.
    fn message(
        &mut self,
        publisher: u32,
        publish: &Publish<'_>,
        payload: Vec<u8>,
    ) -> MessageNumber {
        if let Some(known) = self.by_payload.get(&payload) {
            return *known;
        }
        let topic = publish.topic.expect("nobody uses aliases here").as_str().to_owned();
        let number = self.messages.len();
        for session in self.sessions.values_mut() {
            if let Some((qos, certain)) = session.grants(&topic) {
                let due = Due { certain, qos: qos.min(publish.qos), gone: Gone::No };
                session.due.insert(number, due);
            }
        }
        for (filter, group) in &mut self.groups {
            if let Some((qos, certain)) = Group::grants(filter, self.sessions.values(), &topic) {
                let due = Due { certain, qos: qos.min(publish.qos), gone: Gone::No };
                group.due.insert(number, due);
            }
        }
        let (name, qos, retain) = (brief(&payload), publish.qos, publish.retain);
        let publisher = (self.lives, publisher);
        let expiry_interval = publish.properties.message_expiry_interval;
        let acknowledged = false;
        let message =
            Message { name, publisher, topic, qos, retain, acknowledged, expiry_interval };
        self.messages.push(message);
        self.by_payload.insert(payload, number);
        self.unanswered.push(number);
        number
    }

    /// PUBACK or PUBREC has left.
    fn accepted(&mut self, number: u32, packet_id: u16) {
        let (connection, _) = self.parties(number);
        let Some(Published { message, retained }) = connection.published.remove(&packet_id) else {
            return;
        };
        if let Some((topic, payload)) = retained {
            self.retained.entry(topic).or_default().confirm(&payload);
        }
        if let Some(message) = message {
            self.messages[message].acknowledged = true;
            self.unanswered.retain(|it| *it != message);
        }
    }

    fn subscriptions_change(
        &mut self,
        number: u32,
        packet_id: u16,
        wanted: Vec<(TopicFilter, Option<Qos>)>,
    ) {
        let connection = self.connections.get_mut(&number).expect("it began with CONNECT");
        let session = self.sessions.get_mut(&connection.client_id).expect("CONNECT named it");
        let filters: Vec<_> = wanted.iter().map(|(filter, _)| filter.clone()).collect();
        for filter in filters.iter().filter(|it| it.share_name().is_some()) {
            let group = self.groups.entry(filter.clone()).or_default();
            let matching = self.unanswered.iter().copied();
            let matching =
                matching.filter(|it| self.messages[*it].fits(std::slice::from_ref(filter)));
            group.doubt(&self.messages, &matching.collect::<Vec<_>>());
        }
        let own: Vec<_> = filters.iter().filter(|it| it.share_name().is_none()).cloned().collect();
        session.doubt(&self.messages, &own, &self.unanswered);
        if wanted.iter().all(|(_, qos)| qos.is_none()) {
            session.let_go(&self.messages, &own);
        }
        for (filter, qos) in &wanted {
            session.subscriptions.entry(filter.clone()).or_default().begin(*qos);
        }
        connection.asked.insert(packet_id, wanted);
    }

    fn closed(&mut self, number: u32) {
        let Some(connection) = self.connections.remove(&number) else { return };
        if connection.left {
            let session = self.sessions.get_mut(&connection.client_id).expect("CONNECT named it");
            session.will.confirm(&None);
        }
    }

    /// A broker that is told to stop publishes no wills; one that was killed does so in its next life.
    fn forget_wills(&mut self) {
        for connection in self.connections.values() {
            let session = self.sessions.get_mut(&connection.client_id).expect("CONNECT named it");
            session.will.begin(None);
        }
    }

    fn ended(&mut self) {
        self.forget_wills();
        self.connections.clear();
        self.unanswered.clear();
        self.lives += 1;
    }

    /// A member of a shared subscription may have it.
    fn goes(&mut self, message: Option<MessageNumber>, gone: Gone) {
        let Some(message) = message else { return };
        self.groups.values_mut().for_each(|group| group.goes(message, gone));
    }

    fn parties(&mut self, number: u32) -> (&mut Connection, &mut Session) {
        let connection = self.connections.get_mut(&number).expect("it began with CONNECT");
        let session = self.sessions.get_mut(&connection.client_id).expect("CONNECT named it");
        (connection, session)
    }
}

impl Message {
    fn fits(&self, filters: &[TopicFilter]) -> bool {
        let topic = TopicName::new(&self.topic).expect("it was decoded");
        filters.iter().any(|it| it.matches(topic))
    }
}

/// How a payload begins.
pub fn brief(payload: &[u8]) -> String {
    let name = payload.split(|it| *it == b';').next().unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

fn packet(bytes: &[u8], version: ProtocolVersion) -> Packet<'_> {
    let packet = frame(bytes, u32::MAX).expect("it was framed before").expect("it is whole");
    decode(packet, version).expect("a packet")
}
