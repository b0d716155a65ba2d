//! From the bytes of a packet to its value, without copying strings and payloads.

mod connect;

use crate::packet_type::PacketType;
use crate::properties::{
    AckProperties, AuthProperties, ConnAckProperties, DisconnectProperties, PublishProperties,
    SubscribeProperties, UserProperties,
};
use crate::reader::Reader;
use crate::{
    Ack, Auth, ConnAck, Connect, DecodeError, DecodeLimits, Disconnect, Frame, Packet, PacketId,
    ProtocolVersion, Publish, Qos, ReasonCode, RetainHandling, SubAck, Subscribe,
    SubscriptionOptions, TopicFilter, Unsubscribe,
};

/// Reads a packet of either direction, as `version` has it; CONNECT brings its own version.
///
/// # Errors
/// Everything that the specification says of a packet's format, whatever the state of the session.
#[inline]
pub fn decode<'a>(frame: Frame<'a>, version: ProtocolVersion) -> Result<Packet<'a>, DecodeError> {
    decode_within(frame, version, DecodeLimits::NONE)
}

/// As [`decode`], for a packet that may not have more parts than `limits` say.
///
/// # Errors
/// Those of [`decode`], and a limit that is exceeded, as soon as that shows.
#[inline]
pub fn decode_within<'a>(
    frame: Frame<'a>,
    version: ProtocolVersion,
    limits: DecodeLimits,
) -> Result<Packet<'a>, DecodeError> {
    if frame.first_byte >> 4 == PacketType::Publish as u8 {
        return decode_publish(frame, version, limits);
    }
    match bare_ack(frame) {
        Some(packet) => Ok(packet),
        None => decode_other(frame, version, limits),
    }
}

/// An acknowledgement of nothing but a packet identifier, which is the rule and the same in all versions.
#[inline]
fn bare_ack(frame: Frame<'_>) -> Option<Packet<'_>> {
    let packet_id = PacketId::new(u16::from_be_bytes(frame.body.try_into().ok()?))?;
    let properties = AckProperties::default();
    let ack = Ack { packet_id, reason_code: ReasonCode::Success, properties };
    const PUBACK: u8 = PacketType::PubAck.first_byte();
    const PUBREC: u8 = PacketType::PubRec.first_byte();
    const PUBREL: u8 = PacketType::PubRel.first_byte();
    const PUBCOMP: u8 = PacketType::PubComp.first_byte();
    match frame.first_byte {
        PUBACK => Some(Packet::PubAck(ack)),
        PUBREC => Some(Packet::PubRec(ack)),
        PUBREL => Some(Packet::PubRel(ack)),
        PUBCOMP => Some(Packet::PubComp(ack)),
        _ => None,
    }
}

/// Reads the packet that opens a connection, and with it the protocol's version `[MQTT-3.1.0-1]`.
///
/// # Errors
/// Any other packet; a protocol that is not known; what is wrong with the packet.
pub fn decode_connect(frame: Frame<'_>) -> Result<Connect<'_>, DecodeError> {
    decode_connect_within(frame, DecodeLimits::NONE)
}

/// As [`decode_connect`], for a packet that may not have more parts than `limits` say.
///
/// # Errors
/// Those of [`decode_connect`], and a limit that is exceeded, as soon as that shows.
pub fn decode_connect_within(
    frame: Frame<'_>,
    limits: DecodeLimits,
) -> Result<Connect<'_>, DecodeError> {
    if PacketType::from_first_byte(frame.first_byte)? != PacketType::Connect {
        return Err(DecodeError::NotConnect);
    }
    let mut reader = Reader::within(frame.body, limits);
    let connect = connect::decode(&mut reader)?;
    reader.finish()?;
    Ok(connect)
}

fn decode_other<'a>(
    frame: Frame<'a>,
    version: ProtocolVersion,
    limits: DecodeLimits,
) -> Result<Packet<'a>, DecodeError> {
    let packet_type = PacketType::from_first_byte(frame.first_byte)?;
    // Only MQTT 3.1 has requests that are repeated with DUP set.
    if frame.first_byte != packet_type.first_byte() && version != ProtocolVersion::V31 {
        return Err(DecodeError::FixedHeaderFlags);
    }
    let mut reader = Reader::within(frame.body, limits);
    let read = &mut reader;
    let packet = match packet_type {
        PacketType::Connect => Packet::Connect(Box::new(connect::decode(read)?)),
        PacketType::ConnAck => Packet::ConnAck(Box::new(conn_ack(read, version)?)),
        PacketType::Publish => return decode_publish(frame, version, limits),
        PacketType::PubAck => Packet::PubAck(ack(packet_type, read, version)?),
        PacketType::PubRec => Packet::PubRec(ack(packet_type, read, version)?),
        PacketType::PubRel => Packet::PubRel(ack(packet_type, read, version)?),
        PacketType::PubComp => Packet::PubComp(ack(packet_type, read, version)?),
        PacketType::Subscribe => Packet::Subscribe(subscribe(read, version)?),
        PacketType::SubAck => Packet::SubAck(sub_ack(packet_type, read, version)?),
        PacketType::Unsubscribe => Packet::Unsubscribe(unsubscribe(read, version)?),
        PacketType::UnsubAck => Packet::UnsubAck(sub_ack(packet_type, read, version)?),
        PacketType::PingReq => Packet::PingReq,
        PacketType::PingResp => Packet::PingResp,
        PacketType::Disconnect => Packet::Disconnect(disconnect(read, version)?),
        PacketType::Auth => Packet::Auth(auth(read, version)?),
    };
    reader.finish()?;
    Ok(packet)
}

/// Allocates nothing unless there are subscription identifiers, which only servers send.
#[inline]
fn decode_publish<'a>(
    frame: Frame<'a>,
    version: ProtocolVersion,
    limits: DecodeLimits,
) -> Result<Packet<'a>, DecodeError> {
    let flags = frame.first_byte;
    let dup = flags & 0b1000 != 0;
    let retain = flags & 0b0001 != 0;
    let qos = Qos::from_bits(flags >> 1 & 0b11).ok_or(DecodeError::Qos)?;
    if dup && qos == Qos::AtMostOnce {
        return Err(DecodeError::DupWithoutAcknowledgement);
    }
    let mut reader = Reader::within(frame.body, limits);
    let topic = match version.is_v5() && reader.skip_prefix([0, 0]) {
        true => None,
        false => Some(reader.topic_name()?),
    };
    let packet_id = match qos {
        Qos::AtMostOnce => None,
        Qos::AtLeastOnce | Qos::ExactlyOnce => Some(reader.packet_id()?),
    };
    let (properties, topic_alias) = match version.is_v5() && !reader.skip_prefix([0]) {
        true => PublishProperties::decode(&mut reader)?,
        false => (PublishProperties::default(), None),
    };
    if topic.is_none() && topic_alias.is_none() {
        return Err(DecodeError::NoTopic);
    }
    let payload = reader.rest();
    Ok(Packet::Publish(Publish {
        dup,
        qos,
        retain,
        topic,
        packet_id,
        topic_alias,
        properties,
        payload,
    }))
}

fn conn_ack<'a>(
    reader: &mut Reader<'a>,
    version: ProtocolVersion,
) -> Result<ConnAck<'a>, DecodeError> {
    let session_present = match reader.byte()? {
        0 => false,
        // MQTT 3.1 reserves the byte.
        1 => version != ProtocolVersion::V31,
        _ => return Err(DecodeError::ConnectAcknowledgeFlags),
    };
    let (reason_code, properties) = match version.is_v5() {
        true => {
            (allowed_reason_code(PacketType::ConnAck, reader)?, ConnAckProperties::decode(reader)?)
        }
        false => (connect_return_code(reader)?, ConnAckProperties::default()),
    };
    if session_present && reason_code != ReasonCode::Success {
        return Err(DecodeError::SessionPresentOnRefusal);
    }
    Ok(ConnAck { session_present, reason_code, properties })
}

fn connect_return_code(reader: &mut Reader<'_>) -> Result<ReasonCode, DecodeError> {
    let code = reader.byte()?;
    ReasonCode::from_connect_return_code(code).ok_or(DecodeError::UnknownReasonCode(code))
}

fn ack<'a>(
    packet_type: PacketType,
    reader: &mut Reader<'a>,
    version: ProtocolVersion,
) -> Result<Ack<'a>, DecodeError> {
    let packet_id = reader.packet_id()?;
    let reason_code = optional_reason_code(packet_type, reader, version)?;
    let properties = match reader.is_empty() {
        true => AckProperties::default(),
        false => AckProperties::decode(reader)?,
    };
    Ok(Ack { packet_id, reason_code, properties })
}

fn disconnect<'a>(
    reader: &mut Reader<'a>,
    version: ProtocolVersion,
) -> Result<Disconnect<'a>, DecodeError> {
    let reason_code = optional_reason_code(PacketType::Disconnect, reader, version)?;
    let properties = match reader.is_empty() {
        true => DisconnectProperties::default(),
        false => DisconnectProperties::decode(reader)?,
    };
    Ok(Disconnect { reason_code, properties })
}

fn auth<'a>(reader: &mut Reader<'a>, version: ProtocolVersion) -> Result<Auth<'a>, DecodeError> {
    if !version.is_v5() {
        return Err(DecodeError::PacketType(PacketType::Auth as u8));
    }
    // An empty AUTH is well formed, though no exchange has a place for it.
    if reader.is_empty() {
        let properties = AuthProperties::default();
        return Ok(Auth { reason_code: ReasonCode::Success, properties });
    }
    let reason_code = allowed_reason_code(PacketType::Auth, reader)?;
    let properties = AuthProperties::decode(reader)?;
    if properties.authentication_method.is_none() {
        return Err(DecodeError::NoAuthenticationMethod);
    }
    Ok(Auth { reason_code, properties })
}

/// The code that version 5 lets its sender leave out where it is success.
fn optional_reason_code(
    packet_type: PacketType,
    reader: &mut Reader<'_>,
    version: ProtocolVersion,
) -> Result<ReasonCode, DecodeError> {
    match reader.is_empty() {
        true => Ok(ReasonCode::Success),
        false if version.is_v5() => allowed_reason_code(packet_type, reader),
        false => Err(DecodeError::TrailingBytes),
    }
}

fn allowed_reason_code(
    packet_type: PacketType,
    reader: &mut Reader<'_>,
) -> Result<ReasonCode, DecodeError> {
    let reason_code = reader.reason_code()?;
    match reason_code.is_allowed_in(packet_type) {
        true => Ok(reason_code),
        false => Err(DecodeError::ReasonCodeNotAllowed(reason_code)),
    }
}

fn subscribe<'a>(
    reader: &mut Reader<'a>,
    version: ProtocolVersion,
) -> Result<Subscribe<'a>, DecodeError> {
    let packet_id = reader.packet_id()?;
    let properties = match version.is_v5() {
        true => SubscribeProperties::decode(reader)?,
        false => SubscribeProperties::default(),
    };
    let mut filters = Vec::new();
    while !reader.is_empty() {
        let filter = reader.topic_filter()?;
        let options = subscription_options(reader.byte()?, version)?;
        if options.no_local && filter.share_name().is_some() {
            return Err(DecodeError::NoLocalOnShared);
        }
        filters.push((filter, options));
        check_filters(filters.len(), reader)?;
    }
    if filters.is_empty() {
        return Err(DecodeError::NoTopicFilter);
    }
    Ok(Subscribe { packet_id, filters, properties })
}

/// Before version 5 all bits but those of the QoS are reserved.
fn subscription_options(
    bits: u8,
    version: ProtocolVersion,
) -> Result<SubscriptionOptions, DecodeError> {
    let reserved = if version.is_v5() { 0b1100_0000 } else { 0b1111_1100 };
    if bits & reserved != 0 {
        return Err(DecodeError::SubscriptionOptions);
    }
    let retain_handling = match bits >> 4 {
        0 => RetainHandling::Send,
        1 => RetainHandling::SendIfNew,
        2 => RetainHandling::DoNotSend,
        _ => return Err(DecodeError::SubscriptionOptionValue),
    };
    Ok(SubscriptionOptions {
        maximum_qos: Qos::from_bits(bits & 0b11).ok_or(DecodeError::SubscriptionOptionValue)?,
        no_local: bits & 0b0100 != 0,
        retain_as_published: bits & 0b1000 != 0,
        retain_handling,
    })
}

fn sub_ack<'a>(
    packet_type: PacketType,
    reader: &mut Reader<'a>,
    version: ProtocolVersion,
) -> Result<SubAck<'a>, DecodeError> {
    let packet_id = reader.packet_id()?;
    let properties = match version.is_v5() {
        true => AckProperties::decode(reader)?,
        false => AckProperties::default(),
    };
    let without_codes = packet_type == PacketType::UnsubAck && !version.is_v5();
    let mut reason_codes = Vec::new();
    if !without_codes {
        reason_codes.push(subscription_code(packet_type, reader, version)?);
        while !reader.is_empty() {
            reason_codes.push(subscription_code(packet_type, reader, version)?);
        }
    }
    Ok(SubAck { packet_id, reason_codes, properties })
}

/// A code of SUBACK or UNSUBACK; in MQTT 3.1.1 a granted QoS or 0x80 `[MQTT-3.9.3-2]`, in MQTT 3.1 a
/// granted QoS.
fn subscription_code(
    packet_type: PacketType,
    reader: &mut Reader<'_>,
    version: ProtocolVersion,
) -> Result<ReasonCode, DecodeError> {
    let reason_code = allowed_reason_code(packet_type, reader)?;
    let last = match version {
        ProtocolVersion::V31 => ReasonCode::GrantedQos2,
        ProtocolVersion::V311 => ReasonCode::UnspecifiedError,
        ProtocolVersion::V5 => return Ok(reason_code),
    };
    match reason_code as u8 <= last as u8 {
        true => Ok(reason_code),
        false => Err(DecodeError::ReasonCodeNotAllowed(reason_code)),
    }
}

fn unsubscribe<'a>(
    reader: &mut Reader<'a>,
    version: ProtocolVersion,
) -> Result<Unsubscribe<'a>, DecodeError> {
    let packet_id = reader.packet_id()?;
    let user_properties = match version.is_v5() {
        true => UserProperties::decode(reader)?,
        false => UserProperties::default(),
    };
    let mut filters: Vec<TopicFilter> = Vec::new();
    while !reader.is_empty() {
        filters.push(reader.topic_filter()?);
        check_filters(filters.len(), reader)?;
    }
    if filters.is_empty() {
        return Err(DecodeError::NoTopicFilter);
    }
    Ok(Unsubscribe { packet_id, filters, user_properties })
}

fn check_filters(count: usize, reader: &Reader<'_>) -> Result<(), DecodeError> {
    let maximum = reader.limits().filters;
    match count > maximum as usize {
        true => Err(DecodeError::TooManyFilters { maximum }),
        false => Ok(()),
    }
}
