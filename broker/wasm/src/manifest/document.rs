//! The shape of a manifest's JSON, which is read and written.

use hookmq_hooks::HookSet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Fields, Manifest, ManifestError, value};
use crate::Wish;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ManifestDocument {
    pub name: String,
    pub version: String,
    pub hooks: Vec<HookName>,
    #[serde(default)]
    pub topics: Vec<String>,
    #[serde(default)]
    pub fields: Vec<FieldName>,
    #[serde(default)]
    pub capabilities: Vec<String>,
    #[serde(default)]
    pub emit: Vec<String>,
    #[serde(default)]
    pub http: Vec<String>,
    #[serde(default)]
    pub secrets: Vec<String>,
    #[serde(default)]
    pub authorize_is_cacheable: bool,
    #[serde(default)]
    pub limits: LimitsDocument,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_schema: Option<Map<String, Value>>,
}

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum HookName {
    Connect,
    Authorize,
    Publish,
    Deliver,
}

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FieldName {
    Payload,
    Properties,
    Client,
    Attributes,
    Connection,
    Password,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LimitsDocument {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_ms: Option<u64>,
}

impl From<&Manifest> for ManifestDocument {
    fn from(manifest: &Manifest) -> Self {
        let asked = &manifest.capabilities;
        let named = asked.plain().into_iter().filter(|(_, asked)| *asked);
        Self {
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            hooks: hook_names(manifest.hooks),
            topics: texts(&manifest.topics),
            fields: field_names(manifest.fields),
            capabilities: named.map(|(name, _)| name.to_owned()).collect(),
            emit: texts(&asked.emit),
            http: wish(&asked.http),
            secrets: wish(&asked.secrets),
            authorize_is_cacheable: manifest.authorize_is_cacheable,
            limits: LimitsDocument {
                memory_bytes: manifest.memory_bytes,
                time_ms: manifest.time.and_then(|time| time.as_millis().try_into().ok()),
            },
            config_schema: manifest.config_schema.clone(),
        }
    }
}

pub(super) fn hook_set(named: &[HookName]) -> Result<HookSet, ManifestError> {
    if named.is_empty() {
        return Err(value("hooks", "at least one is needed"));
    }
    Ok(HookSet {
        connect: named.contains(&HookName::Connect),
        authorize: named.contains(&HookName::Authorize),
        publish: named.contains(&HookName::Publish),
        deliver: named.contains(&HookName::Deliver),
    })
}

fn hook_names(hooks: HookSet) -> Vec<HookName> {
    let all = [
        (HookName::Connect, hooks.connect),
        (HookName::Authorize, hooks.authorize),
        (HookName::Publish, hooks.publish),
        (HookName::Deliver, hooks.deliver),
    ];
    chosen(all)
}

pub(super) fn field_set(named: &[FieldName]) -> Fields {
    let has = |field| named.contains(&field);
    let (attributes, connection) = (has(FieldName::Attributes), has(FieldName::Connection));
    Fields {
        payload: has(FieldName::Payload),
        properties: has(FieldName::Properties),
        // Both stand inside the client, which is therefore wanted too.
        client: has(FieldName::Client) || attributes || connection,
        attributes,
        connection,
        password: has(FieldName::Password),
    }
}

fn field_names(fields: Fields) -> Vec<FieldName> {
    let all = [
        (FieldName::Payload, fields.payload),
        (FieldName::Properties, fields.properties),
        (FieldName::Client, fields.client),
        (FieldName::Attributes, fields.attributes),
        (FieldName::Connection, fields.connection),
        (FieldName::Password, fields.password),
    ];
    chosen(all)
}

fn chosen<T>(all: impl IntoIterator<Item = (T, bool)>) -> Vec<T> {
    all.into_iter().filter_map(|(item, chosen)| chosen.then_some(item)).collect()
}

fn wish<T: ToString>(wish: &Wish<T>) -> Vec<String> {
    match wish {
        Wish::These(these) => texts(these),
        Wish::Granted => vec!["*".into()],
    }
}

fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(T::to_string).collect()
}
