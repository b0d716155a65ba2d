//! The `plugins` section: the host's bounds, and what the operator grants to whom.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use hookmq_hooks::Secret;
use hookmq_wasm::{CompileLimits, Grants, HostOptions, HttpLimits, Limits, Origin};
use rustls::RootCertStore;
use serde::Deserialize;

use super::check::Check;
use super::document::{PlainFilter, milliseconds, positive, some_positive};
use super::error::KeyPath;
use super::file::{OTHERS, read_secret};
use super::{HttpReach, Network, PluginsConfig};
use crate::tls::root_store;

/// The longest secret of a plugin, in bytes.
const LONGEST_SECRET: usize = 64 << 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a map")]
pub(super) struct PluginsDocument {
    dir: PathBuf,
    #[serde(deserialize_with = "positive")]
    artefact_bytes: usize,
    #[serde(deserialize_with = "positive")]
    instances: u32,
    #[serde(deserialize_with = "positive")]
    instances_per_tenant: u32,
    #[serde(deserialize_with = "positive")]
    calls_per_instance: u32,
    #[serde(deserialize_with = "positive")]
    memory_bytes: usize,
    #[serde(deserialize_with = "positive")]
    time_ms: u64,
    #[serde(deserialize_with = "positive")]
    output_bytes: usize,
    emitted_messages: usize,
    kv_calls: u32,
    compile: CompileDocument,
    http: HttpDocument,
    grants: BTreeMap<String, GrantsDocument>,
    limits: BTreeMap<String, OwnLimitsDocument>,
}

/// One plugin's own, in place of what `plugins` says for all.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default, expecting = "a map")]
struct OwnLimitsDocument {
    #[serde(deserialize_with = "some_positive")]
    memory_bytes: Option<usize>,
    #[serde(deserialize_with = "some_positive")]
    time_ms: Option<u64>,
    #[serde(deserialize_with = "some_positive")]
    calls_per_instance: Option<u32>,
}

impl OwnLimitsDocument {
    fn instead_of(self, all: Limits) -> Limits {
        Limits {
            memory_bytes: self.memory_bytes.unwrap_or(all.memory_bytes),
            time: self.time_ms.map_or(all.time, Duration::from_millis),
            calls_per_instance: self.calls_per_instance.unwrap_or(all.calls_per_instance),
            ..all
        }
    }
}

impl Default for PluginsDocument {
    fn default() -> Self {
        let HostOptions { artefact_bytes, instances, limits, .. } = HostOptions::default();
        Self {
            dir: "plugins".into(),
            artefact_bytes,
            instances,
            instances_per_tenant: limits.instances_per_tenant,
            calls_per_instance: limits.calls_per_instance,
            memory_bytes: limits.memory_bytes,
            time_ms: milliseconds(limits.time),
            output_bytes: limits.output_bytes,
            emitted_messages: limits.emitted_messages,
            kv_calls: limits.kv_calls,
            compile: CompileDocument::default(),
            http: HttpDocument::default(),
            grants: BTreeMap::new(),
            limits: BTreeMap::new(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a map")]
struct CompileDocument {
    #[serde(deserialize_with = "positive")]
    time_ms: u64,
    #[serde(deserialize_with = "positive")]
    memory_bytes: u64,
    cache_bytes: u64,
}

impl Default for CompileDocument {
    fn default() -> Self {
        let CompileLimits { time, memory_bytes, cache_bytes } = CompileLimits::default();
        Self { time_ms: milliseconds(time), memory_bytes, cache_bytes }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a map")]
struct HttpDocument {
    #[serde(deserialize_with = "positive")]
    timeout_ms: u64,
    #[serde(deserialize_with = "positive")]
    response_bytes: usize,
    requests: u32,
    requests_per_tenant_per_s: u32,
    #[serde(deserialize_with = "positive")]
    threads: usize,
    ca: Option<PathBuf>,
    networks: Vec<Network>,
}

impl Default for HttpDocument {
    fn default() -> Self {
        let limits = HttpLimits::default();
        Self {
            timeout_ms: milliseconds(limits.timeout),
            response_bytes: limits.response_bytes,
            requests: limits.requests,
            requests_per_tenant_per_s: limits.requests_per_tenant_per_second,
            threads: limits.threads,
            ca: None,
            networks: Vec::new(),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default, expecting = "a map")]
struct GrantsDocument {
    log: bool,
    clock: bool,
    metric: bool,
    kv: bool,
    emit: Vec<PlainFilter>,
    http: Vec<String>,
    secrets: BTreeMap<String, SecretDocument>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a map")]
struct SecretDocument {
    file: PathBuf,
}

pub(super) fn check(check: &mut Check, document: PluginsDocument) -> PluginsConfig {
    let section = KeyPath::root("plugins");
    let limits = Limits {
        memory_bytes: document.memory_bytes,
        time: Duration::from_millis(document.time_ms),
        output_bytes: document.output_bytes,
        emitted_messages: document.emitted_messages,
        kv_calls: document.kv_calls,
        calls_per_instance: document.calls_per_instance,
        instances_per_tenant: document.instances_per_tenant,
    };
    let own_limits = document.limits.into_iter();
    let own_limits: BTreeMap<String, Limits> =
        own_limits.map(|(plugin, own)| (plugin, own.instead_of(limits))).collect();
    let host = HostOptions {
        artefact_bytes: document.artefact_bytes,
        instances: document.instances,
        limits: own_limits.values().fold(limits, Limits::widest),
        http: HttpLimits {
            timeout: Duration::from_millis(document.http.timeout_ms),
            response_bytes: document.http.response_bytes,
            requests: document.http.requests,
            requests_per_tenant_per_second: document.http.requests_per_tenant_per_s,
            threads: document.http.threads,
        },
        ..HostOptions::default()
    };
    let compile = CompileLimits {
        time: Duration::from_millis(document.compile.time_ms),
        memory_bytes: document.compile.memory_bytes,
        cache_bytes: document.compile.cache_bytes,
    };
    let reach = reach(check, &section.key("http"), document.http);
    let mut grants = BTreeMap::new();
    for (plugin, document) in document.grants {
        let path = section.key("grants").key(&plugin);
        let granted = granted(check, &path, document);
        grants.insert(plugin, granted);
    }
    let dir = check.resolve(&document.dir);
    PluginsConfig { dir, host, compile, http: reach, grants, limits, own_limits }
}

fn reach(check: &mut Check, path: &KeyPath, document: HttpDocument) -> HttpReach {
    let roots = document.ca.map(|file| root_store(&check.resolve(&file))).transpose();
    let roots = roots.unwrap_or_else(|message| {
        check.problem(&path.key("ca"), message);
        None
    });
    let roots = roots.unwrap_or_else(RootCertStore::empty);
    HttpReach { roots, networks: document.networks }
}

fn granted(check: &mut Check, path: &KeyPath, document: GrantsDocument) -> Grants {
    let mut http: Vec<Origin> = Vec::new();
    for (index, text) in document.http.iter().enumerate() {
        match text.parse() {
            Ok(origin) => http.push(origin),
            Err(error) => {
                check.problem(&path.key("http").index(index), format!("{text:?}: {error}"));
            }
        }
    }
    let mut secrets = BTreeMap::new();
    for (name, SecretDocument { file }) in document.secrets {
        let path = path.key("secrets").key(&name);
        match secret(check, &file) {
            Ok(secret) => _ = secrets.insert(name, secret),
            Err(message) => check.problem(&path.key("file"), message),
        }
    }
    Grants {
        log: document.log,
        clock: document.clock,
        metric: document.metric,
        kv: document.kv,
        emit: document.emit.into_iter().map(|filter| filter.0).collect(),
        http,
        secrets,
    }
}

/// The content of a file, without the end of line that an editor leaves behind it.
fn secret(check: &Check, file: &std::path::Path) -> Result<Secret, String> {
    let file = check.resolve(file);
    let secret = read_secret(&file, OTHERS).map_err(|error| error.to_string())?;
    let bytes = secret.expose();
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    if bytes.is_empty() || bytes.len() > LONGEST_SECRET {
        return Err(format!("{} holds not 1 to {LONGEST_SECRET} bytes", file.display()));
    }
    Ok(Secret::new(bytes.to_vec()))
}
