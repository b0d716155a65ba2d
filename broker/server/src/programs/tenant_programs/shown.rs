//! What a tenant is shown of its programs.

use std::collections::VecDeque;

use hookmq_hooks::{Hook, LastFailure};
use hookmq_wasm::Journal;
use parking_lot::Mutex;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tracing::Level;

use super::archive::{Kept, PluginVersion};
use super::made::Made;

/// A rule or a plugin as its tenant sees it.
#[derive(Debug, serde::Serialize)]
pub struct Shown {
    pub tenant: String,
    pub name: String,
    pub sha256: String,
    #[serde(flatten)]
    pub plugin: Option<ShownPlugin>,
    pub hooks: Vec<Hook>,
    /// None of them means all.
    pub topics: Vec<String>,
    pub pushed_at: String,
    pub pushed_by: String,
    /// Whether there is a version to go back to.
    pub has_previous: bool,
    /// Why it does not load, and fails.
    pub problem: Option<String>,
    /// Of this version, since it is in force or the broker runs.
    pub calls: u64,
    pub failures: u64,
    pub busy_ms: u64,
    pub last_failure: Option<LastFailure>,
    /// Where it is not asked for a while, because it has failed too often.
    pub left_alone: Vec<Hook>,
    /// What this version has logged last, oldest first; not in a list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<Told>,
    /// Of a rule; not in a list.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
}

/// What plugins alone have.
#[derive(Debug, serde::Serialize)]
pub struct ShownPlugin {
    /// As its manifest says.
    pub version: String,
    pub bytes: u64,
    pub compiled_bytes: u64,
    pub config: Value,
}

impl Shown {
    pub(super) fn new(tenant: &str, name: &str, made: &Made) -> Self {
        let (kept, pushed, account) = (&made.kept, made.kept.pushed(), &made.account);
        let (plugin, source) = match kept {
            Kept::Rule(rule) => (None, rule.source.clone()),
            Kept::Plugin(plugin) => (Some(ShownPlugin::new(&plugin.version)), String::new()),
        };
        Self {
            tenant: tenant.to_owned(),
            name: name.to_owned(),
            sha256: kept.sha256().to_owned(),
            plugin,
            hooks: kept.hooks().collect(),
            topics: pushed.topics.clone(),
            pushed_at: pushed.pushed_at.clone(),
            pushed_by: pushed.pushed_by.clone(),
            has_previous: kept.has_previous(),
            problem: made.problem().map(str::to_owned),
            calls: account.calls(),
            failures: account.failures(),
            busy_ms: u64::try_from(account.busy().as_millis()).unwrap_or(u64::MAX),
            last_failure: account.last_failure(),
            left_alone: made.left_alone(),
            log: made.tail.lines(),
            source,
        }
    }

    /// Without what is long.
    #[must_use]
    pub fn brief(self) -> Self {
        Self { log: vec![], source: String::new(), ..self }
    }
}

impl ShownPlugin {
    fn new(version: &PluginVersion) -> Self {
        let PluginVersion { version, config, bytes, compiled_bytes, .. } = version.clone();
        Self { version, bytes, compiled_bytes, config }
    }
}

/// A line that a program has logged.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Told {
    /// RFC 3339, UTC.
    pub at: String,
    pub level: &'static str,
    pub line: String,
}

/// The last lines of a program's log. They are the tenant's: in the broker's log tenants could write as much
/// as they like.
#[derive(Default)]
pub(super) struct Tail(Mutex<VecDeque<Told>>);

/// Lines that are kept, and bytes of each: there may be many thousands of programs.
const LINES: usize = 16;
const LONGEST: usize = 256;

impl Tail {
    fn lines(&self) -> Vec<Told> {
        self.0.lock().iter().cloned().collect()
    }
}

impl Journal for Tail {
    fn write(&self, level: Level, line: &str) {
        let at = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
        let level = match level {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            _ => "debug",
        };
        let line = line[..line.floor_char_boundary(LONGEST)].to_owned();
        let mut lines = self.0.lock();
        if lines.len() >= LINES {
            lines.pop_front();
        }
        lines.push_back(Told { at, level, line });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_long_ones_cut() {
        let tail = Tail::default();
        for number in 0..100 {
            tail.write(Level::INFO, &format!("{number} {}", "ü".repeat(1000)));
        }
        let lines = tail.lines();
        assert_eq!((lines.len(), lines[0].level), (LINES, "info"));
        assert!(lines[0].line.starts_with("84 ") && lines[LINES - 1].line.len() <= LONGEST);
    }
}
