//! What the operator sets: limits, grants, and a plugin's own configuration.

use std::sync::Arc;
use std::time::Duration;

use hookmq_hooks::ProgramName;

use crate::{Compilation, Grants, HttpLimits};

/// How the plugin host as a whole is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostOptions {
    /// Largest artefact that is accepted, in bytes.
    pub artefact_bytes: usize,
    /// Instances of all plugins and tenants together. Each holds at most `limits.memory_bytes`.
    /// When they are used up, idle ones make room.
    pub instances: u32,
    /// The most that any plugin gets.
    pub limits: Limits,
    /// What plugins may ask of the network.
    pub http: HttpLimits,
    pub compilation: Compilation,
}

impl Default for HostOptions {
    fn default() -> Self {
        Self {
            artefact_bytes: 16 << 20,
            instances: 256,
            limits: Limits::default(),
            http: HttpLimits::default(),
            compilation: Compilation::default(),
        }
    }
}

/// What one plugin may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of one instance.
    pub memory_bytes: usize,
    /// Time of one call, in ticks of 10 ms. The second half is counted in processor time, so a call
    /// takes longer on a machine too busy to run it.
    pub time: Duration,
    /// Bytes that a guest hands over in one answer or one log line.
    pub output_bytes: usize,
    /// Messages emitted by one call.
    pub emitted_messages: usize,
    /// Uses of the key-value store in one call.
    pub kv_calls: u32,
    /// After so many calls an instance gives way to a fresh one.
    pub calls_per_instance: u32,
    /// Instances of one plugin for one tenant, which is how many calls run at once.
    pub instances_per_tenant: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 16 << 20,
            time: Duration::from_millis(50),
            output_bytes: 2 << 20,
            emitted_messages: 16,
            kv_calls: 1000,
            calls_per_instance: 100_000,
            instances_per_tenant: 64,
        }
    }
}

impl Limits {
    /// The larger of each.
    #[must_use]
    pub fn widest(self, other: &Self) -> Self {
        Self {
            memory_bytes: self.memory_bytes.max(other.memory_bytes),
            time: self.time.max(other.time),
            output_bytes: self.output_bytes.max(other.output_bytes),
            emitted_messages: self.emitted_messages.max(other.emitted_messages),
            kv_calls: self.kv_calls.max(other.kv_calls),
            calls_per_instance: self.calls_per_instance.max(other.calls_per_instance),
            instances_per_tenant: self.instances_per_tenant.max(other.instances_per_tenant),
        }
    }

    /// The smaller of each.
    pub fn min(self, other: Self) -> Self {
        Self {
            memory_bytes: self.memory_bytes.min(other.memory_bytes),
            time: self.time.min(other.time),
            output_bytes: self.output_bytes.min(other.output_bytes),
            emitted_messages: self.emitted_messages.min(other.emitted_messages),
            kv_calls: self.kv_calls.min(other.kv_calls),
            calls_per_instance: self.calls_per_instance.min(other.calls_per_instance),
            instances_per_tenant: self.instances_per_tenant.min(other.instances_per_tenant),
        }
    }
}

/// What the operator sets for one plugin.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PluginSettings {
    /// The plugin that they are for: no other gets its configuration and its grants.
    pub name: Option<String>,
    /// What it is called, and its figures, kept values and log lines stand under, instead of its own name.
    pub alias: Option<ProgramName>,
    /// The tenant that owns it, if one does: it is tried out for nobody else, and what it keeps while it is
    /// configured is that tenant's.
    pub home: Option<Arc<str>>,
    /// Handed to the plugin as JSON; null lets it use its defaults.
    pub config: serde_json::Value,
    /// Cut down further by the host's limits and by those that the manifest asks for.
    pub limits: Limits,
    pub grants: Grants,
}
