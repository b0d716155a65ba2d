//! Changes JSON payloads as configured: a list of operations, applied in order.

use hookmq_plugin::{Client, Message, MessagePatch, Plugin, PublishVerdict, clock};
use serde_json::{Map, Value};

mod operation;
mod path;
mod template;

pub use operation::Operation;
use template::Facts;

/// More would be a program; a rule or a plugin of one's own is the better place for it.
const MAX_OPERATIONS: usize = 256;

/// "Payload format invalid".
const PAYLOAD_FORMAT_INVALID: u8 = 0x99;

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub operations: Vec<Operation>,
    pub on_invalid: OnInvalid,
}

/// What becomes of a payload that is not a JSON object.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnInvalid {
    #[default]
    Pass,
    Drop,
}

#[derive(Debug)]
pub struct JsonTransform {
    config: Config,
}

impl JsonTransform {
    /// The payload after all operations; none where they change nothing.
    fn transform(&self, mut object: Map<String, Value>, facts: &Facts) -> Option<Vec<u8>> {
        let mut changed = false;
        for operation in &self.config.operations {
            changed |= operation.apply(&mut object, facts);
        }
        // Not by `Display`, which writes through a formatter.
        changed.then(|| serde_json::to_vec(&object).expect("an object of texts is JSON"))
    }
}

impl Plugin for JsonTransform {
    type Config = Config;

    fn new(config: Config) -> Result<Self, String> {
        if config.operations.is_empty() {
            return Err("operations: at least one is needed".into());
        }
        if config.operations.len() > MAX_OPERATIONS {
            return Err(format!("operations: at most {MAX_OPERATIONS} are possible"));
        }
        for (index, operation) in config.operations.iter().enumerate() {
            operation.check().map_err(|error| format!("operations[{index}].{error}"))?;
        }
        Ok(Self { config })
    }

    fn publish(
        &mut self,
        client: Option<Client>,
        message: Message,
    ) -> Result<PublishVerdict, String> {
        let payload = message.payload.unwrap_or_default();
        let Ok(object) = serde_json::from_slice(&payload) else {
            return Ok(match self.config.on_invalid {
                OnInvalid::Pass => PublishVerdict::default(),
                OnInvalid::Drop => PublishVerdict::Drop(PAYLOAD_FORMAT_INVALID),
            });
        };
        let client = client.unwrap_or_default();
        let facts = Facts {
            tenant: &client.tenant,
            username: &client.username,
            client_id: &client.client_id,
            topic: &message.topic,
            now: clock::now,
        };
        Ok(match self.transform(object, &facts) {
            None => PublishVerdict::default(),
            Some(payload) => {
                let payload = Some(payload);
                PublishVerdict::Replace(MessagePatch { payload, ..MessagePatch::default() })
            }
        })
    }
}

hookmq_plugin::export! {
    plugin: JsonTransform,
    hooks: [publish],
    fields: [payload, client],
    capabilities: [log, clock],
}

#[cfg(test)]
mod tests;
