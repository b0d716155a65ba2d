//! The step `certificate` at its listeners: which anchors its mappings may mean.

use hookmq_access::{CertificateSettings, Mapping, MappingSource, VouchedBy};
use serde::Deserialize;
use serde_json::Value;

use super::StepCheck;
use crate::config::ListenerConfig;
use crate::config::document::StepDocument;

impl StepCheck<'_> {
    /// That every mapping can concern somebody, and only those that it means.
    pub(super) fn mappings(&mut self, document: &StepDocument) {
        let (path, at) = (self.path.key("config"), &document.listeners);
        let settings = match &document.config {
            Value::Null => CertificateSettings::default(),
            // What is malformed is told elsewhere.
            settings => match CertificateSettings::deserialize(settings) {
                Ok(settings) => settings,
                Err(_) => return,
            },
        };
        let surroundings = self.surroundings;
        let mappings = match settings.mappings {
            MappingSource::Listed(mappings) => mappings,
            MappingSource::Database => {
                if !surroundings.has_database || surroundings.has_queries {
                    let message = "it needs the section `database`, without `queries`";
                    self.check.problem(&path.key("mappings"), message);
                }
                return;
            }
        };
        if mappings.is_empty() {
            self.check.problem(&path, "without `mappings`, nobody could connect");
        }
        let listeners = surroundings.listeners.iter();
        let concerned: Vec<_> = listeners
            .filter(|listener| at.is_empty() || at.iter().any(|name| **name == *listener.name))
            .collect();
        for (index, mapping) in mappings.iter().enumerate() {
            let path = path.key("mappings").index(index);
            if let Some(problem) = problem(mapping, &concerned) {
                self.check.problem(&path.key(problem.0), problem.1);
            }
        }
    }
}

/// A key of the mapping and what is wrong with it.
fn problem(mapping: &Mapping, listeners: &[&ListenerConfig]) -> Option<(&'static str, String)> {
    let Some(pinned) = &mapping.trust_anchor else {
        let trusting = listeners.iter().find(|listener| listener.trust_anchors().len() > 1)?;
        let message = format!(
            "the listener {} trusts more than one anchor: say which one this mapping is for",
            trusting.name
        );
        return Some(("trust_anchor", message));
    };
    let vouches = |listener: &&&ListenerConfig| match mapping.vouched_by {
        VouchedBy::Tls => listener
            .tls
            .as_ref()
            .is_some_and(|tls| tls.settings().trust_anchors().iter().any(|it| ***it == **pinned)),
        VouchedBy::Proxy => listener.proxy_anchor.as_deref() == Some(pinned),
    };
    if listeners.iter().any(|listener| vouches(&listener)) {
        return None;
    }
    let where_to = match mapping.vouched_by {
        VouchedBy::Tls => "tls.trust_anchors",
        VouchedBy::Proxy => "proxy_protocol",
    };
    let message = format!("no listener of this step has {pinned:?} in {where_to}");
    Some(("trust_anchor", message))
}
