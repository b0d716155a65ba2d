//! What the steps would say, in order, without anything coming of it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::answer::described;
use crate::{
    Access, Answer, Circumstances, Client, ConnectAttempt, ConnectVerdict, Decision, Hook, Note,
    Observer, Pipeline, Program, ProgramIdentity, PublishOutcome, Question, Step, StepFailure,
    Version, payload, rehearse,
};

/// Every step of a hook, and what came of the question.
#[derive(Debug, serde::Serialize)]
pub struct Explanation {
    pub hook: Hook,
    pub steps: Vec<StepTrace>,
    pub outcome: Value,
}

/// One step of an explanation.
#[derive(Debug, Clone, serde::Serialize)]
pub struct StepTrace {
    /// From 1.
    pub position: usize,
    pub program: ProgramIdentity,
    /// What it answered; none where it was not asked.
    pub answer: Option<Value>,
    /// Why it was not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_asked: Option<&'static str>,
    pub microseconds: u64,
    /// What it relied on: the permission's row id, the rule's line, what it would have logged.
    pub notes: Vec<Note>,
}

/// Collects what steps answer.
struct Tracer<'a> {
    steps: &'a [Arc<Step>],
    traces: Mutex<Vec<StepTrace>>,
}

impl Observer for Tracer<'_> {
    fn step_failed(&self, _: &Step, _: &StepFailure) {}

    fn answered(
        &self,
        step: &Step,
        version: &Version,
        answer: Value,
        took: Duration,
        notes: Vec<Note>,
    ) {
        let is_it = |other: &Arc<Step>| match step.is_tenants() {
            true => other.is_place(),
            false => std::ptr::eq(&**other, step),
        };
        let place = self.steps.iter().position(is_it);
        self.traces.lock().push(StepTrace {
            position: place.map_or(0, |place| place + 1),
            program: version.program.identity().clone(),
            answer: Some(answer),
            not_asked: None,
            microseconds: took.as_micros().try_into().unwrap_or(u64::MAX),
            notes,
        });
    }
}

impl Tracer<'_> {
    /// The steps that were asked and those that were not, in order.
    fn finish(self, wants: impl Fn(&Step) -> bool) -> Vec<StepTrace> {
        let mut traces = self.traces.into_inner();
        let last = traces.iter().map(|trace| trace.position).max().unwrap_or(0);
        for (position, step) in (1..).zip(self.steps) {
            if traces.iter().all(|trace| trace.position != position) {
                let why = match wants(step) {
                    true if position > last => "a step before it has decided",
                    true if step.is_place() => "the tenant has no rule or plugin for it",
                    _ => "its conditions do not fit",
                };
                traces.push(StepTrace {
                    position,
                    program: step.active.program.identity().clone(),
                    answer: None,
                    not_asked: Some(why),
                    microseconds: 0,
                    notes: vec![],
                });
            }
        }
        traces.sort_by_key(|trace| trace.position);
        traces
    }
}

impl Pipeline {
    /// Asks the steps as they would be asked, and shows what each says. Nothing lasts of it.
    pub async fn explain(&self, question: &Question) -> Explanation {
        match question {
            Question::Connect(attempt) => self.explain_connect(attempt).await,
            Question::Authorize(client, access) => self.explain_access(client, &access.view()),
            Question::Publish(client, message) => {
                let tracer = self.tracer(Hook::Publish);
                let steps = self.select(Hook::Publish, client, message.topic());
                let publish = || self.publish(&steps, client, message.clone(), &tracer);
                let published = rehearse(publish).0;
                let mut outcome = match published.outcome {
                    PublishOutcome::Pass(message) => shown(&message),
                    PublishOutcome::Dropped(code) => json!({"dropped": code as u8}),
                    PublishOutcome::Consumed => json!("consumed"),
                };
                if !published.emitted.is_empty() {
                    let emitted = published.emitted.iter().map(|it| shown(&it.message));
                    outcome = json!({"message": outcome, "emitted": emitted.collect::<Vec<_>>()});
                }
                self.explained(tracer, Hook::Publish, client, outcome)
            }
            Question::Deliver(client, message) => {
                let tracer = self.tracer(Hook::Deliver);
                let steps = self.select(Hook::Deliver, client, message.topic());
                let deliver = || self.deliver(&steps, client, message.clone(), &tracer);
                let seen = rehearse(deliver).0;
                let outcome = seen.map_or(json!("dropped"), |message| shown(&message));
                self.explained(tracer, Hook::Deliver, client, outcome)
            }
        }
    }

    async fn explain_connect(&self, attempt: &ConnectAttempt) -> Explanation {
        let mut copy = attempt.without_secrets();
        copy.password.clone_from(&attempt.password);
        let tracer = self.tracer(Hook::Connect);
        let asked = Circumstances::REHEARSED.during(|| self.connect(&mut copy, &tracer));
        let outcome = match asked.await.0.err() {
            Some(refusal) => {
                let code = refusal.reason_code as u8;
                json!({"refused": code, "reason": refusal.reason})
            }
            None => json!({
                "tenant": copy.identity.tenant,
                "username": copy.identity.username,
                "client_id": copy.identity.client_id,
                "roles": copy.identity.roles,
                "attributes": copy.identity.attributes,
            }),
        };
        let listener = &attempt.connection.listener;
        let tenant = copy.identity.tenant.as_ref();
        let steps = tracer.finish(|step| step.wants(listener, tenant));
        Explanation { hook: Hook::Connect, steps, outcome }
    }

    fn explain_access(&self, client: &Arc<Client>, access: &Access<'_>) -> Explanation {
        let tracer = self.tracer(Hook::Authorize);
        let (decision, _) = rehearse(|| self.authorize(client, access, &tracer)).0;
        let outcome = match decision {
            Decision::Allowed { maximum_qos } => json!({"allowed_up_to_qos": maximum_qos as u8}),
            Decision::Denied(denial) => {
                json!({"denied": denial.reason, "effect": denial.effect})
            }
        };
        self.explained(tracer, Hook::Authorize, client, outcome)
    }

    fn tracer(&self, hook: Hook) -> Tracer<'_> {
        Tracer { steps: self.steps(hook), traces: Mutex::default() }
    }

    fn explained(
        &self,
        tracer: Tracer<'_>,
        hook: Hook,
        client: &Client,
        outcome: Value,
    ) -> Explanation {
        let steps = tracer.finish(|step| step.wants_client(client));
        Explanation { hook, steps, outcome }
    }
}

/// What `program` answers to a question that was recorded, without anything coming of it.
pub async fn ask_again(program: &dyn Program, question: &Question) -> Value {
    fn told<T: Answer>(call: impl FnOnce() -> Result<T, StepFailure>) -> Value {
        described(&rehearse(call).0)
    }
    match question {
        Question::Connect(attempt) => {
            let asked = Circumstances::REHEARSED.during(|| program.connect(attempt));
            described(&asked.await.0.and_then(ConnectVerdict::checked))
        }
        Question::Authorize(client, access) => told(|| program.authorize(client, &access.view())),
        Question::Publish(client, message) => told(|| program.publish(client, message)),
        Question::Deliver(client, message) => told(|| program.deliver(client, message)),
    }
}

fn shown(message: &hookmq_core::Message) -> Value {
    json!({
        "topic": message.topic().as_str(),
        "payload": payload(message.payload()),
        "qos": message.qos() as u8,
        "retain": message.retain(),
    })
}
