//! Finds one packet in the bytes that a socket has delivered.

use crate::packet_type::PacketType;
use crate::{DecodeError, varint};

/// The bytes of one whole packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Packet type and flags.
    pub first_byte: u8,
    /// What follows the fixed header.
    pub body: &'a [u8],
    /// Of the whole packet, the fixed header included: so much is consumed from the buffer.
    pub length: usize,
}

/// The packet at the start of `buffer`; `None` where more bytes are needed.
///
/// # Errors
/// As soon as the bytes so far show it: an impossible first byte, a malformed length, a declared
/// length above `maximum_packet_size` (bytes of the whole packet).
#[inline]
pub fn frame(buffer: &[u8], maximum_packet_size: u32) -> Result<Option<Frame<'_>>, DecodeError> {
    let Some((&first_byte, rest)) = buffer.split_first() else {
        return Ok(None);
    };
    PacketType::from_first_byte(first_byte)?;
    let Some((remaining_length, used)) = varint::decode(rest)? else {
        return Ok(None);
    };
    let length = 1 + used + remaining_length as usize;
    if length > maximum_packet_size as usize {
        let length = length as u32;
        return Err(DecodeError::PacketTooLarge { length, maximum: maximum_packet_size });
    }
    let body = buffer.get(1 + used..length);
    Ok(body.map(|body| Frame { first_byte, body, length }))
}

/// The length in bytes of the whole packet that `buffer` begins with, once its fixed header is
/// there: what a reader reserves room for after [`frame`] has asked for more.
#[inline]
pub fn needed(buffer: &[u8]) -> Option<usize> {
    let (remaining_length, used) = varint::decode(buffer.get(1..)?).ok()??;
    Some(1 + used + remaining_length as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_found_when_its_last_byte_arrives() {
        let bytes = [0x30, 3, 0, 1, b'a', 0xC0, 0];
        for end in 0..5 {
            assert_eq!(frame(&bytes[..end], 100), Ok(None));
        }
        let expected = Frame { first_byte: 0x30, body: &bytes[2..5], length: 5 };
        assert_eq!(frame(&bytes[..5], 100), Ok(Some(expected)));
        assert_eq!(frame(&bytes, 100), Ok(Some(expected)));
    }

    #[test]
    fn a_reader_learns_the_length_from_the_fixed_header() {
        assert_eq!(needed(&[]), None);
        assert_eq!(needed(&[0x30]), None);
        assert_eq!(needed(&[0x30, 0x80]), None);
        assert_eq!(needed(&[0x30, 0x80, 0x01]), Some(131));
        assert_eq!(needed(&[0x30, 0x80, 0x00]), None);
    }

    #[test]
    fn a_packet_is_refused_on_its_declared_length() {
        let refused = Err(DecodeError::PacketTooLarge { length: 131, maximum: 130 });
        assert_eq!(frame(&[0x30, 0x80, 0x01], 130), refused);
        assert_eq!(frame(&[0x30, 0x80, 0x01], 131), Ok(None));
    }

    #[test]
    fn a_malformed_length_is_refused_with_its_fourth_byte() {
        let refused = Err(DecodeError::VariableByteInteger);
        assert_eq!(frame(&[0x30, 0x80, 0x80, 0x80], u32::MAX), Ok(None));
        assert_eq!(frame(&[0x30, 0x80, 0x80, 0x80, 0x80], u32::MAX), refused);
        assert_eq!(frame(&[0x30, 0x83, 0x00], u32::MAX), refused);
    }

    #[test]
    fn the_first_byte_alone_is_enough_to_refuse_it() {
        // Upper half: type. The set bits say which flags are permitted with it.
        let permitted: [u16; 16] =
            [0, 1, 1, 0xFFFF, 1, 1, 0x0404, 1, 0x0404, 1, 0x0404, 1, 1, 1, 1, 1];
        for first_byte in 0..=255u8 {
            let allowed = permitted[usize::from(first_byte >> 4)] >> (first_byte & 0x0F) & 1 == 1;
            assert_eq!(frame(&[first_byte], 100).is_ok(), allowed, "{first_byte:02x}");
        }
    }
}
