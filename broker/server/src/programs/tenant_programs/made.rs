//! What makes a step of what a tenant has pushed, in the sandbox alone.

use std::sync::Arc;
use std::time::Duration;

use hookmq_hooks::{
    BreakerOptions, Breakers, Explain, Hook, Keeper, Program, ProgramKind, ProgramName, Services,
    StepParts, StepSpec, TenantAccount, Version,
};
use hookmq_script::{RuleEngine, RuleOutline};
use hookmq_wasm::{
    ApartLimits, Limits, MachineCode, Manifest, PluginHost, PluginSettings, Prepared, WasmPlugin,
};

use super::super::loader::ProgramError;
use super::super::sandbox::{SandboxedRule, plugin_settings, sandbox_grants};
use super::TenantProgramError;
use super::archive::{Kept, KeptPlugin, KeptRule};
use super::bounds::{TOPICS, TenantPluginsOptions};
use super::broken::Broken;
use super::places::Places;
use super::shelf::Shelf;
use super::shown::Tail;

/// Makes programs of texts and artefacts.
pub(super) struct Maker {
    pub(super) sandbox: Prepared,
    pub(super) host: PluginHost,
    pub(super) engine: RuleEngine,
    /// What tenants' programs keep and count, apart from what the operator's do.
    pub(super) services: Arc<Services>,
    pub(super) limits: Limits,
    pub(super) breaker: BreakerOptions,
    pub(super) places: Places,
    pub(super) plugins: TenantPluginsOptions,
}

/// A program as it is in force.
pub(super) struct Made {
    pub(super) kept: Kept,
    program: Runs,
    /// By hook, in the order of [`Hook::ALL`].
    breakers: [Arc<Breakers>; 4],
    pub(super) account: Arc<TenantAccount>,
    pub(super) tail: Arc<Tail>,
}

enum Runs {
    Sandboxed(Arc<SandboxedRule>),
    Plugin(Arc<WasmPlugin>),
    /// It does not load, and fails.
    Broken(Arc<Broken>),
}

impl Maker {
    /// What stands in a text, of which nothing is run here.
    pub(super) fn outline(
        &self,
        rule: &str,
        source: &str,
    ) -> Result<RuleOutline, TenantProgramError> {
        let outline = self.engine.outline(&file(rule), source).map_err(ProgramError::Rule)?;
        if outline.hooks.connect {
            return Err(TenantProgramError::Connect(ProgramKind::Rule));
        }
        match self.places.missing(outline.hooks) {
            Some(hook) => Err(TenantProgramError::NoPlace(hook)),
            None => Ok(outline),
        }
    }

    /// What an artefact says of itself, where a plugin of a tenant may say so. Nothing is compiled.
    pub(super) fn manifest(&self, artefact: &[u8]) -> Result<Manifest, TenantProgramError> {
        let manifest = Manifest::of_artefact(artefact).map_err(ProgramError::Plugin)?;
        if manifest.hooks.connect {
            return Err(TenantProgramError::Connect(ProgramKind::Plugin));
        }
        let beyond = beyond(&manifest);
        if !beyond.is_empty() {
            return Err(TenantProgramError::NotOffered(beyond));
        }
        let count = manifest.topics.len().max(manifest.capabilities.emit.len());
        if count > TOPICS {
            return Err(TenantProgramError::TooManyTopics { count });
        }
        match self.places.missing(manifest.hooks) {
            Some(hook) => Err(TenantProgramError::NoPlace(hook)),
            None => Ok(manifest),
        }
    }

    /// An artefact as it was compiled before, if it was by this version of the broker.
    pub(super) fn find(
        &self,
        artefact: &[u8],
        shelf: &Shelf,
    ) -> Result<Option<Prepared>, ProgramError> {
        Ok(self.host.prepare_kept(artefact, shelf.directory())?)
    }

    /// Compiles an artefact; one at a time. How long the compiler is busy with it is added to `busy`.
    pub(super) fn compile(
        &self,
        artefact: &[u8],
        busy: &mut Duration,
    ) -> Result<(Prepared, MachineCode), ProgramError> {
        let limits = ApartLimits {
            time: self.plugins.compile_time,
            memory_bytes: self.plugins.compile_memory_bytes,
            compiled_bytes: self.plugins.disk_bytes_per_tenant,
        };
        Ok(self.host.prepare_apart(artefact, limits, busy)?)
    }

    /// Makes a rule, of which nothing has run yet.
    pub(super) fn make_rule(
        &self,
        tenant: &str,
        rule: &str,
        kept: KeptRule,
        outline: RuleOutline,
    ) -> Result<Made, TenantProgramError> {
        let (name, file, tail) = (full_name(tenant, rule), file(rule), Arc::<Tail>::default());
        let settings = plugin_settings(&name, &file, &kept.source, self.limits);
        let plugin = self.host.start(&self.sandbox, settings, tail.clone());
        let plugin = plugin.map_err(ProgramError::Plugin)?;
        let program = Arc::new(SandboxedRule::new(&name, &file, outline, plugin));
        Ok(self.made(Kept::Rule(kept), Runs::Sandboxed(program), tail))
    }

    /// Makes a plugin, of which nothing has run yet.
    pub(super) fn make_plugin(
        &self,
        tenant: &str,
        name: &str,
        kept: KeptPlugin,
        prepared: &Prepared,
    ) -> Result<Made, TenantProgramError> {
        let (tail, full_name) = (Arc::<Tail>::default(), full_name(tenant, name));
        let settings = PluginSettings {
            name: None,
            alias: Some(ProgramName { kind: ProgramKind::Plugin, name: full_name.into() }),
            home: Some(tenant.into()),
            config: kept.version.config.clone(),
            limits: self.limits,
            grants: sandbox_grants(),
        };
        let plugin = self.host.start(prepared, settings, tail.clone());
        let plugin = Arc::new(plugin.map_err(ProgramError::Plugin)?);
        Ok(self.made(Kept::Plugin(kept), Runs::Plugin(plugin), tail))
    }

    /// What fails in the place of a program that does not load.
    pub(super) fn broken(&self, tenant: &str, name: &str, kept: Kept, reason: String) -> Made {
        let broken = Broken::new(full_name(tenant, name), &kept, reason);
        self.made(kept, Runs::Broken(Arc::new(broken)), Arc::default())
    }

    fn made(&self, kept: Kept, program: Runs, tail: Arc<Tail>) -> Made {
        let breakers = Hook::ALL.map(|_| Arc::new(Breakers::new(self.breaker)));
        Made { kept, program, breakers, account: Arc::default(), tail }
    }

    /// The program at each of its places.
    pub(super) fn steps(
        &self,
        made: &Made,
    ) -> impl Iterator<Item = (Hook, StepSpec, StepParts)> + use<> {
        let program = made.program();
        let step = |hook: Hook| {
            let place = self.places.at(hook)?;
            // The place has conditions of its own.
            let spec = StepSpec {
                on_failure: place.spec.on_failure.clone(),
                explain: Explain::OnRequest,
                ..StepSpec::new(made.kept.kind(), program.identity().name.as_str())
            };
            let active = Version {
                program: program.clone(),
                meter: place.meter.clone(),
                breakers: made.breakers[hook as usize].clone(),
            };
            let (recorder, account) = (self.places.recorder.clone(), Some(made.account.clone()));
            Some((hook, spec, StepParts { active, trial: None, recorder, account }))
        };
        made.kept.hooks().filter_map(step).collect::<Vec<_>>().into_iter()
    }

    /// Forgets what a program has kept and counted.
    pub(super) fn forget(&self, tenant: &str, kind: ProgramKind, name: &str) {
        let name = full_name(tenant, name);
        self.services.key_value.forget(tenant, Keeper { kind, name: &name });
        self.services.metrics.forget(&name);
    }
}

impl Made {
    /// Configures one instance; a rule runs its own tests there.
    pub(super) fn try_out(&self) -> Result<(), ProgramError> {
        match &self.program {
            Runs::Sandboxed(rule) => Ok(rule.try_out()?),
            Runs::Plugin(plugin) => Ok(plugin.try_out()?),
            Runs::Broken(_) => Ok(()),
        }
    }

    fn program(&self) -> Arc<dyn Program> {
        match &self.program {
            Runs::Sandboxed(rule) => rule.clone(),
            Runs::Plugin(plugin) => plugin.clone(),
            Runs::Broken(broken) => broken.clone(),
        }
    }

    /// Why it does not load.
    pub(super) fn problem(&self) -> Option<&str> {
        match &self.program {
            Runs::Sandboxed(_) | Runs::Plugin(_) => None,
            Runs::Broken(broken) => Some(&broken.reason),
        }
    }

    /// Hooks where it is left alone, because it has failed too often.
    pub(super) fn left_alone(&self) -> Vec<Hook> {
        let hooks = Hook::ALL.into_iter().zip(&self.breakers);
        hooks.filter(|(_, it)| !it.open().is_empty()).map(|(hook, _)| hook).collect()
    }
}

/// What a manifest asks for beyond what a rule may do. A wish for whatever is granted is one for more, too.
fn beyond(manifest: &Manifest) -> Vec<String> {
    let asked = &manifest.capabilities;
    let mut beyond = asked.not_granted(&sandbox_grants());
    for (name, is_open) in [
        ("http *", !asked.http.is_empty() && asked.http.named().is_empty()),
        ("secrets *", !asked.secrets.is_empty() && asked.secrets.named().is_empty()),
    ] {
        if is_open {
            beyond.push(name.into());
        }
    }
    beyond
}

/// What the rest of the broker calls the program: none of the operator's has a slash in its name.
fn full_name(tenant: &str, name: &str) -> String {
    format!("{tenant}/{name}")
}

/// What problems call a rule.
fn file(rule: &str) -> String {
    format!("{rule}.rhai")
}
