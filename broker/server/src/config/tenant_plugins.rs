//! The section `tenant_plugins`: bounds of the plugins that tenants own.

use std::time::Duration;

use serde::Deserialize;

use super::check::Check;
use super::document::{milliseconds, positive};
use super::error::KeyPath;
use crate::programs::TenantPluginsOptions;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a map")]
pub(super) struct TenantPluginsDocument {
    plugins_per_tenant: usize,
    #[serde(deserialize_with = "positive")]
    plugin_bytes: usize,
    #[serde(deserialize_with = "positive")]
    plugins: usize,
    #[serde(deserialize_with = "positive")]
    disk_bytes_per_tenant: u64,
    #[serde(deserialize_with = "positive")]
    disk_bytes: u64,
    #[serde(deserialize_with = "positive")]
    compile_time_ms: u64,
    #[serde(deserialize_with = "positive")]
    compile_memory_bytes: u64,
}

impl Default for TenantPluginsDocument {
    fn default() -> Self {
        let TenantPluginsOptions {
            plugins_per_tenant,
            plugin_bytes,
            plugins,
            disk_bytes_per_tenant,
            disk_bytes,
            compile_time,
            compile_memory_bytes,
        } = TenantPluginsOptions::default();
        let compile_time_ms = milliseconds(compile_time);
        Self {
            plugins_per_tenant,
            plugin_bytes,
            plugins,
            disk_bytes_per_tenant,
            disk_bytes,
            compile_time_ms,
            compile_memory_bytes,
        }
    }
}

/// Plugins of one tenant: each of a topic is asked for every message on it.
const MOST_PER_TENANT: usize = 1000;

pub(super) fn check(check: &mut Check, document: &TenantPluginsDocument) -> TenantPluginsOptions {
    let section = KeyPath::root("tenant_plugins");
    if document.plugins_per_tenant > MOST_PER_TENANT {
        let message = format!("it must not be more than {MOST_PER_TENANT}");
        check.problem(&section.key("plugins_per_tenant"), message);
    }
    TenantPluginsOptions {
        plugins_per_tenant: document.plugins_per_tenant,
        plugin_bytes: document.plugin_bytes,
        plugins: document.plugins,
        disk_bytes_per_tenant: document.disk_bytes_per_tenant,
        disk_bytes: document.disk_bytes,
        compile_time: Duration::from_millis(document.compile_time_ms),
        compile_memory_bytes: document.compile_memory_bytes,
    }
}
