//! What a plugin asks for beside its answers, and what of it the operator has not granted.

use std::collections::BTreeMap;

use hookmq_codec::TopicFilter;
use hookmq_hooks::Secret;

use crate::Origin;

/// Those of a kind that a manifest asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish<T> {
    These(Vec<T>),
    /// `*`: whatever the operator grants, who configures the plugin.
    Granted,
}

impl<T> Default for Wish<T> {
    fn default() -> Self {
        Self::These(Vec::new())
    }
}

impl<T> Wish<T> {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::These(these) if these.is_empty())
    }

    /// Those that are asked for by name.
    pub fn named(&self) -> &[T] {
        match self {
            Self::These(these) => these,
            Self::Granted => &[],
        }
    }
}

/// What a manifest asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities {
    pub log: bool,
    pub clock: bool,
    pub metric: bool,
    pub kv: bool,
    /// Filters of the topics of messages that it emits.
    pub emit: Vec<TopicFilter>,
    /// Where its requests go.
    pub http: Wish<Origin>,
    /// The names of secrets.
    pub secrets: Wish<String>,
}

/// What the operator allows a plugin to do; nothing by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    /// Write to the broker's log.
    pub log: bool,
    /// Read the clocks.
    pub clock: bool,
    /// Keep figures for the operator's monitoring.
    pub metric: bool,
    /// Keep values for a tenant.
    pub kv: bool,
    /// Emit messages under these filters.
    pub emit: Vec<TopicFilter>,
    /// Send requests there.
    pub http: Vec<Origin>,
    /// Know these, by name.
    pub secrets: BTreeMap<String, Secret>,
}

impl Capabilities {
    /// Those with a plain name, in the manifest's order.
    pub(crate) fn plain(&self) -> [(&'static str, bool); 4] {
        [("log", self.log), ("clock", self.clock), ("metric", self.metric), ("kv", self.kv)]
    }

    /// What is asked for and not granted, in words.
    pub fn not_granted(&self, grants: &Grants) -> Vec<String> {
        let granted = [grants.log, grants.clock, grants.metric, grants.kv];
        let mut missing: Vec<String> = Vec::new();
        for ((name, asked), granted) in self.plain().into_iter().zip(granted) {
            if asked && !granted {
                missing.push(name.into());
            }
        }
        for wanted in &self.emit {
            if !grants.emit.iter().any(|granted| granted.covers(wanted)) {
                missing.push(format!("emit {wanted}"));
            }
        }
        for wanted in self.http.named() {
            if !grants.http.contains(wanted) {
                missing.push(format!("http {wanted}"));
            }
        }
        for wanted in self.secrets.named() {
            if !grants.secrets.contains_key(wanted) {
                missing.push(format!("secret {wanted}"));
            }
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(filters: &[&str]) -> Vec<TopicFilter> {
        filters.iter().map(|filter| TopicFilter::new(*filter).unwrap()).collect()
    }

    #[test]
    fn a_grant_must_cover_what_is_asked() {
        let asked_http: Vec<Origin> =
            vec!["https://a.example".parse().unwrap(), "b.example".parse().unwrap()];
        let asked = Capabilities {
            log: true,
            kv: true,
            emit: filters(&["alerts/#"]),
            http: Wish::These(asked_http.clone()),
            secrets: Wish::These(vec!["token".into()]),
            ..Capabilities::default()
        };
        let some = Grants {
            log: true,
            emit: filters(&["alerts/+"]),
            http: vec!["http://a.example".parse().unwrap(), "https://b.example".parse().unwrap()],
            ..Grants::default()
        };
        let missing = ["kv", "emit alerts/#", "http https://a.example", "secret token"];
        assert_eq!(asked.not_granted(&some), missing);
        let all = Grants {
            kv: true,
            emit: filters(&["#"]),
            http: asked_http,
            secrets: BTreeMap::from([("token".into(), Secret::default())]),
            ..some
        };
        assert!(asked.not_granted(&all).is_empty());
    }
}
