//! The fifteen control packets as values that borrow from the bytes they were read from.

use std::fmt;
use std::num::NonZeroU16;

use crate::properties::{
    AckProperties, AuthProperties, ConnAckProperties, ConnectProperties, DisconnectProperties,
    Hidden, PublishProperties, SubscribeProperties, UserProperties, WillProperties,
};
use crate::{PacketId, ProtocolVersion, Qos, ReasonCode, TopicFilter, TopicName};

/// One decoded packet. Strings are UTF-8 without NUL, topics and filters are valid, codes are known.
#[derive(Debug, Clone, PartialEq)]
pub enum Packet<'a> {
    Connect(Box<Connect<'a>>),
    ConnAck(Box<ConnAck<'a>>),
    Publish(Publish<'a>),
    PubAck(Ack<'a>),
    PubRec(Ack<'a>),
    PubRel(Ack<'a>),
    PubComp(Ack<'a>),
    Subscribe(Subscribe<'a>),
    SubAck(SubAck<'a>),
    Unsubscribe(Unsubscribe<'a>),
    UnsubAck(SubAck<'a>),
    PingReq,
    PingResp,
    Disconnect(Disconnect<'a>),
    Auth(Auth<'a>),
}

/// CONNECT (section 3.1).
#[derive(Clone, PartialEq)]
pub struct Connect<'a> {
    pub version: ProtocolVersion,
    pub clean_start: bool,
    /// Seconds; zero turns the keep alive off.
    pub keep_alive: u16,
    /// Empty where the client leaves the choice to the server.
    pub client_id: &'a str,
    pub will: Option<Will<'a>>,
    pub username: Option<&'a str>,
    pub password: Option<&'a [u8]>,
    pub properties: ConnectProperties<'a>,
}

/// The message that the server publishes when the client goes without DISCONNECT.
#[derive(Debug, Clone, PartialEq)]
pub struct Will<'a> {
    pub topic: TopicName<'a>,
    pub payload: &'a [u8],
    pub qos: Qos,
    pub retain: bool,
    /// Seconds between the loss of the connection and the publication.
    pub delay_interval: u32,
    pub properties: WillProperties<'a>,
}

/// CONNACK (section 3.2).
#[derive(Debug, Clone, PartialEq)]
pub struct ConnAck<'a> {
    pub session_present: bool,
    pub reason_code: ReasonCode,
    pub properties: ConnAckProperties<'a>,
}

/// PUBLISH (section 3.3).
#[derive(Debug, Clone, PartialEq)]
pub struct Publish<'a> {
    pub dup: bool,
    pub qos: Qos,
    pub retain: bool,
    /// Absent where a topic alias stands for it (version 5 only).
    pub topic: Option<TopicName<'a>>,
    /// Present exactly when `qos` is above 0.
    pub packet_id: Option<PacketId>,
    pub topic_alias: Option<NonZeroU16>,
    pub properties: PublishProperties<'a>,
    pub payload: &'a [u8],
}

/// PUBACK, PUBREC, PUBREL and PUBCOMP (sections 3.4 to 3.7), which share their form.
#[derive(Debug, Clone, PartialEq)]
pub struct Ack<'a> {
    pub packet_id: PacketId,
    pub reason_code: ReasonCode,
    pub properties: AckProperties<'a>,
}

/// SUBSCRIBE (section 3.8); at least one filter.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscribe<'a> {
    pub packet_id: PacketId,
    pub filters: Vec<(TopicFilter, SubscriptionOptions)>,
    pub properties: SubscribeProperties<'a>,
}

/// The options byte of a filter in SUBSCRIBE (section 3.8.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SubscriptionOptions {
    pub maximum_qos: Qos,
    pub no_local: bool,
    pub retain_as_published: bool,
    pub retain_handling: RetainHandling,
}

/// When a SUBSCRIBE is answered with retained messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum RetainHandling {
    #[default]
    Send = 0,
    SendIfNew = 1,
    DoNotSend = 2,
}

/// SUBACK and UNSUBACK (sections 3.9 and 3.11). UNSUBACK of 3.1.1 carries no codes on the wire.
#[derive(Debug, Clone, PartialEq)]
pub struct SubAck<'a> {
    pub packet_id: PacketId,
    /// One for each filter, in the order of the request.
    pub reason_codes: Vec<ReasonCode>,
    pub properties: AckProperties<'a>,
}

/// UNSUBSCRIBE (section 3.10); at least one filter.
#[derive(Debug, Clone, PartialEq)]
pub struct Unsubscribe<'a> {
    pub packet_id: PacketId,
    pub filters: Vec<TopicFilter>,
    pub user_properties: UserProperties<'a>,
}

/// DISCONNECT (section 3.14).
#[derive(Debug, Clone, PartialEq)]
pub struct Disconnect<'a> {
    pub reason_code: ReasonCode,
    pub properties: DisconnectProperties<'a>,
}

/// AUTH (section 3.15).
#[derive(Debug, Clone, PartialEq)]
pub struct Auth<'a> {
    pub reason_code: ReasonCode,
    pub properties: AuthProperties<'a>,
}

impl fmt::Debug for Connect<'_> {
    /// Without the password, which logs must not show.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("version", &self.version)
            .field("clean_start", &self.clean_start)
            .field("keep_alive", &self.keep_alive)
            .field("client_id", &self.client_id)
            .field("will", &self.will)
            .field("username", &self.username)
            .field("password", &self.password.map(|_| Hidden))
            .field("properties", &self.properties)
            .finish()
    }
}
