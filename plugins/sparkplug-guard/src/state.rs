//! What is known of edge nodes, kept in the broker's store.
//!
//! An edge node's messages may be seen by one instance after the other, so nothing is kept in the
//! instance itself.

use std::hash::{DefaultHasher, Hash, Hasher};

use hookmq_plugin::{kv, metric};
use serde::{Deserialize, Serialize};

use crate::shadow::Aliases;
use crate::topic::Report;

/// One edge node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// The number of the last birth; what was kept for a device under another one is over.
    pub births: u64,
    /// Of the last birth, while it is alive.
    pub bd_seq: Option<u64>,
    /// Of the last message.
    pub seq: u8,
}

impl Node {
    pub fn load(report: &Report) -> Self {
        kv::json(&key('n', report.group, report.node, None)).unwrap_or_default()
    }

    pub fn store(&self, report: &Report) {
        keep(kv::set_json(&key('n', report.group, report.node, None), self, None));
    }

    pub fn is_alive(&self) -> bool {
        self.bd_seq.is_some()
    }

    /// Whether the report's device was born since the edge node was.
    pub fn has_device(&self, report: &Report) -> bool {
        kv::json(&device_key(report)) == Some(self.births)
    }

    pub fn add_device(&self, report: &Report) {
        keep(kv::set_json(&device_key(report), &self.births, None));
    }

    /// The names that the birth of the report's edge node or device has given.
    pub fn aliases(&self, report: &Report) -> Aliases {
        let kept: Option<(u64, Aliases)> = kv::json(&alias_key(report));
        kept.filter(|(births, _)| *births == self.births).unwrap_or_default().1
    }

    pub fn store_aliases(&self, report: &Report, aliases: &Aliases) {
        if aliases.is_empty() {
            kv::delete(&alias_key(report));
        } else {
            keep(kv::set_json(&alias_key(report), &(self.births, aliases), None));
        }
    }
}

pub fn remove_device(report: &Report) {
    kv::delete(&device_key(report));
    kv::delete(&alias_key(report));
}

fn device_key(report: &Report) -> String {
    key('d', report.group, report.node, report.device)
}

fn alias_key(report: &Report) -> String {
    key('a', report.group, report.node, report.device)
}

/// As long for long names as for short ones.
fn key(kind: char, group: &str, node: &str, device: Option<&str>) -> String {
    let mut hasher = DefaultHasher::new();
    (group, node, device).hash(&mut hasher);
    format!("{kind}{:016x}", hasher.finish())
}

/// What is not kept is missed later, as a birth that was never seen.
fn keep(kept: Result<(), String>) {
    if kept.is_err() {
        metric::count("store_refused", 1);
    }
}
