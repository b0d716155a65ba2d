//! Writes a PUBLISH to a subscriber from parts that are already encoded.

use std::num::{NonZeroU16, NonZeroU32};

use crate::encode::body::publish_first_byte;
use crate::sink::Sink;
use crate::{PacketId, Property, ProtocolVersion, Qos, TopicName, varint};

/// The longest packet that the protocol permits, in bytes, the fixed header included.
pub const LONGEST_PACKET: usize = 1 + 4 + varint::MAXIMUM as usize;

/// A PUBLISH on its way out, from parts that are already encoded.
///
/// Before version 5 the properties, the alias and `omit_topic` count for nothing.
#[derive(Debug, Clone, Copy)]
pub struct OutgoingPublish<'a> {
    pub topic: TopicName<'a>,
    pub payload: &'a [u8],
    /// Not written with QoS 0 `[MQTT-3.3.1-2]`.
    pub dup: bool,
    pub qos: Qos,
    pub retain: bool,
    /// Present exactly when `qos` is above 0.
    pub packet_id: Option<PacketId>,
    /// Seconds that are left.
    pub message_expiry_interval: Option<u32>,
    pub topic_alias: Option<NonZeroU16>,
    /// The receiver knows what `topic_alias` stands for.
    pub omit_topic: bool,
    /// Each at most 268,435,455.
    pub subscription_identifiers: &'a [NonZeroU32],
    /// What [`crate::PublishProperties::encode_forwarded`] wrote.
    pub forwarded_properties: &'a [u8],
}

impl OutgoingPublish<'_> {
    /// Bytes of the whole packet. Above [`LONGEST_PACKET`] there is no packet to send.
    #[inline]
    pub fn encoded_length(&self, version: ProtocolVersion) -> usize {
        let remaining_length = self.remaining_length(version);
        1 + varint::length(saturate(remaining_length)) + remaining_length
    }

    /// Appends the packet to `out`; nothing where it would be longer than [`LONGEST_PACKET`].
    #[inline]
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) {
        debug_assert_eq!(self.packet_id.is_some(), self.qos != Qos::AtMostOnce);
        let remaining_length = self.remaining_length(version);
        if remaining_length > varint::MAXIMUM as usize {
            return;
        }
        out.reserve(LONGEST_FIXED_HEADER + remaining_length);
        out.byte(publish_first_byte(self.dup, self.qos, self.retain));
        out.varint(remaining_length as u32);
        out.sized(self.topic_bytes(version));
        if let Some(packet_id) = self.packet_id {
            out.u16(packet_id.get());
        }
        if version.is_v5() {
            self.write_properties(out);
        }
        out.bytes(self.payload);
    }

    #[inline]
    fn remaining_length(&self, version: ProtocolVersion) -> usize {
        let topic = 2 + self.topic_bytes(version).len();
        let packet_id = if self.packet_id.is_some() { 2 } else { 0 };
        let properties = match version.is_v5() {
            true => {
                let length = self.properties_length();
                varint::length(saturate(length)) + length
            }
            false => 0,
        };
        topic + packet_id + properties + self.payload.len()
    }

    #[inline]
    fn topic_bytes(&self, version: ProtocolVersion) -> &[u8] {
        match self.omit_topic && self.topic_alias.is_some() && version.is_v5() {
            true => &[],
            false => self.topic.as_str().as_bytes(),
        }
    }

    #[inline]
    fn properties_length(&self) -> usize {
        let expiry = if self.message_expiry_interval.is_some() { 5 } else { 0 };
        let alias = if self.topic_alias.is_some() { 3 } else { 0 };
        let identifiers = self.subscription_identifiers.iter();
        let identifiers = identifiers.map(|identifier| 1 + varint::length(identifier.get()));
        expiry + alias + identifiers.sum::<usize>() + self.forwarded_properties.len()
    }

    #[inline]
    fn write_properties(&self, out: &mut Vec<u8>) {
        out.varint(saturate(self.properties_length()));
        if let Some(interval) = self.message_expiry_interval {
            out.byte(Property::MessageExpiryInterval as u8);
            out.u32(interval);
        }
        if let Some(alias) = self.topic_alias {
            out.byte(Property::TopicAlias as u8);
            out.u16(alias.get());
        }
        for identifier in self.subscription_identifiers {
            out.byte(Property::SubscriptionIdentifier as u8);
            out.varint(identifier.get());
        }
        out.bytes(self.forwarded_properties);
    }
}

const LONGEST_FIXED_HEADER: usize = 5;

#[inline]
fn saturate(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
