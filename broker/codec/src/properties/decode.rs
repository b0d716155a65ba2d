//! From a property section to the struct of its packet.

use std::num::NonZeroU16;

use super::section::Section;
use super::{
    AckProperties, AuthProperties, ConnAckProperties, ConnectProperties, DisconnectProperties,
    PublishProperties, SubscribeProperties, UserProperties, WillProperties,
};
use crate::reader::Reader;
use crate::{DecodeError, Property, Qos};

impl<'a> ConnectProperties<'a> {
    pub(crate) fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut section = Section::read(reader)?;
        let mut read = Self::default();
        while let Some(property) = section.next_property()? {
            match property {
                Property::SessionExpiryInterval => {
                    section.once(&mut read.session_expiry_interval, Section::u32)
                }
                Property::ReceiveMaximum => {
                    section.once(&mut read.receive_maximum, Section::non_zero_u16)
                }
                Property::MaximumPacketSize => {
                    section.once(&mut read.maximum_packet_size, Section::non_zero_u32)
                }
                Property::TopicAliasMaximum => {
                    section.once(&mut read.topic_alias_maximum, Section::u16)
                }
                Property::RequestResponseInformation => {
                    section.once(&mut read.request_response_information, Section::flag)
                }
                Property::RequestProblemInformation => {
                    section.once(&mut read.request_problem_information, Section::flag)
                }
                Property::AuthenticationMethod => {
                    section.once(&mut read.authentication_method, Section::string)
                }
                Property::AuthenticationData => {
                    section.once(&mut read.authentication_data, Section::binary)
                }
                Property::UserProperty => section.user_property(),
                _ => Err(section.not_allowed()),
            }?;
        }
        if read.authentication_data.is_some() && read.authentication_method.is_none() {
            return Err(DecodeError::AuthenticationDataWithoutMethod);
        }
        read.user_properties = section.user_properties();
        Ok(read)
    }
}

impl<'a> PublishProperties<'a> {
    /// Of PUBLISH, with its topic alias.
    #[inline]
    pub(crate) fn decode(
        reader: &mut Reader<'a>,
    ) -> Result<(Self, Option<NonZeroU16>), DecodeError> {
        let mut section = Section::read(reader)?;
        let mut read = Self::default();
        let mut topic_alias = None;
        while let Some(property) = section.next_property()? {
            match property {
                Property::TopicAlias => section.once(&mut topic_alias, Section::topic_alias),
                Property::SubscriptionIdentifier => {
                    read.subscription_identifiers.push(section.subscription_identifier()?);
                    Ok(())
                }
                Property::MessageExpiryInterval => {
                    section.once(&mut read.message_expiry_interval, Section::u32)
                }
                _ => read.decode_forwarded_property(property, &mut section),
            }?;
        }
        read.user_properties = section.user_properties();
        Ok((read, topic_alias))
    }

    /// Of the will in CONNECT, with its delay interval.
    pub(crate) fn decode_will(
        reader: &mut Reader<'a>,
    ) -> Result<(WillProperties<'a>, u32), DecodeError> {
        let mut section = Section::read(reader)?;
        let mut read = Self::default();
        let mut delay_interval = None;
        while let Some(property) = section.next_property()? {
            match property {
                Property::WillDelayInterval => section.once(&mut delay_interval, Section::u32),
                Property::MessageExpiryInterval => {
                    section.once(&mut read.message_expiry_interval, Section::u32)
                }
                _ => read.decode_forwarded_property(property, &mut section),
            }?;
        }
        read.user_properties = section.user_properties();
        Ok((read, delay_interval.unwrap_or(0)))
    }

    /// One of those that go to subscribers unaltered.
    fn decode_forwarded_property(
        &mut self,
        property: Property,
        section: &mut Section<'a>,
    ) -> Result<(), DecodeError> {
        match property {
            Property::PayloadFormatIndicator => {
                section.once(&mut self.payload_format_indicator, Section::flag)
            }
            Property::ContentType => section.once(&mut self.content_type, Section::string),
            Property::ResponseTopic => {
                section.once(&mut self.response_topic, Section::response_topic)
            }
            Property::CorrelationData => section.once(&mut self.correlation_data, Section::binary),
            Property::UserProperty => section.user_property(),
            _ => Err(section.not_allowed()),
        }
    }
}

/// The inverse of [`PublishProperties::encode_forwarded`].
///
/// # Errors
/// Those of a PUBLISH with these properties; others than the forwarded ones are not allowed.
pub fn decode_forwarded(bytes: &[u8]) -> Result<PublishProperties<'_>, DecodeError> {
    let mut section = Section::new(bytes);
    let mut read = PublishProperties::default();
    while let Some(property) = section.next_property()? {
        read.decode_forwarded_property(property, &mut section)?;
    }
    read.user_properties = section.user_properties();
    Ok(read)
}

impl<'a> ConnAckProperties<'a> {
    pub(crate) fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut section = Section::read(reader)?;
        let mut read = Self::default();
        while let Some(property) = section.next_property()? {
            match property {
                Property::ReasonString => section.once(&mut read.reason_string, Section::string),
                Property::AssignedClientIdentifier => {
                    section.once(&mut read.assigned_client_identifier, Section::string)
                }
                Property::ResponseInformation => {
                    section.once(&mut read.response_information, Section::string)
                }
                Property::ServerReference => {
                    section.once(&mut read.server_reference, Section::string)
                }
                Property::AuthenticationMethod => {
                    section.once(&mut read.authentication_method, Section::string)
                }
                Property::AuthenticationData => {
                    section.once(&mut read.authentication_data, Section::binary)
                }
                Property::UserProperty => section.user_property(),
                _ => read.decode_limit(property, &mut section),
            }?;
        }
        read.user_properties = section.user_properties();
        Ok(read)
    }

    /// One of those that say what the server can do.
    fn decode_limit(
        &mut self,
        property: Property,
        section: &mut Section<'a>,
    ) -> Result<(), DecodeError> {
        match property {
            Property::SessionExpiryInterval => {
                section.once(&mut self.session_expiry_interval, Section::u32)
            }
            Property::ReceiveMaximum => {
                section.once(&mut self.receive_maximum, Section::non_zero_u16)
            }
            Property::MaximumQos => section.once(&mut self.maximum_qos, |section| {
                Ok(if section.flag()? { Qos::AtLeastOnce } else { Qos::AtMostOnce })
            }),
            Property::RetainAvailable => section.once(&mut self.retain_available, Section::flag),
            Property::MaximumPacketSize => {
                section.once(&mut self.maximum_packet_size, Section::non_zero_u32)
            }
            Property::TopicAliasMaximum => {
                section.once(&mut self.topic_alias_maximum, Section::u16)
            }
            Property::WildcardSubscriptionAvailable => {
                section.once(&mut self.wildcard_subscription_available, Section::flag)
            }
            Property::SubscriptionIdentifiersAvailable => {
                section.once(&mut self.subscription_identifiers_available, Section::flag)
            }
            Property::SharedSubscriptionAvailable => {
                section.once(&mut self.shared_subscription_available, Section::flag)
            }
            Property::ServerKeepAlive => section.once(&mut self.server_keep_alive, Section::u16),
            _ => Err(section.not_allowed()),
        }
    }
}

impl<'a> AckProperties<'a> {
    pub(crate) fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut section = Section::read(reader)?;
        let mut read = Self::default();
        while let Some(property) = section.next_property()? {
            match property {
                Property::ReasonString => section.once(&mut read.reason_string, Section::string),
                Property::UserProperty => section.user_property(),
                _ => Err(section.not_allowed()),
            }?;
        }
        read.user_properties = section.user_properties();
        Ok(read)
    }
}

impl<'a> SubscribeProperties<'a> {
    pub(crate) fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut section = Section::read(reader)?;
        let mut read = Self::default();
        while let Some(property) = section.next_property()? {
            match property {
                Property::SubscriptionIdentifier => section
                    .once(&mut read.subscription_identifier, Section::subscription_identifier),
                Property::UserProperty => section.user_property(),
                _ => Err(section.not_allowed()),
            }?;
        }
        read.user_properties = section.user_properties();
        Ok(read)
    }
}

impl<'a> UserProperties<'a> {
    /// Of UNSUBSCRIBE, which has no other properties.
    pub(crate) fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut section = Section::read(reader)?;
        while let Some(property) = section.next_property()? {
            match property {
                Property::UserProperty => section.user_property(),
                _ => Err(section.not_allowed()),
            }?;
        }
        Ok(section.user_properties())
    }
}

impl<'a> DisconnectProperties<'a> {
    pub(crate) fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut section = Section::read(reader)?;
        let mut read = Self::default();
        while let Some(property) = section.next_property()? {
            match property {
                Property::SessionExpiryInterval => {
                    section.once(&mut read.session_expiry_interval, Section::u32)
                }
                Property::ReasonString => section.once(&mut read.reason_string, Section::string),
                Property::ServerReference => {
                    section.once(&mut read.server_reference, Section::string)
                }
                Property::UserProperty => section.user_property(),
                _ => Err(section.not_allowed()),
            }?;
        }
        read.user_properties = section.user_properties();
        Ok(read)
    }
}

impl<'a> AuthProperties<'a> {
    pub(crate) fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut section = Section::read(reader)?;
        let mut read = Self::default();
        while let Some(property) = section.next_property()? {
            match property {
                Property::AuthenticationMethod => {
                    section.once(&mut read.authentication_method, Section::string)
                }
                Property::AuthenticationData => {
                    section.once(&mut read.authentication_data, Section::binary)
                }
                Property::ReasonString => section.once(&mut read.reason_string, Section::string),
                Property::UserProperty => section.user_property(),
                _ => Err(section.not_allowed()),
            }?;
        }
        read.user_properties = section.user_properties();
        Ok(read)
    }
}
