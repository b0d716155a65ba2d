//! What the clients have sent and seen, and what of it the broker has promised. It has no socket and no
//! clock: what happened is told to it, and it tells where a promise was broken.

mod history;
mod inbox;
mod message;
mod recipient;
mod registers;
mod session;

use std::collections::HashMap;
use std::time::Instant;

use hookmq_codec::{PacketId, Qos, TopicName};

pub use self::history::History;
pub use self::inbox::{Arrival, Inbox};
pub use self::message::MessageKey;
use self::message::{Due, Fate, Sent, Stream};
use self::recipient::Recipient;
pub use self::recipient::{Order, RecipientId};
pub use self::registers::{Registers, Value};
pub use self::session::Presence;

/// Which promise was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// An acknowledged message has not arrived.
    Lost,
    /// A message of QoS 2 has arrived twice, or one of QoS 1 without a reason.
    Duplicate,
    /// Messages of one stream have arrived in another order than they were sent in.
    Order,
    /// A message has arrived that nobody sent, or not like this.
    Invented,
    /// A message has arrived behind UNSUBACK, or without a subscription.
    Subscription,
    /// A will that was due has not come, or came twice, or too early, or was not due.
    Will,
    /// A retained message is another one than was acknowledged.
    Retained,
    /// A session was forgotten, or was there and must not have been.
    Session,
    /// An exchange goes on under a packet id that it does not have.
    PacketId,
    /// The broker has refused, or ended, what it must not.
    Refused,
}

/// What was promised, and what was seen.
#[derive(Debug, Clone)]
pub struct Violation {
    pub check: Check,
    pub text: String,
}

/// How a PUBLISH has come.
#[derive(Debug, Clone, Copy)]
pub struct Carriage {
    /// Unique in the whole run.
    pub connection: u64,
    pub qos: Qos,
    pub dup: bool,
    pub packet_id: Option<PacketId>,
    pub at: Instant,
}

/// Messages to recipients. A will is a message that its client sends with CONNECT and that is due, or not
/// due any more, later.
#[derive(Debug, Default)]
pub struct Record {
    streams: Vec<Stream>,
    by_topic: HashMap<String, usize>,
    recipients: Vec<Recipient>,
    pub history: History,
    /// Whether the broker may be one that sends a message again without DUP, as older ones did.
    pub forgets_dup: bool,
    violations: Vec<Violation>,
    pub figures: Figures,
}

/// What the summary says.
#[derive(Debug, Default, Clone, Copy)]
pub struct Figures {
    pub sent: u64,
    pub acknowledged: u64,
    pub delivered: u64,
    pub redelivered: u64,
}

impl Record {
    /// Messages of one client to one topic.
    pub fn stream(&mut self, topic: &str, qos: Qos) -> usize {
        self.streams.push(Stream::new(topic, qos));
        self.by_topic.insert(topic.to_owned(), self.streams.len() - 1);
        self.streams.len() - 1
    }

    /// The wills of one client.
    pub fn wills(&mut self, topic: &str, qos: Qos) -> usize {
        let stream = self.stream(topic, qos);
        self.streams[stream].is_of_wills = true;
        stream
    }

    /// All recipients are there before the first message.
    pub fn recipient(&mut self, name: &str, order: Order) -> RecipientId {
        assert!(self.streams.iter().all(Stream::is_empty), "recipients come first");
        self.recipients.push(Recipient::new(name, order));
        RecipientId(self.recipients.len() - 1)
    }

    pub fn topic(&self, key: MessageKey) -> &str {
        &self.streams[key.stream].topic
    }

    pub fn qos(&self, key: MessageKey) -> Qos {
        self.streams[key.stream].qos
    }

    /// The next message of a stream is about to be sent.
    pub fn sent(&mut self, stream: usize) -> MessageKey {
        let topic = TopicName::new(&self.streams[stream].topic).expect("a topic name");
        let due = self.recipients.iter().map(|recipient| recipient.due(topic)).collect();
        self.figures.sent += 1;
        self.streams[stream].push(Sent::new(due), stream)
    }

    pub fn sent_again(&mut self, key: MessageKey) {
        if let Some(sent) = self.streams[key.stream].find(key) {
            sent.times += 1;
        }
    }

    /// PUBACK or PUBREC was read; or a connection whose CONNACK was read is lost, so its will is due.
    pub fn confirmed(&mut self, key: MessageKey) {
        self.figures.acknowledged += 1;
        self.set_fate(key, Fate::Kept);
    }

    /// The will must not come: its client has left with DISCONNECT, or is back in time.
    pub fn cancelled(&mut self, key: MessageKey) {
        self.set_fate(key, Fate::Cancelled);
        let name = self.name(key);
        let came = self.streams[key.stream].find(key).is_some_and(Sent::came);
        if came {
            self.violate(
                Check::Will,
                format!("the will {name} was to be cancelled and has come before"),
            );
        }
    }

    /// The will must not come earlier.
    pub fn delayed(&mut self, key: MessageKey, until: Instant) {
        if let Some(sent) = self.streams[key.stream].find(key) {
            sent.not_before = Some(until);
        }
    }

    fn set_fate(&mut self, key: MessageKey, fate: Fate) {
        let life = self.history.life;
        if let Some(sent) = self.streams[key.stream].find(key) {
            sent.fate = fate;
            sent.decided_in = life;
        }
    }

    /// SUBSCRIBE is about to be sent.
    pub fn subscribing(&mut self, recipient: RecipientId, filter: &str, qos: Qos) {
        if self.recipients[recipient.0].subscribing(filter, qos) {
            self.blur(recipient, filter, Blur::Open);
        }
    }

    pub fn subscribed(&mut self, recipient: RecipientId, filter: &str) {
        self.recipients[recipient.0].subscribed(filter);
    }

    /// UNSUBSCRIBE is about to be sent. What waits may come or not.
    pub fn unsubscribing(&mut self, recipient: RecipientId, filter: &str) {
        self.recipients[recipient.0].unsubscribing(filter);
        self.blur(recipient, filter, Blur::All);
    }

    pub fn unsubscribed(&mut self, recipient: RecipientId, filter: &str) {
        self.recipients[recipient.0].unsubscribed(filter);
    }

    /// CONNECT with a clean start is about to be sent: what waits may come or not.
    pub fn ending(&mut self, recipient: RecipientId) {
        for filter in self.recipients[recipient.0].ending() {
            self.blur(recipient, &filter, Blur::All);
        }
    }

    /// CONNACK was read behind a clean start: nothing of before comes any more.
    pub fn ended(&mut self, recipient: RecipientId) {
        self.recipients[recipient.0].ended();
        self.streams.iter_mut().for_each(|stream| stream.end(recipient.0));
    }

    /// Whether messages are due to the recipient is not known any more.
    fn blur(&mut self, recipient: RecipientId, filter: &str, which: Blur) {
        let matched = |stream: &&mut Stream| recipient::matches(filter, &stream.topic);
        for stream in self.streams.iter_mut().filter(matched) {
            stream.blur(recipient.0, matches!(which, Blur::All));
        }
    }

    /// A PUBLISH has come to a client that has not seen it under this packet id before.
    pub fn delivered(
        &mut self,
        recipient: RecipientId,
        topic: &str,
        payload: &[u8],
        carriage: Carriage,
    ) {
        let Some(key) = self.identify(topic, payload) else {
            let (name, begin) =
                (&self.recipients[recipient.0].name, &payload[..payload.len().min(40)]);
            let text = format!("{name} got a message on {topic:?} that nobody sent: {begin:?}");
            return self.violate(Check::Invented, text);
        };
        self.figures.delivered += 1;
        for (check, text) in self.judge(recipient, key, carriage) {
            let name = self.name(key);
            let recipient = &self.recipients[recipient.0].name;
            let life = self.history.life;
            let check = if self.streams[key.stream].is_of_wills { Check::Will } else { check };
            let text = format!("{name} to {recipient}, in life {life}: {text} ({carriage:?})");
            self.violate(check, text);
        }
    }

    /// The message that these bytes are.
    pub fn identify(&self, topic: &str, payload: &[u8]) -> Option<MessageKey> {
        let stream = *self.by_topic.get(topic)?;
        let number = message::number(topic, payload)?;
        (number <= self.streams[stream].last()).then_some(MessageKey { stream, number })
    }

    /// Enters a delivery, and tells what is wrong with it.
    fn judge(
        &mut self,
        recipient: RecipientId,
        key: MessageKey,
        carriage: Carriage,
    ) -> Vec<(Check, String)> {
        let to = &mut self.recipients[recipient.0];
        let stream = &mut self.streams[key.stream];
        let qos = to.granted(&stream.topic).map(|granted| granted.min(stream.qos));
        let exactly_once = carriage.qos == Qos::ExactlyOnce;
        let forgets_dup = self.forgets_dup;
        let latest = to.latest.entry(key.stream).or_default();
        let newest = std::mem::replace(latest, (*latest).max(key.number));
        let mut wrong = Vec::new();
        if qos.is_some_and(|qos| qos != carriage.qos) {
            wrong.push((Check::Invented, format!("QoS {qos:?} is due")));
        }
        let Some(sent) = stream.find(key) else {
            // All was settled, so everybody who was certainly due it had it.
            if exactly_once && key.number <= newest {
                wrong.push((Check::Duplicate, "came again, long after it was delivered".into()));
            }
            self.figures.redelivered += 1;
            return wrong;
        };
        if sent.not_before.is_some_and(|it| carriage.at < it) {
            wrong.push((Check::Will, "before its delay was over".into()));
        }
        let once = sent.times == 1;
        let fate = sent.fate;
        let copy = &mut sent.copies[recipient.0];
        copy.got += 1;
        let before = copy.carried.replace((carriage.connection, carriage.packet_id));
        if copy.due == Due::Never {
            wrong.push((Check::Subscription, "not subscribed when it was sent".into()));
        }
        if fate == Fate::Cancelled {
            wrong.push((Check::Will, "it was cancelled".into()));
        }
        if let Some((connection, packet_id)) = before {
            self.figures.redelivered += 1;
            if exactly_once {
                wrong.push((
                    Check::Duplicate,
                    format!("came before, on connection {connection} as {packet_id:?}"),
                ));
            } else if once && connection == carriage.connection {
                wrong.push((Check::Duplicate, "came before on this connection".into()));
            } else if once && to.order == Order::PerStream && !carriage.dup && !forgets_dup {
                wrong.push((Check::Duplicate, "came before, and DUP is not set".into()));
            }
        } else if key.number < newest && to.order == Order::PerStream && copy.due == Due::Certainly
        {
            wrong.push((Check::Order, format!("came behind number {newest}")));
        }
        wrong
    }

    /// Whether everything has come that must come.
    pub fn nothing_is_owed(&mut self) -> bool {
        self.streams.iter_mut().all(Stream::nothing_is_owed)
    }

    /// Everything that must come was waited for: what has not come is lost. The rest is forgotten.
    pub fn settle(&mut self) {
        let mut lost = Vec::new();
        for (place, stream) in self.streams.iter_mut().enumerate() {
            for (number, sent) in stream.numbered() {
                for (recipient, _) in sent.owed() {
                    let key = MessageKey { stream: place, number };
                    lost.push((key, recipient, sent.decided_in));
                }
            }
            stream.clear();
        }
        for (key, recipient, life) in lost {
            let name = self.name(key);
            let recipient = &self.recipients[recipient];
            let latest = recipient.latest.get(&key.stream).copied().unwrap_or_default();
            let (check, how) = match self.streams[key.stream].is_of_wills {
                true => (Check::Will, "was due since the end"),
                false => (Check::Lost, "was acknowledged in the course"),
            };
            let text = format!(
                "{name} {how} of life {life} and has not come to {}, whose latest of this stream is {latest}",
                recipient.name
            );
            self.violate(check, text);
        }
    }

    pub fn violate(&mut self, check: Check, text: String) {
        self.history.note(|| format!("BROKEN {check:?}: {text}"));
        self.violations.push(Violation { check, text });
    }

    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// For a reader.
    pub fn name(&self, key: MessageKey) -> String {
        let stream = &self.streams[key.stream];
        format!("{} number {} (QoS {})", stream.topic, key.number, stream.qos as u8)
    }
}

/// What a change of a subscription makes uncertain.
#[derive(Debug, Clone, Copy)]
enum Blur {
    /// What is on its way to the broker.
    Open,
    /// That, and what waits for the recipient.
    All,
}

#[cfg(test)]
mod tests;
