//! Programs without a broker, for the command line: in the broker's engines, with its default limits.

use std::collections::BTreeMap;
use std::sync::Arc;

use hookmq_hooks::{Program, Secret};
use hookmq_script::{RuleEngine, RuleLimits};
use hookmq_wasm::{Grants, HostOptions, Limits, Manifest, PluginHost, PluginSettings};
use serde_json::Value;

use super::lent::{Lent, monotonic_clock};
use super::loader::{ProgramError, log_of_rule};
use super::sandbox::{self, SandboxedRule};

/// The engine that rules get, with a store and figures of its own.
pub fn rule_engine() -> RuleEngine {
    RuleEngine::new(RuleLimits::default(), monotonic_clock)
        .with_host(Arc::new(Lent::new(Arc::default())))
        .with_log(Arc::new(log_of_rule))
}

/// The rule in the plugin `rule-engine`, whose artefact `engine` is.
///
/// # Errors
/// What is wrong with the rule or the artefact.
pub fn sandboxed_rule(
    file: &str,
    source: &str,
    engine: &[u8],
) -> Result<impl Program + use<>, ProgramError> {
    let outline = rule_engine().outline(file, source).map_err(ProgramError::Rule)?;
    let settings = sandbox::plugin_settings("rule", file, source, Limits::default());
    let host = PluginHost::new(HostOptions::default(), Arc::default())?;
    let plugin = host.load(engine, settings)?;
    Ok(SandboxedRule::new("rule", file, outline, plugin))
}

/// The plugin, granted all that it asks for, with so much memory for an instance and whatever the size
/// of its artefact. There is no network, so that requests of it fail.
///
/// # Errors
/// What is wrong with the artefact, or why the plugin does not start.
pub fn plugin(
    artefact: &[u8],
    config: Value,
    secrets: BTreeMap<String, Secret>,
    memory_bytes: usize,
) -> Result<impl Program + use<>, ProgramError> {
    let asked = Manifest::of_artefact(artefact)?.capabilities;
    let grants = Grants {
        log: true,
        clock: true,
        metric: true,
        kv: true,
        http: asked.http.named().to_vec(),
        emit: asked.emit,
        secrets,
    };
    let limits = Limits { memory_bytes, ..Limits::default() };
    let settings = PluginSettings { config, grants, limits, ..PluginSettings::default() };
    let options = HostOptions { artefact_bytes: artefact.len(), limits, ..HostOptions::default() };
    Ok(PluginHost::new(options, Arc::default())?.load(artefact, settings)?)
}
