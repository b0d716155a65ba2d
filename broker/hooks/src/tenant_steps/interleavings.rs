//! Every order in which a tenant's steps change and its clients look at them.

use loom::sync::Arc as Shared;
use loom::thread;

use super::*;
use crate::{Condition, Control, FailurePolicy, HookSet, Program, ProgramIdentity, PublishAnswer};

struct Nothing(ProgramIdentity);

impl Program for Nothing {
    fn identity(&self) -> &ProgramIdentity {
        &self.0
    }

    fn hooks(&self) -> HookSet {
        HookSet { publish: true, ..HookSet::default() }
    }

    fn publish(
        &self,
        _: &Arc<Client>,
        _: &hookmq_core::Message,
    ) -> Result<PublishAnswer, StepFailure> {
        Ok(PublishAnswer::default())
    }
}

/// So many steps that do nothing.
fn steps(count: u64) -> TenantSteps {
    let step = |_| {
        let kind = ProgramKind::Rule;
        let identity = ProgramIdentity {
            kind,
            name: "nothing".into(),
            version: String::new(),
            sha256: String::new(),
        };
        let program: Arc<dyn Program> = Arc::new(Nothing(identity));
        let spec = StepSpec::new(kind, "nothing");
        (Hook::Publish, spec, program.into())
    };
    TenantSteps::assemble((0..count).map(step)).expect("steps of publish")
}

#[test]
fn whoever_has_seen_a_generation_has_its_steps_or_later_ones() {
    loom::model(|| {
        let cell = Shared::new(TenantStepsCell::default());
        let reader = {
            let cell = cell.clone();
            thread::spawn(move || {
                for _ in 0..2 {
                    let announced = cell.generation();
                    let found = cell.load().publish.steps.len() as u64;
                    assert!(found >= announced, "{found} after {announced}");
                }
            })
        };
        (1..=2).for_each(|count| cell.store(steps(count)));
        reader.join().expect("a reader");
        assert_eq!((cell.generation(), cell.load().publish.steps.len()), (2, 2));
    });
}
