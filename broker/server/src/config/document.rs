//! The shape of the YAML document: what may stand where, before anything is looked up.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use hookmq_access::{DatabaseSettings, ForeignQueries};
use hookmq_codec::{TopicError, TopicFilter};
use hookmq_hooks::{Control, Explain};
use hookmq_script::RuleLimits;
use serde::{Deserialize, Deserializer, de::Error};
use serde_yaml::with::singleton_map;

use super::abuse::AbuseDocument;
use super::limits::LimitsDocument;
use super::listener::ListenerDocument;
use super::plugins::PluginsDocument;
use super::protocol::ProtocolDocument;
use super::quotas::QuotasDocument;
use super::rights::RightsDocument;
use super::steps::{BudgetsDocument, StepsDocument};
use super::store::StoreDocument;
use super::sys::SysDocument;
use super::tenant_plugins::TenantPluginsDocument;
use super::tenant_rules::TenantRulesDocument;
use super::{LogFormat, LogLevel};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a map")]
pub(super) struct Document {
    pub data_dir: PathBuf,
    pub listeners: Vec<ListenerDocument>,
    pub database: Option<DatabaseDocument>,
    pub admin: Option<AdminDocument>,
    pub limits: LimitsDocument,
    pub abuse: AbuseDocument,
    pub protocol: ProtocolDocument,
    pub permissions: RightsDocument,
    pub sys: SysDocument,
    pub tls: TlsDocument,
    pub plugins: PluginsDocument,
    pub rules: RulesDocument,
    pub tenant_rules: TenantRulesDocument,
    pub tenant_plugins: TenantPluginsDocument,
    pub pipeline: PipelineDocument,
    pub steps: StepsDocument,
    pub budgets: BudgetsDocument,
    pub quotas: QuotasDocument,
    pub store: StoreDocument,
    pub log: LogDocument,
}

impl Default for Document {
    fn default() -> Self {
        Self {
            data_dir: "data".into(),
            listeners: Vec::new(),
            database: None,
            admin: None,
            limits: LimitsDocument::default(),
            abuse: AbuseDocument::default(),
            protocol: ProtocolDocument::default(),
            permissions: RightsDocument::default(),
            sys: SysDocument::default(),
            tls: TlsDocument::default(),
            plugins: PluginsDocument::default(),
            rules: RulesDocument::default(),
            tenant_rules: TenantRulesDocument::default(),
            tenant_plugins: TenantPluginsDocument::default(),
            pipeline: PipelineDocument::default(),
            steps: StepsDocument::default(),
            budgets: BudgetsDocument::default(),
            quotas: QuotasDocument::default(),
            store: StoreDocument::default(),
            log: LogDocument::default(),
        }
    }
}

/// The keys of [`DatabaseSettings`], and other ways to give the url.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a map")]
pub(super) struct DatabaseDocument {
    pub url: Option<String>,
    pub url_file: Option<PathBuf>,
    #[serde(deserialize_with = "positive")]
    pub max_connections: u32,
    #[serde(deserialize_with = "positive")]
    pub timeout_ms: u64,
    #[serde(deserialize_with = "positive")]
    pub poll_interval_ms: u64,
    pub cache_ttl_ms: u64,
    #[serde(deserialize_with = "positive")]
    pub cached_principals: usize,
    pub keep_known_ms: u64,
    pub queries: Option<ForeignQueries>,
}

impl Default for DatabaseDocument {
    fn default() -> Self {
        let settings = DatabaseSettings::default();
        Self {
            url: None,
            url_file: None,
            max_connections: settings.max_connections,
            timeout_ms: milliseconds(settings.timeout),
            poll_interval_ms: milliseconds(settings.poll_interval),
            cache_ttl_ms: milliseconds(settings.cache_ttl),
            cached_principals: settings.cached_principals,
            keep_known_ms: milliseconds(settings.keep_known),
            queries: None,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a map")]
pub(super) struct AdminDocument {
    pub bind: SocketAddr,
    pub token_file: Option<PathBuf>,
    pub allow_public_plaintext: bool,
    pub hosts: Vec<String>,
    #[serde(deserialize_with = "positive")]
    pub header_timeout_ms: u64,
    #[serde(deserialize_with = "positive")]
    pub request_timeout_ms: u64,
}

impl Default for AdminDocument {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 8080)),
            token_file: None,
            allow_public_plaintext: false,
            hosts: Vec::new(),
            header_timeout_ms: 10_000,
            request_timeout_ms: 60_000,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a map")]
pub(super) struct RulesDocument {
    pub dir: PathBuf,
    #[serde(deserialize_with = "positive")]
    pub time_ms: u64,
    #[serde(deserialize_with = "positive")]
    pub operations: u64,
}

impl Default for RulesDocument {
    fn default() -> Self {
        let limits = RuleLimits::default();
        Self {
            dir: "rules".into(),
            time_ms: milliseconds(limits.deadline),
            operations: limits.operations,
        }
    }
}

/// The TLS of all listeners.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a map")]
pub(super) struct TlsDocument {
    #[serde(deserialize_with = "positive")]
    pub reload_interval_ms: u64,
}

impl TlsDocument {
    /// A longer one would keep clients connected for too long whose certificates are revoked.
    pub(super) const LONGEST_INTERVAL_MS: u64 = 30_000;

    pub(super) fn reload_interval(&self) -> Duration {
        Duration::from_millis(self.reload_interval_ms)
    }
}

impl Default for TlsDocument {
    fn default() -> Self {
        Self { reload_interval_ms: 5000 }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default, expecting = "a map")]
pub(super) struct PipelineDocument {
    pub connect: Vec<StepDocument>,
    pub authorize: Vec<StepDocument>,
    pub publish: Vec<StepDocument>,
    pub deliver: Vec<StepDocument>,
}

/// A step of any hook; which keys fit which hook is checked afterwards.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default, expecting = "a map")]
pub(super) struct StepDocument {
    pub builtin: Option<String>,
    pub plugin: Option<String>,
    pub rule: Option<String>,
    /// Whether the rule runs in the plugin `rule-engine`.
    pub sandboxed: bool,
    pub control: Option<Control>,
    pub listeners: Vec<String>,
    pub tenants: Vec<String>,
    pub topics: Vec<PlainFilter>,
    #[serde(deserialize_with = "on_failure")]
    pub on_failure: Option<OnFailure>,
    pub explain: Explain,
    pub config: serde_json::Value,
}

/// `drop`, `pass` or `{dead_letter: topic}`.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OnFailure {
    Drop,
    Pass,
    DeadLetter(String),
}

fn on_failure<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<OnFailure>, D::Error> {
    singleton_map::deserialize(deserializer).map(Some)
}

/// A topic filter without `$share/name/`.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct PlainFilter(pub TopicFilter);

impl TryFrom<String> for PlainFilter {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let filter = TopicFilter::new(&*text)
            .map_err(|error: TopicError| format!("{text:?} is not a topic filter: {error}"))?;
        match filter.share_name() {
            None => Ok(Self(filter)),
            Some(_) => Err(format!("{text:?}: a condition is never shared, leave out $share/")),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default, expecting = "a map")]
pub(super) struct LogDocument {
    pub level: LogLevel,
    pub format: LogFormat,
}

/// A number that is not 0.
pub(super) fn positive<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default + PartialEq,
{
    let number = T::deserialize(deserializer)?;
    if number == T::default() {
        return Err(D::Error::custom("must be more than 0"));
    }
    Ok(number)
}

pub(super) fn some_positive<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default + PartialEq,
{
    positive(deserializer).map(Some)
}

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
