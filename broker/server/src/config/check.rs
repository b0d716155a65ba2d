//! From the document to the configuration: what its shape alone does not say.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hookmq_script::RuleLimits;
use hookmq_wasm::{Grants, HostOptions, Limits as PluginLimits};

use super::bind::{Transport, is_loopback};
use super::document::{
    AdminDocument, Document, GrantsDocument, ListenerDocument, PluginsDocument, RulesDocument,
    TlsDocument,
};
use super::error::{ConfigError, KeyPath, Position, Problem, Source};
use super::file::{ALL_BUT_OWNER, read_secret};
use super::{
    AdminConfig, Config, ListenerConfig, LogConfig, PluginsConfig, RulesConfig, database, pipeline,
};
use crate::tls::{TlsError, TlsServer, TlsSettings, TrustAnchorSettings};

/// The longest name of a listener, a trust anchor, a rule or a plugin, in bytes.
const LONGEST_NAME: usize = 64;

/// Reads `source` and looks up what it names.
pub(super) fn check(source: Source) -> Result<Config, ConfigError> {
    let document = parse(&source)?;
    let mut check = Check { source, problems: Vec::new() };

    let data_dir = check.resolve(&document.data_dir);
    let listeners = check.listeners(document.listeners);
    let has_database = document.database.is_some();
    let database =
        document.database.and_then(|database| database::check(&mut check, database, &data_dir));
    let admin = document.admin.map(|admin| check.admin(admin, &data_dir));
    let plugins = check.plugins(document.plugins);
    let rules = check.rules(&document.rules);
    let surroundings = pipeline::Surroundings {
        listeners: &listeners,
        plugins: &plugins,
        rules: &rules,
        has_database,
    };
    let pipeline = pipeline::check(&mut check, document.pipeline, &surroundings);
    if !check.problems.is_empty() {
        return Err(ConfigError(check.problems));
    }
    Ok(Config {
        data_dir,
        listeners,
        database,
        admin,
        limits: document.limits.into(),
        protocol: document.protocol.into(),
        sys: document.sys.into(),
        plugins,
        rules,
        pipeline,
        log: LogConfig { level: document.log.level, format: document.log.format },
        source: Some(check.source),
    })
}

fn parse(source: &Source) -> Result<Document, Problem> {
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
        source.problem(&path, error.inner())
    })
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

    fn listeners(&mut self, documents: Vec<ListenerDocument>) -> Vec<ListenerConfig> {
        let all = KeyPath::root("listeners");
        if documents.is_empty() {
            self.problem(&all, "at least one listener is needed");
        }
        let mut names = HashSet::new();
        let mut addresses = HashSet::new();
        let mut listeners = Vec::new();
        for (index, document) in documents.into_iter().enumerate() {
            let path = all.index(index);
            let address = document.bind.address;
            if !names.insert(document.name.clone()) {
                let message = format!("there is another listener named {:?}", document.name);
                self.problem(&path.key("name"), message);
            }
            // The system chooses a port for each 0.
            if address.port() != 0 && !addresses.insert(address) {
                self.problem(&path.key("bind"), format!("another listener binds {address}"));
            }
            listeners.push(self.listener(&path, document));
        }
        listeners
    }

    fn listener(&mut self, path: &KeyPath, document: ListenerDocument) -> ListenerConfig {
        let name = self.name(&path.key("name"), &document.name);
        let address = document.bind.address;
        let mut tls = None;
        match (document.bind.transport, document.tls) {
            (Transport::Tls, None) => {
                self.problem(path, "a tls:// listener needs `tls` with certificate and key");
            }
            (Transport::Tls, Some(settings)) => {
                if document.allow_public_plaintext {
                    let message = "it concerns tcp:// listeners only";
                    self.problem(&path.key("allow_public_plaintext"), message);
                }
                tls = self.tls(&path.key("tls"), &name, settings);
            }
            (Transport::Tcp, Some(_)) => {
                self.problem(&path.key("tls"), "a tcp:// listener has none; bind tls:// instead");
            }
            (Transport::Tcp, None) => {
                let allowed = document.allow_public_plaintext;
                self.plaintext(&path.key("bind"), address, allowed);
            }
        }
        ListenerConfig { name, address, tls: tls.map(Arc::new) }
    }

    fn plaintext(&mut self, path: &KeyPath, address: SocketAddr, allowed: bool) {
        if !allowed && !is_loopback(address) {
            let message = format!(
                "without TLS, {address} shows passwords and messages to the network: bind a \
                 loopback address, or add `allow_public_plaintext: true`"
            );
            self.problem(path, message);
        }
    }

    fn tls(
        &mut self,
        path: &KeyPath,
        listener: &Arc<str>,
        document: TlsDocument,
    ) -> Option<TlsServer> {
        let anchors = path.key("trust_anchors");
        let mut names = HashSet::new();
        let mut trust_anchors = Vec::new();
        for (index, anchor) in document.trust_anchors.iter().enumerate() {
            let path = anchors.index(index).key("name");
            let name = self.name(&path, &anchor.name);
            if !names.insert(&anchor.name) {
                let message = format!("there is another trust anchor named {:?}", anchor.name);
                self.problem(&path, message);
            }
            trust_anchors.push(TrustAnchorSettings { name, file: self.resolve(&anchor.file) });
        }
        let settings = TlsSettings {
            certificate: self.resolve(&document.certificate),
            key: self.resolve(&document.key),
            client_certificates: document.client_certificates,
            trust_anchors,
        };
        match TlsServer::load(listener, &settings) {
            Ok(server) => Some(server),
            Err(error) => {
                let path = match error {
                    TlsError::Certificate(_) => path.key("certificate"),
                    TlsError::Key(_) => path.key("key"),
                    TlsError::ClientCertificates(_) => path.key("client_certificates"),
                    TlsError::TrustAnchor { index, .. } => anchors.index(index).key("file"),
                };
                self.problem(&path, error);
                None
            }
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
            && let Err(error) = read_secret(&token_file, ALL_BUT_OWNER)
        {
            self.problem(&path.key("token_file"), error);
        }
        AdminConfig { address: document.bind, token_file }
    }

    fn plugins(&mut self, document: PluginsDocument) -> PluginsConfig {
        let limits = PluginLimits {
            memory_bytes: document.memory_bytes,
            time: Duration::from_millis(document.time_ms),
            output_bytes: document.output_bytes,
            emitted_messages: document.emitted_messages,
            calls_per_instance: document.calls_per_instance,
            instances_per_tenant: document.instances_per_tenant,
        };
        let host = HostOptions {
            artefact_bytes: document.artefact_bytes,
            instances: document.instances,
            limits,
        };
        let grants = document.grants.into_iter().map(|(plugin, grants)| (plugin, grants.into()));
        let grants: BTreeMap<String, Grants> = grants.collect();
        PluginsConfig { dir: self.resolve(&document.dir), host, grants }
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

impl From<GrantsDocument> for Grants {
    fn from(document: GrantsDocument) -> Self {
        let emit = document.emit.into_iter().map(|filter| filter.0).collect();
        Self { log: document.log, clock: document.clock, emit }
    }
}
