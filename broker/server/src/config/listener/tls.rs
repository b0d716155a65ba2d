//! The section `tls` of a listener.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::{ServerNameDocument, TlsDocument, TrustAnchorDocument};
use crate::config::check::Check;
use crate::config::error::KeyPath;
use crate::tls::{
    ApplicationProtocol, CrlSettings, ListenerTls, NamedScope, ScopeSettings, TlsError, TlsSetting,
    TlsSettings, TrustAnchorSettings,
};

/// Anchors by name: one name means one thing for all clients of a listener.
type Known = HashMap<Arc<str>, TrustAnchorSettings>;

impl Check {
    /// The TLS side of `listener`; none where it has a problem.
    pub(super) fn tls(
        &mut self,
        path: &KeyPath,
        listener: &Arc<str>,
        protocol: ApplicationProtocol,
        document: TlsDocument,
    ) -> Option<ListenerTls> {
        let mut known = Known::new();
        let anchors = path.key("trust_anchors");
        let default = ScopeSettings {
            certificate: self.resolve(&document.certificate),
            key: self.resolve(&document.key),
            client_certificates: document.client_certificates,
            trust_anchors: self.trust_anchors(&anchors, &document.trust_anchors, &mut known),
        };
        let mut named = Vec::new();
        let mut names = HashMap::new();
        for (index, document) in document.server_names.into_iter().enumerate() {
            let path = path.key("server_names").index(index);
            if document.names.is_empty() {
                self.problem(&path.key("names"), "without a name, no client would ask for it");
            }
            for name in &document.names {
                if names.insert(name.clone(), index).is_some() {
                    let message = format!("{:?} is named more than once", name.as_str());
                    self.problem(&path.key("names"), message);
                }
            }
            named.push(self.named_scope(&path, document, &default, &mut known));
        }
        let settings = TlsSettings { default, named, open_key: document.open_key, protocol };
        match ListenerTls::load(listener.clone(), settings) {
            Ok(tls) => Some(tls),
            Err(error) => {
                self.problem(&place(path, &error), error);
                None
            }
        }
    }

    fn named_scope(
        &mut self,
        path: &KeyPath,
        document: ServerNameDocument,
        default: &ScopeSettings,
        known: &mut Known,
    ) -> NamedScope {
        let mut settings = default.clone();
        match (&document.certificate, &document.key) {
            (Some(certificate), Some(key)) => {
                settings.certificate = self.resolve(certificate);
                settings.key = self.resolve(key);
            }
            (None, None) => {}
            _ => self.problem(path, "`certificate` and `key` belong together"),
        }
        if let Some(anchors) = &document.trust_anchors {
            settings.trust_anchors = self.trust_anchors(&path.key("trust_anchors"), anchors, known);
        }
        if let Some(client_certificates) = document.client_certificates {
            settings.client_certificates = client_certificates;
        }
        NamedScope { names: document.names, settings }
    }

    fn trust_anchors(
        &mut self,
        path: &KeyPath,
        documents: &[TrustAnchorDocument],
        known: &mut Known,
    ) -> Vec<TrustAnchorSettings> {
        let mut anchors: Vec<TrustAnchorSettings> = Vec::new();
        for (index, document) in documents.iter().enumerate() {
            let path = path.index(index).key("name");
            let name = self.name(&path, &document.name);
            let anchor = TrustAnchorSettings {
                name: name.clone(),
                file: self.resolve(&document.file),
                crl: document.crl.as_ref().map(|crl| CrlSettings {
                    file: self.resolve(&crl.file),
                    when_unusable: crl.when_unusable,
                }),
            };
            let is_repeated = anchors.iter().any(|it| it.name == name);
            let is_another = match known.entry(name) {
                Entry::Occupied(known) => *known.get() != anchor,
                Entry::Vacant(place) => {
                    place.insert(anchor.clone());
                    false
                }
            };
            if is_repeated || is_another {
                let message = format!("there is another trust anchor named {:?}", document.name);
                self.problem(&path, message);
            }
            anchors.push(anchor);
        }
        anchors
    }
}

/// Where the setting stands that is to blame.
fn place(tls: &KeyPath, error: &TlsError) -> KeyPath {
    let scope = match error.server_name {
        None => tls.clone(),
        Some(index) => tls.key("server_names").index(index),
    };
    let anchor = |index| scope.key("trust_anchors").index(index);
    match error.setting {
        TlsSetting::Certificate => scope.key("certificate"),
        TlsSetting::Key => scope.key("key"),
        TlsSetting::ClientCertificates => scope.key("client_certificates"),
        TlsSetting::TrustAnchor(index) => anchor(index).key("file"),
        TlsSetting::Crl(index) => anchor(index).key("crl").key("file"),
    }
}
