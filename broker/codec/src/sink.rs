//! Where packets are written to: a buffer, or a count of the bytes that it will need.

use crate::{EncodeError, varint};

/// Most bytes that a two-byte length can announce.
pub(crate) const MAXIMUM_STRING: usize = u16::MAX as usize;

/// Takes the bytes of a packet. Every packet is written twice by the same code, first into a
/// [`Measure`], which finds what cannot be sent, then into the buffer.
pub(crate) trait Sink {
    fn bytes(&mut self, bytes: &[u8]);

    /// Says that what is being written cannot be sent.
    fn refuse(&mut self, _error: EncodeError) {}

    #[inline]
    fn byte(&mut self, byte: u8) {
        self.bytes(&[byte]);
    }

    #[inline]
    fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    #[inline]
    fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    /// What does not fit is refused, and the largest value written in its place.
    #[inline]
    fn varint(&mut self, value: u32) {
        if value > varint::MAXIMUM {
            self.refuse(EncodeError::PacketTooLarge);
        }
        let (bytes, used) = varint::encode(value.min(varint::MAXIMUM));
        self.bytes(&bytes[..used]);
    }

    /// `data` behind its two-byte length; what does not fit is refused, and cut.
    #[inline]
    fn sized(&mut self, data: &[u8]) {
        let data = match data.get(..MAXIMUM_STRING) {
            Some(start) if data.len() > MAXIMUM_STRING => {
                self.refuse(EncodeError::StringTooLong);
                start
            }
            _ => data,
        };
        self.u16(data.len() as u16);
        self.bytes(data);
    }
}

impl Sink for Vec<u8> {
    #[inline]
    fn bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    #[inline]
    fn byte(&mut self, byte: u8) {
        self.push(byte);
    }
}

/// Counts, and remembers the first reason why nothing can be sent.
#[derive(Debug, Default)]
pub(crate) struct Measure {
    length: usize,
    error: Option<EncodeError>,
}

impl Measure {
    /// The bytes that `write` writes: a remaining length or a property length.
    #[inline]
    pub(crate) fn of(write: impl FnOnce(&mut Self)) -> Result<u32, EncodeError> {
        let mut measure = Self::default();
        write(&mut measure);
        match measure.error {
            Some(error) => Err(error),
            None => u32::try_from(measure.length)
                .ok()
                .filter(|&length| length <= varint::MAXIMUM)
                .ok_or(EncodeError::PacketTooLarge),
        }
    }
}

impl Sink for Measure {
    #[inline]
    fn bytes(&mut self, bytes: &[u8]) {
        self.length += bytes.len();
    }

    fn refuse(&mut self, error: EncodeError) {
        self.error.get_or_insert(error);
    }
}
