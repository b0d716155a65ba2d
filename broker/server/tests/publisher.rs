//! What a publisher may, and remembers of its topics.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use hookmq::broker::Broker;
use hookmq::broker::limits::Limits;
use hookmq::broker::publisher::Publisher;
use hookmq_codec::{Qos, ReasonCode, TopicName};
use hookmq_core::NewMessage;
use hookmq_hooks::{
    Access, AuthorizeVerdict, Blueprint, Client, Control, Denial, Effect, FailurePolicy, Hook,
    HookSet, Pipeline, Program, ProgramIdentity, ProgramKind, ProgramName, StepFailure, StepSpec,
};
use hookmq_store::HeldStore;

/// Allows QoS 0 and 1, and nothing retained.
struct Cautious(ProgramIdentity);

impl Program for Cautious {
    fn identity(&self) -> &ProgramIdentity {
        &self.0
    }

    fn hooks(&self) -> HookSet {
        HookSet { authorize: true, ..HookSet::default() }
    }

    fn authorize_is_cacheable(&self) -> bool {
        true
    }

    fn authorize(
        &self,
        _: &Arc<Client>,
        access: &Access<'_>,
    ) -> Result<AuthorizeVerdict, StepFailure> {
        let denial = Denial { effect: Effect::Refuse, reason: "retained".into() };
        Ok(match access.retain {
            true => AuthorizeVerdict::Deny(denial),
            false => AuthorizeVerdict::AllowUpTo(Qos::AtLeastOnce),
        })
    }
}

fn publisher() -> Publisher {
    let step = StepSpec {
        program: ProgramName { kind: ProgramKind::Builtin, name: "cautious".into() },
        condition: Default::default(),
        control: Control::Required,
        on_failure: FailurePolicy::Drop,
        explain: Default::default(),
        settings: Default::default(),
    };
    let blueprint = Blueprint { authorize: vec![step], ..Blueprint::default() };
    let pipeline = Pipeline::assemble(1, &blueprint, |_: Hook, _, _| -> Arc<dyn Program> {
        Arc::new(Cautious(ProgramIdentity {
            kind: ProgramKind::Builtin,
            name: "cautious".into(),
            version: String::new(),
            sha256: String::new(),
        }))
    });
    let (protocol, rights) = (Default::default(), Default::default());
    let store = Arc::new(HeldStore::default());
    let pipeline = pipeline.unwrap();
    let broker =
        Broker::new(pipeline, Limits::default(), protocol, rights, store, None, Default::default());
    let tenant = broker.tenant(&"t".into());
    let (budget, steps) = (tenant.budget.clone(), tenant.steps.clone());
    let client = Client::named("t".into(), "c".into(), "u".into(), budget, steps);
    Publisher::new(broker, tenant, Arc::new(client), 1)
}

/// Whatever was asked before, and is remembered.
#[tokio::test]
async fn what_is_allowed_is_allowed_at_its_qos_and_retain_flag_alone() {
    let mut publisher = publisher();
    let mut may = |qos, retain| {
        let reply = publisher.publish(NewMessage {
            topic: TopicName::new("t").unwrap(),
            forwarded_properties: &[],
            payload: b"x",
            qos,
            retain,
            expires_at: None,
            publisher: 1,
        });
        reply.reason_code != ReasonCode::NotAuthorized
    };
    for _ in 0..2 {
        for (qos, allowed) in
            [(Qos::AtMostOnce, true), (Qos::AtLeastOnce, true), (Qos::ExactlyOnce, false)]
        {
            assert_eq!(may(qos, false), allowed, "{qos:?}");
            assert!(!may(qos, true), "{qos:?}, retained");
        }
    }
}
