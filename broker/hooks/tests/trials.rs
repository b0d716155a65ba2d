//! Candidates beside the version in force, breakers, budgets and explanations.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hookmq_codec::{ProtocolVersion, Qos, ReasonCode, TopicFilter, TopicName};
use hookmq_core::{Message, NewMessage};
use hookmq_hooks::{
    Access, Action, AuthorizeVerdict, Blueprint, BreakerChange, BreakerOptions, Breakers, Client,
    Condition, ConnectAttempt, ConnectionFacts, Control, Decision, Emission, Explain, FailureKind,
    FailurePolicy, Hook, HookSet, LoggedAnswer, MessagePatch, Observer, Pipeline, Program,
    ProgramIdentity, ProgramKind, ProgramName, PublishAnswer, PublishOutcome, PublishVerdict,
    Question, Recorder, RecorderOptions, Stage, Step, StepFailure, StepParts, StepSpec,
    TenantBudget, TenantRates, Trial, VerdictKind, Version, note,
};

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
    StepParts { active: version(active), trial, recorder: Arc::new(Recorder::new(options)) }
}

fn pipeline(hook: Hook, parts: StepParts) -> Pipeline {
    pipeline_that(Explain::OnRequest, hook, parts)
}

fn pipeline_that(explain: Explain, hook: Hook, parts: StepParts) -> Pipeline {
    let spec = StepSpec {
        program: ProgramName { kind: ProgramKind::Rule, name: "rule".into() },
        condition: Condition::default(),
        control: Control::Required,
        on_failure: FailurePolicy::Drop,
        explain,
        settings: serde_json::Value::Null,
    };
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

#[test]
fn a_step_that_fails_again_and_again_is_left_alone_for_that_tenant() {
    let active = Scripted::new("1", |message| match message.topic().as_str() {
        "bad" => fail(message),
        _ => pass(message),
    });
    let pipeline = pipeline(Hook::Publish, parts(&active, None));
    let seen = Noticing::default();
    for _ in 0..10 {
        let outcome = publish(&pipeline, &client(), "bad", &seen);
        assert!(matches!(outcome, PublishOutcome::Dropped(_)), "by its failure policy");
    }
    assert_eq!((active.asked(), seen.opened.load(Relaxed)), (3, 1));
    assert_eq!(active.refreshed.load(Relaxed), 1);
    assert_eq!(seen.failures.load(Relaxed), 10);
    assert!(!passes(&publish(&pipeline, &client(), "good", &seen)));
    let other = client_of("other", "a", TenantRates::default());
    assert!(passes(&publish(&pipeline, &other, "good", &seen)));
    let meter = &pipeline.steps(Hook::Publish)[0].active.meter;
    assert_eq!(meter.failures(FailureKind::Error), 3);
    assert_eq!(meter.failures(FailureKind::BreakerOpen), 8);
}

#[test]
fn a_tenant_over_its_budget_is_held_back_and_no_other() {
    let active = Scripted::new("1", pass);
    let pipeline = pipeline(Hook::Publish, parts(&active, None));
    let rates = TenantRates { calls: NonZeroU32::new(2), ..TenantRates::default() };
    let (frugal, seen) = (client_of("acme", "a", rates), Noticing::default());
    let passed = (0..5).filter(|_| passes(&publish(&pipeline, &frugal, "t", &seen))).count();
    // The second may end in between.
    assert!((2..=4).contains(&passed), "{passed}");
    assert!(passes(&publish(&pipeline, &client(), "t", &seen)));
    assert!(frugal.budget.throttled() > 0);
    assert_eq!(seen.opened.load(Relaxed), 0, "the step is not to blame");
}

#[test]
fn a_call_over_the_budget_is_not_the_one_that_an_open_breaker_lets_through() {
    let active = Scripted::new("1", |message| match message.topic().as_str() {
        "bad" => fail(message),
        _ => pass(message),
    });
    let breaker = BreakerOptions { failures: 3, backoff: Duration::ZERO, ..Default::default() };
    let mut parts = parts(&active, None);
    parts.active.breakers = Arc::new(Breakers::new(breaker));
    let pipeline = pipeline(Hook::Publish, parts);
    let seen = Noticing::default();
    for _ in 0..3 {
        publish(&pipeline, &client(), "bad", &seen);
    }
    assert_eq!(seen.opened.load(Relaxed), 1);
    let rates = TenantRates { emitted: None, calls: NonZeroU32::new(1), busy_ms: None };
    let spent = client_of("acme", "a", rates);
    // The second that is used up begins in an hour.
    assert!(spent.budget.admits_call(Instant::now() + Duration::from_secs(3600)));
    assert!(!passes(&publish(&pipeline, &spent, "good", &seen)));
    assert!(passes(&publish(&pipeline, &client(), "good", &Closing)));
}

/// Does not mind that a breaker closes.
struct Closing;

impl Observer for Closing {
    fn step_failed(&self, _: &Step, _: &StepFailure) {}
}

#[test]
fn messages_beyond_the_budget_are_not_made_and_the_step_has_failed() {
    let active = Scripted::new("1", emit);
    let pipeline = pipeline(Hook::Publish, parts(&active, None));
    let rates = TenantRates { emitted: NonZeroU32::new(2), ..TenantRates::default() };
    let (frugal, seen) = (client_of("acme", "a", rates), Noticing::default());
    let outcome = publish(&pipeline, &frugal, "t", &seen);
    assert!(matches!(outcome, PublishOutcome::Dropped(_)));
    assert_eq!(seen.failures.load(Relaxed), 1);
}

#[test]
fn questions_are_recorded_with_their_answers() {
    let active = Scripted::new("1", drop_it);
    let pipeline = pipeline(Hook::Publish, parts(&active, None));
    publish(&pipeline, &client(), "t", &Noticing::default());
    let recorded = pipeline.steps(Hook::Publish)[0].recorder.recorded();
    let [only] = &recorded[..] else { panic!("one question") };
    assert_eq!((only.question.topic(), only.question.whose()), ("t", ("acme", "u", "a")));
    assert_eq!(only.answer["verdict"], "drop");
}

#[test]
fn a_step_explains_real_answers_in_the_log_without_payloads_and_not_too_often() {
    let active = Scripted::new("1", |message| {
        note("line", || "rule.rhai:3".into());
        emit(message)
    });
    let pipeline = pipeline_that(Explain::Log, Hook::Publish, parts(&active, None));
    let seen = Noticing::default();
    for _ in 0..50 {
        publish(&pipeline, &client(), "t", &seen);
    }
    explain(&pipeline, &Question::Publish(client(), message("t")));
    let logged = seen.logged.lock().unwrap();
    // More than one second may have begun.
    assert!((10..50).contains(&logged.len()), "{}", logged.len());
    for (text, _) in &*logged {
        assert!(text.starts_with("acme a t ") && text.contains("rule.rhai:3"), "{text}");
        assert!(text.contains(r#""payload":{"bytes":3}"#) && !text.contains("new"), "{text}");
    }
    assert_eq!(logged[0].1, 0);
    assert_eq!(active.asked(), 51);
}

#[test]
fn explaining_a_connect_compares_nothing() {
    let (active, candidate) = (Scripted::new("1", pass), Scripted::new("2", pass));
    let parts = parts(&active, Some((&candidate, Stage::Shadow)));
    let pipeline = pipeline(Hook::Connect, parts);
    let attempt = ConnectAttempt {
        connection: client().connection.clone(),
        certificate: None,
        client_id: "c".into(),
        username: None,
        password: None,
        authentication: None,
        identity: Default::default(),
    };
    explain(&pipeline, &Question::connect(&attempt));
    let trial = pipeline.steps(Hook::Connect)[0].trial.as_ref().unwrap();
    assert_eq!(trial.differences.compared(), 0);
}

fn explain(pipeline: &Pipeline, question: &Question) -> hookmq_hooks::Explanation {
    let mut explaining = Box::pin(pipeline.explain(question));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match explaining.as_mut().poll(&mut context) {
        std::task::Poll::Ready(explanation) => explanation,
        std::task::Poll::Pending => panic!("the programs are ready at once"),
    }
}

#[test]
fn an_explanation_shows_each_step_and_leaves_no_trace() {
    let active = Scripted::new("1", emit);
    let pipeline = pipeline(Hook::Publish, parts(&active, None));
    let explained = explain(&pipeline, &Question::Publish(client(), message("t")));
    assert_eq!(explained.outcome["message"]["payload"], "new");
    assert_eq!(explained.outcome["emitted"].as_array().unwrap().len(), 3);
    let [trace] = &explained.steps[..] else { panic!("one step") };
    assert_eq!((trace.position, &*trace.program.version), (1, "1"));
    assert_eq!(trace.answer.as_ref().unwrap()["patch"]["payload"], "new");
    let step = &pipeline.steps(Hook::Publish)[0];
    assert_eq!((step.active.meter.calls(), step.recorder.recorded().len()), (0, 0));
}

#[test]
fn an_explanation_names_what_a_step_relied_on_and_why_one_was_not_asked() {
    let active = Scripted::new("1", pass);
    let pipeline = pipeline(Hook::Authorize, parts(&active, None));
    let access =
        Access { action: Action::Publish, topic: "t", qos: Qos::AtMostOnce, retain: false };
    let explained = explain(&pipeline, &Question::Authorize(client(), (&access).into()));
    assert_eq!(explained.outcome["allowed_up_to_qos"], 2);
    assert_eq!(explained.steps[0].notes[0].text, "42");
    let (decision, _) = pipeline.authorize(&client(), &access, &Noticing::default());
    assert_eq!(decision, Decision::Allowed { maximum_qos: Qos::ExactlyOnce });
    let publish = explain(&pipeline, &Question::Publish(client(), message("t")));
    assert!(publish.steps.is_empty());
    assert!(explained.steps[0].microseconds < Duration::from_secs(60).as_micros() as u64);
}
