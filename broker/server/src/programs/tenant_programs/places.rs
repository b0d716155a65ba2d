//! The places that the operator gives tenants' programs.

use std::sync::Arc;

use hookmq_hooks::{
    Hook, HookSet, Meter, Pipeline, Program, ProgramIdentity, ProgramKind, Recorder,
    RecorderOptions, StepSpec, TENANT_RULES,
};

/// The places, with what all programs of tenants do there.
pub(super) struct Places {
    authorize: Option<Place>,
    publish: Option<Place>,
    deliver: Option<Place>,
    /// Nothing is recorded: what one tenant's clients send is not the operator's to look at.
    pub(super) recorder: Arc<Recorder>,
}

pub(super) struct Place {
    pub(super) spec: StepSpec,
    /// Of all tenants' programs together: one for each of thousands would be too many.
    pub(super) meter: Arc<Meter>,
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

    pub(super) fn at(&self, hook: Hook) -> Option<&Place> {
        match hook {
            Hook::Connect => None,
            Hook::Authorize => self.authorize.as_ref(),
            Hook::Publish => self.publish.as_ref(),
            Hook::Deliver => self.deliver.as_ref(),
        }
    }

    /// A hook of these that has no place.
    pub(super) fn missing(&self, hooks: HookSet) -> Option<Hook> {
        let mut asked = Hook::ALL.into_iter().filter(|hook| hooks.contains(*hook));
        asked.find(|hook| self.at(*hook).is_none())
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

    // What counts is what the tenant's programs say; nothing would be said more often than something.
    fn authorize_is_cacheable(&self) -> bool {
        true
    }
}
