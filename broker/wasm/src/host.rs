//! The engine that all plugins share, and the way of an artefact into it.

use std::sync::Arc;
use std::thread;

use hookmq_hooks::{ProgramIdentity, ProgramKind, Services};
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails,
};

use crate::artefact::Artefact;
use crate::contract::{PluginPre, clock, emit, log, metric};
use crate::error::{HostError, LoadError};
use crate::guest_log::GuestLog;
use crate::instance::{GuestState, Own, TICK};
use crate::plugin::{Template, WasmPlugin};
use crate::pool::Budget;
use crate::{HostOptions, PluginSettings};

const MAX_CONFIG_BYTES: usize = 1 << 20;
const MAX_WASM_STACK: usize = 512 << 10;
/// A component made of one module has three: the module and two that tie its imports. One from
/// componentize-py has about forty.
const CORE_INSTANCES_PER_COMPONENT: u32 = 64;
const TABLES_PER_COMPONENT: u32 = 4;
const TABLE_ELEMENTS: usize = 10_000;

/// Compiles plugins and bounds what all of them use together.
pub struct PluginHost {
    engine: Engine,
    linker: Linker<GuestState>,
    budget: Arc<Budget>,
    options: HostOptions,
    services: Arc<Services>,
}

impl PluginHost {
    /// Starts the engine, and a thread that counts its ticks for as long as the engine lives.
    ///
    /// # Errors
    /// Where the system refuses address space for the instances, or a thread.
    pub fn new(options: HostOptions, services: Arc<Services>) -> Result<Self, HostError> {
        let failed = |error: wasmtime::Error| HostError(format!("{error:#}"));
        let engine = Engine::new(&engine_config(&options)).map_err(failed)?;
        let mut linker = Linker::new(&engine);
        log::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state).map_err(failed)?;
        clock::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state).map_err(failed)?;
        metric::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state).map_err(failed)?;
        emit::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state).map_err(failed)?;
        start_ticking(&engine).map_err(|error| HostError(error.to_string()))?;
        let budget = Budget::new(options.instances);
        Ok(Self { engine, linker, budget, options, services })
    }

    /// Makes a plugin of an artefact: a component, or a core module with its component type inside.
    ///
    /// Checks manifest, imports and grants, compiles, and configures one instance. Takes tens of
    /// milliseconds of computing, more for large artefacts.
    ///
    /// # Errors
    /// Says what is wrong, where, and what would help.
    pub fn load(&self, bytes: &[u8], settings: PluginSettings) -> Result<WasmPlugin, LoadError> {
        let artefact = Artefact::read(bytes, self.options.artefact_bytes)?;
        let manifest = artefact.manifest;
        if let Some(expected) = settings.name.filter(|name| *name != manifest.name) {
            return Err(LoadError::OtherPlugin { expected, found: manifest.name });
        }
        let missing = manifest.not_granted(&settings.grants);
        if !missing.is_empty() {
            return Err(LoadError::NotGranted(missing));
        }
        let config = settings.config.to_string();
        if config.len() > MAX_CONFIG_BYTES {
            return Err(LoadError::ConfigTooLarge { size: config.len(), limit: MAX_CONFIG_BYTES });
        }
        let component = Component::new(&self.engine, &artefact.component)
            .map_err(|error| LoadError::Compile(format!("{error:#}")))?;
        let prepared = self
            .linker
            .instantiate_pre(&component)
            .and_then(PluginPre::new)
            .map_err(|error| LoadError::Contract(format!("{error:#}")))?;
        let identity = ProgramIdentity {
            kind: ProgramKind::Plugin,
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            sha256: artefact.sha256,
        };
        let limits = manifest.limit(self.options.limits.min(settings.limits));
        let own = Arc::new(Own {
            name: manifest.name.clone(),
            limits,
            grants: manifest.capabilities.clone(),
            log: GuestLog::new(manifest.name.clone()),
            services: self.services.clone(),
        });
        let template = Template { engine: self.engine.clone(), prepared, config, own };
        template.try_out(&self.budget)?;
        Ok(WasmPlugin::new(identity, manifest, template, &self.budget))
    }
}

fn engine_config(options: &HostOptions) -> Config {
    let instances = options.instances;
    let mut pooling = PoolingAllocationConfig::new();
    pooling
        .total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES_PER_COMPONENT))
        .total_memories(instances)
        .total_tables(instances.saturating_mul(TABLES_PER_COMPONENT))
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
        .max_memories_per_component(1)
        .max_tables_per_component(TABLES_PER_COMPONENT)
        .table_elements(TABLE_ELEMENTS)
        .max_memory_size(options.limits.memory_bytes);
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pooling))
        .epoch_interruption(true)
        .concurrency_support(false)
        .max_wasm_stack(MAX_WASM_STACK)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .wasm_memory64(false)
        // What ties components inside one to each other copies between memories: without this, wasmtime
        // panics at such an artefact. The allocator refuses more than one all the same.
        .wasm_multi_memory(true)
        .wasm_relaxed_simd(false)
        .wasm_tail_call(false);
    config
}

fn start_ticking(engine: &Engine) -> std::io::Result<()> {
    let engine = engine.weak();
    let tick = move || {
        loop {
            thread::sleep(TICK);
            match engine.upgrade() {
                Some(engine) => engine.increment_epoch(),
                None => return,
            }
        }
    };
    thread::Builder::new().name("plugin-ticks".into()).spawn(tick).map(drop)
}
