//! The plugin host of a broker: where it compiles, and who sends its requests.

use std::path::PathBuf;
use std::sync::Arc;

use hookmq_hooks::Services;
use hookmq_wasm::{ChildCompilation, Compilation, HostError, HostOptions, PluginHost};

use crate::config::Config;
use crate::outbound::Outbound;

/// Where compiled plugins are kept, in the data directory.
pub const COMPILED: &str = "compiled";

/// The host of the operator's plugins, who may be granted requests.
pub(super) fn plugin_host(
    config: &Config,
    services: &Arc<Services>,
) -> Result<PluginHost, HostError> {
    let plugins = &config.plugins;
    let host = plugin_host_with(config, plugins.host.clone(), services)?;
    if plugins.grants.values().all(|grants| grants.http.is_empty()) {
        return Ok(host);
    }
    let outbound = Outbound::new(&plugins.http).map_err(|error| HostError(error.to_string()))?;
    Ok(host.with_http_client(Arc::new(outbound)))
}

/// Plugins are compiled in child processes, by this program under another name.
pub(super) fn plugin_host_with(
    config: &Config,
    options: HostOptions,
    services: &Arc<Services>,
) -> Result<PluginHost, HostError> {
    let compilation = Compilation::Child(ChildCompilation {
        program: this_program(),
        limits: config.plugins.compile,
        cache: config.data_dir.join(COMPILED),
    });
    PluginHost::new(HostOptions { compilation, ..options }, services.clone())
}

/// The file that this process was started from, even where another lies in its place by now.
fn this_program() -> PathBuf {
    let this = PathBuf::from("/proc/self/exe");
    if this.exists() { this } else { std::env::current_exe().unwrap_or(this) }
}
