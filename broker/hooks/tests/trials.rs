//! Candidates beside the version in force.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use hookmq_codec::{ProtocolVersion, Qos, ReasonCode, TopicFilter, TopicName};
use hookmq_core::{Message, NewMessage};
use hookmq_hooks::{
    Access, AuthorizeVerdict, Blueprint, BreakerChange, BreakerOptions, Breakers, Client,
    ConnectionFacts, Emission, Explain, FailureKind, Hook, HookSet, LoggedAnswer, MessagePatch,
    Observer, Pipeline, Program, ProgramIdentity, ProgramKind, PublishAnswer, PublishOutcome,
    PublishVerdict, Recorder, RecorderOptions, Stage, Step, StepFailure, StepParts, StepSpec,
    TenantBudget, TenantRates, Trial, VerdictKind, Version, note,
};

#[path = "trials/budgets.rs"]
mod budgets;
#[path = "trials/explanations.rs"]
mod explanations;

/// Answers publish with what `answer` says and counts how often it was asked.
struct Scripted {
    identity: ProgramIdentity,
    topics: Vec<TopicFilter>,
    asked: AtomicUsize,
    refreshed: AtomicUsize,
    answer: fn(&Message) -> Result<PublishAnswer, StepFailure>,
}

impl Scripted {
    fn new(version: &str, answer: fn(&Message) -> Result<PublishAnswer, StepFailure>) -> Arc<Self> {
        let identity = ProgramIdentity {
            kind: ProgramKind::Rule,
            name: "rule".into(),
            version: version.into(),
            sha256: version.into(),
        };
        let (asked, refreshed) = Default::default();
        Arc::new(Self { identity, topics: vec![], asked, refreshed, answer })
    }

    fn asked(&self) -> usize {
        self.asked.load(Relaxed)
    }
}

impl Program for Scripted {
    fn identity(&self) -> &ProgramIdentity {
        &self.identity
    }

    fn hooks(&self) -> HookSet {
        HookSet { connect: true, publish: true, authorize: true, ..HookSet::default() }
    }

    fn topics(&self) -> &[TopicFilter] {
        &self.topics
    }

    fn authorize(&self, _: &Arc<Client>, _: &Access<'_>) -> Result<AuthorizeVerdict, StepFailure> {
        note("permission", || "42".into());
        Ok(AuthorizeVerdict::Allow)
    }

    fn publish(&self, _: &Arc<Client>, message: &Message) -> Result<PublishAnswer, StepFailure> {
        self.asked.fetch_add(1, Relaxed);
        (self.answer)(message)
    }

    fn refresh(&self, _: &str) {
        self.refreshed.fetch_add(1, Relaxed);
    }
}

#[derive(Default)]
struct Noticing {
    failures: AtomicUsize,
    opened: AtomicUsize,
    logged: Mutex<Vec<(String, u64)>>,
}

impl Observer for Noticing {
    fn step_failed(&self, _: &Step, _: &StepFailure) {
        self.failures.fetch_add(1, Relaxed);
    }

    fn logged(&self, _: &Step, logged: LoggedAnswer<'_>) {
        let (tenant, _, client_id) = logged.question.whose();
        let topic = logged.question.topic();
        let text = format!("{tenant} {client_id} {topic} {} {:?}", logged.answer, logged.notes);
        self.logged.lock().expect("no test panics with it").push((text, logged.left_out));
    }

    fn breaker_changed(&self, _: &Step, _: &str, change: BreakerChange) {
        assert!(matches!(change, BreakerChange::Opened(_)));
        self.opened.fetch_add(1, Relaxed);
    }
}

fn pass(_: &Message) -> Result<PublishAnswer, StepFailure> {
    Ok(PublishAnswer::default())
}

fn drop_it(_: &Message) -> Result<PublishAnswer, StepFailure> {
    let verdict = PublishVerdict::Drop(ReasonCode::QuotaExceeded);
    Ok(PublishAnswer { verdict, ..PublishAnswer::default() })
}

fn fail(_: &Message) -> Result<PublishAnswer, StepFailure> {
    Err(StepFailure::new(FailureKind::Error, "as it was told"))
}

fn emit(_: &Message) -> Result<PublishAnswer, StepFailure> {
    let patch = MessagePatch { payload: Some(b"new".to_vec()), ..MessagePatch::default() };
    let emission = Emission { topic: "e".into(), ..Emission::default() };
    Ok(PublishAnswer { verdict: PublishVerdict::Replace(patch), emitted: vec![emission; 3] })
}

fn version(program: &Arc<Scripted>) -> Version {
    let breaker = BreakerOptions { failures: 3, ..BreakerOptions::default() };
    let breakers = Arc::new(Breakers::new(breaker));
    Version { program: program.clone(), meter: Arc::default(), breakers }
}

fn parts(active: &Arc<Scripted>, trial: Option<(&Arc<Scripted>, Stage)>) -> StepParts {
    let trial = trial.map(|(program, stage)| {
        Arc::new(Trial { version: version(program), stage, differences: Arc::default() })
    });
    let options = RecorderOptions { every: 1, ..RecorderOptions::default() };
    let recorder = Arc::new(Recorder::new(options));
    StepParts { active: version(active), trial, recorder, account: None }
}

fn pipeline(hook: Hook, parts: StepParts) -> Pipeline {
    pipeline_that(Explain::OnRequest, hook, parts)
}

fn pipeline_that(explain: Explain, hook: Hook, parts: StepParts) -> Pipeline {
    let spec = StepSpec { explain, ..StepSpec::new(ProgramKind::Rule, "rule") };
    let mut blueprint = Blueprint::default();
    match hook {
        Hook::Connect => blueprint.connect.push(spec),
        Hook::Authorize => blueprint.authorize.push(spec),
        _ => blueprint.publish.push(spec),
    }
    let mut parts = Some(parts);
    Pipeline::assemble(1, &blueprint, |_, _, _| parts.take().expect("one step"))
        .expect("it has the hook")
}

fn client_of(tenant: &str, client_id: &str, rates: TenantRates) -> Arc<Client> {
    Arc::new(Client {
        tenant: tenant.into(),
        username: "u".into(),
        client_id: client_id.into(),
        client_id_bound: true,
        roles: Default::default(),
        attributes: Default::default(),
        connection: ConnectionFacts {
            listener: "plain".into(),
            peer: None,
            protocol: ProtocolVersion::V5,
            encrypted: false,
        },
        certificate: None,
        attachments: Default::default(),
        limits: Default::default(),
        budget: Arc::new(TenantBudget::new(rates)),
        steps: Default::default(),
    })
}

fn client() -> Arc<Client> {
    client_of("acme", "a", TenantRates::default())
}

fn message(topic: &str) -> Message {
    Message::new(NewMessage {
        topic: TopicName::new(topic).expect("a topic"),
        forwarded_properties: &[],
        payload: b"old",
        qos: Qos::AtMostOnce,
        retain: false,
        expires_at: None,
        publisher: 1,
    })
}

fn publish(
    pipeline: &Pipeline,
    client: &Arc<Client>,
    topic: &str,
    seen: &dyn Observer,
) -> PublishOutcome {
    let message = message(topic);
    let steps = pipeline.select(Hook::Publish, client, message.topic());
    pipeline.publish(&steps, client, message, seen).outcome
}

fn passes(outcome: &PublishOutcome) -> bool {
    matches!(outcome, PublishOutcome::Pass(message) if message.payload() == b"old")
}

#[test]
fn a_version_in_shadow_decides_nothing_and_differences_are_counted() {
    let (active, candidate) = (Scripted::new("1", pass), Scripted::new("2", drop_it));
    let pipeline = pipeline(Hook::Publish, parts(&active, Some((&candidate, Stage::Shadow))));
    for _ in 0..5 {
        assert!(passes(&publish(&pipeline, &client(), "t", &Noticing::default())));
    }
    assert_eq!((active.asked(), candidate.asked()), (5, 5));
    let trial = pipeline.steps(Hook::Publish)[0].trial.as_ref().unwrap();
    assert_eq!((trial.differences.compared(), trial.differences.differing()), (5, 5));
    let difference = &trial.differences.samples()[0];
    assert_eq!((&*difference.tenant, &*difference.topic), ("acme", "t"));
    assert_eq!(difference.active["verdict"], "pass");
    assert_eq!(difference.candidate["verdict"], "drop");
    assert_eq!(trial.version.meter.verdicts(VerdictKind::Drop), 5);
}

#[test]
fn a_shadow_that_fails_harms_nobody() {
    let (active, candidate) = (Scripted::new("1", pass), Scripted::new("2", fail));
    let pipeline = pipeline(Hook::Publish, parts(&active, Some((&candidate, Stage::Shadow))));
    let seen = Noticing::default();
    for _ in 0..100 {
        assert!(passes(&publish(&pipeline, &client(), "t", &seen)));
    }
    assert_eq!((seen.failures.load(Relaxed), seen.opened.load(Relaxed)), (0, 0));
    assert_eq!(candidate.asked(), 3, "its breaker spares the clients its time");
}

#[test]
fn a_canary_decides_for_its_clients_alone() {
    let (active, candidate) = (Scripted::new("1", pass), Scripted::new("2", drop_it));
    let stage = Stage::Canary { share: 0, tenants: ["beta".into()].into() };
    let pipeline = pipeline(Hook::Publish, parts(&active, Some((&candidate, stage))));
    let seen = Noticing::default();
    assert!(passes(&publish(&pipeline, &client(), "t", &seen)));
    let chosen = client_of("beta", "a", TenantRates::default());
    let dropped = publish(&pipeline, &chosen, "t", &seen);
    assert!(matches!(dropped, PublishOutcome::Dropped(ReasonCode::QuotaExceeded)));
    assert_eq!((active.asked(), candidate.asked()), (1, 1));
}

#[test]
fn each_version_is_asked_about_its_own_topics() {
    let topics = |filter: &str| vec![TopicFilter::new(filter).unwrap()];
    let with = |version, answer, filter| {
        let program = Arc::into_inner(Scripted::new(version, answer)).unwrap();
        Arc::new(Scripted { topics: topics(filter), ..program })
    };
    let (active, candidate) = (with("1", pass, "old/#"), with("2", drop_it, "new/#"));
    let pipeline = pipeline(Hook::Publish, parts(&active, Some((&candidate, Stage::Shadow))));
    let seen = Noticing::default();
    for topic in ["old/t", "new/t", "other/t"] {
        assert!(passes(&publish(&pipeline, &client(), topic, &seen)), "{topic}");
    }
    assert_eq!((active.asked(), candidate.asked()), (1, 1));
    let trial = pipeline.steps(Hook::Publish)[0].trial.as_ref().unwrap();
    assert_eq!(trial.differences.differing(), 1, "it would have dropped what nobody asked about");
    let none = pipeline.select(Hook::Publish, &client(), TopicName::new("other/t").unwrap());
    assert!(none.is_empty());
}
