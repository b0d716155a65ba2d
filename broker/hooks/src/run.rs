//! The four hooks at work: who is asked in which order, and what a failure becomes.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hookmq_codec::{Qos, ReasonCode, TopicName};
use hookmq_core::{Message, NewMessage};
use serde_json::Value;

use crate::rehearsal::is_rehearsed;
use crate::step::Due;
use crate::{
    Access, Attribute, AuthorizeVerdict, BreakerChange, Client, ConnectAttempt, ConnectVerdict,
    Control, DeliverVerdict, Denial, Effect, FailureKind, FailurePolicy, Hook, Identity,
    IdentityPatch, LoggedAnswer, MessagePatch, Note, Pipeline, PublishVerdict, Question, Secret,
    Step, StepFailure, StepSet, Version, Voucher,
};

/// Told of what steps do, for the log, the metrics and explain.
pub trait Observer {
    /// A step gave no answer.
    fn step_failed(&self, step: &Step, failure: &StepFailure);

    /// Does what may take long, on this thread, while others do what else this thread has to do.
    fn aside(&self, work: &mut dyn FnMut()) {
        work();
    }

    /// A step's breaker has opened or closed for a tenant.
    fn breaker_changed(&self, _step: &Step, _tenant: &str, _change: BreakerChange) {}

    /// A step has answered in a rehearsal, and no others.
    fn answered(&self, _: &Step, _: &Version, _answer: Value, _took: Duration, _: Vec<Note>) {}

    /// A step whose answers are explained in the log has given one.
    fn logged(&self, _: &Step, _: LoggedAnswer<'_>) {}
}

/// A client that no connect step let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub reason_code: ReasonCode,
    pub reason: String,
    /// The step that refused; none where no step vouched.
    pub step: Option<Arc<str>>,
}

/// The answer of the authorize chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Allowed { maximum_qos: Qos },
    Denied(Denial),
}

/// A message after the publish steps.
#[derive(Debug, Default)]
pub struct Published {
    pub outcome: PublishOutcome,
    /// What steps made beside it; each enters "publish hooks" anew.
    pub emitted: Vec<Emitted>,
}

/// A message that a step made.
#[derive(Debug, Clone)]
pub struct Emitted {
    pub message: Message,
    pub step: Arc<str>,
}

#[derive(Debug, Default)]
pub enum PublishOutcome {
    Pass(Message),
    Dropped(ReasonCode),
    #[default]
    Consumed,
}

impl Pipeline {
    /// Asks the connect steps. At least one must accept, and no required one refuse. A client that
    /// names an authentication method is let in only where a step has carried the method through;
    /// gives the method's last word to the client, empty where there is none.
    pub async fn connect(
        &self,
        attempt: &mut ConnectAttempt,
        observer: &(dyn Observer + Sync),
    ) -> Result<Secret, Refusal> {
        self.check_method(attempt)?;
        let mut accepted = false;
        let mut last_word = None;
        for (place, step) in (0..).zip(&self.connect.steps) {
            let tenant = attempt.identity.tenant.as_ref();
            if !step.wants(&attempt.connection.listener, tenant) {
                continue;
            }
            let whose = (tenant.map(|tenant| &**tenant), &*attempt.client_id);
            let Some(due) = step.due(place, whose, |_| true) else { continue };
            let result = step.ask_connect(due, attempt, observer).await;
            // Who has taken the exchange and does not bring it to its end decides alone.
            let has_exchange = attempt.authentication.as_ref().is_some_and(|it| it.is_begun());
            let control = match has_exchange && last_word.is_none() {
                true => Control::Required,
                false => step.spec.control,
            };
            let (patch, accepts) = match result {
                Ok(ConnectVerdict::Next(patch)) => (patch, false),
                Ok(ConnectVerdict::Accept(patch)) => (patch, true),
                Ok(ConnectVerdict::Authenticated { patch, data }) => {
                    last_word = Some(data);
                    (patch, true)
                }
                Ok(ConnectVerdict::Deny { .. }) | Err(_) if control != Control::Required => {
                    if let Err(failure) = &result {
                        observer.step_failed(step, failure);
                    }
                    continue;
                }
                Ok(ConnectVerdict::Deny { reason_code, reason }) => {
                    return Err(Refusal::by(step, reason_code, reason));
                }
                Err(failure) => {
                    observer.step_failed(step, &failure);
                    return Err(Refusal::after(step, &failure));
                }
            };
            if has_exchange && last_word.is_none() {
                let reason = "the step left its exchange unfinished";
                return Err(Refusal::by(step, ReasonCode::NotAuthorized, reason.into()));
            }
            attempt.identity.apply(patch, step.name());
            accepted |= accepts && step.spec.control != Control::Optional;
            if accepts && step.spec.control == Control::Sufficient {
                break;
            }
        }
        let (reason_code, reason) = match (&attempt.authentication, last_word) {
            (Some(_), None) => {
                let reason = "no connect step has carried the authentication method through";
                (ReasonCode::BadAuthenticationMethod, reason)
            }
            (_, last_word) if accepted => return Ok(last_word.unwrap_or_default()),
            _ => (ReasonCode::NotAuthorized, "no connect step vouched for this client"),
        };
        Err(Refusal { reason_code, reason: reason.into(), step: None })
    }

    /// Spares the steps a client whose method none of them knows.
    fn check_method(&self, attempt: &ConnectAttempt) -> Result<(), Refusal> {
        let Some(wish) = &attempt.authentication else { return Ok(()) };
        let knows_it = |step: &Arc<Step>| {
            step.wants_listener(&attempt.connection.listener)
                && step.active.program.knows_method(wish.method())
        };
        match self.connect.steps.iter().any(knows_it) {
            true => Ok(()),
            false => Err(Refusal {
                reason_code: ReasonCode::BadAuthenticationMethod,
                reason: "no connect step knows the authentication method".into(),
                step: None,
            }),
        }
    }

    /// Asks the authorize steps until one has an opinion. The flag says whether a connection may
    /// remember the decision until the pipeline or the permissions change.
    pub fn authorize(
        &self,
        client: &Arc<Client>,
        access: &Access<'_>,
        observer: &dyn Observer,
    ) -> (Decision, bool) {
        let (judgement, cacheable) = self.judge(client, access, observer);
        (judgement.unwrap_or_else(Decision::Denied), cacheable)
    }

    /// As [`Self::authorize`], for those who take a step's failure otherwise than a denial: it is the
    /// error.
    pub fn judge(
        &self,
        client: &Arc<Client>,
        access: &Access<'_>,
        observer: &dyn Observer,
    ) -> (Result<Decision, Denial>, bool) {
        let mut cacheable = true;
        let steps = self.select_for_access(client, access);
        for &due in &steps.due {
            let step = self.step(Hook::Authorize, &steps, due);
            let mut versions = step.versions();
            cacheable &= versions.all(|version| version.program.authorize_is_cacheable());
            let question = || Question::Authorize(client.clone(), access.into());
            let result = step
                .ask(due, client, observer, question, |program| program.authorize(client, access));
            let decision = match result {
                Ok(AuthorizeVerdict::Abstain) => continue,
                // What a tenant allows itself, the operator's steps have not.
                Ok(AuthorizeVerdict::Allow | AuthorizeVerdict::AllowUpTo(_))
                    if step.is_tenants() =>
                {
                    continue;
                }
                Ok(AuthorizeVerdict::Allow) => Decision::Allowed { maximum_qos: Qos::ExactlyOnce },
                Ok(AuthorizeVerdict::AllowUpTo(maximum_qos)) => Decision::Allowed { maximum_qos },
                Ok(AuthorizeVerdict::Deny(denial)) => Decision::Denied(denial),
                Err(failure) => {
                    observer.step_failed(step, &failure);
                    let reason = format!("{} failed: {failure}", step.name());
                    // A failure passes: the next time the step may answer.
                    return (Err(Denial { effect: Effect::Refuse, reason }), false);
                }
            };
            return (Ok(decision), cacheable);
        }
        let denial =
            Denial { effect: Effect::Refuse, reason: "no permission speaks for it".into() };
        (Ok(Decision::Denied(denial)), cacheable)
    }

    /// Runs `message` through the publish steps that were selected for its topic.
    pub fn publish(
        &self,
        steps: &StepSet,
        client: &Arc<Client>,
        mut message: Message,
        observer: &dyn Observer,
    ) -> Published {
        let mut emitted = Vec::new();
        let mut queue = Cow::Borrowed(steps);
        let mut next = 0;
        while let Some(&due) = queue.due.get(next) {
            next += 1;
            let step = self.step(Hook::Publish, &queue, due);
            let answer = step.publish(due, client, &message, &mut emitted, observer);
            let outcome = answer.unwrap_or_else(|failure| {
                observer.step_failed(step, &failure);
                step.after_failure(&message)
            });
            match outcome {
                StepOutcome::Unchanged => {}
                StepOutcome::Changed(changed) => {
                    if changed.topic() != message.topic() {
                        // The steps behind are those that want the new topic.
                        let topic = changed.topic();
                        let behind =
                            self.select_with(queue.own.as_ref(), Hook::Publish, client, topic);
                        next = behind.due.partition_point(|other| other.rank() <= due.rank());
                        queue = Cow::Owned(behind);
                    }
                    message = changed;
                }
                StepOutcome::Final(outcome) => return Published { outcome, emitted },
            }
        }
        Published { outcome: PublishOutcome::Pass(message), emitted }
    }

    /// What the subscriber sees of `message`; nothing where a step drops it.
    pub fn deliver(
        &self,
        steps: &StepSet,
        client: &Arc<Client>,
        mut message: Message,
        observer: &dyn Observer,
    ) -> Option<Message> {
        for &due in &steps.due {
            let step = self.step(Hook::Deliver, steps, due);
            let answer = step.deliver(due, client, &message, observer);
            match answer {
                Ok(seen) => message = seen?,
                Err(failure) => {
                    observer.step_failed(step, &failure);
                    if step.spec.on_failure != FailurePolicy::Pass {
                        return None;
                    }
                }
            }
        }
        Some(message)
    }
}

/// What one publish step leaves to those behind it.
enum StepOutcome {
    Unchanged,
    Changed(Message),
    Final(PublishOutcome),
}

impl Step {
    fn publish(
        &self,
        due: Due,
        client: &Arc<Client>,
        message: &Message,
        emitted: &mut Vec<Emitted>,
        observer: &dyn Observer,
    ) -> Result<StepOutcome, StepFailure> {
        let question = || Question::Publish(client.clone(), message.clone());
        let answer =
            self.ask(due, client, observer, question, |program| program.publish(client, message))?;
        let count = answer.emitted.len();
        if count > 0 && !is_rehearsed() && !client.budget.admits_emitted(count, Instant::now()) {
            let message = "the tenant's plugins and rules have made what they may in a second";
            return Err(StepFailure::new(FailureKind::OverBudget, message));
        }
        let before = emitted.len();
        for emission in &answer.emitted {
            match emission.to_message(message.publisher()) {
                Ok(message) => emitted.push(Emitted { message, step: self.name().clone() }),
                Err(error) => {
                    emitted.truncate(before);
                    return Err(bad_output("an emitted message", error));
                }
            }
        }
        Ok(match answer.verdict {
            PublishVerdict::Pass => StepOutcome::Unchanged,
            PublishVerdict::Replace(patch) => StepOutcome::Changed(patched(&patch, message)?),
            PublishVerdict::Drop(reason_code) => {
                StepOutcome::Final(PublishOutcome::Dropped(reason_code))
            }
            PublishVerdict::Consume => StepOutcome::Final(PublishOutcome::Consumed),
        })
    }

    fn after_failure(&self, message: &Message) -> StepOutcome {
        match &self.spec.on_failure {
            FailurePolicy::Pass => StepOutcome::Unchanged,
            FailurePolicy::Drop => {
                StepOutcome::Final(PublishOutcome::Dropped(ReasonCode::ImplementationSpecificError))
            }
            FailurePolicy::DeadLetter { topic } => {
                // `assemble` has checked the topic.
                let topic = TopicName::from_checked(topic);
                let message = Message::new(NewMessage { topic, ..message.parts() });
                StepOutcome::Final(PublishOutcome::Pass(message))
            }
        }
    }

    fn deliver(
        &self,
        due: Due,
        client: &Arc<Client>,
        message: &Message,
        observer: &dyn Observer,
    ) -> Result<Option<Message>, StepFailure> {
        let question = || Question::Deliver(client.clone(), message.clone());
        let answer =
            self.ask(due, client, observer, question, |program| program.deliver(client, message));
        match answer? {
            DeliverVerdict::Pass => Ok(Some(message.clone())),
            DeliverVerdict::Replace(patch) => patched(&patch, message).map(Some),
            DeliverVerdict::Drop => Ok(None),
        }
    }
}

impl Identity {
    fn apply(&mut self, patch: IdentityPatch, step: &Arc<str>) {
        self.tenant = patch.tenant.or(self.tenant.take());
        self.username = patch.username.or(self.username.take());
        self.client_id = patch.client_id.or(self.client_id.take());
        self.roles.extend(patch.roles);
        self.attachments.extend(patch.attachments);
        self.limits = self.limits.amended(patch.limits);
        let vouched_by = patch.vouched_by.unwrap_or_else(|| Voucher::Step(step.clone()));
        self.attributes.extend(
            patch
                .attributes
                .into_iter()
                .map(|(name, value)| (name, Attribute { value, vouched_by: vouched_by.clone() })),
        );
    }
}

impl Refusal {
    fn by(step: &Step, reason_code: ReasonCode, reason: String) -> Self {
        Self { reason_code, reason, step: Some(step.name().clone()) }
    }

    fn after(step: &Step, failure: &StepFailure) -> Self {
        let reason_code = match failure.kind {
            FailureKind::Unavailable => ReasonCode::ServerUnavailable,
            _ => ReasonCode::UnspecifiedError,
        };
        Self::by(step, reason_code, failure.to_string())
    }
}

fn patched(patch: &MessagePatch, message: &Message) -> Result<Message, StepFailure> {
    patch.apply(message).map_err(|error| bad_output("the replaced message", error))
}

fn bad_output(what: &str, error: impl std::fmt::Display) -> StepFailure {
    StepFailure::new(FailureKind::BadOutput, format!("{what}: {error}"))
}
