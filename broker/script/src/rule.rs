//! A loaded rule, as the pipeline calls it.

use std::sync::Arc;
use std::time::Duration;

use hookmq_codec::TopicFilter;
use hookmq_core::Message;
use hookmq_hooks::{
    Access, AuthorizeVerdict, BoxFuture, Client, ConnectAttempt, ConnectVerdict, DeliverVerdict,
    FailureKind, Hook, HookSet, Kept, Program, ProgramIdentity, PublishAnswer, StepFailure,
};
use rhai::{AST, Caches, Dynamic, Engine, EvalContext, GlobalRuntimeState, Position, Scope};

use crate::call::{self, Clock};
use crate::fault::Failure;
use crate::objects::access::AccessFacts;
use crate::objects::attempt::AttemptRef;
use crate::objects::client::ClientRef;
use crate::objects::message::MessageRef;
use crate::objects::verdict::Verdict;

/// One version of a rule. Calls from many threads do not wait for one another.
pub struct Rule {
    pub(crate) identity: ProgramIdentity,
    pub(crate) file: String,
    pub(crate) doc: String,
    pub(crate) hooks: HookSet,
    /// The name of each hook's function and where it stands, in the order of [`Hook::ALL`].
    pub(crate) functions: [(&'static str, Position); 4],
    pub(crate) topics: Vec<TopicFilter>,
    pub(crate) engine: Engine,
    pub(crate) ast: AST,
    pub(crate) spares: Spares,
    pub(crate) authorize_is_cacheable: bool,
    pub(crate) clock: Clock,
    pub(crate) deadline: Duration,
}

impl Rule {
    /// The comment that the file begins with.
    pub fn doc(&self) -> &str {
        &self.doc
    }

    fn call(
        &self,
        hook: Hook,
        tenant: &Arc<str>,
        arguments: &mut [&mut Dynamic],
    ) -> Result<Dynamic, StepFailure> {
        let (name, place) = &self.functions[hook as usize];
        call::begin_for(tenant, self.clock, self.deadline);
        let mut spare = self.spares.take().unwrap_or_else(|| self.new_state());
        let (State { global, caches }, mut scope) = (&mut spare, Scope::new());
        let answer = EvalContext::new(&self.engine, global, caches, &mut scope, None)
            .call_fn_raw(name, false, false, arguments);
        let value = answer
            .map_err(|error| Failure::from_error(*error).into_step_failure(&self.file, *place))?;
        spare.global.num_operations = 0;
        self.spares.give_back(spare);
        Verdict::tell(&value, &self.file, (name, *place));
        Ok(value)
    }

    fn new_state(&self) -> State {
        let mut global = self.engine.new_global_runtime_state();
        global.lib.push(self.ast.shared_lib().clone());
        State { global, caches: Caches::new() }
    }

    fn call_with_message(
        &self,
        hook: Hook,
        client: &Arc<Client>,
        draft: &MessageRef,
    ) -> Result<Dynamic, StepFailure> {
        let mut subject = Dynamic::from(ClientRef(client.clone()));
        let mut message = Dynamic::from(draft.clone());
        self.call(hook, &client.tenant, &mut [&mut subject, &mut message])
    }

    fn bad_output(&self, hook: Hook, message: String) -> StepFailure {
        let (_, place) = self.functions[hook as usize];
        let kind = FailureKind::BadOutput;
        Failure::new(kind, message, place).into_step_failure(&self.file, place)
    }

    /// Only publish may emit.
    fn nothing_emitted(&self, hook: Hook) -> Result<(), StepFailure> {
        match call::take_emitted().is_empty() {
            true => Ok(()),
            false => Err(self.bad_output(hook, "only publish may emit messages".into())),
        }
    }

    fn connect_now(&self, attempt: &ConnectAttempt) -> Result<ConnectVerdict, StepFailure> {
        let tenant = attempt.identity.tenant.clone().unwrap_or_default();
        let value =
            self.call(Hook::Connect, &tenant, &mut [&mut Dynamic::from(AttemptRef::new(attempt))])?;
        self.nothing_emitted(Hook::Connect)?;
        Verdict::of_connect(value).map_err(|message| self.bad_output(Hook::Connect, message))
    }
}

/// What the engine keeps while a call runs, and what the next call has of it: which function each call in
/// the rule means. To find that out anew takes as long as a short rule runs.
pub(crate) struct State {
    global: GlobalRuntimeState,
    caches: Caches,
}

/// Each running call has a state of its own, so there are as many as calls ran at once; each is bounded by
/// the calls that stand in the rule. A call that fails may leave its state in disorder: it is dropped.
pub(crate) type Spares = Kept<State>;

impl Program for Rule {
    fn identity(&self) -> &ProgramIdentity {
        &self.identity
    }

    fn hooks(&self) -> HookSet {
        self.hooks
    }

    fn topics(&self) -> &[TopicFilter] {
        &self.topics
    }

    /// Unless the rule asks for the time or for what is kept, the same question has one answer.
    fn authorize_is_cacheable(&self) -> bool {
        self.authorize_is_cacheable
    }

    fn connect<'a>(
        &'a self,
        attempt: &'a ConnectAttempt,
    ) -> BoxFuture<'a, Result<ConnectVerdict, StepFailure>> {
        Box::pin(async move { self.connect_now(attempt) })
    }

    fn authorize(
        &self,
        client: &Arc<Client>,
        access: &Access<'_>,
    ) -> Result<AuthorizeVerdict, StepFailure> {
        let mut subject = Dynamic::from(ClientRef(client.clone()));
        let mut access = Dynamic::from(AccessFacts::new(access));
        let arguments = &mut [&mut subject, &mut access];
        let value = self.call(Hook::Authorize, &client.tenant, arguments)?;
        self.nothing_emitted(Hook::Authorize)?;
        Verdict::of_authorize(value).map_err(|message| self.bad_output(Hook::Authorize, message))
    }

    fn publish(
        &self,
        client: &Arc<Client>,
        message: &Message,
    ) -> Result<PublishAnswer, StepFailure> {
        let draft = MessageRef::new(message.clone());
        let value = self.call_with_message(Hook::Publish, client, &draft)?;
        let verdict = Verdict::of_publish(value, draft.take_patch())
            .map_err(|message| self.bad_output(Hook::Publish, message))?;
        Ok(PublishAnswer { verdict, emitted: call::take_emitted() })
    }

    fn deliver(
        &self,
        client: &Arc<Client>,
        message: &Message,
    ) -> Result<DeliverVerdict, StepFailure> {
        let draft = MessageRef::new(message.clone());
        let value = self.call_with_message(Hook::Deliver, client, &draft)?;
        self.nothing_emitted(Hook::Deliver)?;
        Verdict::of_deliver(value, draft.take_patch())
            .map_err(|message| self.bad_output(Hook::Deliver, message))
    }
}
