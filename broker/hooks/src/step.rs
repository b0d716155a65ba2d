//! A program at its place in the pipeline, and how it is asked.

mod due;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) use self::due::{Due, wants_topic};
use crate::answer::{described, redacted};
use crate::answer_log::AnswerLog;
use crate::rehearsal::{Circumstances, is_rehearsed};
use crate::{
    Answer, Client, ConnectAttempt, ConnectVerdict, Explain, FailureKind, Hook, LoggedAnswer, Note,
    Observer, Program, ProgramKind, Question, Recorder, StepFailure, StepSpec, TenantAccount,
    Trial, Version, trial,
};

/// A program with the conditions, the control word and the failure policy of its place.
pub struct Step {
    pub hook: Hook,
    pub spec: StepSpec,
    /// In force.
    pub active: Version,
    /// A candidate to take its place.
    pub trial: Option<Arc<Trial>>,
    pub recorder: Arc<Recorder>,
    /// Where its answers are explained in the log.
    log: Option<AnswerLog>,
    /// Present where the step is a tenant's own.
    account: Option<Arc<TenantAccount>>,
}

/// What stands at a step.
pub struct StepParts {
    pub active: Version,
    pub trial: Option<Arc<Trial>>,
    pub recorder: Arc<Recorder>,
    /// Of a tenant's own program; none where it is the operator's.
    pub account: Option<Arc<TenantAccount>>,
}

impl From<Arc<dyn Program>> for StepParts {
    fn from(program: Arc<dyn Program>) -> Self {
        Self { active: program.into(), trial: None, recorder: Arc::default(), account: None }
    }
}

impl Step {
    pub(crate) fn new(hook: Hook, spec: StepSpec, parts: StepParts) -> Self {
        let StepParts { active, trial, recorder, account } = parts;
        let log = (spec.explain == Explain::Log).then(|| AnswerLog::new(Instant::now()));
        Self { hook, spec, active, trial, recorder, log, account }
    }

    /// Whether it is a mere place for steps that tenants have made.
    pub fn is_place(&self) -> bool {
        self.spec.program.is_tenant_rules()
    }

    /// Whether a tenant has made it.
    pub fn is_tenants(&self) -> bool {
        self.account.is_some()
    }

    pub fn name(&self) -> &Arc<str> {
        &self.spec.program.name
    }

    /// The version in force, and the candidate.
    pub fn versions(&self) -> impl Iterator<Item = &Version> {
        std::iter::once(&self.active).chain(self.trial.as_ref().map(|trial| &trial.version))
    }

    /// Whether the conditions on listener and tenant hold.
    pub fn wants_client(&self, client: &Client) -> bool {
        self.wants(&client.connection.listener, Some(&client.tenant))
    }

    /// Whether the conditions on listener and tenant hold; a tenant that is not known yet fits none.
    pub(crate) fn wants(&self, listener: &Arc<str>, tenant: Option<&Arc<str>>) -> bool {
        let condition = &self.spec.condition;
        let tenant_fits = condition.tenants.is_empty()
            || tenant.is_some_and(|tenant| condition.tenants.contains(tenant));
        self.wants_listener(listener) && tenant_fits
    }

    pub(crate) fn wants_listener(&self, listener: &Arc<str>) -> bool {
        let listeners = &self.spec.condition.listeners;
        listeners.is_empty() || listeners.contains(listener)
    }

    /// Asks the version that decides for the client, and its shadow.
    #[inline]
    pub(crate) fn ask<T: Answer>(
        &self,
        due: Due,
        client: &Client,
        observer: &dyn Observer,
        question: impl Fn() -> Question,
        call: impl Fn(&dyn Program) -> Result<T, StepFailure>,
    ) -> Result<T, StepFailure> {
        let answer = match (self.decider(due), self.turn_to_log()) {
            (Some(version), None) => self.call(version, client, observer, &call),
            (Some(version), Some(left_out)) => {
                let start = Instant::now();
                let call = || self.call(version, client, observer, &call);
                let (answer, notes) = Circumstances::NOTED.run(call);
                self.log(
                    version,
                    &question(),
                    &answer,
                    (start.elapsed(), &notes),
                    left_out,
                    observer,
                );
                answer
            }
            (None, _) => Ok(T::indifferent()),
        };
        if let Some(trial) = self.shadow(due, &client.tenant) {
            let start = Instant::now();
            let call = || with_care(&trial.version, &client.tenant, observer, &call);
            let (shadow, _) = Circumstances::SHADOW.run(call);
            let took = start.elapsed();
            self.compare(trial, &client.tenant, &answer, (&shadow, took), &question);
        }
        if self.keeps(&answer) {
            self.recorder.keep(question(), described(&answer), trial::now());
        }
        answer
    }

    /// As [`Self::ask`]. There is no breaker, which strangers could open for everybody, and no tenant yet
    /// whose budget it could be.
    pub(crate) async fn ask_connect(
        &self,
        due: Due,
        attempt: &ConnectAttempt,
        observer: &(dyn Observer + Sync),
    ) -> Result<ConnectVerdict, StepFailure> {
        let answer = match (self.decider(due), self.turn_to_log()) {
            (None, _) => Ok(ConnectVerdict::indifferent()),
            (Some(version), _) if is_rehearsed() => {
                let start = Instant::now();
                let asked = Circumstances::REHEARSED.during(|| version.program.connect(attempt));
                let (answer, notes) = asked.await;
                let answer = answer.and_then(ConnectVerdict::checked);
                observer.answered(self, version, described(&answer), start.elapsed(), notes);
                return answer;
            }
            (Some(version), turn) => {
                let start = Instant::now();
                let circumstances = match turn {
                    Some(_) => Circumstances::NOTED,
                    None => Circumstances::EARNEST,
                };
                let asked = circumstances.during(|| version.program.connect(attempt));
                let (answer, notes) = asked.await;
                let answer = answer.and_then(ConnectVerdict::checked);
                version.meter.count(&answer);
                version.meter.time(start.elapsed());
                if let Some(left_out) = turn {
                    let question = Question::connect(attempt);
                    let told = (start.elapsed(), &*notes);
                    self.log(version, &question, &answer, told, left_out, observer);
                }
                answer
            }
        };
        let tenant = attempt.identity.tenant.as_deref().unwrap_or_default();
        if let Some(trial) = self.shadow(due, tenant) {
            let start = Instant::now();
            let asked = Circumstances::SHADOW.during(|| trial.version.program.connect(attempt));
            let shadow = asked.await.0.and_then(ConnectVerdict::checked);
            let shadow = (&shadow, start.elapsed());
            self.compare(trial, tenant, &answer, shadow, || Question::connect(attempt));
        }
        if self.keeps(&answer) {
            self.recorder.keep(Question::connect(attempt), described(&answer), trial::now());
        }
        answer
    }

    /// Whether the answer that is given now is logged; then, how many before it were not.
    #[inline]
    fn turn_to_log(&self) -> Option<u64> {
        let log = self.log.as_ref().filter(|_| !is_rehearsed())?;
        log.admit(Instant::now())
    }

    fn log<T: Answer>(
        &self,
        version: &Version,
        question: &Question,
        answer: &Result<T, StepFailure>,
        (took, notes): (Duration, &[Note]),
        left_out: u64,
        observer: &(impl Observer + ?Sized),
    ) {
        let answer = &redacted(described(answer));
        observer.logged(self, LoggedAnswer { question, version, answer, took, notes, left_out });
    }

    /// The candidate that is asked as well. One that fails again and again is left alone for a while: each
    /// call until a deadline is time that the client waits.
    #[inline]
    fn shadow(&self, due: Due, tenant: &str) -> Option<&Trial> {
        if !due.shadow || is_rehearsed() {
            return None;
        }
        let trial = self.trial.as_deref()?;
        trial.version.breakers.admits(tenant, Instant::now()).then_some(trial)
    }

    #[inline]
    fn call<T: Answer>(
        &self,
        version: &Version,
        client: &Client,
        observer: &dyn Observer,
        call: impl Fn(&dyn Program) -> Result<T, StepFailure>,
    ) -> Result<T, StepFailure> {
        if is_rehearsed() {
            return self.rehearse(version, observer, call);
        }
        if self.spec.program.kind == ProgramKind::Builtin {
            let answer = call(&*version.program);
            version.meter.count(&answer);
            return answer;
        }
        let (tenant, start) = (&client.tenant, Instant::now());
        // The breaker last: a call that it lets through to try again must be made.
        let answer = if !client.budget.admits_call(start) {
            let message = "the tenant's plugins and rules have used what they may in a second";
            Err(StepFailure::new(FailureKind::OverBudget, message))
        } else if !version.breakers.admits(tenant, start) {
            let message = "it has failed too often and is left alone for a while";
            Err(StepFailure::new(FailureKind::BreakerOpen, message))
        } else {
            let answer = with_care(version, tenant, observer, call);
            let end = Instant::now();
            let took = end - start;
            version.meter.time(took);
            if let Some(account) = &self.account {
                account.time(took);
            }
            client.budget.charge(took);
            if let Some(change) = version.breakers.record(tenant, answer.is_err(), took, end) {
                version.program.refresh(tenant);
                observer.breaker_changed(self, tenant, change);
            }
            answer
        };
        version.meter.count(&answer);
        if let Some(account) = &self.account {
            account.count(self.hook, answer.as_ref().err());
        }
        answer
    }

    /// As `call`, without any trace but what the observer is shown.
    #[cold]
    fn rehearse<T: Answer>(
        &self,
        version: &Version,
        observer: &dyn Observer,
        call: impl Fn(&dyn Program) -> Result<T, StepFailure>,
    ) -> Result<T, StepFailure> {
        let start = Instant::now();
        let (answer, notes) = Circumstances::REHEARSED.run(|| call(&*version.program));
        observer.answered(self, version, described(&answer), start.elapsed(), notes);
        answer
    }

    /// Takes account of what the candidate in shadow has answered.
    fn compare<T: Answer>(
        &self,
        trial: &Trial,
        tenant: &str,
        answer: &Result<T, StepFailure>,
        (shadow, took): (&Result<T, StepFailure>, Duration),
        question: impl FnOnce() -> Question,
    ) {
        let version = &trial.version;
        version.meter.count(shadow);
        if version.breakers.record(tenant, shadow.is_err(), took, Instant::now()).is_some() {
            version.program.refresh(tenant);
        }
        trial.differences.compare(answer, shadow, || {
            let question = question();
            let (tenant, _, client_id) = question.whose();
            (tenant.to_owned(), client_id.to_owned(), question.topic().to_owned())
        });
    }

    /// Whether the question and its answer are to be recorded.
    #[inline]
    pub(crate) fn keeps<T>(&self, answer: &Result<T, StepFailure>) -> bool {
        (self.recorder.samples() || answer.is_err() && self.recorder.is_on()) && !is_rehearsed()
    }
}

/// Makes a call; one that may well take all that it is given does not keep others waiting.
#[inline]
fn with_care<T>(
    version: &Version,
    tenant: &str,
    observer: &dyn Observer,
    call: impl Fn(&dyn Program) -> T,
) -> T {
    if !version.breakers.suspects(tenant) {
        return call(&*version.program);
    }
    let mut answer = None;
    observer.aside(&mut || answer = Some(call(&*version.program)));
    answer.unwrap_or_else(|| call(&*version.program))
}
