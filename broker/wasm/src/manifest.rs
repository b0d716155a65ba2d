//! What a plugin says of itself: the JSON in its custom section `hookmq-manifest`.

use std::time::Duration;

use hookmq_codec::TopicFilter;
use hookmq_hooks::HookSet;
use serde::Deserialize;

use crate::{Grants, Limits};

const MAX_MANIFEST_BYTES: usize = 64 << 10;
const MAX_NAME_LENGTH: usize = 64;

/// A checked manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    pub name: String,
    /// Semantic version.
    pub version: String,
    pub hooks: HookSet,
    /// The topics that the plugin asks for; empty means all.
    pub topics: Vec<TopicFilter>,
    pub fields: Fields,
    /// The capabilities that it asks for.
    pub capabilities: Grants,
    pub authorize_is_cacheable: bool,
    memory_bytes: Option<usize>,
    time: Option<Duration>,
}

/// What a plugin reads of clients and messages; the rest is not copied to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fields {
    pub payload: bool,
    pub properties: bool,
    /// Tenant, username and client id, in publish and deliver.
    pub client: bool,
    /// Roles and attributes.
    pub attributes: bool,
    /// What the connection shows, with its certificate.
    pub connection: bool,
    /// The password, in connect.
    pub password: bool,
}

/// Why a manifest is not one.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ManifestError {
    #[error("it is longer than {MAX_MANIFEST_BYTES} bytes")]
    TooLong,
    #[error("{0}")]
    Json(String),
    #[error("{key}: {problem}")]
    Value { key: &'static str, problem: String },
    #[error("capabilities: `{0}` is unknown to this broker; it has log, metric and clock")]
    UnknownCapability(String),
}

impl Manifest {
    /// Reads the contents of the section.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLong);
        }
        let raw: RawManifest = serde_json::from_slice(bytes)
            .map_err(|error| ManifestError::Json(error.to_string()))?;
        check_name(&raw.name)?;
        check_version(&raw.version)?;
        let manifest = Self {
            hooks: hook_set(&raw.hooks)?,
            topics: filters("topics", raw.topics)?,
            fields: field_set(&raw.fields),
            capabilities: capabilities(raw.capabilities, filters("emit", raw.emit)?)?,
            authorize_is_cacheable: raw.authorize_is_cacheable,
            memory_bytes: raw.limits.memory_bytes,
            time: raw.limits.time_ms.map(Duration::from_millis),
            name: raw.name,
            version: raw.version,
        };
        Ok(manifest)
    }

    /// What the plugin gets of `offered`: never more than it asks for.
    pub fn limit(&self, offered: Limits) -> Limits {
        Limits {
            memory_bytes: self.memory_bytes.unwrap_or(usize::MAX).min(offered.memory_bytes),
            time: self.time.unwrap_or(Duration::MAX).min(offered.time),
            ..offered
        }
    }

    /// The capabilities that it asks for and that are not granted, by name.
    pub fn not_granted(&self, grants: &Grants) -> Vec<String> {
        let asked = &self.capabilities;
        let mut missing = Vec::new();
        if asked.log && !grants.log {
            missing.push("log".to_owned());
        }
        if asked.clock && !grants.clock {
            missing.push("clock".to_owned());
        }
        if asked.metric && !grants.metric {
            missing.push("metric".to_owned());
        }
        for wanted in &asked.emit {
            if !grants.emit.iter().any(|granted| granted.covers(wanted)) {
                missing.push(format!("emit {wanted}"));
            }
        }
        missing
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawManifest {
    name: String,
    version: String,
    hooks: Vec<RawHook>,
    #[serde(default)]
    topics: Vec<String>,
    #[serde(default)]
    fields: Vec<RawField>,
    #[serde(default)]
    capabilities: Vec<String>,
    #[serde(default)]
    emit: Vec<String>,
    #[serde(default)]
    authorize_is_cacheable: bool,
    #[serde(default)]
    limits: RawLimits,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawHook {
    Connect,
    Authorize,
    Publish,
    Deliver,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawField {
    Payload,
    Properties,
    Client,
    Attributes,
    Connection,
    Password,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RawLimits {
    memory_bytes: Option<usize>,
    time_ms: Option<u64>,
}

fn hook_set(named: &[RawHook]) -> Result<HookSet, ManifestError> {
    let mut hooks = HookSet::default();
    for hook in named {
        match hook {
            RawHook::Connect => hooks.connect = true,
            RawHook::Authorize => hooks.authorize = true,
            RawHook::Publish => hooks.publish = true,
            RawHook::Deliver => hooks.deliver = true,
        }
    }
    if hooks == HookSet::default() {
        return Err(value("hooks", "at least one is needed"));
    }
    Ok(hooks)
}

fn field_set(named: &[RawField]) -> Fields {
    let mut fields = Fields::default();
    for field in named {
        match field {
            RawField::Payload => fields.payload = true,
            RawField::Properties => fields.properties = true,
            RawField::Client => fields.client = true,
            // They stand inside the client, which is therefore wanted too.
            RawField::Attributes => (fields.client, fields.attributes) = (true, true),
            RawField::Connection => (fields.client, fields.connection) = (true, true),
            RawField::Password => fields.password = true,
        }
    }
    fields
}

fn capabilities(named: Vec<String>, emit: Vec<TopicFilter>) -> Result<Grants, ManifestError> {
    let mut asked = Grants { emit, ..Grants::default() };
    for name in named {
        match name.as_str() {
            "log" => asked.log = true,
            "clock" => asked.clock = true,
            "metric" => asked.metric = true,
            _ => return Err(ManifestError::UnknownCapability(name)),
        }
    }
    Ok(asked)
}

fn filters(key: &'static str, texts: Vec<String>) -> Result<Vec<TopicFilter>, ManifestError> {
    let filter = |text: String| {
        let filter = TopicFilter::new(text.as_str())
            .map_err(|error| value(key, format!("{text:?}: {error}")))?;
        if filter.share_name().is_some() {
            return Err(value(key, format!("{text:?}: a shared subscription is none")));
        }
        Ok(filter)
    };
    texts.into_iter().map(filter).collect()
}

fn check_name(name: &str) -> Result<(), ManifestError> {
    let fits =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    if name.is_empty() || name.len() > MAX_NAME_LENGTH || !name.bytes().all(fits) {
        let problem = format!("{name:?} is not 1 to {MAX_NAME_LENGTH} characters of a-z 0-9 - _");
        return Err(value("name", problem));
    }
    Ok(())
}

/// `1.2.3`, perhaps with `-pre.release` and `+build` behind it.
fn check_version(version: &str) -> Result<(), ManifestError> {
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<_> = core.split('.').map(str::parse::<u64>).collect();
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-+".contains(&byte);
    let well_formed = numbers.len() == 3
        && numbers.iter().all(Result::is_ok)
        && version.len() <= MAX_NAME_LENGTH
        && version.bytes().all(fits);
    if !well_formed {
        return Err(value("version", format!("{version:?} is not a semantic version like 1.2.3")));
    }
    Ok(())
}

fn value(key: &'static str, problem: impl Into<String>) -> ManifestError {
    ManifestError::Value { key, problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Manifest, ManifestError> {
        Manifest::parse(text.as_bytes())
    }

    #[test]
    fn a_full_manifest_is_read() {
        let manifest = parse(
            r#"{"name": "json-transform", "version": "1.2.3-rc.1+x", "hooks": ["publish"],
                "topics": ["a/#"], "fields": ["payload", "attributes"],
                "capabilities": ["log"], "emit": ["alerts/+"],
                "limits": {"memory_bytes": 1048576, "time_ms": 5}}"#,
        )
        .unwrap();
        assert_eq!(manifest.hooks, HookSet { publish: true, ..HookSet::default() });
        let fields = Fields { payload: true, client: true, attributes: true, ..Fields::default() };
        assert_eq!(manifest.fields, fields);
        let limits = manifest.limit(Limits::default());
        assert_eq!((limits.memory_bytes, limits.time), (1 << 20, Duration::from_millis(5)));
    }

    #[test]
    fn a_manifest_never_widens_a_limit() {
        let text = r#"{"name": "a", "version": "1.0.0", "hooks": ["publish"],
                       "limits": {"memory_bytes": 1099511627776, "time_ms": 60000}}"#;
        assert_eq!(parse(text).unwrap().limit(Limits::default()), Limits::default());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let table = [
            ("", "EOF"),
            ("{}", "missing field `name`"),
            (r#"{"name":"a","version":"1.0.0","hooks":[]}"#, "hooks: at least one"),
            (r#"{"name":"a","version":"1.0.0","hooks":["fly"]}"#, "unknown variant `fly`"),
            (r#"{"name":"a","version":"1.0","hooks":["publish"]}"#, "version: \"1.0\""),
            (r#"{"name":"a/b","version":"1.0.0","hooks":["publish"]}"#, "name: \"a/b\""),
            (
                r#"{"name":"a","version":"1.0.0","hooks":["publish"],"topics":["a/#/b"]}"#,
                "topics: \"a/#/b\"",
            ),
            (
                r#"{"name":"a","version":"1.0.0","hooks":["publish"],"capabilities":["http"]}"#,
                "capabilities: `http`",
            ),
            (r#"{"name":"a","version":"1.0.0","hooks":["publish"],"x":1}"#, "unknown field `x`"),
        ];
        for (text, expected) in table {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_grant_must_cover_what_is_asked() {
        let text = r#"{"name":"a","version":"1.0.0","hooks":["publish"],
                       "capabilities":["log","clock"],"emit":["alerts/#"]}"#;
        let manifest = parse(text).unwrap();
        let emit = vec![TopicFilter::new("alerts/+").unwrap()];
        let grants = Grants { log: true, emit, ..Grants::default() };
        assert_eq!(manifest.not_granted(&grants), ["clock", "emit alerts/#"]);
        let emit = vec![TopicFilter::new("#").unwrap()];
        assert!(
            manifest
                .not_granted(&Grants { log: true, clock: true, emit, ..Grants::default() })
                .is_empty()
        );
    }
}
