//! What is wrong with a packet, and what its sender is told.

use crate::{Property, ReasonCode, TopicError};

/// Why bytes are not a packet. Each of these ends the connection `[MQTT-4.13.1-1]` `[MQTT-4.8.0-1]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("packet type {0} is not assigned")]
    PacketType(u8),
    #[error("reserved flags in the fixed header are set otherwise than the packet type demands")]
    FixedHeaderFlags,
    #[error("a variable byte integer is longer than its value needs, or than four bytes")]
    VariableByteInteger,
    #[error("the packet of {length} bytes is larger than {maximum}")]
    PacketTooLarge { length: u32, maximum: u32 },
    #[error("the packet ends before its last field")]
    Truncated,
    #[error("bytes are left behind the packet's last field")]
    TrailingBytes,
    #[error("a string is not UTF-8")]
    InvalidUtf8,
    #[error("a string holds U+0000")]
    NulCharacter,
    #[error("the packet identifier is zero")]
    ZeroPacketId,
    #[error("QoS 3 does not exist")]
    Qos,
    #[error("DUP is set on a message of QoS 0")]
    DupWithoutAcknowledgement,
    #[error("the connection must begin with CONNECT")]
    NotConnect,
    #[error("the protocol name is neither MQTT nor MQIsdp")]
    ProtocolName,
    #[error("the protocol level {0} is not supported")]
    ProtocolLevel(u8),
    #[error("the connect flags set a reserved bit or will flags without a will")]
    ConnectFlags,
    #[error("a password without a user name")]
    PasswordWithoutUsername,
    #[error("reserved bits of the connect acknowledge flags are set")]
    ConnectAcknowledgeFlags,
    #[error("a refused connection cannot have a session present")]
    SessionPresentOnRefusal,
    #[error("reserved bits of the subscription options are set")]
    SubscriptionOptions,
    #[error("the subscription options ask for QoS 3 or retain handling 3")]
    SubscriptionOptionValue,
    #[error("no local on a shared subscription")]
    NoLocalOnShared,
    #[error("the packet holds no topic filter")]
    NoTopicFilter,
    #[error("the message has neither topic name nor topic alias")]
    NoTopic,
    #[error("the topic alias is zero")]
    ZeroTopicAlias,
    #[error("topic name: {0}")]
    TopicName(TopicError),
    #[error("topic filter: {0}")]
    TopicFilter(TopicError),
    #[error("reason code 0x{0:02X} is not assigned")]
    UnknownReasonCode(u8),
    #[error("the packet cannot carry the reason code {0}")]
    ReasonCodeNotAllowed(ReasonCode),
    #[error("property 0x{0:02X} is not assigned")]
    UnknownProperty(u8),
    #[error("the packet cannot carry the property {0}")]
    PropertyNotAllowed(Property),
    #[error("the property {0} stands twice")]
    DuplicateProperty(Property),
    #[error("the property {0} has a value that it must not have")]
    PropertyValue(Property),
    #[error("authentication data without an authentication method")]
    AuthenticationDataWithoutMethod,
    #[error("AUTH without an authentication method")]
    NoAuthenticationMethod,
    #[error("the packet holds more than {maximum} topic filters")]
    TooManyFilters { maximum: u32 },
    #[error("the packet holds more than {maximum} user properties")]
    TooManyUserProperties { maximum: u32 },
}

impl DecodeError {
    /// What CONNACK or DISCONNECT of version 5 says about it (section 4.13).
    ///
    /// Malformed is what cannot be parsed, a protocol error what can be and is not permitted.
    pub fn reason_code(&self) -> ReasonCode {
        match self {
            Self::PacketTooLarge { .. } => ReasonCode::PacketTooLarge,
            Self::ProtocolName | Self::ProtocolLevel(_) => ReasonCode::UnsupportedProtocolVersion,
            Self::TopicName(_) => ReasonCode::TopicNameInvalid,
            Self::TopicFilter(_) => ReasonCode::TopicFilterInvalid,
            Self::ZeroTopicAlias => ReasonCode::TopicAliasInvalid,
            Self::TooManyFilters { .. } | Self::TooManyUserProperties { .. } => {
                ReasonCode::QuotaExceeded
            }
            Self::PacketType(_)
            | Self::FixedHeaderFlags
            | Self::VariableByteInteger
            | Self::Truncated
            | Self::TrailingBytes
            | Self::InvalidUtf8
            | Self::NulCharacter
            | Self::Qos
            | Self::DupWithoutAcknowledgement
            | Self::ConnectFlags
            | Self::ConnectAcknowledgeFlags
            | Self::SubscriptionOptions
            | Self::UnknownReasonCode(_)
            | Self::UnknownProperty(_)
            | Self::PropertyNotAllowed(_) => ReasonCode::MalformedPacket,
            Self::ZeroPacketId
            | Self::NotConnect
            | Self::PasswordWithoutUsername
            | Self::SessionPresentOnRefusal
            | Self::SubscriptionOptionValue
            | Self::NoLocalOnShared
            | Self::NoTopicFilter
            | Self::NoTopic
            | Self::ReasonCodeNotAllowed(_)
            | Self::DuplicateProperty(_)
            | Self::PropertyValue(_)
            | Self::AuthenticationDataWithoutMethod
            | Self::NoAuthenticationMethod => ReasonCode::ProtocolError,
        }
    }
}

/// Why a value cannot be a packet. Nothing is written then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    #[error("a packet's remaining length ends at 268435455 bytes")]
    PacketTooLarge,
    #[error("a string or binary field ends at 65535 bytes")]
    StringTooLong,
    #[error("a string must not hold U+0000")]
    NulCharacter,
    #[error("the packet or one of its parts does not exist in this version of the protocol")]
    NotInThisVersion,
    #[error("a packet identifier belongs to QoS 1 and 2, and only to them")]
    PacketId,
}
