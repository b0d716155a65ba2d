//! MQTT 3.1, 3.1.1 and 5.0 on the wire: bytes in, values out, and back.
//!
//! No I/O, clock, task or log. [`frame`] finds a packet in what a socket has delivered, [`decode`]
//! reads it without copying, [`Packet::encode`] writes one, [`OutgoingPublish`] writes the packet
//! that matters most without building a value first.

mod packet;
mod packet_type;
mod properties;
mod property;
mod qos;
mod reason_code;
mod topic;

mod error;

mod decode;
mod frame;
mod limits;
mod reader;

mod encode;
mod outgoing;
mod sink;
mod varint;

pub use decode::{decode, decode_connect, decode_connect_within, decode_within};
pub use encode::AckKind;
pub use error::{DecodeError, EncodeError};
pub use frame::{Frame, frame, needed};
pub use limits::DecodeLimits;
pub use outgoing::{LONGEST_PACKET, OutgoingPublish};
pub use packet::{
    Ack, Auth, ConnAck, Connect, Disconnect, Packet, Publish, RetainHandling, SubAck, Subscribe,
    SubscriptionOptions, Unsubscribe, Will,
};
pub use packet_type::PacketType;
pub use properties::{
    AckProperties, AuthProperties, ConnAckProperties, ConnectProperties, DisconnectProperties,
    PublishProperties, SubscribeProperties, UserProperties, UserPropertiesBuf, WillProperties,
    decode_forwarded,
};
pub use property::Property;
pub use qos::{PacketId, ProtocolVersion, Qos};
pub use reason_code::ReasonCode;
pub use topic::{
    MAX_TOPIC_LENGTH, TopicError, TopicFilter, TopicName, filter_covers, filter_intersects,
    filter_matches, levels_match,
};
