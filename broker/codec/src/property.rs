//! Property identifiers and the type of each one's value (section 2.2.2.2).

use std::fmt;

use crate::DecodeError;
use crate::reader::Reader;

macro_rules! properties {
    ($($name:ident = $value:literal, $skip:ident, $text:literal;)*) => {
        /// What a property is about. Its number on the wire is one byte, below 0x80.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Property {
            $($name = $value,)*
        }

        impl Property {
            /// The property for a byte from the wire, if the specification assigns it.
            #[inline]
            pub fn from_byte(byte: u8) -> Option<Self> {
                match byte {
                    $($value => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// The specification's name of the property, in lower case.
            pub fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// Reads over the property's value.
            pub(crate) fn skip(self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
                match self {
                    $(Self::$name => skip::$skip(reader),)*
                }
            }
        }
    };
}

properties! {
    PayloadFormatIndicator = 0x01, byte, "payload format indicator";
    MessageExpiryInterval = 0x02, four_bytes, "message expiry interval";
    ContentType = 0x03, sized, "content type";
    ResponseTopic = 0x08, sized, "response topic";
    CorrelationData = 0x09, sized, "correlation data";
    SubscriptionIdentifier = 0x0B, varint, "subscription identifier";
    SessionExpiryInterval = 0x11, four_bytes, "session expiry interval";
    AssignedClientIdentifier = 0x12, sized, "assigned client identifier";
    ServerKeepAlive = 0x13, two_bytes, "server keep alive";
    AuthenticationMethod = 0x15, sized, "authentication method";
    AuthenticationData = 0x16, sized, "authentication data";
    RequestProblemInformation = 0x17, byte, "request problem information";
    WillDelayInterval = 0x18, four_bytes, "will delay interval";
    RequestResponseInformation = 0x19, byte, "request response information";
    ResponseInformation = 0x1A, sized, "response information";
    ServerReference = 0x1C, sized, "server reference";
    ReasonString = 0x1F, sized, "reason string";
    ReceiveMaximum = 0x21, two_bytes, "receive maximum";
    TopicAliasMaximum = 0x22, two_bytes, "topic alias maximum";
    TopicAlias = 0x23, two_bytes, "topic alias";
    MaximumQos = 0x24, byte, "maximum QoS";
    RetainAvailable = 0x25, byte, "retain available";
    UserProperty = 0x26, pair, "user property";
    MaximumPacketSize = 0x27, four_bytes, "maximum packet size";
    WildcardSubscriptionAvailable = 0x28, byte, "wildcard subscription available";
    SubscriptionIdentifiersAvailable = 0x29, byte, "subscription identifiers available";
    SharedSubscriptionAvailable = 0x2A, byte, "shared subscription available";
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

mod skip {
    use super::{DecodeError, Reader};

    pub(super) fn byte(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        reader.byte().map(drop)
    }

    pub(super) fn two_bytes(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        reader.u16().map(drop)
    }

    pub(super) fn four_bytes(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        reader.u32().map(drop)
    }

    pub(super) fn varint(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        reader.varint().map(drop)
    }

    pub(super) fn sized(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        reader.binary().map(drop)
    }

    pub(super) fn pair(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        sized(reader)?;
        sized(reader)
    }
}
