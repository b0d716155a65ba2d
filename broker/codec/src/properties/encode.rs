//! From the struct of a packet to its property section.

use std::num::{NonZeroU16, NonZeroU32};

use super::{
    AckProperties, AuthProperties, ConnAckProperties, ConnectProperties, DisconnectProperties,
    PublishProperties, SubscribeProperties, UserProperties, WillProperties,
};
use crate::sink::{Measure, Sink};
use crate::{EncodeError, Property, Qos};

/// What can be written as a property section.
pub(crate) trait Section {
    /// The properties, without the length that goes before them.
    fn write(&self, sink: &mut impl Sink);

    /// The properties behind their length.
    fn write_section(&self, sink: &mut impl Sink) {
        match self.length() {
            Ok(length) => sink.varint(length),
            Err(error) => sink.refuse(error),
        }
        self.write(sink);
    }

    fn length(&self) -> Result<u32, EncodeError> {
        Measure::of(|measure| self.write(measure))
    }
}

impl Section for ConnectProperties<'_> {
    fn write(&self, sink: &mut impl Sink) {
        four_bytes(sink, Property::SessionExpiryInterval, self.session_expiry_interval);
        two_bytes(sink, Property::ReceiveMaximum, self.receive_maximum.map(NonZeroU16::get));
        four_bytes(
            sink,
            Property::MaximumPacketSize,
            self.maximum_packet_size.map(NonZeroU32::get),
        );
        two_bytes(sink, Property::TopicAliasMaximum, self.topic_alias_maximum);
        flag(sink, Property::RequestResponseInformation, self.request_response_information);
        flag(sink, Property::RequestProblemInformation, self.request_problem_information);
        string(sink, Property::AuthenticationMethod, self.authentication_method);
        binary(sink, Property::AuthenticationData, self.authentication_data);
        self.user_properties.write(sink);
    }
}

/// The properties of a PUBLISH and its topic alias.
pub(crate) struct PublishSection<'a>(
    pub(crate) &'a PublishProperties<'a>,
    pub(crate) Option<NonZeroU16>,
);

impl Section for PublishSection<'_> {
    fn write(&self, sink: &mut impl Sink) {
        let Self(properties, topic_alias) = self;
        four_bytes(sink, Property::MessageExpiryInterval, properties.message_expiry_interval);
        two_bytes(sink, Property::TopicAlias, topic_alias.map(NonZeroU16::get));
        for identifier in &properties.subscription_identifiers {
            sink.byte(Property::SubscriptionIdentifier as u8);
            sink.varint(identifier.get());
        }
        properties.write_forwarded(sink);
    }
}

/// The properties of a will and its delay interval, which is 0 where it is absent.
pub(crate) struct WillSection<'a>(pub(crate) &'a WillProperties<'a>, pub(crate) u32);

impl Section for WillSection<'_> {
    fn write(&self, sink: &mut impl Sink) {
        let Self(properties, delay_interval) = self;
        four_bytes(sink, Property::WillDelayInterval, Some(*delay_interval).filter(|&s| s > 0));
        four_bytes(sink, Property::MessageExpiryInterval, properties.message_expiry_interval);
        properties.write_forwarded(sink);
    }
}

impl PublishProperties<'_> {
    /// Bytes that [`Self::encode_forwarded`] writes.
    pub fn forwarded_length(&self) -> usize {
        Measure::of(|measure| self.write_forwarded(measure)).map_or(0, |length| length as usize)
    }

    /// Appends what the server forwards unaltered: payload format indicator, content type, response
    /// topic, correlation data, user properties in their order `[MQTT-3.3.2-4]` `[MQTT-3.3.2-15]`
    /// `[MQTT-3.3.2-16]` `[MQTT-3.3.2-17]` `[MQTT-3.3.2-18]` `[MQTT-3.3.2-20]`.
    ///
    /// Values that were decoded always fit; others end at 65535 bytes.
    pub fn encode_forwarded(&self, out: &mut Vec<u8>) {
        self.write_forwarded(out);
    }

    fn write_forwarded(&self, sink: &mut impl Sink) {
        flag(sink, Property::PayloadFormatIndicator, self.payload_format_indicator);
        string(sink, Property::ContentType, self.content_type);
        string(sink, Property::ResponseTopic, self.response_topic);
        binary(sink, Property::CorrelationData, self.correlation_data);
        self.user_properties.write(sink);
    }
}

impl Section for ConnAckProperties<'_> {
    fn write(&self, sink: &mut impl Sink) {
        four_bytes(sink, Property::SessionExpiryInterval, self.session_expiry_interval);
        two_bytes(sink, Property::ReceiveMaximum, self.receive_maximum.map(NonZeroU16::get));
        // QoS 2 is what absence means; the property can only lower it.
        if let Some(qos @ (Qos::AtMostOnce | Qos::AtLeastOnce)) = self.maximum_qos {
            sink.bytes(&[Property::MaximumQos as u8, qos as u8]);
        }
        flag(sink, Property::RetainAvailable, self.retain_available);
        four_bytes(
            sink,
            Property::MaximumPacketSize,
            self.maximum_packet_size.map(NonZeroU32::get),
        );
        string(sink, Property::AssignedClientIdentifier, self.assigned_client_identifier);
        two_bytes(sink, Property::TopicAliasMaximum, self.topic_alias_maximum);
        string(sink, Property::ReasonString, self.reason_string);
        flag(sink, Property::WildcardSubscriptionAvailable, self.wildcard_subscription_available);
        flag(
            sink,
            Property::SubscriptionIdentifiersAvailable,
            self.subscription_identifiers_available,
        );
        flag(sink, Property::SharedSubscriptionAvailable, self.shared_subscription_available);
        two_bytes(sink, Property::ServerKeepAlive, self.server_keep_alive);
        string(sink, Property::ResponseInformation, self.response_information);
        string(sink, Property::ServerReference, self.server_reference);
        string(sink, Property::AuthenticationMethod, self.authentication_method);
        binary(sink, Property::AuthenticationData, self.authentication_data);
        self.user_properties.write(sink);
    }
}

impl Section for AckProperties<'_> {
    #[inline]
    fn write(&self, sink: &mut impl Sink) {
        string(sink, Property::ReasonString, self.reason_string);
        self.user_properties.write(sink);
    }
}

impl Section for SubscribeProperties<'_> {
    fn write(&self, sink: &mut impl Sink) {
        if let Some(identifier) = self.subscription_identifier {
            sink.byte(Property::SubscriptionIdentifier as u8);
            sink.varint(identifier.get());
        }
        self.user_properties.write(sink);
    }
}

impl Section for UserProperties<'_> {
    fn write(&self, sink: &mut impl Sink) {
        self.write(sink);
    }
}

impl Section for DisconnectProperties<'_> {
    fn write(&self, sink: &mut impl Sink) {
        four_bytes(sink, Property::SessionExpiryInterval, self.session_expiry_interval);
        string(sink, Property::ReasonString, self.reason_string);
        string(sink, Property::ServerReference, self.server_reference);
        self.user_properties.write(sink);
    }
}

impl Section for AuthProperties<'_> {
    fn write(&self, sink: &mut impl Sink) {
        string(sink, Property::AuthenticationMethod, self.authentication_method);
        binary(sink, Property::AuthenticationData, self.authentication_data);
        string(sink, Property::ReasonString, self.reason_string);
        self.user_properties.write(sink);
    }
}

fn flag(sink: &mut impl Sink, property: Property, value: Option<bool>) {
    if let Some(value) = value {
        sink.bytes(&[property as u8, u8::from(value)]);
    }
}

fn two_bytes(sink: &mut impl Sink, property: Property, value: Option<u16>) {
    if let Some(value) = value {
        sink.byte(property as u8);
        sink.u16(value);
    }
}

fn four_bytes(sink: &mut impl Sink, property: Property, value: Option<u32>) {
    if let Some(value) = value {
        sink.byte(property as u8);
        sink.u32(value);
    }
}

fn string(sink: &mut impl Sink, property: Property, value: Option<&str>) {
    binary(sink, property, value.map(str::as_bytes));
}

fn binary(sink: &mut impl Sink, property: Property, value: Option<&[u8]>) {
    if let Some(value) = value {
        sink.byte(property as u8);
        sink.sized(value);
    }
}
