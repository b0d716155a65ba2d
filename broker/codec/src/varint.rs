//! Variable byte integers: seven bits in each byte, at most four bytes (section 1.5.5).

use crate::DecodeError;

/// The largest value, and so the largest remaining length of a packet.
pub(crate) const MAXIMUM: u32 = 268_435_455;

/// The integer at the start of `bytes` and how many bytes it takes; `None` where more are needed.
///
/// An encoding that is too long is an error as soon as that shows `[MQTT-1.5.5-1]`.
#[inline]
pub(crate) fn decode(bytes: &[u8]) -> Result<Option<(u32, usize)>, DecodeError> {
    // Most packets and nearly all properties are short.
    if let [byte @ 0..0x80, ..] = bytes {
        return Ok(Some((u32::from(*byte), 1)));
    }
    decode_long(bytes)
}

fn decode_long(bytes: &[u8]) -> Result<Option<(u32, usize)>, DecodeError> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            let shorter_exists = byte == 0 && index > 0;
            return match shorter_exists {
                true => Err(DecodeError::VariableByteInteger),
                false => Ok(Some((value, index + 1))),
            };
        }
    }
    match bytes.len() {
        0..4 => Ok(None),
        _ => Err(DecodeError::VariableByteInteger),
    }
}

/// How many bytes `value` takes.
#[inline]
pub(crate) fn length(value: u32) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

/// `value` in its shortest form, and how many of the four bytes that form takes.
#[inline]
pub(crate) fn encode(value: u32) -> ([u8; 4], usize) {
    debug_assert!(value <= MAXIMUM, "callers check what they encode");
    let length = length(value);
    let mut bytes = [0; 4];
    for (index, byte) in bytes.iter_mut().enumerate() {
        let more = if index + 1 < length { 0x80 } else { 0 };
        *byte = (value >> (7 * index)) as u8 & 0x7F | more;
    }
    (bytes, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_round_trips_at_its_bounds() {
        for value in [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, MAXIMUM] {
            let (bytes, used) = encode(value);
            assert_eq!(decode(&bytes[..used]), Ok(Some((value, used))), "{value}");
            for end in 0..used {
                assert_eq!(decode(&bytes[..end]), Ok(None), "{value} cut to {end}");
            }
        }
    }

    #[test]
    fn longer_than_necessary_is_malformed() {
        let cases: [&[u8]; 6] = [
            &[0x80, 0],
            &[0xFF, 0],
            &[0x80, 0x80, 0],
            &[0xFF, 0xFF, 0xFF, 0],
            &[0xFF, 0xFF, 0xFF, 0xFF],
            &[0x80, 0x80, 0x80, 0x80, 1],
        ];
        for bytes in cases {
            assert_eq!(decode(bytes), Err(DecodeError::VariableByteInteger), "{bytes:02x?}");
        }
    }

    #[test]
    fn one_encoding_stands_for_one_value() {
        for first in 0..=255u8 {
            for second in 0..=255u8 {
                for third in [0, 1, 0x7F, 0x80, 0xFF] {
                    let bytes = [first, second, third, 1];
                    let Ok(Some((value, used))) = decode(&bytes) else {
                        continue;
                    };
                    assert_eq!(encode(value).0[..used], bytes[..used]);
                    assert_eq!(length(value), used);
                }
            }
        }
    }
}
