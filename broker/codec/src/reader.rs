//! Reads the fields of a packet, one after another, from its body.

use std::num::NonZeroU16;

use crate::{
    DecodeError, DecodeLimits, PacketId, ReasonCode, TopicError, TopicFilter, TopicName, varint,
};

/// What is left of a packet or of its properties.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    limits: DecodeLimits,
}

impl<'a> Reader<'a> {
    #[inline]
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self::within(bytes, DecodeLimits::NONE)
    }

    #[inline]
    pub(crate) fn within(bytes: &'a [u8], limits: DecodeLimits) -> Self {
        Self { rest: bytes, limits }
    }

    #[inline]
    pub(crate) fn limits(&self) -> DecodeLimits {
        self.limits
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Bytes left.
    #[inline]
    pub(crate) fn length(&self) -> usize {
        self.rest.len()
    }

    /// Everything left.
    #[inline]
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// That nothing is left.
    #[inline]
    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        if self.is_empty() { Ok(()) } else { Err(DecodeError::TrailingBytes) }
    }

    #[inline]
    pub(crate) fn bytes(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*bytes)
    }

    #[inline]
    pub(crate) fn byte(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_be_bytes)
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u32, DecodeError> {
        let (value, used) = varint::decode(self.rest)?.ok_or(DecodeError::Truncated)?;
        self.bytes(used)?;
        Ok(value)
    }

    /// Binary data behind its two-byte length.
    #[inline]
    pub(crate) fn binary(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.u16()?;
        self.bytes(usize::from(length))
    }

    /// A UTF-8 string, without U+0000 `[MQTT-1.5.4-2]`.
    pub(crate) fn string(&mut self) -> Result<&'a str, DecodeError> {
        let text = utf8(self.binary()?)?;
        if text.as_bytes().contains(&0) {
            return Err(DecodeError::NulCharacter);
        }
        Ok(text)
    }

    #[inline]
    pub(crate) fn topic_name(&mut self) -> Result<TopicName<'a>, DecodeError> {
        let bytes = self.binary()?;
        match TopicName::from_plain_ascii(bytes) {
            Some(topic) => Ok(topic),
            None => uncommon_topic_name(bytes),
        }
    }

    pub(crate) fn topic_filter(&mut self) -> Result<TopicFilter, DecodeError> {
        TopicFilter::new(self.string()?).map_err(DecodeError::TopicFilter)
    }

    /// `[MQTT-2.2.1-3]` `[MQTT-2.3.1-1]`
    #[inline]
    pub(crate) fn packet_id(&mut self) -> Result<PacketId, DecodeError> {
        NonZeroU16::new(self.u16()?).ok_or(DecodeError::ZeroPacketId)
    }

    pub(crate) fn reason_code(&mut self) -> Result<ReasonCode, DecodeError> {
        let byte = self.byte()?;
        ReasonCode::from_byte(byte).ok_or(DecodeError::UnknownReasonCode(byte))
    }

    /// Whether `prefix` comes next, which is then read: an empty string or property section.
    #[inline]
    pub(crate) fn skip_prefix<const N: usize>(&mut self, prefix: [u8; N]) -> bool {
        match self.rest.strip_prefix(&prefix) {
            None => false,
            Some(rest) => {
                self.rest = rest;
                true
            }
        }
    }
}

/// UTF-8, surrogates excluded `[MQTT-1.5.4-1]`; what it may hold is the caller's to check.
fn utf8(bytes: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(bytes).map_err(|_| DecodeError::InvalidUtf8)
}

#[inline(never)]
fn uncommon_topic_name(bytes: &[u8]) -> Result<TopicName<'_>, DecodeError> {
    TopicName::new(utf8(bytes)?).map_err(|error| match error {
        TopicError::Nul => DecodeError::NulCharacter,
        error => DecodeError::TopicName(error),
    })
}
