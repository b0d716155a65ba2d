//! How much tenants may push, and why it is refused.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hookmq_hooks::{Hook, ProgramKind};

use super::super::loader::ProgramError;

/// Figures that programs may have.
pub(super) const FIGURES: Figures = Figures { of_tenant: 100, all: 100_000 };

pub(super) struct Figures {
    pub(super) of_tenant: usize,
    pub(super) all: usize,
}

/// Bounds of the rules that tenants push, and of what they share with plugins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TenantRulesOptions {
    /// Of one tenant.
    pub rules_per_tenant: usize,
    /// Bytes of one rule.
    pub rule_bytes: usize,
    /// Of all tenants together.
    pub rules: usize,
    /// Changes of rules and plugins that one tenant may try, those that are refused included.
    pub pushes_per_minute: u32,
    /// Bytes that the rules and plugins of one tenant may keep between calls.
    pub kept_bytes: usize,
    /// Instances of all tenants' rules and plugins together, apart from those of the operator's.
    pub instances: u32,
}

impl Default for TenantRulesOptions {
    fn default() -> Self {
        Self {
            rules_per_tenant: 16,
            rule_bytes: 16 << 10,
            rules: 16_000,
            pushes_per_minute: 30,
            kept_bytes: 256 << 10,
            instances: 256,
        }
    }
}

/// Bounds of the plugins that tenants push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TenantPluginsOptions {
    /// Of one tenant; 0: none may have any.
    pub plugins_per_tenant: usize,
    /// Bytes of one artefact.
    pub plugin_bytes: usize,
    /// Of all tenants together.
    pub plugins: usize,
    /// Of one tenant: artefacts, those before them, and what is compiled of both.
    pub disk_bytes_per_tenant: u64,
    /// The same of all tenants. What is compiled of those in force is in memory, too.
    pub disk_bytes: u64,
    /// Of one compilation.
    pub compile_time: Duration,
    pub compile_memory_bytes: u64,
}

impl Default for TenantPluginsOptions {
    fn default() -> Self {
        Self {
            plugins_per_tenant: 4,
            plugin_bytes: 4 << 20,
            plugins: 1000,
            disk_bytes_per_tenant: 32 << 20,
            disk_bytes: 1 << 30,
            compile_time: Duration::from_secs(10),
            compile_memory_bytes: 1 << 30,
        }
    }
}

/// Bytes of a plugin's configuration, as JSON.
pub(super) const CONFIG_BYTES: usize = 16 << 10;

/// Topics that one plugin may ask for, and as many that it may emit to: a text that names more is longer
/// than a rule may be.
pub(super) const TOPICS: usize = 1000;

/// Why a tenant's program is not put in force, or not found.
#[derive(Debug, thiserror::Error)]
pub enum TenantProgramError {
    #[error("the pipeline has no place for tenants' programs in {0:?}")]
    NoPlace(Hook),
    #[error("a tenant's {} has no `connect`: no tenant says who comes in", .0.name())]
    Connect(ProgramKind),
    #[error("the plugin asks for what no plugin of a tenant may have: {}", .0.join(", "))]
    NotOffered(Vec<String>),
    #[error("the plugin names {count} topics; {TOPICS} are allowed")]
    TooManyTopics { count: usize },
    #[error("the configuration of the plugin is not JSON: {0}")]
    Config(serde_json::Error),
    #[error("the {} has {size} bytes; {most} are allowed", .kind.name())]
    TooLong { kind: ProgramKind, size: usize, most: usize },
    #[error("the configuration has {size} bytes; {CONFIG_BYTES} are allowed")]
    ConfigTooLong { size: usize },
    #[error("the tenant has {count} {}s, which is as many as it may", .kind.name())]
    TooMany { kind: ProgramKind, count: usize },
    #[error("all tenants together have {most} {}s, which is as many as the broker takes", .kind.name())]
    Full { kind: ProgramKind, most: usize },
    #[error(
        "the tenant's plugins would take {bytes} bytes with what is compiled of them and those before \
         them; {most} are allowed"
    )]
    TooMuchDisk { bytes: u64, most: u64 },
    #[error("the plugins of all tenants take {0} bytes, which is as many as the broker keeps")]
    DiskFull(u64),
    #[error("the tenant has a {} of this name", .0.name())]
    Taken(ProgramKind),
    #[error("the tenant may try {0} changes of its rules and plugins in a minute")]
    TooOften(u32),
    #[error("a plugin of the tenant is being pushed: wait for the answer to that")]
    Pushing,
    #[error("the tenant has no {} of this name", .0.name())]
    NoSuch(ProgramKind),
    #[error("the {} has no version to go back to", .0.name())]
    NoPrevious(ProgramKind),
    #[error("what is kept of the tenant's programs cannot be read: {0}")]
    Unreadable(String),
    #[error("cannot keep the program: {0}")]
    Archive(io::Error),
    #[error(transparent)]
    Program(#[from] ProgramError),
}

/// How much of something all tenants together have.
#[derive(Debug, Default)]
pub(super) struct Tally(AtomicU64);

impl Tally {
    pub(super) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Room for what one tenant has, which is to change; none where all would then have more than `most`.
    pub(super) fn change(&self, from: u64, to: u64, most: u64) -> Option<Room<'_>> {
        let grown = to.saturating_sub(from);
        let more = |all: u64| (grown == 0 || all + grown <= most).then_some(all + grown);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Room { tally: self, grown, shrunk: from.saturating_sub(to) })
    }

    /// What was there already is added, and what goes is taken away, whatever the bound.
    pub(super) fn replace(&self, from: u64, to: u64) {
        if let Some(room) = self.change(from, to, u64::MAX) {
            room.take();
        }
    }
}

/// Room for a change, given back unless the change is made.
pub(super) struct Room<'a> {
    tally: &'a Tally,
    grown: u64,
    shrunk: u64,
}

impl Room<'_> {
    /// The change is made.
    pub(super) fn take(mut self) {
        self.grown = 0;
        self.tally.0.fetch_sub(self.shrunk, Ordering::Relaxed);
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.tally.0.fetch_sub(self.grown, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_that_is_not_taken_is_given_back() {
        let tally = Tally::default();
        tally.replace(0, 3);
        assert!(tally.change(3, 6, 5).is_none());
        drop(tally.change(3, 5, 5).expect("room for 5"));
        assert_eq!(tally.value(), 3);
        tally.change(3, 5, 5).expect("room for 5").take();
        assert_eq!(tally.value(), 5);
        // Whoever has too much may have less.
        tally.change(5, 4, 1).expect("no more than before").take();
        assert_eq!(tally.value(), 4);
    }
}
