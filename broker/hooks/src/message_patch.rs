//! Changes that a step makes to a message, and messages that it makes itself.

use hookmq_codec::{PublishProperties, Qos, TopicError, TopicName, UserPropertiesBuf};
use hookmq_core::{Message, NewMessage};

/// An altered copy of a message. An absent field keeps what the message has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessagePatch {
    pub topic: Option<String>,
    pub payload: Option<Vec<u8>>,
    pub qos: Option<Qos>,
    pub retain: Option<bool>,
    pub content_type: Option<String>,
    /// In place of all user properties of the message.
    pub user_properties: Option<Vec<(String, String)>>,
}

/// A message made by a step. It enters the pipeline of the same tenant at "publish hooks".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Emission {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: Qos,
    pub retain: bool,
}

/// Why a patch or an emission cannot be a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    #[error("topic: {0}")]
    Topic(#[from] TopicError),
    #[error("{0}")]
    Property(String),
}

impl MessagePatch {
    /// The message with the patch applied, checked as if it had come from the network.
    pub fn apply(&self, message: &Message) -> Result<Message, PatchError> {
        let old = message.parts();
        let topic = match &self.topic {
            None => old.topic,
            Some(topic) => TopicName::new(topic)?,
        };
        let properties = self.encode_properties(message)?;
        Ok(Message::new(NewMessage {
            topic,
            forwarded_properties: properties.as_deref().unwrap_or(old.forwarded_properties),
            payload: self.payload.as_deref().unwrap_or(old.payload),
            qos: self.qos.unwrap_or(old.qos),
            retain: self.retain.unwrap_or(old.retain),
            ..old
        }))
    }

    /// The altered properties, encoded; none where the patch leaves them alone.
    fn encode_properties(&self, message: &Message) -> Result<Option<Vec<u8>>, PatchError> {
        if self.content_type.is_none() && self.user_properties.is_none() {
            return Ok(None);
        }
        let mut properties: PublishProperties<'_> =
            message.properties().map_err(|error| PatchError::Property(error.to_string()))?;
        if let Some(content_type) = &self.content_type {
            check_text("content type", content_type)?;
            properties.content_type = Some(content_type);
        }
        let mut pairs = UserPropertiesBuf::default();
        if let Some(wanted) = &self.user_properties {
            for (name, value) in wanted {
                check_text("user property", name)?;
                check_text("user property", value)?;
                pairs.push(name, value).map_err(|error| PatchError::Property(error.to_string()))?;
            }
            properties.user_properties = pairs.as_user_properties();
        }
        let mut encoded = Vec::new();
        properties.encode_forwarded(&mut encoded);
        Ok(Some(encoded))
    }
}

impl Emission {
    /// The message, with the emitting client's session as publisher.
    pub fn to_message(&self, publisher: u64) -> Result<Message, PatchError> {
        Ok(Message::new(NewMessage {
            topic: TopicName::new(&self.topic)?,
            forwarded_properties: &[],
            payload: &self.payload,
            qos: self.qos,
            retain: self.retain,
            expires_at: None,
            publisher,
        }))
    }
}

fn check_text(what: &str, text: &str) -> Result<(), PatchError> {
    if text.contains('\0') {
        return Err(PatchError::Property(format!("{what} must not hold U+0000")));
    }
    if text.len() > usize::from(u16::MAX) {
        return Err(PatchError::Property(format!("{what} must not be longer than 65535 bytes")));
    }
    Ok(())
}
