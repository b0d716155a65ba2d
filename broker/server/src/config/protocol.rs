//! The `protocol` section: what the broker offers of the protocol's options.

use hookmq_codec::Qos;
use serde::{Deserialize, Deserializer, de::Error};

use crate::broker::protocol::{Promise, ProtocolOptions, ResponseInformation};

/// Bytes of a server reference.
const LONGEST_REFERENCE: usize = 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a map")]
pub(super) struct ProtocolDocument {
    #[serde(deserialize_with = "qos")]
    maximum_qos: Qos,
    retain_available: bool,
    wildcard_subscriptions: bool,
    shared_subscriptions: bool,
    subscription_identifiers: bool,
    check_payload_format: bool,
    #[serde(deserialize_with = "response_information")]
    response_information: Option<ResponseInformation>,
    #[serde(deserialize_with = "server_reference")]
    server_reference: Option<String>,
}

impl Default for ProtocolDocument {
    fn default() -> Self {
        let ProtocolOptions {
            maximum_qos,
            retain_available,
            wildcard_subscriptions,
            shared_subscriptions,
            subscription_identifiers,
            check_payload_format,
            response_information,
            server_reference,
            promise: _,
        } = ProtocolOptions::default();
        Self {
            maximum_qos,
            retain_available,
            wildcard_subscriptions,
            shared_subscriptions,
            subscription_identifiers,
            check_payload_format,
            response_information,
            server_reference,
        }
    }
}

impl From<ProtocolDocument> for ProtocolOptions {
    fn from(document: ProtocolDocument) -> Self {
        Self {
            // The section `store` has it.
            promise: Promise::default(),
            maximum_qos: document.maximum_qos,
            retain_available: document.retain_available,
            wildcard_subscriptions: document.wildcard_subscriptions,
            shared_subscriptions: document.shared_subscriptions,
            subscription_identifiers: document.subscription_identifiers,
            check_payload_format: document.check_payload_format,
            response_information: document.response_information,
            server_reference: document.server_reference,
        }
    }
}

fn qos<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Qos, D::Error> {
    match u8::deserialize(deserializer)? {
        0 => Ok(Qos::AtMostOnce),
        1 => Ok(Qos::AtLeastOnce),
        2 => Ok(Qos::ExactlyOnce),
        other => Err(D::Error::custom(format!("{other} is no QoS: 0, 1 or 2"))),
    }
}

fn response_information<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<ResponseInformation>, D::Error> {
    let text = String::deserialize(deserializer)?;
    ResponseInformation::new(text).map(Some).map_err(D::Error::custom)
}

fn server_reference<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() || text.len() > LONGEST_REFERENCE || text.contains(char::is_control) {
        let message = format!("1 to {LONGEST_REFERENCE} bytes without control characters");
        return Err(D::Error::custom(message));
    }
    Ok(Some(text))
}
