//! The packet types and the flags that the fixed header has for each (section 2.1).

use crate::DecodeError;

/// The upper half of a packet's first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PacketType {
    Connect = 1,
    ConnAck = 2,
    Publish = 3,
    PubAck = 4,
    PubRec = 5,
    PubRel = 6,
    PubComp = 7,
    Subscribe = 8,
    SubAck = 9,
    Unsubscribe = 10,
    UnsubAck = 11,
    PingReq = 12,
    PingResp = 13,
    Disconnect = 14,
    Auth = 15,
}

impl PacketType {
    const ALL: [Self; 15] = [
        Self::Connect,
        Self::ConnAck,
        Self::Publish,
        Self::PubAck,
        Self::PubRec,
        Self::PubRel,
        Self::PubComp,
        Self::Subscribe,
        Self::SubAck,
        Self::Unsubscribe,
        Self::UnsubAck,
        Self::PingReq,
        Self::PingResp,
        Self::Disconnect,
        Self::Auth,
    ];

    /// The type that a packet's first byte names.
    ///
    /// # Errors
    /// An unassigned type, and flags that no version of the protocol permits `[MQTT-2.1.3-1]`
    /// `[MQTT-2.2.2-1]`.
    #[inline]
    pub fn from_first_byte(first_byte: u8) -> Result<Self, DecodeError> {
        let number = first_byte >> 4;
        let Some(&packet_type) = Self::ALL.get(usize::from(number).wrapping_sub(1)) else {
            return Err(DecodeError::PacketType(number));
        };
        let flags = first_byte & 0x0F;
        // MQTT 3.1 repeats requests, PUBREL included, with DUP set.
        let repeated = packet_type.is_request() && flags == 0b1010;
        if packet_type == Self::Publish || flags == packet_type.flags() || repeated {
            return Ok(packet_type);
        }
        Err(DecodeError::FixedHeaderFlags)
    }

    /// The first byte of a packet of this type; PUBLISH adds flags of its own.
    #[inline]
    pub(crate) const fn first_byte(self) -> u8 {
        (self as u8) << 4 | self.flags()
    }

    #[inline]
    const fn flags(self) -> u8 {
        if self.is_request() { 0b0010 } else { 0 }
    }

    #[inline]
    const fn is_request(self) -> bool {
        matches!(self, Self::PubRel | Self::Subscribe | Self::Unsubscribe)
    }
}
