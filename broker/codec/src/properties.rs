//! Version 5 properties, one struct for each packet that carries them (section 2.2.2).
//!
//! A property that is absent is `None`; the default that the specification gives is the reader's to
//! apply. Every struct is empty by `Default`, which is what packets of 3.1 and 3.1.1 have.

mod decode;
mod encode;
mod section;
mod user;

use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};

pub use self::decode::decode_forwarded;
pub(crate) use self::encode::{PublishSection, Section, WillSection};
pub use self::user::{UserProperties, UserPropertiesBuf};
use crate::Qos;

/// CONNECT (section 3.1.2.11).
#[derive(Clone, PartialEq, Default)]
pub struct ConnectProperties<'a> {
    /// Seconds; 0xFFFF_FFFF never expires.
    pub session_expiry_interval: Option<u32>,
    pub receive_maximum: Option<NonZeroU16>,
    pub maximum_packet_size: Option<NonZeroU32>,
    pub topic_alias_maximum: Option<u16>,
    pub request_response_information: Option<bool>,
    pub request_problem_information: Option<bool>,
    pub authentication_method: Option<&'a str>,
    pub authentication_data: Option<&'a [u8]>,
    pub user_properties: UserProperties<'a>,
}

/// The will's properties; its delay stands in [`crate::Will::delay_interval`].
pub type WillProperties<'a> = PublishProperties<'a>;

/// What travels with an application message from publisher to subscriber.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PublishProperties<'a> {
    /// True: the payload is UTF-8 text.
    pub payload_format_indicator: Option<bool>,
    /// Seconds.
    pub message_expiry_interval: Option<u32>,
    pub content_type: Option<&'a str>,
    pub response_topic: Option<&'a str>,
    pub correlation_data: Option<&'a [u8]>,
    /// Set by servers only; a client that sends one breaks the protocol `[MQTT-3.3.4-6]`.
    pub subscription_identifiers: Vec<NonZeroU32>,
    pub user_properties: UserProperties<'a>,
}

/// CONNACK (section 3.2.2.3).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ConnAckProperties<'a> {
    pub session_expiry_interval: Option<u32>,
    pub receive_maximum: Option<NonZeroU16>,
    /// 0 or 1; absent means 2.
    pub maximum_qos: Option<Qos>,
    pub retain_available: Option<bool>,
    pub maximum_packet_size: Option<NonZeroU32>,
    pub assigned_client_identifier: Option<&'a str>,
    pub topic_alias_maximum: Option<u16>,
    pub reason_string: Option<&'a str>,
    pub wildcard_subscription_available: Option<bool>,
    pub subscription_identifiers_available: Option<bool>,
    pub shared_subscription_available: Option<bool>,
    pub server_keep_alive: Option<u16>,
    pub response_information: Option<&'a str>,
    pub server_reference: Option<&'a str>,
    pub authentication_method: Option<&'a str>,
    pub authentication_data: Option<&'a [u8]>,
    pub user_properties: UserProperties<'a>,
}

/// PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK and UNSUBACK.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AckProperties<'a> {
    pub reason_string: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
}

/// SUBSCRIBE (section 3.8.2.1).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SubscribeProperties<'a> {
    /// 1 to 268,435,455.
    pub subscription_identifier: Option<NonZeroU32>,
    pub user_properties: UserProperties<'a>,
}

/// DISCONNECT (section 3.14.2.2).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DisconnectProperties<'a> {
    pub session_expiry_interval: Option<u32>,
    pub reason_string: Option<&'a str>,
    pub server_reference: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
}

/// AUTH (section 3.15.2.2).
#[derive(Clone, PartialEq, Default)]
pub struct AuthProperties<'a> {
    pub authentication_method: Option<&'a str>,
    pub authentication_data: Option<&'a [u8]>,
    pub reason_string: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
}

/// Stands in `Debug` output where a secret is.
#[derive(Debug)]
pub(crate) struct Hidden;

impl fmt::Debug for ConnectProperties<'_> {
    /// Without the authentication data, which logs must not show.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectProperties")
            .field("session_expiry_interval", &self.session_expiry_interval)
            .field("receive_maximum", &self.receive_maximum)
            .field("maximum_packet_size", &self.maximum_packet_size)
            .field("topic_alias_maximum", &self.topic_alias_maximum)
            .field("request_response_information", &self.request_response_information)
            .field("request_problem_information", &self.request_problem_information)
            .field("authentication_method", &self.authentication_method)
            .field("authentication_data", &self.authentication_data.map(|_| Hidden))
            .field("user_properties", &self.user_properties)
            .finish()
    }
}

impl fmt::Debug for AuthProperties<'_> {
    /// Without the authentication data, which logs must not show.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthProperties")
            .field("authentication_method", &self.authentication_method)
            .field("authentication_data", &self.authentication_data.map(|_| Hidden))
            .field("reason_string", &self.reason_string)
            .field("user_properties", &self.user_properties)
            .finish()
    }
}
