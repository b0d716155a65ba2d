//! Holds JSON payloads to JSON Schemas, by topic filter.

use boon::SchemaIndex;
use hookmq_plugin::emit::{self, Emission};
use hookmq_plugin::{
    Client, Message, MessagePatch, Plugin, PublishVerdict, TopicFilter, UserProperty, explain,
    metric,
};
use serde::Deserialize;
use serde_json::Value;

mod schemas;
#[cfg(target_arch = "wasm32")]
mod seed;

use schemas::Compiled;

/// "Payload format invalid".
const PAYLOAD_FORMAT_INVALID: u8 = 0x99;

/// The user property that names what is wrong.
const TAG: &str = "schema-guard";
/// Before the topics of dead letters; the manifest asks for what is below.
const DEAD_LETTERS: &str = "dead-letter/schema-guard/";

const MAX_RULES: usize = 256;
const MAX_TOPICS: usize = 256;
/// The validator descends by recursion, and a guest's stack is short.
const MAX_DEPTH: usize = 32;
const DEFAULT_MAX_PAYLOAD_BYTES: usize = 256 << 10;

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// All whose topics fit are asked; the first that is broken decides.
    pub rules: Vec<RuleConfig>,
    /// A longer payload breaks every rule, unread.
    pub max_payload_bytes: usize,
    pub empty_retained: EmptyRetained,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            max_payload_bytes: DEFAULT_MAX_PAYLOAD_BYTES,
            empty_retained: EmptyRetained::default(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleConfig {
    pub topics: Vec<TopicFilter>,
    pub schema: Value,
    #[serde(default)]
    pub on_invalid: OnInvalid,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnInvalid {
    #[default]
    Drop,
    /// Published below `dead-letter/schema-guard/`, and acknowledged.
    DeadLetter,
    /// Published with a user property.
    Tag,
    /// Only counted.
    Pass,
}

/// What becomes of an empty payload that clears a retained message.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmptyRetained {
    #[default]
    Pass,
    Check,
}

pub struct SchemaGuard {
    rules: Vec<Rule>,
    schemas: Compiled,
    max_payload_bytes: usize,
    empty_retained: EmptyRetained,
}

struct Rule {
    topics: Vec<TopicFilter>,
    schema: SchemaIndex,
    on_invalid: OnInvalid,
}

impl SchemaGuard {
    /// What is wrong by the first rule of the topic that the payload breaks.
    fn broken<'a>(
        &self,
        rules: impl Iterator<Item = &'a Rule>,
        payload: &[u8],
    ) -> Option<(&'a Rule, String)> {
        let mut rules = rules.peekable();
        rules.peek()?;
        match self.read(payload) {
            Err(why) => rules.next().map(|rule| (rule, why.to_owned())),
            Ok(value) => rules.find_map(|rule| {
                let place = self.schemas.validate(&value, rule.schema).err()?;
                Some((rule, format!("invalid at {place:?}")))
            }),
        }
    }

    fn read(&self, payload: &[u8]) -> Result<Value, &'static str> {
        if payload.len() > self.max_payload_bytes {
            return Err("too long");
        }
        let value = serde_json::from_slice(payload).map_err(|_| "not JSON")?;
        if is_deeper_than(MAX_DEPTH, &value) { Err("too deep") } else { Ok(value) }
    }

    fn is_exempt(&self, message: &Message, payload: &[u8]) -> bool {
        let clears = message.retain && payload.is_empty();
        // A dead letter is invalid, which is known.
        message.topic.starts_with(DEAD_LETTERS)
            || (clears && self.empty_retained == EmptyRetained::Pass)
    }
}

impl Plugin for SchemaGuard {
    type Config = Config;

    fn new(config: Config) -> Result<Self, String> {
        if config.rules.is_empty() || config.rules.len() > MAX_RULES {
            return Err(format!("rules: 1 to {MAX_RULES} are possible"));
        }
        for (index, rule) in config.rules.iter().enumerate() {
            if rule.topics.is_empty() || rule.topics.len() > MAX_TOPICS {
                return Err(format!("rules[{index}].topics: 1 to {MAX_TOPICS} are possible"));
            }
        }
        let (kept, schemas): (Vec<_>, Vec<_>) = config
            .rules
            .into_iter()
            .map(|rule| ((rule.topics, rule.on_invalid), rule.schema))
            .unzip();
        let (schemas, indices) = Compiled::new(schemas)?;
        let rule = |((topics, on_invalid), schema)| Rule { topics, schema, on_invalid };
        Ok(Self {
            rules: kept.into_iter().zip(indices).map(rule).collect(),
            schemas,
            max_payload_bytes: config.max_payload_bytes,
            empty_retained: config.empty_retained,
        })
    }

    fn publish(&mut self, _: Option<Client>, message: Message) -> Result<PublishVerdict, String> {
        let payload = message.payload.as_deref().unwrap_or_default();
        if self.is_exempt(&message, payload) {
            return Ok(PublishVerdict::Pass);
        }
        let concerned: Vec<&Rule> = self
            .rules
            .iter()
            .filter(|rule| rule.topics.iter().any(|topic| topic.matches(&message.topic)))
            .collect();
        let Some((rule, why)) = self.broken(concerned.iter().copied(), payload) else {
            let tags = concerned.iter().any(|rule| rule.on_invalid == OnInvalid::Tag);
            return Ok(if tags { untagged(message) } else { PublishVerdict::Pass });
        };
        explain::note("invalid", || why.clone());
        metric::count("invalid", 1);
        Ok(match rule.on_invalid {
            OnInvalid::Drop => PublishVerdict::Drop(PAYLOAD_FORMAT_INVALID),
            OnInvalid::Pass => PublishVerdict::Pass,
            OnInvalid::Tag => tagged(message, why),
            OnInvalid::DeadLetter => dead_letter(message),
        })
    }
}

/// Whether more than `levels` arrays and objects stand in each other.
fn is_deeper_than(levels: usize, value: &Value) -> bool {
    let below = |inner: &Value| is_deeper_than(levels - 1, inner);
    match value {
        Value::Array(_) | Value::Object(_) if levels == 0 => true,
        Value::Array(items) => items.iter().any(below),
        Value::Object(fields) => fields.values().any(below),
        _ => false,
    }
}

/// Where it cannot be kept, its publisher is told that it is invalid.
fn dead_letter(message: Message) -> PublishVerdict {
    let letter = Emission {
        topic: format!("{DEAD_LETTERS}{}", message.topic),
        payload: message.payload.unwrap_or_default(),
        qos: message.qos,
        retain: false,
    };
    match emit::publish(&letter) {
        Ok(()) => PublishVerdict::Consume,
        Err(_) => {
            metric::count("dead_letters_refused", 1);
            PublishVerdict::Drop(PAYLOAD_FORMAT_INVALID)
        }
    }
}

/// With what is wrong, in the place of what the publisher may have said about it.
fn tagged(message: Message, why: String) -> PublishVerdict {
    let mut properties = without_tag(message);
    properties.push(UserProperty { name: TAG.into(), value: why });
    with_properties(properties)
}

/// A publisher's own tag would be mistaken for this plugin's.
fn untagged(message: Message) -> PublishVerdict {
    let count = |message: &Message| message.properties.as_ref().map(|p| p.user_properties.len());
    let before = count(&message).unwrap_or_default();
    let properties = without_tag(message);
    match properties.len() == before {
        true => PublishVerdict::Pass,
        false => with_properties(properties),
    }
}

fn without_tag(message: Message) -> Vec<UserProperty> {
    let mut properties = message.properties.map(|p| p.user_properties).unwrap_or_default();
    properties.retain(|property| property.name != TAG);
    properties
}

fn with_properties(properties: Vec<UserProperty>) -> PublishVerdict {
    let user_properties = Some(properties);
    PublishVerdict::Replace(MessagePatch { user_properties, ..MessagePatch::default() })
}

hookmq_plugin::export! {
    plugin: SchemaGuard,
    hooks: [publish],
    fields: [payload, properties],
    capabilities: [log, metric],
    emit: ["dead-letter/schema-guard/#"],
    config_schema: "../schema.json",
}

#[cfg(test)]
mod tests;
