//! CONNECT: the packet that says which protocol all the others follow (section 3.1).

use crate::properties::{ConnectProperties, PublishProperties};
use crate::reader::Reader;
use crate::{Connect, DecodeError, ProtocolVersion, Qos, Will};

/// The connect flags, checked (section 3.1.2.3).
struct Flags {
    clean_start: bool,
    /// QoS and retain, where there is a will.
    will: Option<(Qos, bool)>,
    username: bool,
    password: bool,
}

pub(super) fn decode<'a>(reader: &mut Reader<'a>) -> Result<Connect<'a>, DecodeError> {
    let version = protocol_version(reader)?;
    let flags = Flags::from_bits(reader.byte()?, version)?;
    let keep_alive = reader.u16()?;
    let properties = match version.is_v5() {
        true => ConnectProperties::decode(reader)?,
        false => ConnectProperties::default(),
    };
    let client_id = reader.string()?;
    let will = match flags.will {
        None => None,
        Some((qos, retain)) => Some(will(reader, version, qos, retain)?),
    };
    // MQTT 3.1 lets the packet end before what its flags announce.
    let announced = |flag: bool, reader: &Reader<'_>| {
        flag && !(version == ProtocolVersion::V31 && reader.is_empty())
    };
    let username = match announced(flags.username, reader) {
        true => Some(reader.string()?),
        false => None,
    };
    let password = match announced(flags.password, reader) {
        true => Some(reader.binary()?),
        false => None,
    };
    Ok(Connect {
        version,
        clean_start: flags.clean_start,
        keep_alive,
        client_id,
        will,
        username,
        password,
        properties,
    })
}

/// `[MQTT-3.1.2-1]` `[MQTT-3.1.2-2]`
fn protocol_version(reader: &mut Reader<'_>) -> Result<ProtocolVersion, DecodeError> {
    let name = reader.binary()?;
    if name != b"MQTT" && name != b"MQIsdp" {
        return Err(DecodeError::ProtocolName);
    }
    match (name, reader.byte()?) {
        (b"MQIsdp", 3) => Ok(ProtocolVersion::V31),
        (b"MQTT", 4) => Ok(ProtocolVersion::V311),
        (b"MQTT", 5) => Ok(ProtocolVersion::V5),
        (_, level) => Err(DecodeError::ProtocolLevel(level)),
    }
}

impl Flags {
    fn from_bits(bits: u8, version: ProtocolVersion) -> Result<Self, DecodeError> {
        // [MQTT-3.1.2-3]
        if bits & 0b0000_0001 != 0 {
            return Err(DecodeError::ConnectFlags);
        }
        let username = bits & 0b1000_0000 != 0;
        let password = bits & 0b0100_0000 != 0;
        // [MQTT-3.1.2-22] of 3.1.1, which version 5 dropped.
        if password && !username && !version.is_v5() {
            return Err(DecodeError::PasswordWithoutUsername);
        }
        let will_retain = bits & 0b0010_0000 != 0;
        let will_qos = Qos::from_bits(bits >> 3 & 0b11).ok_or(DecodeError::Qos)?;
        let will = match bits & 0b0000_0100 != 0 {
            true => Some((will_qos, will_retain)),
            // [MQTT-3.1.2-11] [MQTT-3.1.2-13]
            false if will_retain || will_qos != Qos::AtMostOnce => {
                return Err(DecodeError::ConnectFlags);
            }
            false => None,
        };
        Ok(Self { clean_start: bits & 0b0000_0010 != 0, will, username, password })
    }
}

fn will<'a>(
    reader: &mut Reader<'a>,
    version: ProtocolVersion,
    qos: Qos,
    retain: bool,
) -> Result<Will<'a>, DecodeError> {
    let (properties, delay_interval) = match version.is_v5() {
        true => PublishProperties::decode_will(reader)?,
        false => Default::default(),
    };
    let topic = reader.topic_name()?;
    let payload = reader.binary()?;
    Ok(Will { topic, payload, qos, retain, delay_interval, properties })
}
