//! What the broker offers its clients of the protocol's options.

use std::sync::Arc;

use hookmq_codec::Qos;
use hookmq_hooks::Client;
use hookmq_store::Durability;

/// Parts of the protocol that an operator can turn off or fill in. CONNACK of version 5 tells the client.
#[derive(Debug, Clone)]
pub struct ProtocolOptions {
    /// Of messages, wills and subscriptions.
    pub maximum_qos: Qos,
    /// Whether messages may be retained.
    pub retain_available: bool,
    pub wildcard_subscriptions: bool,
    pub shared_subscriptions: bool,
    pub subscription_identifiers: bool,
    /// Whether a payload that its sender calls UTF-8 is looked at.
    pub check_payload_format: bool,
    pub response_information: Option<ResponseInformation>,
    /// Where clients are sent that are told to use another server.
    pub server_reference: Option<String>,
    pub promise: Promise,
}

/// What an acknowledgement stands for.
#[derive(Debug, Clone, Default)]
pub struct Promise {
    pub durability: Durability,
    /// Clients of these are acknowledged at once, as with [`Durability::Memory`].
    pub memory_listeners: Vec<Arc<str>>,
    pub memory_tenants: Vec<Arc<str>>,
}

impl Promise {
    pub fn to(&self, client: &Client) -> Durability {
        let waits_for_nothing = self.memory_listeners.contains(&client.connection.listener)
            || self.memory_tenants.contains(&client.tenant);
        if waits_for_nothing { Durability::Memory } else { self.durability }
    }
}

impl Default for ProtocolOptions {
    fn default() -> Self {
        Self {
            maximum_qos: Qos::ExactlyOnce,
            retain_available: true,
            wildcard_subscriptions: true,
            shared_subscriptions: true,
            subscription_identifiers: true,
            check_payload_format: false,
            response_information: None,
            server_reference: None,
            promise: Promise::default(),
        }
    }
}

/// What a client that asks for it is told to build response topics from (section 3.1.2.11.7): a text in
/// which `{tenant}`, `{username}` and `{client_id}` stand for the client's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseInformation(String);

/// Why a text cannot be response information.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResponseInformationError {
    #[error("it must begin a topic: 1 to 1024 bytes without wildcards and control characters")]
    Text,
    #[error("there are {{tenant}}, {{username}} and {{client_id}}, and no other braces")]
    Placeholder,
}

const PLACEHOLDERS: [&str; 3] = ["{tenant}", "{username}", "{client_id}"];

impl ResponseInformation {
    /// # Errors
    /// Where a topic could not begin with it.
    pub fn new(text: impl Into<String>) -> Result<Self, ResponseInformationError> {
        let text = text.into();
        let unfit = |it: char| it.is_control() || it == '+' || it == '#';
        if !(1..=1024).contains(&text.len()) || text.contains(unfit) {
            return Err(ResponseInformationError::Text);
        }
        let rest = PLACEHOLDERS.iter().fold(text.clone(), |rest, name| rest.replace(name, ""));
        if rest.contains(['{', '}']) {
            return Err(ResponseInformationError::Placeholder);
        }
        Ok(Self(text))
    }

    /// The text for one client; none where a name of the client's would make other levels or wildcards
    /// of it.
    pub fn for_client(&self, client: &Client) -> Option<String> {
        let values = [&client.tenant, &client.username, &client.client_id];
        let mut text = self.0.clone();
        for (placeholder, value) in PLACEHOLDERS.iter().zip(values) {
            if !text.contains(placeholder) {
                continue;
            }
            if value.contains(['+', '#', '/', '{', '}']) {
                return None;
            }
            text = text.replace(placeholder, value);
        }
        // What is longer is no string of MQTT.
        Some(text).filter(|text| text.len() <= usize::from(u16::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_cannot_begin_a_topic_is_refused() {
        for text in ["", "a/+", "a#", "a\n", &"x".repeat(1025)] {
            assert_eq!(
                ResponseInformation::new(text),
                Err(ResponseInformationError::Text),
                "{text}"
            );
        }
        for text in ["{user}", "{", "a}"] {
            let refused = Err(ResponseInformationError::Placeholder);
            assert_eq!(ResponseInformation::new(text), refused, "{text}");
        }
        assert!(ResponseInformation::new("r/{tenant}/{client_id}/").is_ok());
    }
}
