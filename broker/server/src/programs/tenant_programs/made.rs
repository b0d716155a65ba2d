//! What makes a step of a tenant's text, in the sandbox alone.

use std::sync::Arc;

use hookmq_codec::TopicFilter;
use hookmq_core::Message;
use hookmq_hooks::{
    Access, AuthorizeVerdict, BreakerOptions, Breakers, Client, Condition, Control, DeliverVerdict,
    Explain, FailureKind, Hook, HookSet, Keeper, Meter, Pipeline, Program, ProgramIdentity,
    ProgramKind, ProgramName, PublishAnswer, Recorder, RecorderOptions, Services, StepFailure,
    StepParts, StepSpec, TENANT_RULES, TenantAccount, Version,
};
use hookmq_script::{RuleEngine, RuleOutline};
use hookmq_wasm::{Limits, PluginHost, Prepared};

use super::super::loader::ProgramError;
use super::super::sandbox::{SandboxedRule, plugin_settings};
use super::TenantProgramError;
use super::archive::Kept;
use super::shown::Tail;

/// The places that the operator gives tenants' rules, with what all of them do there.
pub(super) struct Places {
    authorize: Option<Place>,
    publish: Option<Place>,
    deliver: Option<Place>,
    /// Nothing is recorded: what one tenant's clients send is not the operator's to look at.
    recorder: Arc<Recorder>,
}

struct Place {
    spec: StepSpec,
    /// Of all tenants' rules together: one for each of thousands would be too many.
    meter: Arc<Meter>,
}

/// Makes rules of texts.
pub(super) struct Maker {
    pub(super) sandbox: Prepared,
    pub(super) host: PluginHost,
    pub(super) engine: RuleEngine,
    /// What tenants' rules keep and count, apart from what the operator's programs do.
    pub(super) services: Arc<Services>,
    pub(super) limits: Limits,
    pub(super) breaker: BreakerOptions,
    pub(super) places: Places,
}

/// A rule as it is in force.
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
    /// It does not load, and fails.
    Broken(Arc<BrokenRule>),
}

impl Places {
    pub(super) fn of(pipeline: &Pipeline) -> Self {
        let place = |hook| {
            let step = pipeline.steps(hook).iter().find(|step| step.is_place())?;
            Some(Place { spec: step.spec.clone(), meter: step.active.meter.clone() })
        };
        let nothing = RecorderOptions { questions: 0, ..RecorderOptions::default() };
        Self {
            authorize: place(Hook::Authorize),
            publish: place(Hook::Publish),
            deliver: place(Hook::Deliver),
            recorder: Arc::new(Recorder::new(nothing)),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        Hook::ALL.into_iter().all(|hook| self.at(hook).is_none())
    }

    fn at(&self, hook: Hook) -> Option<&Place> {
        match hook {
            Hook::Connect => None,
            Hook::Authorize => self.authorize.as_ref(),
            Hook::Publish => self.publish.as_ref(),
            Hook::Deliver => self.deliver.as_ref(),
        }
    }
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
            return Err(TenantProgramError::Connect);
        }
        let asked = Hook::ALL.into_iter().filter(|hook| outline.hooks.contains(*hook));
        match { asked }.find(|hook| self.places.at(*hook).is_none()) {
            Some(hook) => Err(TenantProgramError::NoPlace(hook)),
            None => Ok(outline),
        }
    }

    /// Makes a rule, of which nothing has run yet.
    pub(super) fn make(
        &self,
        tenant: &str,
        rule: &str,
        kept: Kept,
        outline: RuleOutline,
    ) -> Result<Made, TenantProgramError> {
        let (name, file, tail) = (full_name(tenant, rule), file(rule), Arc::<Tail>::default());
        let settings = plugin_settings(&name, &file, &kept.source, self.limits);
        let plugin = self.host.start(&self.sandbox, settings, tail.clone());
        let plugin = plugin.map_err(ProgramError::Plugin)?;
        let program = Arc::new(SandboxedRule::new(&name, &file, outline, plugin));
        Ok(self.made(kept, Runs::Sandboxed(program), tail))
    }

    /// What fails in the place of a rule that does not load.
    pub(super) fn broken(&self, tenant: &str, rule: &str, kept: Kept, reason: String) -> Made {
        let filters = kept.topics.iter().filter_map(|it| TopicFilter::new(&**it).ok());
        let broken = BrokenRule {
            identity: ProgramIdentity {
                kind: ProgramKind::Rule,
                name: full_name(tenant, rule),
                version: String::new(),
                sha256: kept.sha256.clone(),
            },
            hooks: HookSet {
                connect: false,
                authorize: kept.authorize,
                publish: kept.publish,
                deliver: kept.deliver,
            },
            topics: filters.collect(),
            reason,
        };
        self.made(kept, Runs::Broken(Arc::new(broken)), Arc::default())
    }

    fn made(&self, kept: Kept, program: Runs, tail: Arc<Tail>) -> Made {
        let breakers = Hook::ALL.map(|_| Arc::new(Breakers::new(self.breaker)));
        Made { kept, program, breakers, account: Arc::default(), tail }
    }

    /// The rule at each of its places.
    pub(super) fn steps(
        &self,
        made: &Made,
    ) -> impl Iterator<Item = (Hook, StepSpec, StepParts)> + use<> {
        let program = made.program();
        let step = |hook: Hook| {
            let place = self.places.at(hook)?;
            let name = program.identity().name.as_str().into();
            let spec = StepSpec {
                program: ProgramName { kind: ProgramKind::Rule, name },
                // The place has its own.
                condition: Condition::default(),
                control: Control::Required,
                on_failure: place.spec.on_failure.clone(),
                explain: Explain::OnRequest,
                settings: serde_json::Value::Null,
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

    /// Forgets what a rule has kept and counted.
    pub(super) fn forget(&self, tenant: &str, rule: &str) {
        let name = full_name(tenant, rule);
        let keeper = Keeper { kind: ProgramKind::Rule, name: &name };
        self.services.key_value.forget(tenant, keeper);
        self.services.metrics.forget(&name);
    }
}

impl Made {
    /// Configures one instance, which runs the rule's own tests.
    pub(super) fn try_out(&self) -> Result<(), ProgramError> {
        match &self.program {
            Runs::Sandboxed(rule) => Ok(rule.try_out()?),
            Runs::Broken(_) => Ok(()),
        }
    }

    fn program(&self) -> Arc<dyn Program> {
        match &self.program {
            Runs::Sandboxed(rule) => rule.clone(),
            Runs::Broken(rule) => rule.clone(),
        }
    }

    /// Why it does not load.
    pub(super) fn problem(&self) -> Option<&str> {
        match &self.program {
            Runs::Sandboxed(_) => None,
            Runs::Broken(rule) => Some(&rule.reason),
        }
    }

    /// Hooks where it is left alone, because it has failed too often.
    pub(super) fn left_alone(&self) -> Vec<Hook> {
        let hooks = Hook::ALL.into_iter().zip(&self.breakers);
        hooks.filter(|(_, it)| !it.open().is_empty()).map(|(hook, _)| hook).collect()
    }
}

/// What the rest of the broker calls the rule: no rule of the operator's has a slash in its name.
fn full_name(tenant: &str, rule: &str) -> String {
    format!("{tenant}/{rule}")
}

/// What problems call it.
fn file(rule: &str) -> String {
    format!("{rule}.rhai")
}

/// A rule that was accepted once and does not load any more.
struct BrokenRule {
    identity: ProgramIdentity,
    hooks: HookSet,
    topics: Vec<TopicFilter>,
    reason: String,
}

impl BrokenRule {
    fn failure(&self) -> StepFailure {
        StepFailure::new(FailureKind::Error, format!("it does not load: {}", self.reason))
    }
}

impl Program for BrokenRule {
    fn identity(&self) -> &ProgramIdentity {
        &self.identity
    }

    fn hooks(&self) -> HookSet {
        self.hooks
    }

    fn topics(&self) -> &[TopicFilter] {
        &self.topics
    }

    fn authorize(&self, _: &Arc<Client>, _: &Access<'_>) -> Result<AuthorizeVerdict, StepFailure> {
        Err(self.failure())
    }

    fn publish(&self, _: &Arc<Client>, _: &Message) -> Result<PublishAnswer, StepFailure> {
        Err(self.failure())
    }

    fn deliver(&self, _: &Arc<Client>, _: &Message) -> Result<DeliverVerdict, StepFailure> {
        Err(self.failure())
    }
}

/// The step that holds the place. It is never asked itself.
pub fn tenant_rules_place() -> Arc<dyn Program> {
    let name = TENANT_RULES.into();
    let (version, sha256) = (String::new(), String::new());
    let kind = ProgramKind::Builtin;
    Arc::new(PlaceProgram(ProgramIdentity { kind, name, version, sha256 }))
}

struct PlaceProgram(ProgramIdentity);

impl Program for PlaceProgram {
    fn identity(&self) -> &ProgramIdentity {
        &self.0
    }

    fn hooks(&self) -> HookSet {
        HookSet { connect: false, authorize: true, publish: true, deliver: true }
    }

    // What counts is what the tenant's rules say; nothing would be said more often than something.
    fn authorize_is_cacheable(&self) -> bool {
        true
    }
}
