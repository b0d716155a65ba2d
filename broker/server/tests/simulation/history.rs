//! What happened, in its order: packets as they pass the broker's end of a connection, and faults.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use hookmq_codec::{Packet, PacketId, ProtocolVersion, Qos, ReasonCode, TopicFilter};
use parking_lot::Mutex;
use tokio::time::Instant;

/// A packet, as far as anything depends on it.
#[derive(Debug, Clone)]
pub enum Wire {
    Connect(Coming),
    ConnAck { present: bool, code: ReasonCode },
    Publish(Sent),
    Ack(Step, u16, ReasonCode),
    Subscribe(u16, Vec<(TopicFilter, Qos)>),
    SubAck(u16, Vec<ReasonCode>),
    Unsubscribe(u16, Vec<TopicFilter>),
    UnsubAck(u16),
    Disconnect(ReasonCode),
    Other,
}

/// CONNECT.
#[derive(Debug, Clone)]
pub struct Coming {
    pub version: ProtocolVersion,
    pub clean: bool,
    /// Seconds.
    pub expiry: u32,
    pub receive_maximum: u16,
    pub will: Option<WillOf>,
}

#[derive(Debug, Clone)]
pub struct WillOf {
    pub key: String,
    pub qos: Qos,
    pub delay: Duration,
}

/// PUBLISH, in either direction.
#[derive(Debug, Clone)]
pub struct Sent {
    pub dup: bool,
    pub qos: Qos,
    pub retain: bool,
    pub id: u16,
    pub topic: String,
    /// Which message it is: no two have the same. Empty where the payload is.
    pub key: String,
}

/// PUBACK, PUBREC, PUBREL and PUBCOMP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Ack,
    Rec,
    Rel,
    Comp,
}

#[derive(Debug, Clone)]
pub enum What {
    /// A client has opened connection `link`.
    Opened {
        client: usize,
    },
    /// The broker has read the last byte of it.
    Read(Wire),
    /// The broker has written the last byte of it.
    Written(Wire),
    /// The socket took nothing.
    Blocked,
    /// The network has cut the connection, or its client has closed it.
    Cut,
    /// The broker has let go of the connection.
    Dropped,
    /// The client has this message, for the first time as far as it can tell.
    Delivered(Sent),
    /// Of no connection: the broker runs, is gone at once, is told to stop.
    Started,
    Crashed,
    Stopping,
    /// From here on nothing fails.
    Calm,
}

#[derive(Debug, Clone)]
pub struct Event {
    /// Since the beginning.
    pub at: Duration,
    pub link: usize,
    pub what: What,
}

/// In [`Event::link`] of what concerns all.
pub const ALL: usize = usize::MAX;

#[derive(Clone)]
pub struct History(Arc<Mutex<Vec<Event>>>, Instant);

impl History {
    pub fn new() -> Self {
        Self(Arc::default(), Instant::now())
    }

    /// Gives the event's number.
    pub fn note(&self, link: usize, what: What) -> usize {
        let mut events = self.0.lock();
        events.push(Event { at: self.1.elapsed(), link, what });
        events.len() - 1
    }

    pub fn events(&self) -> Vec<Event> {
        self.0.lock().clone()
    }
}

/// A line for each event.
pub fn lines(events: &[Event]) -> String {
    let mut text = String::new();
    for (number, Event { at, link, what }) in events.iter().enumerate() {
        let link = if *link == ALL { "-".into() } else { link.to_string() };
        let _ = writeln!(text, "{number:6} {:10.3} {link:>4} {what:?}", at.as_secs_f64());
    }
    text
}

impl Wire {
    pub fn of(packet: &Packet<'_>) -> Self {
        let id = PacketId::get;
        match packet {
            Packet::Connect(connect) => Self::Connect(Coming {
                version: connect.version,
                clean: connect.clean_start,
                expiry: match (connect.version.is_v5(), connect.clean_start) {
                    (true, _) => connect.properties.session_expiry_interval.unwrap_or(0),
                    (false, true) => 0,
                    (false, false) => u32::MAX,
                },
                receive_maximum: connect.properties.receive_maximum.map_or(u16::MAX, |it| it.get()),
                will: connect.will.as_ref().map(|will| WillOf {
                    key: key(will.payload),
                    qos: will.qos,
                    delay: Duration::from_secs(will.delay_interval.into()),
                }),
            }),
            Packet::ConnAck(it) => {
                Self::ConnAck { present: it.session_present, code: it.reason_code }
            }
            Packet::Publish(publish) => Self::Publish(Sent {
                dup: publish.dup,
                qos: publish.qos,
                retain: publish.retain,
                id: publish.packet_id.map_or(0, id),
                topic: publish.topic.map_or("", |it| it.as_str()).to_owned(),
                key: key(publish.payload),
            }),
            Packet::PubAck(it) => Self::Ack(Step::Ack, id(it.packet_id), it.reason_code),
            Packet::PubRec(it) => Self::Ack(Step::Rec, id(it.packet_id), it.reason_code),
            Packet::PubRel(it) => Self::Ack(Step::Rel, id(it.packet_id), it.reason_code),
            Packet::PubComp(it) => Self::Ack(Step::Comp, id(it.packet_id), it.reason_code),
            Packet::Subscribe(it) => {
                let filters = it.filters.iter();
                let filters =
                    filters.map(|(filter, options)| (filter.clone(), options.maximum_qos));
                Self::Subscribe(id(it.packet_id), filters.collect())
            }
            Packet::SubAck(it) => Self::SubAck(id(it.packet_id), it.reason_codes.clone()),
            Packet::Unsubscribe(it) => Self::Unsubscribe(id(it.packet_id), it.filters.clone()),
            Packet::UnsubAck(it) => Self::UnsubAck(id(it.packet_id)),
            Packet::Disconnect(it) => Self::Disconnect(it.reason_code),
            _ => Self::Other,
        }
    }
}

/// What a payload begins with; behind it comes what makes it longer.
fn key(payload: &[u8]) -> String {
    let key = payload.split(|byte| *byte == b' ').next().unwrap_or_default();
    String::from_utf8_lossy(key).into_owned()
}
