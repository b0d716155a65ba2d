//! Reads the property section of a packet, one property after another (section 2.2.2).

use std::num::{NonZeroU16, NonZeroU32};

use super::UserProperties;
use crate::reader::Reader;
use crate::{DecodeError, DecodeLimits, Property, TopicName};

/// The properties of one packet, on their way from bytes to one of the property structs.
pub(crate) struct Section<'a> {
    bytes: &'a [u8],
    reader: Reader<'a>,
    /// The property whose value is read next.
    property: Property,
    /// Where the user properties begin and end in `bytes`.
    user_properties: Option<(usize, usize)>,
    user_property_count: u32,
}

impl<'a> Section<'a> {
    /// The section behind its length, as it stands in a packet.
    #[inline]
    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let length = reader.varint()?;
        let limits = reader.limits();
        Ok(Self::within(reader.bytes(length as usize)?, limits))
    }

    #[inline]
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self::within(bytes, DecodeLimits::NONE)
    }

    #[inline]
    fn within(bytes: &'a [u8], limits: DecodeLimits) -> Self {
        Self {
            bytes,
            reader: Reader::within(bytes, limits),
            property: Property::UserProperty,
            user_properties: None,
            user_property_count: 0,
        }
    }

    /// The next property, whose value must then be read; `None` at the end.
    #[inline]
    pub(crate) fn next_property(&mut self) -> Result<Option<Property>, DecodeError> {
        if self.reader.is_empty() {
            return Ok(None);
        }
        let byte = self.reader.byte()?;
        self.property = Property::from_byte(byte).ok_or(DecodeError::UnknownProperty(byte))?;
        Ok(Some(self.property))
    }

    /// The present property does not belong into this packet.
    pub(crate) fn not_allowed(&self) -> DecodeError {
        DecodeError::PropertyNotAllowed(self.property)
    }

    fn bad_value(&self) -> DecodeError {
        DecodeError::PropertyValue(self.property)
    }

    /// Reads the value of a property that may stand only once.
    #[inline]
    pub(crate) fn once<T>(
        &mut self,
        slot: &mut Option<T>,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<(), DecodeError> {
        if slot.is_some() {
            return Err(DecodeError::DuplicateProperty(self.property));
        }
        *slot = Some(read(self)?);
        Ok(())
    }

    pub(crate) fn user_property(&mut self) -> Result<(), DecodeError> {
        let maximum = self.reader.limits().user_properties;
        if self.user_property_count >= maximum {
            return Err(DecodeError::TooManyUserProperties { maximum });
        }
        self.user_property_count += 1;
        let begin = self.position() - 1;
        self.reader.string()?;
        self.reader.string()?;
        let first = self.user_properties.map_or(begin, |(first, _)| first);
        self.user_properties = Some((first, self.position()));
        Ok(())
    }

    /// All user properties read so far.
    #[inline]
    pub(crate) fn user_properties(&self) -> UserProperties<'a> {
        let bounds = self.user_properties.and_then(|(first, end)| self.bytes.get(first..end));
        UserProperties::from_checked(bounds.unwrap_or_default())
    }

    fn position(&self) -> usize {
        self.bytes.len() - self.reader.length()
    }

    /// A byte that must be 0 or 1.
    pub(crate) fn flag(&mut self) -> Result<bool, DecodeError> {
        match self.reader.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.bad_value()),
        }
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.reader.u16()
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.reader.u32()
    }

    pub(crate) fn non_zero_u16(&mut self) -> Result<NonZeroU16, DecodeError> {
        NonZeroU16::new(self.u16()?).ok_or(self.bad_value())
    }

    pub(crate) fn non_zero_u32(&mut self) -> Result<NonZeroU32, DecodeError> {
        NonZeroU32::new(self.u32()?).ok_or(self.bad_value())
    }

    /// `[MQTT-3.3.2-8]`
    pub(crate) fn topic_alias(&mut self) -> Result<NonZeroU16, DecodeError> {
        NonZeroU16::new(self.u16()?).ok_or(DecodeError::ZeroTopicAlias)
    }

    pub(crate) fn subscription_identifier(&mut self) -> Result<NonZeroU32, DecodeError> {
        NonZeroU32::new(self.reader.varint()?).ok_or(self.bad_value())
    }

    pub(crate) fn string(&mut self) -> Result<&'a str, DecodeError> {
        self.reader.string()
    }

    pub(crate) fn binary(&mut self) -> Result<&'a [u8], DecodeError> {
        self.reader.binary()
    }

    /// A topic name that another packet will use `[MQTT-3.3.2-13]` `[MQTT-3.3.2-14]`.
    pub(crate) fn response_topic(&mut self) -> Result<&'a str, DecodeError> {
        let text = self.string()?;
        TopicName::new(text).map_err(|_| self.bad_value())?;
        Ok(text)
    }
}
