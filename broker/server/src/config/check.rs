//! From the document to the configuration: what its shape alone does not say.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hookmq_script::RuleLimits;

use super::admin::read_token;
use super::bind::is_loopback;
use super::document::{AdminDocument, Document, RulesDocument, TlsDocument};
use super::error::{ConfigError, KeyPath, Position, Problem, Segment, Source};
use super::{
    AdminConfig, Config, LogConfig, RulesConfig, database, nesting, pipeline, plugins, quotas,
    rights, tenant_plugins, tenant_rules,
};
use crate::admin::Patience;
use crate::broker::limits::Limits;
use crate::broker::protocol::ProtocolOptions;

/// The longest name of a listener, a trust anchor, a rule or a plugin, in bytes.
const LONGEST_NAME: usize = 64;

/// Reads `source` and looks up what it names.
pub(super) fn check(source: Source) -> Result<Config, ConfigError> {
    let document = parse(&source)?;
    let mut check = Check { source, problems: Vec::new() };

    let data_dir = check.resolve(&document.data_dir);
    let listeners = check.listeners(document.listeners);
    let has_database = document.database.is_some();
    let has_queries = document.database.as_ref().is_some_and(|it| it.queries.is_some());
    let database =
        document.database.and_then(|database| database::check(&mut check, database, &data_dir));
    let admin = document.admin.map(|admin| check.admin(admin, &data_dir));
    let plugins = plugins::check(&mut check, document.plugins);
    let rules = check.rules(&document.rules);
    let tls_reload_interval = check.reload_interval(&document.tls);
    let rights = rights::check(&mut check, document.permissions, &listeners);
    let quotas = quotas::check(&mut check, document.quotas);
    let promise = document.store.promise(&mut check, &listeners);
    let tenant_rules = tenant_rules::check(&mut check, &document.tenant_rules);
    let tenant_plugins = tenant_plugins::check(&mut check, &document.tenant_plugins);
    let surroundings = pipeline::Surroundings {
        listeners: &listeners,
        plugins: &plugins,
        rules: &rules,
        has_database,
        has_queries,
    };
    let pipeline = pipeline::check(&mut check, document.pipeline, &surroundings);
    if !check.problems.is_empty() {
        return Err(ConfigError(check.problems));
    }
    Ok(Config {
        store: document.store.options(&data_dir),
        data_dir,
        listeners,
        database,
        admin,
        limits: Limits {
            budgets: document.budgets.into(),
            quotas,
            abuse: document.abuse.into(),
            ..document.limits.into()
        },
        protocol: ProtocolOptions { promise, ..document.protocol.into() },
        rights,
        sys: document.sys.into(),
        tls_reload_interval,
        plugins,
        rules,
        tenant_rules,
        tenant_plugins,
        pipeline,
        steps: document.steps.into(),
        log: LogConfig { level: document.log.level, format: document.log.format },
        source: Some(check.source),
    })
}

fn parse(source: &Source) -> Result<Document, Problem> {
    if let Some(position) = nesting::too_deep(source.text()) {
        let message = format!("more than {} brackets are open here", nesting::DEEPEST);
        return Err(source.problem_at(Some(position), String::new(), message));
    }
    let value: serde_yaml::Value = serde_yaml::from_str(source.text()).map_err(|error| {
        let position = error.location().map(|at| Position { line: at.line(), column: at.column() });
        let message = error.to_string();
        let message = match message.rsplit_once(" at line ") {
            Some((message, _)) if position.is_some() => message,
            _ => &message,
        };
        source.problem_at(position, String::new(), message)
    })?;
    if value.is_null() {
        return Ok(Document::default());
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = KeyPath::default().join(error.path());
        source.problem(&path, untold(&path, error.inner().to_string()))
    })
}

/// Without what stands there: a text in the place of a section that leads to a secret may be the secret.
fn untold(path: &KeyPath, message: String) -> String {
    let leads_to_secret =
        |it: &Segment| matches!(it, Segment::Key(key) if key == "database" || key == "secrets");
    match message.rsplit_once(", expected ") {
        Some((found, expected))
            if found.starts_with("invalid type: ")
                && path.segments().iter().any(leads_to_secret) =>
        {
            format!("invalid type, expected {expected}")
        }
        _ => message,
    }
}

/// A configuration under examination. What has a problem is still returned, so that what depends on
/// it is examined, too; in the end one problem is enough to refuse all.
pub(super) struct Check {
    source: Source,
    problems: Vec<Problem>,
}

impl Check {
    pub(super) fn problem(&mut self, path: &KeyPath, message: impl fmt::Display) {
        self.problems.push(self.source.problem(path, message));
    }

    /// A path as the document means it: relative to its own directory.
    pub(super) fn resolve(&self, path: &Path) -> PathBuf {
        self.source.directory().join(path)
    }

    /// A name that can stand in a log line, a file name and a url as it is.
    pub(super) fn name(&mut self, path: &KeyPath, name: &str) -> Arc<str> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(is_plain) {
            let message = format!(
                "{name:?} is no name: 1 to {LONGEST_NAME} letters, digits, hyphens and underscores"
            );
            self.problem(path, message);
        }
        name.into()
    }

    pub(super) fn plaintext(&mut self, path: &KeyPath, address: SocketAddr, allowed: bool) {
        if !allowed && !is_loopback(address) {
            let message = format!(
                "without TLS, {address} shows passwords and messages to the network: bind a \
                 loopback address, or add `allow_public_plaintext: true`"
            );
            self.problem(path, message);
        }
    }

    fn admin(&mut self, document: AdminDocument, data_dir: &Path) -> AdminConfig {
        let path = KeyPath::root("admin");
        self.plaintext(&path.key("bind"), document.bind, document.allow_public_plaintext);
        let token_file = match document.token_file {
            Some(file) => self.resolve(&file),
            None => data_dir.join("admin.token"),
        };
        if token_file.exists()
            && let Err(error) = read_token(&token_file)
        {
            self.problem(&path.key("token_file"), error);
        }
        let mut hosts = Vec::new();
        for (index, host) in document.hosts.into_iter().enumerate() {
            // As a browser sends it: letters beyond ASCII are encoded.
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            if host.is_empty() || !host.bytes().all(fits) {
                let message =
                    format!("{host:?} is no host's name: write it without scheme and port");
                self.problem(&path.key("hosts").index(index), message);
            }
            hosts.push(host.into());
        }
        let patience = Patience {
            head: Duration::from_millis(document.header_timeout_ms),
            request: Duration::from_millis(document.request_timeout_ms),
        };
        AdminConfig { address: document.bind, token_file, hosts, patience }
    }

    fn reload_interval(&mut self, document: &TlsDocument) -> Duration {
        let longest = TlsDocument::LONGEST_INTERVAL_MS;
        if document.reload_interval_ms > longest {
            let path = KeyPath::root("tls").key("reload_interval_ms");
            self.problem(&path, format!("it must not be more than {longest}"));
        }
        document.reload_interval()
    }

    fn rules(&self, document: &RulesDocument) -> RulesConfig {
        let limits = RuleLimits {
            deadline: Duration::from_millis(document.time_ms),
            operations: document.operations,
            ..RuleLimits::default()
        };
        RulesConfig { dir: self.resolve(&document.dir), limits }
    }
}
