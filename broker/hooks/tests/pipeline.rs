//! What the pipeline makes of its steps' answers and failures, with programs that answer by a closure.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hookmq_codec::{ProtocolVersion, Qos, TopicFilter, TopicName};
use hookmq_core::{Message, NewMessage};
use hookmq_hooks::{
    Access, Action, AuthorizeVerdict, Blueprint, BoxFuture, Client, Condition, ConnectAttempt,
    ConnectVerdict, ConnectionFacts, Decision, DeliverVerdict, Effect, Emission, FailureKind,
    FailurePolicy, Hook, HookSet, Identity, MessagePatch, Observer, Pipeline, Program,
    ProgramIdentity, ProgramKind, ProgramName, PublishAnswer, PublishOutcome, PublishVerdict, Step,
    StepFailure, StepSpec,
};

#[path = "pipeline/connect.rs"]
mod connect;
#[path = "pipeline/tenants.rs"]
mod tenants;

type Answers<T> = Box<dyn Fn() -> Result<T, StepFailure> + Send + Sync>;

struct Scripted {
    identity: ProgramIdentity,
    connect: Option<Answers<ConnectVerdict>>,
    authorize: Option<Answers<AuthorizeVerdict>>,
    publish: Option<Answers<PublishAnswer>>,
    deliver: Option<Answers<DeliverVerdict>>,
}

impl Default for Scripted {
    fn default() -> Self {
        let identity = ProgramIdentity {
            kind: ProgramKind::Builtin,
            name: "scripted".into(),
            version: String::new(),
            sha256: String::new(),
        };
        Self { identity, connect: None, authorize: None, publish: None, deliver: None }
    }
}

impl Program for Scripted {
    fn identity(&self) -> &ProgramIdentity {
        &self.identity
    }

    fn hooks(&self) -> HookSet {
        HookSet {
            connect: self.connect.is_some(),
            authorize: self.authorize.is_some(),
            publish: self.publish.is_some(),
            deliver: self.deliver.is_some(),
        }
    }

    fn connect<'a>(
        &'a self,
        _: &'a ConnectAttempt,
    ) -> BoxFuture<'a, Result<ConnectVerdict, StepFailure>> {
        let answer = self.connect.as_ref().expect("asked only for its hooks")();
        Box::pin(async { answer })
    }

    fn authorize(&self, _: &Arc<Client>, _: &Access<'_>) -> Result<AuthorizeVerdict, StepFailure> {
        self.authorize.as_ref().expect("asked only for its hooks")()
    }

    fn publish(&self, _: &Arc<Client>, _: &Message) -> Result<PublishAnswer, StepFailure> {
        self.publish.as_ref().expect("asked only for its hooks")()
    }

    fn deliver(&self, _: &Arc<Client>, _: &Message) -> Result<DeliverVerdict, StepFailure> {
        self.deliver.as_ref().expect("asked only for its hooks")()
    }
}

#[derive(Default)]
struct Counting(AtomicUsize);

impl Observer for Counting {
    fn step_failed(&self, _: &Step, _: &StepFailure) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn spec(name: &str) -> StepSpec {
    StepSpec::new(ProgramKind::Builtin, name)
}

fn assemble(hook: Hook, steps: Vec<(StepSpec, Scripted)>) -> Pipeline {
    let (specs, programs): (Vec<_>, Vec<_>) = steps.into_iter().unzip();
    let mut blueprint = Blueprint::default();
    match hook {
        Hook::Connect => blueprint.connect = specs,
        Hook::Authorize => blueprint.authorize = specs,
        Hook::Publish => blueprint.publish = specs,
        Hook::Deliver => blueprint.deliver = specs,
    }
    let mut programs = programs.into_iter();
    Pipeline::assemble(1, &blueprint, |_, _, _| {
        programs.next().map(|it| Arc::new(it) as Arc<dyn Program>).expect("one for each")
    })
    .expect("the programs have their hooks")
}

fn client() -> Arc<Client> {
    Arc::new(Client {
        tenant: "acme".into(),
        username: "sensor".into(),
        client_id: "sensor".into(),
        client_id_bound: true,
        roles: Default::default(),
        attributes: Default::default(),
        connection: facts(),
        certificate: None,
        attachments: Default::default(),
        limits: Default::default(),
        budget: Default::default(),
        steps: Default::default(),
    })
}

fn facts() -> ConnectionFacts {
    ConnectionFacts {
        listener: "plain".into(),
        peer: None,
        protocol: ProtocolVersion::V5,
        encrypted: false,
    }
}

fn attempt() -> ConnectAttempt {
    ConnectAttempt {
        connection: facts(),
        certificate: None,
        client_id: String::new(),
        username: None,
        password: None,
        authentication: None,
        waited: Default::default(),
        identity: Identity::default(),
    }
}

fn message(topic: &str) -> Message {
    Message::new(NewMessage {
        topic: TopicName::new(topic).unwrap(),
        forwarded_properties: &[],
        payload: b"payload",
        qos: Qos::AtLeastOnce,
        retain: false,
        expires_at: None,
        publisher: 1,
    })
}

fn failure<T>(kind: FailureKind) -> Result<T, StepFailure> {
    Err(StepFailure::new(kind, "it broke"))
}

fn authorize(answers: Vec<Answers<AuthorizeVerdict>>) -> (Decision, bool) {
    let steps = answers
        .into_iter()
        .map(|answer| (spec("step"), Scripted { authorize: Some(answer), ..Scripted::default() }));
    let pipeline = assemble(Hook::Authorize, steps.collect());
    let access = Access {
        action: Action::Publish,
        topic: "t",
        qos: Qos::AtMostOnce,
        retain: false,
        share_name: None,
    };
    pipeline.authorize(&client(), &access, &Counting::default())
}

#[test]
fn access_that_nobody_allows_is_denied() {
    let abstain = || -> Answers<_> { Box::new(|| Ok(AuthorizeVerdict::Abstain)) };
    let allow = || -> Answers<_> { Box::new(|| Ok(AuthorizeVerdict::Allow)) };
    let broken = || -> Answers<_> { Box::new(|| failure(FailureKind::Timeout)) };
    let allowed = |answers| matches!(authorize(answers).0, Decision::Allowed { .. });
    assert!(!allowed(vec![]));
    assert!(!allowed(vec![abstain()]));
    assert!(allowed(vec![abstain(), allow()]));
    assert!(!allowed(vec![broken(), allow()]), "a failing step must not hand the word on");
    assert!(!authorize(vec![broken()]).1, "a failure is not remembered");
    let (Decision::Denied(denial), _) = authorize(vec![broken()]) else { panic!("denied") };
    assert_eq!(denial.effect, Effect::Refuse);
}

fn publish(on_failure: FailurePolicy, answer: Answers<PublishAnswer>) -> (PublishOutcome, usize) {
    let program = Scripted { publish: Some(answer), ..Scripted::default() };
    let pipeline =
        assemble(Hook::Publish, vec![(StepSpec { on_failure, ..spec("step") }, program)]);
    let message = message("a");
    let steps = pipeline.select(Hook::Publish, &client(), message.topic());
    let published = pipeline.publish(&steps, &client(), message, &Counting::default());
    (published.outcome, published.emitted.len())
}

#[test]
fn a_failing_publish_step_does_what_its_policy_says() {
    let broken = || -> Answers<_> { Box::new(|| failure(FailureKind::Error)) };
    assert!(matches!(publish(FailurePolicy::Drop, broken()).0, PublishOutcome::Dropped(_)));
    let (PublishOutcome::Pass(passed), _) = publish(FailurePolicy::Pass, broken()) else {
        panic!("passed");
    };
    assert_eq!(passed.topic().as_str(), "a");
    let dead_letter = FailurePolicy::DeadLetter { topic: "dead".into() };
    let (PublishOutcome::Pass(moved), _) = publish(dead_letter, broken()) else {
        panic!("moved");
    };
    assert_eq!((moved.topic().as_str(), moved.payload()), ("dead", &b"payload"[..]));
}

#[test]
fn an_answer_that_is_no_message_is_a_failure_and_emits_nothing() {
    for topic in ["", "a/#", "a\0"] {
        let emitted = vec![
            Emission { topic: "fine".into(), ..Emission::default() },
            Emission { topic: topic.into(), ..Emission::default() },
        ];
        let answer = PublishAnswer { verdict: PublishVerdict::Pass, emitted };
        let (outcome, emitted) = publish(FailurePolicy::Drop, Box::new(move || Ok(answer.clone())));
        assert!(matches!(outcome, PublishOutcome::Dropped(_)), "{topic:?}");
        assert_eq!(emitted, 0);
    }
}

#[test]
fn a_new_topic_is_for_the_steps_behind_that_want_it() {
    let replace = |topic: &str| -> Answers<PublishAnswer> {
        let patch = MessagePatch { topic: Some(topic.into()), ..MessagePatch::default() };
        let answer = PublishAnswer { verdict: PublishVerdict::Replace(patch), emitted: vec![] };
        Box::new(move || Ok(answer.clone()))
    };
    let on = |filter: &str| {
        let topics = vec![TopicFilter::new(filter).unwrap()];
        StepSpec { condition: Condition { topics, ..Condition::default() }, ..spec("step") }
    };
    let program = |answer| Scripted { publish: Some(answer), ..Scripted::default() };
    let pipeline = assemble(
        Hook::Publish,
        vec![
            (on("b"), program(replace("never: it stands before the step that makes b"))),
            (on("a"), program(replace("b"))),
            (on("a"), program(replace("never: the topic is b by now"))),
            (on("b"), program(replace("c"))),
        ],
    );
    let message = message("a");
    let steps = pipeline.select(Hook::Publish, &client(), message.topic());
    let published = pipeline.publish(&steps, &client(), message, &Counting::default());
    let PublishOutcome::Pass(message) = published.outcome else { panic!("passed") };
    assert_eq!(message.topic().as_str(), "c");
}

#[test]
fn conditions_choose_by_listener_tenant_and_topic() {
    let with = |condition| {
        (
            StepSpec { condition, ..spec("step") },
            Scripted {
                deliver: Some(Box::new(|| Ok(DeliverVerdict::Drop))),
                ..Scripted::default()
            },
        )
    };
    let topics = |filter: &str| vec![TopicFilter::new(filter).unwrap()];
    let table = [
        (Condition::default(), true),
        (Condition { listeners: vec!["plain".into()], ..Condition::default() }, true),
        (Condition { listeners: vec!["tls".into()], ..Condition::default() }, false),
        (Condition { tenants: vec!["acme".into()], ..Condition::default() }, true),
        (Condition { tenants: vec!["other".into()], ..Condition::default() }, false),
        (Condition { topics: topics("a/+"), ..Condition::default() }, true),
        (Condition { topics: topics("b/#"), ..Condition::default() }, false),
    ];
    for (condition, wanted) in table {
        let shown = format!("{condition:?}");
        let pipeline = assemble(Hook::Deliver, vec![with(condition)]);
        let message = message("a/b");
        let steps = pipeline.select(Hook::Deliver, &client(), message.topic());
        assert_eq!(!steps.is_empty(), wanted, "{shown}");
        let seen = pipeline.deliver(&steps, &client(), message, &Counting::default());
        assert_eq!(seen.is_none(), wanted, "{shown}");
    }
}

#[test]
fn a_failing_deliver_step_hides_the_message_unless_told_otherwise() {
    for (on_failure, seen) in [(FailurePolicy::Drop, false), (FailurePolicy::Pass, true)] {
        let program = Scripted {
            deliver: Some(Box::new(|| failure(FailureKind::Limit))),
            ..Scripted::default()
        };
        let step = StepSpec { on_failure, ..spec("step") };
        let pipeline = assemble(Hook::Deliver, vec![(step, program)]);
        let message = message("a");
        let steps = pipeline.select(Hook::Deliver, &client(), message.topic());
        let observer = Counting::default();
        assert_eq!(pipeline.deliver(&steps, &client(), message, &observer).is_some(), seen);
        assert_eq!(observer.0.load(Ordering::Relaxed), 1);
    }
}

#[test]
fn a_program_without_the_hook_does_not_make_a_pipeline() {
    let blueprint = Blueprint { publish: vec![spec("deaf")], ..Blueprint::default() };
    let error = Pipeline::assemble(1, &blueprint, |_, _, _| {
        Arc::new(Scripted::default()) as Arc<dyn Program>
    })
    .err();
    assert_eq!(
        error.unwrap().to_string(),
        "Publish step 1: builtin scripted has no function for this hook"
    );
}
