//! The engine that all plugins share, and the way of an artefact into it.

mod apart;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread;

use hookmq_hooks::{ProgramIdentity, ProgramKind, ProgramName, Services};
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

pub use self::apart::MachineCode;
use crate::artefact::Artefact;
use crate::compilation::{self, Compiler};
use crate::contract::PluginPre;
use crate::error::{HostError, LoadError};
use crate::guest_log::{GuestLog, Journal};
use crate::http::{Http, NoNetwork};
use crate::instance::{GuestState, Own, TICK};
use crate::plugin::{Template, WasmPlugin};
use crate::pool::Budget;
use crate::{Grants, HostOptions, HttpClient, Manifest, PluginSettings, Wish, imports};

const MAX_CONFIG_BYTES: usize = 1 << 20;
/// A component made of one module has three: the module and two that tie its imports. One from
/// componentize-py has about forty.
const CORE_INSTANCES_PER_COMPONENT: u32 = 64;
const TABLES_PER_COMPONENT: u32 = 4;
const TABLE_ELEMENTS: usize = 10_000;

/// Compiles plugins and bounds what all of them use together.
pub struct PluginHost {
    engine: Engine,
    compiler: Compiler,
    linker: Linker<GuestState>,
    budget: Arc<Budget>,
    options: HostOptions,
    services: Arc<Services>,
    http: Arc<Http>,
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
        imports::add_to_linker(&mut linker).map_err(failed)?;
        start_ticking(&engine).map_err(|error| HostError(error.to_string()))?;
        let budget = Budget::new(options.instances);
        let http = Arc::new(Http::new(options.http, Arc::new(NoNetwork)));
        let compiler = Compiler::new(options.compilation.clone());
        Ok(Self { engine, compiler, linker, budget, options, services, http })
    }

    /// The same, with requests of plugins sent by `client`. Without one they fail.
    #[must_use]
    pub fn with_http_client(self, client: Arc<dyn HttpClient>) -> Self {
        Self { http: Arc::new(Http::new(self.options.http, client)), ..self }
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
        let config = checked(&artefact.manifest, &settings)?;
        let plugin = self.make(&self.compiled(artefact)?, settings, config, None)?;
        plugin.try_out()?;
        Ok(plugin)
    }

    /// Checks and compiles an artefact that many plugins are to be made of.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn prepare(&self, bytes: &[u8]) -> Result<Prepared, LoadError> {
        self.compiled(Artefact::read(bytes, self.options.artefact_bytes)?)
    }

    /// Makes a plugin of what was prepared, which takes no time: it is not configured before it is called,
    /// or [tried out](WasmPlugin::try_out). What it logs goes to the journal.
    ///
    /// # Errors
    /// Where the settings do not fit what it asks for.
    pub fn start(
        &self,
        prepared: &Prepared,
        settings: PluginSettings,
        journal: Arc<dyn Journal>,
    ) -> Result<WasmPlugin, LoadError> {
        let config = checked(&prepared.manifest, &settings)?;
        self.make(prepared, settings, config, Some(journal))
    }

    /// Instances that there are, idle or at work.
    pub fn instances(&self) -> u32 {
        self.budget.instances()
    }

    fn compiled(&self, artefact: Artefact<'_>) -> Result<Prepared, LoadError> {
        let component = self.compiler.compile(&self.engine, &artefact.component)?;
        self.linked(artefact.manifest, artefact.sha256, &component)
    }

    fn linked(
        &self,
        manifest: Manifest,
        sha256: String,
        component: &Component,
    ) -> Result<Prepared, LoadError> {
        let component = self
            .linker
            .instantiate_pre(component)
            .and_then(PluginPre::new)
            .map_err(|error| LoadError::Contract(format!("{error:#}")))?;
        Ok(Prepared { manifest, sha256, component })
    }

    fn make(
        &self,
        Prepared { manifest, sha256, component }: &Prepared,
        settings: PluginSettings,
        config: String,
        journal: Option<Arc<dyn Journal>>,
    ) -> Result<WasmPlugin, LoadError> {
        let limits = manifest.limit(self.options.limits.min(settings.limits));
        let name = settings.alias.unwrap_or_else(|| ProgramName {
            kind: ProgramKind::Plugin,
            name: manifest.name.as_str().into(),
        });
        let identity = ProgramIdentity {
            kind: name.kind,
            name: name.name.to_string(),
            version: manifest.version.clone(),
            sha256: sha256.clone(),
        };
        let own = Arc::new(Own {
            home: settings.home.unwrap_or_default(),
            limits,
            grants: used(manifest, settings.grants),
            log: GuestLog::new(name.name.to_string(), journal),
            name,
            services: self.services.clone(),
            http: self.http.clone(),
            memory: AtomicU64::new(0),
        });
        let (engine, prepared) = (self.engine.clone(), component.clone());
        let template = Template { engine, prepared, config, own };
        WasmPlugin::start(identity, manifest.clone(), template, &self.budget)
    }
}

/// An artefact that is checked and compiled.
pub struct Prepared {
    manifest: Manifest,
    /// Of the artefact.
    sha256: String,
    component: PluginPre<GuestState>,
}

/// The configuration, where name, grants and size are in order.
fn checked(manifest: &Manifest, settings: &PluginSettings) -> Result<String, LoadError> {
    if let Some(expected) = settings.name.as_ref().filter(|name| **name != manifest.name) {
        let (expected, found) = (expected.clone(), manifest.name.clone());
        return Err(LoadError::OtherPlugin { expected, found });
    }
    let missing = manifest.capabilities.not_granted(&settings.grants);
    if !missing.is_empty() {
        let (plugin, asked) = (manifest.name.clone(), Box::new(manifest.capabilities.clone()));
        return Err(LoadError::NotGranted { plugin, asked, missing });
    }
    let config = settings.config.to_string();
    if config.len() > MAX_CONFIG_BYTES {
        return Err(LoadError::ConfigTooLarge { size: config.len(), limit: MAX_CONFIG_BYTES });
    }
    Ok(config)
}

/// What the plugin asks for of what it is granted, which is all of it: nothing that is granted to
/// spare is at hand.
fn used(manifest: &Manifest, granted: Grants) -> Grants {
    let asked = &manifest.capabilities;
    let mut secrets = granted.secrets;
    if let Wish::These(names) = &asked.secrets {
        secrets.retain(|name, _| names.contains(name));
    }
    let http = match &asked.http {
        Wish::These(origins) => origins.clone(),
        Wish::Granted => granted.http,
    };
    Grants {
        log: asked.log,
        clock: asked.clock,
        metric: asked.metric,
        kv: asked.kv,
        emit: asked.emit.clone(),
        http,
        secrets,
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
    let mut config = compilation::engine_config();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling));
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
