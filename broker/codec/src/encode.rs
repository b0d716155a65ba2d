//! From the value of a packet to its bytes.

pub(crate) mod body;

use self::body::Body;
use crate::packet_type::PacketType;
use crate::sink::{Measure, Sink};
use crate::{
    Ack, AckProperties, ConnAck, Disconnect, EncodeError, Packet, ProtocolVersion, Publish,
    ReasonCode, varint,
};

/// Which of the four packets that share [`Ack`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AckKind {
    PubAck,
    PubRec,
    PubRel,
    PubComp,
}

impl Packet<'_> {
    /// Appends the packet to `out`, as `version` has it; CONNECT brings its own version.
    ///
    /// # Errors
    /// What the protocol has no bytes for; `out` is left as it was.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        encode(self, version, out)
    }

    /// Bytes that [`Self::encode`] appends, the fixed header included.
    ///
    /// # Errors
    /// Those of [`Self::encode`].
    pub fn encoded_length(&self, version: ProtocolVersion) -> Result<usize, EncodeError> {
        encoded_length(self, version)
    }
}

impl ConnAck<'_> {
    /// [`Packet::encode`] of a CONNACK.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        encode(self, version, out)
    }

    /// [`Packet::encoded_length`] of a CONNACK.
    pub fn encoded_length(&self, version: ProtocolVersion) -> Result<usize, EncodeError> {
        encoded_length(self, version)
    }
}

impl Publish<'_> {
    /// [`Packet::encode`] of a PUBLISH.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        encode(self, version, out)
    }

    /// [`Packet::encoded_length`] of a PUBLISH.
    pub fn encoded_length(&self, version: ProtocolVersion) -> Result<usize, EncodeError> {
        encoded_length(self, version)
    }
}

impl Ack<'_> {
    /// [`Packet::encode`] of the acknowledgement that `kind` says.
    pub fn encode(
        &self,
        kind: AckKind,
        version: ProtocolVersion,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        if self.reason_code == ReasonCode::Success && self.properties == AckProperties::default() {
            let [high, low] = self.packet_id.get().to_be_bytes();
            out.extend_from_slice(&[kind.packet_type().first_byte(), 2, high, low]);
            return Ok(());
        }
        encode(&(kind, self), version, out)
    }

    /// [`Packet::encoded_length`]; the four kinds do not differ in it.
    pub fn encoded_length(&self, version: ProtocolVersion) -> Result<usize, EncodeError> {
        encoded_length(&(AckKind::PubAck, self), version)
    }
}

impl Disconnect<'_> {
    /// [`Packet::encode`] of a DISCONNECT.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        encode(self, version, out)
    }

    /// [`Packet::encoded_length`] of a DISCONNECT.
    pub fn encoded_length(&self, version: ProtocolVersion) -> Result<usize, EncodeError> {
        encoded_length(self, version)
    }
}

impl AckKind {
    fn packet_type(self) -> PacketType {
        match self {
            Self::PubAck => PacketType::PubAck,
            Self::PubRec => PacketType::PubRec,
            Self::PubRel => PacketType::PubRel,
            Self::PubComp => PacketType::PubComp,
        }
    }
}

#[inline]
fn encode(
    packet: &impl Body,
    version: ProtocolVersion,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let remaining_length = remaining_length(packet, version)?;
    out.reserve(1 + varint::length(remaining_length) + remaining_length as usize);
    out.byte(packet.first_byte());
    out.varint(remaining_length);
    packet.write(version, out);
    Ok(())
}

fn encoded_length(packet: &impl Body, version: ProtocolVersion) -> Result<usize, EncodeError> {
    let remaining_length = remaining_length(packet, version)?;
    Ok(1 + varint::length(remaining_length) + remaining_length as usize)
}

#[inline]
fn remaining_length(packet: &impl Body, version: ProtocolVersion) -> Result<u32, EncodeError> {
    Measure::of(|measure| packet.write(version, measure))
}
