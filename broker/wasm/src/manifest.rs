//! What a plugin says of itself: the JSON in its custom section `hookmq-manifest`.

mod document;

use std::time::Duration;

use hookmq_codec::TopicFilter;
use hookmq_hooks::HookSet;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use self::document::ManifestDocument;
use crate::artefact::Outline;
use crate::{Capabilities, Limits, LoadError, Origin, Wish};

/// A schema, and as much for all else.
const MAX_MANIFEST_BYTES: usize = 2 * MAX_SCHEMA_BYTES;
const MAX_SCHEMA_BYTES: usize = 64 << 10;
const MAX_NAME_LENGTH: usize = 64;

/// A checked manifest. It is serialized as the JSON that it is read from.
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
    pub capabilities: Capabilities,
    pub authorize_is_cacheable: bool,
    /// A JSON schema of the configuration, for those who write one: it is not enforced here.
    pub config_schema: Option<Map<String, Value>>,
    /// Of one instance, where it needs no more.
    pub memory_bytes: Option<usize>,
    /// Of one call, where it needs no more.
    pub time: Option<Duration>,
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
    #[error(
        "capabilities: `{0}` is unknown to this broker; it has log, clock, metric and kv, \
             and the keys `emit`, `http` and `secrets`"
    )]
    UnknownCapability(String),
}

impl Manifest {
    /// Reads the contents of the section.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLong);
        }
        let document: ManifestDocument = serde_json::from_slice(bytes)
            .map_err(|error| ManifestError::Json(error.to_string()))?;
        check_name("name", &document.name)?;
        check_version(&document.version)?;
        check_schema(document.config_schema.as_ref())?;
        Ok(Self {
            hooks: document::hook_set(&document.hooks)?,
            topics: filters("topics", document.topics)?,
            fields: document::field_set(&document.fields),
            capabilities: Capabilities {
                emit: filters("emit", document.emit)?,
                http: origins(&document.http)?,
                secrets: secrets(document.secrets)?,
                ..plain_capabilities(document.capabilities)?
            },
            authorize_is_cacheable: document.authorize_is_cacheable,
            config_schema: document.config_schema,
            memory_bytes: document.limits.memory_bytes,
            time: document.limits.time_ms.map(Duration::from_millis),
            name: document.name,
            version: document.version,
        })
    }

    /// Reads the manifest of an artefact, a component or a core module, and compiles nothing.
    ///
    /// # Errors
    /// Where it is no WebAssembly, or has not exactly one sound manifest.
    pub fn of_artefact(bytes: &[u8]) -> Result<Self, LoadError> {
        Outline::of(bytes)?.manifest()
    }

    /// What the plugin gets of `offered`: never more than it asks for.
    pub fn limit(&self, offered: Limits) -> Limits {
        Limits {
            memory_bytes: self.memory_bytes.unwrap_or(usize::MAX).min(offered.memory_bytes),
            time: self.time.unwrap_or(Duration::MAX).min(offered.time),
            ..offered
        }
    }
}

impl Serialize for Manifest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ManifestDocument::from(self).serialize(serializer)
    }
}

fn plain_capabilities(named: Vec<String>) -> Result<Capabilities, ManifestError> {
    let mut asked = Capabilities::default();
    for name in named {
        match name.as_str() {
            "log" => asked.log = true,
            "clock" => asked.clock = true,
            "metric" => asked.metric = true,
            "kv" => asked.kv = true,
            _ => return Err(ManifestError::UnknownCapability(name)),
        }
    }
    Ok(asked)
}

fn origins(texts: &[String]) -> Result<Wish<Origin>, ManifestError> {
    if texts == ["*"] {
        return Ok(Wish::Granted);
    }
    let origin =
        |text: &String| text.parse().map_err(|error| value("http", format!("{text:?}: {error}")));
    texts.iter().map(origin).collect::<Result<_, _>>().map(Wish::These)
}

fn secrets(names: Vec<String>) -> Result<Wish<String>, ManifestError> {
    if names == ["*"] {
        return Ok(Wish::Granted);
    }
    names.iter().try_for_each(|name| check_name("secrets", name))?;
    Ok(Wish::These(names))
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

fn check_name(key: &'static str, name: &str) -> Result<(), ManifestError> {
    let fits =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    if name.is_empty() || name.len() > MAX_NAME_LENGTH || !name.bytes().all(fits) {
        let problem = format!("{name:?} is not 1 to {MAX_NAME_LENGTH} characters of a-z 0-9 - _");
        return Err(value(key, problem));
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

fn check_schema(schema: Option<&Map<String, Value>>) -> Result<(), ManifestError> {
    let size =
        schema.map_or(0, |schema| serde_json::to_string(schema).map_or(usize::MAX, |it| it.len()));
    match size > MAX_SCHEMA_BYTES {
        true => Err(value("config_schema", format!("it is longer than {MAX_SCHEMA_BYTES} bytes"))),
        false => Ok(()),
    }
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
            (
                r#"{"name":"a","version":"1.0.0","hooks":["publish"],"http":["http://a/b"]}"#,
                "http: \"http://a/b\"",
            ),
            (
                r#"{"name":"a","version":"1.0.0","hooks":["publish"],"secrets":["../x"]}"#,
                "secrets: \"../x\"",
            ),
            (
                r#"{"name":"a","version":"1.0.0","hooks":["publish"],"config_schema":[]}"#,
                "invalid type: sequence",
            ),
            (r#"{"name":"a","version":"1.0.0","hooks":["publish"],"x":1}"#, "unknown field `x`"),
        ];
        for (text, expected) in table {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_manifest_is_written_as_it_is_read() {
        let text = r#"{"name": "a", "version": "1.0.0", "hooks": ["connect", "deliver"],
            "topics": ["a/#"], "fields": ["client", "password"],
            "capabilities": ["clock", "kv"], "emit": ["b"], "http": ["https://auth.example"],
            "secrets": ["token"], "authorize_is_cacheable": true, "limits": {"time_ms": 5},
            "config_schema": {"type": "object", "properties": {"z": {}, "a": {}}}}"#;
        let manifest = parse(text).unwrap();
        let written = serde_json::to_value(&manifest).unwrap();
        assert_eq!(written, serde_json::from_str::<Value>(text).unwrap());
        assert_eq!(parse(&written.to_string()).unwrap(), manifest);
    }
}
