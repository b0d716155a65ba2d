//! What is kept of a program.

use hookmq_hooks::{Hook, HookSet, ProgramKind};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::super::archive::digest;

/// A program as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub enum Kept {
    Rule(KeptRule),
    Plugin(KeptPlugin),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptRule {
    pub source: String,
    /// Of the source, lower-case hex.
    pub sha256: String,
    /// What a rollback puts in force.
    pub previous: Option<String>,
    #[serde(flatten)]
    pub pushed: Pushed,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptPlugin {
    #[serde(flatten)]
    pub version: PluginVersion,
    /// What a rollback puts in force.
    pub previous: Option<PluginVersion>,
    #[serde(flatten)]
    pub pushed: Pushed,
}

/// An artefact with a configuration. The artefact itself is on the tenant's shelf.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PluginVersion {
    /// Of the artefact, lower-case hex.
    pub sha256: String,
    /// As its manifest says.
    pub version: String,
    /// Null where none was given.
    pub config: Value,
    pub bytes: u64,
    /// Of what is compiled of it.
    pub compiled_bytes: u64,
}

/// By whom it was put in force, and where it is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pushed {
    /// RFC 3339, UTC.
    pub pushed_at: String,
    /// In their own words.
    pub pushed_by: String,
    /// Those of the program, and its topics: if it does not load some day, it fails where it was asked.
    pub authorize: bool,
    pub publish: bool,
    pub deliver: bool,
    pub topics: Vec<String>,
}

/// Bytes of what a person says who they are.
const LONGEST_NAME: usize = 128;

impl Pushed {
    pub fn new<'a>(
        pushed_at: String,
        who: &str,
        hooks: HookSet,
        topics: impl IntoIterator<Item = &'a hookmq_codec::TopicFilter>,
    ) -> Self {
        Self {
            pushed_at,
            pushed_by: who[..who.floor_char_boundary(LONGEST_NAME)].to_owned(),
            authorize: hooks.authorize,
            publish: hooks.publish,
            deliver: hooks.deliver,
            topics: topics.into_iter().map(|filter| filter.as_str().to_owned()).collect(),
        }
    }
}

impl KeptRule {
    /// That the text is what was pushed.
    pub fn check(&self) -> Result<(), String> {
        match digest(self.source.as_bytes()) == self.sha256 {
            true => Ok(()),
            false => Err("the text has changed on the disk".into()),
        }
    }
}

impl KeptPlugin {
    /// The one in force, and the one before it.
    pub fn versions(&self) -> impl Iterator<Item = &PluginVersion> {
        std::iter::once(&self.version).chain(&self.previous)
    }
}

impl PluginVersion {
    /// What it takes on the disk.
    pub fn disk_bytes(&self) -> u64 {
        self.bytes.saturating_add(self.compiled_bytes)
    }
}

impl Kept {
    pub fn kind(&self) -> ProgramKind {
        match self {
            Self::Rule(_) => ProgramKind::Rule,
            Self::Plugin(_) => ProgramKind::Plugin,
        }
    }

    pub fn as_plugin(&self) -> Option<&KeptPlugin> {
        match self {
            Self::Rule(_) => None,
            Self::Plugin(plugin) => Some(plugin),
        }
    }

    pub fn pushed(&self) -> &Pushed {
        match self {
            Self::Rule(rule) => &rule.pushed,
            Self::Plugin(plugin) => &plugin.pushed,
        }
    }

    pub fn sha256(&self) -> &str {
        match self {
            Self::Rule(rule) => &rule.sha256,
            Self::Plugin(plugin) => &plugin.version.sha256,
        }
    }

    pub fn has_previous(&self) -> bool {
        match self {
            Self::Rule(rule) => rule.previous.is_some(),
            Self::Plugin(plugin) => plugin.previous.is_some(),
        }
    }

    pub fn hooks(&self) -> impl Iterator<Item = Hook> {
        let pushed = self.pushed();
        let hooks = [
            (Hook::Authorize, pushed.authorize),
            (Hook::Publish, pushed.publish),
            (Hook::Deliver, pushed.deliver),
        ];
        hooks.into_iter().filter_map(|(hook, has)| has.then_some(hook))
    }
}
