//! The configuration: one YAML file, turned into final types before any port is bound.
//!
//! [`Config::load`] reads and checks everything, files that it names included, and reports all
//! problems at once, each with file, line and key path. Relative paths start at the directory of the
//! file. docs/configuration.md describes the keys.

mod abuse;
mod admin;
mod bind;
mod check;
mod database;
mod document;
mod error;
pub(crate) mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod limits;
mod listener;
mod locate;
mod nesting;
mod pipeline;
mod plugins;
mod protocol;
mod quotas;
mod rights;
mod steps;
mod store;
mod sys;
mod tenant_plugins;
mod tenant_rules;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hookmq_access::DatabaseSettings;
use hookmq_hooks::{Blueprint, Hook, ProgramKind, StepSpec};
use hookmq_script::RuleLimits;
use hookmq_store::StoreOptions;
use hookmq_wasm::{CompileLimits, Grants, HostOptions, Limits as PluginLimits};
use rustls::RootCertStore;
use serde::Deserialize;

pub use self::admin::AdminConfig;
pub(crate) use self::admin::load_or_create_token;
pub(crate) use self::bind::is_loopback;
pub use self::bind::{Bind, BindError, Transport};
pub use self::error::{ConfigError, KeyPath, Position, Problem, Source};
pub use self::listener::{ListenerConfig, Network, TrustedProxies, WebSocketSettings};
pub(crate) use self::store::directory as store_directory;
use crate::broker::limits::Limits;
use crate::broker::protocol::ProtocolOptions;
use crate::broker::rights::RightsOptions;
use crate::broker::sys::SysOptions;
use crate::programs::{StepOptions, TenantPluginsOptions, TenantRulesOptions};

/// All that the broker is told, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Made at the start if absent.
    pub data_dir: PathBuf,
    /// Its directory is in `data_dir`.
    pub store: StoreOptions,
    /// Each with a name and an address of its own.
    pub listeners: Vec<ListenerConfig>,
    /// Present where a step asks the database.
    pub database: Option<DatabaseSettings>,
    /// Without it, there is no admin API.
    pub admin: Option<AdminConfig>,
    pub limits: Limits,
    pub protocol: ProtocolOptions,
    pub rights: RightsOptions,
    /// Without it, there are no `$SYS` topics.
    pub sys: Option<SysOptions>,
    /// How often the files of TLS are looked at.
    pub tls_reload_interval: Duration,
    pub plugins: PluginsConfig,
    pub rules: RulesConfig,
    /// Bounds of the rules that tenants own.
    pub tenant_rules: TenantRulesOptions,
    pub tenant_plugins: TenantPluginsOptions,
    pub pipeline: Blueprint,
    /// What all plugins and rules are subject to.
    pub steps: StepOptions,
    pub log: LogConfig,
    /// Tells where a step stands. None without a file.
    source: Option<Source>,
}

/// The plugin host, and the plugins' files: `<dir>/<name>.wasm`.
#[derive(Debug, Clone)]
pub struct PluginsConfig {
    pub dir: PathBuf,
    /// Its limits are the widest that any plugin has.
    pub host: HostOptions,
    pub compile: CompileLimits,
    pub http: HttpReach,
    /// By plugin; one that is not here may do nothing.
    pub grants: BTreeMap<String, Grants>,
    /// Of every plugin that has none of its own.
    pub limits: PluginLimits,
    /// By plugin.
    pub own_limits: BTreeMap<String, PluginLimits>,
}

impl PluginsConfig {
    pub fn limits_of(&self, plugin: &str) -> PluginLimits {
        self.own_limits.get(plugin).copied().unwrap_or(self.limits)
    }
}

/// Whom the requests of plugins may reach, as far as they are granted.
#[derive(Debug, Clone)]
pub struct HttpReach {
    /// Those that vouch for hosts beside the system's.
    pub roots: RootCertStore,
    /// Addresses that a name may have although they are not public.
    pub networks: Vec<Network>,
}

/// The rule engine, and the rules' files: `<dir>/<name>.rhai`.
#[derive(Debug, Clone)]
pub struct RulesConfig {
    pub dir: PathBuf,
    pub limits: RuleLimits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogConfig {
    pub level: LogLevel,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

impl Config {
    /// Reads and checks `file`.
    ///
    /// # Errors
    /// All problems that are found; where the document does not have the right shape, the first.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let text = File::open(file)
            .and_then(file::read_bounded)
            .and_then(|bytes| String::from_utf8(bytes).map_err(std::io::Error::other));
        let (text, error) = match text {
            Ok(text) => (text, None),
            Err(error) => (String::new(), Some(error)),
        };
        let source = Source::new(file, text);
        match error {
            None => check::check(source),
            Some(error) => {
                let message = format!("cannot read it: {error}");
                Err(source.problem(&KeyPath::default(), message).into())
            }
        }
    }

    /// A broker for everybody, without a file: every client is `anonymous` of the tenant `default`
    /// and may do anything. Listeners have no TLS.
    pub fn embedded(data_dir: PathBuf, listeners: &[Bind]) -> Self {
        let listeners = (1..).zip(listeners).map(|(number, bind)| {
            ListenerConfig::plain(format!("listener-{number}").into(), bind.clone())
        });
        let open = |name: &str| StepSpec::new(ProgramKind::Builtin, name);
        Self {
            store: store::StoreDocument::default().options(&data_dir),
            listeners: listeners.collect(),
            database: None,
            admin: None,
            limits: Limits::default(),
            protocol: ProtocolOptions::default(),
            rights: RightsOptions::default(),
            sys: sys::SysDocument::default().into(),
            tls_reload_interval: document::TlsDocument::default().reload_interval(),
            plugins: PluginsConfig {
                dir: data_dir.join("plugins"),
                host: HostOptions::default(),
                compile: CompileLimits::default(),
                http: HttpReach { roots: RootCertStore::empty(), networks: Vec::new() },
                grants: Default::default(),
                limits: Default::default(),
                own_limits: Default::default(),
            },
            rules: RulesConfig { dir: data_dir.join("rules"), limits: RuleLimits::default() },
            tenant_rules: TenantRulesOptions::default(),
            tenant_plugins: TenantPluginsOptions::default(),
            pipeline: Blueprint {
                connect: vec![open("anonymous")],
                authorize: vec![open("open")],
                ..Blueprint::default()
            },
            steps: StepOptions::default(),
            log: LogConfig::default(),
            source: None,
            data_dir,
        }
    }

    /// A problem with the program of the step at `position`, counted from 0.
    pub fn step_problem(&self, hook: Hook, position: usize, message: impl ToString) -> Problem {
        let path = pipeline::step_path(hook, position);
        match &self.source {
            Some(source) => source.problem(&path, message.to_string()),
            None => Problem {
                file: "(built in)".into(),
                position: None,
                key_path: path.to_string(),
                message: message.to_string(),
            },
        }
    }
}

impl LogLevel {
    /// As `tracing` names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

#[cfg(test)]
mod tests;
