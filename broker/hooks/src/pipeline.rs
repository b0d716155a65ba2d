//! All steps of the four hooks in their order, as one value that is replaced as a whole.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hookmq_codec::TopicName;
use hookmq_core::TopicTree;

use crate::step::{Due, wants_topic};
use crate::sync::{ArcSwap, AtomicU64};
use crate::{
    Access, Blueprint, Client, FailurePolicy, Hook, Step, StepParts, StepSpec, TenantSteps,
};

/// The steps of one generation. Immutable: calls in flight finish on the one they started with.
pub struct Pipeline {
    generation: u64,
    pub(crate) connect: Chain,
    pub(crate) authorize: Chain,
    pub(crate) publish: Chain,
    pub(crate) deliver: Chain,
}

/// The steps of one hook.
#[derive(Default)]
pub(crate) struct Chain {
    pub(crate) steps: Vec<Arc<Step>>,
    /// Steps with a topic condition, by filter; matched as subscriptions are.
    by_topic: TopicTree<u16, ()>,
    /// Steps without one.
    everywhere: Vec<u16>,
    /// Steps that are no mere places for those of tenants.
    programs: usize,
}

/// The steps that one client's access or message on one topic is due to, in order.
#[derive(Clone, Default)]
pub struct StepSet {
    pub(crate) due: Vec<Due>,
    /// Present where some of them are the tenant's own.
    pub(crate) own: Option<Arc<TenantSteps>>,
}

impl StepSet {
    /// Whether no step wants the topic.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.due.is_empty()
    }
}

impl std::fmt::Debug for StepSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("StepSet").field(&self.due).finish()
    }
}

/// Why a blueprint and its programs do not make a pipeline.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    #[error("{hook:?} step {position}: {program} has no function for this hook")]
    NoSuchHook { hook: Hook, position: usize, program: String },
    #[error("publish step {position}: the dead-letter topic: {source}")]
    DeadLetter { position: usize, source: hookmq_codec::TopicError },
    #[error("{hook:?} steps cannot dead-letter; only publish steps can")]
    NoDeadLetter { hook: Hook },
    #[error("{hook:?} has more than {} steps", u16::MAX)]
    TooMany { hook: Hook },
}

impl AssembleError {
    /// The hook whose steps are at fault.
    pub fn hook(&self) -> Hook {
        match self {
            Self::NoSuchHook { hook, .. }
            | Self::NoDeadLetter { hook }
            | Self::TooMany { hook } => *hook,
            Self::DeadLetter { .. } => Hook::Publish,
        }
    }
}

impl Pipeline {
    /// Puts what `parts_of` each configured step gives in its place. Its arguments are the hook, the
    /// step's position from 0, and the step.
    pub fn assemble<P: Into<StepParts>>(
        generation: u64,
        blueprint: &Blueprint,
        mut parts_of: impl FnMut(Hook, usize, &StepSpec) -> P,
    ) -> Result<Self, AssembleError> {
        let mut chain = |hook| {
            let parts = |place, spec: &StepSpec| parts_of(hook, place, spec).into();
            Chain::new(hook, blueprint.steps(hook), parts)
        };
        Ok(Self {
            generation,
            connect: chain(Hook::Connect)?,
            authorize: chain(Hook::Authorize)?,
            publish: chain(Hook::Publish)?,
            deliver: chain(Hook::Deliver)?,
        })
    }

    /// Counts up with every change of the steps or their programs.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// All steps of `hook`, in order.
    pub fn steps(&self, hook: Hook) -> &[Arc<Step>] {
        &self.chain(hook).steps
    }

    /// The steps that `hook` asks for this client and topic.
    pub fn select(&self, hook: Hook, client: &Client, topic: TopicName<'_>) -> StepSet {
        self.select_with(None, hook, client, topic)
    }

    /// As [`Self::select`]; of the tenant's own steps those of `own`, which is what the call has begun
    /// on.
    pub(crate) fn select_with(
        &self,
        own: Option<&Arc<TenantSteps>>,
        hook: Hook,
        client: &Client,
        topic: TopicName<'_>,
    ) -> StepSet {
        let chain = self.chain(hook);
        if chain.steps.is_empty() {
            return StepSet::default();
        }
        if chain.has_places() && (own.is_some() || client.steps.has_steps(hook)) {
            let own = own.cloned().unwrap_or_else(|| client.steps.load());
            return chain.select_both(hook, own, client, topic);
        }
        let due = chain.due(client, topic, |step| !step.is_place()).collect();
        StepSet { due, own: None }
    }

    /// Whether a step of `hook` may be due to the client, whatever the topic.
    #[inline]
    pub fn may_ask(&self, hook: Hook, client: &Client) -> bool {
        let chain = self.chain(hook);
        chain.programs > 0 || chain.has_places() && client.steps.has_steps(hook)
    }

    /// The step that is meant by one of `steps`.
    #[inline]
    pub(crate) fn step<'a>(&'a self, hook: Hook, steps: &'a StepSet, due: Due) -> &'a Arc<Step> {
        match (due.own, &steps.own) {
            (Some(own), Some(of_tenant)) => {
                let chain = of_tenant.chain(hook).expect("steps of a tenant have a hook");
                &chain.steps[usize::from(own)]
            }
            _ => &self.chain(hook).steps[usize::from(due.place)],
        }
    }

    /// Whether a step wants to authorize, one by one, the messages that this client is sent.
    pub fn asks_receive(&self, client: &Client) -> bool {
        let mut steps = self.authorize.steps.iter().filter(|step| step.wants_client(client));
        steps.any(|step| step.versions().any(|version| version.program.asks_receive(client)))
    }

    /// The authorize steps to ask. A filter is due to every step whose topics it touches.
    pub(crate) fn select_for_access(&self, client: &Client, access: &Access<'_>) -> StepSet {
        let mut steps = StepSet::default();
        let own = (self.authorize.has_places() && client.steps.has_steps(Hook::Authorize))
            .then(|| client.steps.load());
        for (place, step) in (0..).zip(&self.authorize.steps) {
            if !step.is_place() {
                steps.due.extend(step.due_for_access(place, client, access));
                continue;
            }
            let Some(own) = own.as_ref().filter(|_| step.wants_access(client, access)) else {
                continue;
            };
            let before = steps.due.len();
            let of_tenant = own.chain(Hook::Authorize).into_iter().flat_map(|it| &it.steps);
            let asked = (0..).zip(of_tenant);
            let asked = asked.filter_map(|(own, step)| step.due_for_access(own, client, access));
            steps.due.extend(asked.map(|due| due.within(place)));
            if steps.due.len() > before {
                steps.own = Some(own.clone());
            }
        }
        steps
    }

    fn chain(&self, hook: Hook) -> &Chain {
        match hook {
            Hook::Connect => &self.connect,
            Hook::Authorize => &self.authorize,
            Hook::Publish => &self.publish,
            Hook::Deliver => &self.deliver,
        }
    }
}

impl Chain {
    fn new(
        hook: Hook,
        specs: &[StepSpec],
        mut parts_of: impl FnMut(usize, &StepSpec) -> StepParts,
    ) -> Result<Self, AssembleError> {
        let mut chain = Self::default();
        for (position, spec) in specs.iter().enumerate() {
            chain.push(hook, spec.clone(), parts_of(position, spec))?;
        }
        Ok(chain)
    }

    /// Puts a step behind the others.
    pub(crate) fn push(
        &mut self,
        hook: Hook,
        spec: StepSpec,
        parts: StepParts,
    ) -> Result<(), AssembleError> {
        let position = self.steps.len() + 1;
        let program = &parts.active.program;
        if !program.hooks().contains(hook) {
            let program = program.identity().to_string();
            return Err(AssembleError::NoSuchHook { hook, position, program });
        }
        if let FailurePolicy::DeadLetter { topic } = &spec.on_failure {
            if hook != Hook::Publish {
                return Err(AssembleError::NoDeadLetter { hook });
            }
            TopicName::new(topic)
                .map_err(|source| AssembleError::DeadLetter { position, source })?;
        }
        let place = u16::try_from(self.steps.len()).map_err(|_| AssembleError::TooMany { hook })?;
        let step = Step::new(hook, spec, parts);
        self.index(place, &step);
        self.programs += usize::from(!step.is_place());
        self.steps.push(Arc::new(step));
        Ok(())
    }

    /// Those to ask about a topic, of the steps that `counts` says count.
    pub(crate) fn due(
        &self,
        client: &Client,
        topic: TopicName<'_>,
        counts: impl Fn(&Step) -> bool,
    ) -> impl Iterator<Item = Due> {
        let whose = (Some(&*client.tenant), &*client.client_id);
        self.wanted(topic).into_iter().filter_map(move |place| {
            let step = &self.steps[usize::from(place)];
            let step = Some(step).filter(|step| counts(step) && step.wants_client(client))?;
            step.due(place, whose, |program| wants_topic(program, topic))
        })
    }

    /// The places, in order, of the steps whose conditions may fit the topic.
    fn wanted(&self, topic: TopicName<'_>) -> Vec<u16> {
        let mut wanted = self.everywhere.clone();
        self.by_topic.for_each_match(topic, |step, ()| wanted.push(step));
        wanted.sort_unstable();
        wanted.dedup();
        wanted
    }

    /// Whether steps of tenants have a place here.
    #[inline]
    fn has_places(&self) -> bool {
        self.programs < self.steps.len()
    }

    /// The operator's steps, and `own` at their places among them.
    fn select_both(
        &self,
        hook: Hook,
        own: Arc<TenantSteps>,
        client: &Client,
        topic: TopicName<'_>,
    ) -> StepSet {
        let mut due = Vec::new();
        for asked in self.due(client, topic, |_| true) {
            match self.steps[usize::from(asked.place)].is_place() {
                true => own.due((hook, asked.place), client, topic, &mut due),
                false => due.push(asked),
            }
        }
        let own = due.iter().any(|due| due.own.is_some()).then_some(own);
        StepSet { due, own }
    }

    fn index(&mut self, place: u16, step: &Step) {
        // The narrower of the two conditions is not known; either one will do, as `select` asks the
        // program again.
        let of_programs = || step.versions().map(|version| version.program.topics());
        let filters: Vec<_> = match &*step.spec.condition.topics {
            [] if of_programs().any(<[_]>::is_empty) => vec![],
            [] => of_programs().flatten().collect(),
            filters => filters.iter().collect(),
        };
        if filters.is_empty() {
            self.everywhere.push(place);
        }
        for filter in filters {
            self.by_topic.insert(filter.bare(), place, ());
        }
    }
}

/// The pipeline in force; swapped by one atomic pointer.
pub struct PipelineCell {
    current: ArcSwap<Pipeline>,
    /// Of `current`; read before each message, so it stands apart from the pointer.
    generation: AtomicU64,
}

impl PipelineCell {
    pub fn new(pipeline: Pipeline) -> Self {
        let generation = AtomicU64::new(pipeline.generation);
        Self { current: ArcSwap::from_pointee(pipeline), generation }
    }

    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub fn load(&self) -> Arc<Pipeline> {
        self.current.load_full()
    }

    /// Puts `pipeline` in force for every call that starts from now on.
    pub fn store(&self, pipeline: Pipeline) {
        let generation = pipeline.generation;
        self.current.store(Arc::new(pipeline));
        self.generation.store(generation, Ordering::Release);
    }
}

#[cfg(all(test, feature = "interleavings"))]
mod interleavings;
