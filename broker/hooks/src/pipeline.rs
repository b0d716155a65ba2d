//! All steps of the four hooks in their order, as one value that is replaced as a whole.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hookmq_codec::{TopicFilter, TopicName, filter_intersects};
use hookmq_core::TopicTree;

use crate::step::{Due, wants_topic};
use crate::sync::{ArcSwap, AtomicU64};
use crate::{Access, Action, Blueprint, Client, FailurePolicy, Hook, Step, StepParts, StepSpec};

/// The steps of one generation. Immutable: calls in flight finish on the one they started with.
pub struct Pipeline {
    generation: u64,
    pub(crate) connect: Chain,
    pub(crate) authorize: Chain,
    pub(crate) publish: Chain,
    pub(crate) deliver: Chain,
}

/// The steps of one hook.
pub(crate) struct Chain {
    pub(crate) steps: Vec<Arc<Step>>,
    /// Steps with a topic condition, by filter; matched as subscriptions are.
    by_topic: TopicTree<u16, ()>,
    /// Steps without one.
    everywhere: Vec<u16>,
}

/// The steps that one client's access or message on one topic is due to, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StepSet(pub(crate) Vec<Due>);

impl StepSet {
    /// Whether no step wants the topic.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
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
        let chain = self.chain(hook);
        if chain.steps.is_empty() {
            return StepSet::default();
        }
        let mut wanted = chain.everywhere.clone();
        chain.by_topic.for_each_match(topic, |step, ()| wanted.push(step));
        wanted.sort_unstable();
        wanted.dedup();
        let whose = (Some(&*client.tenant), &*client.client_id);
        let due = wanted.into_iter().filter_map(|place| {
            let step = &chain.steps[usize::from(place)];
            let step = Some(step).filter(|step| step.wants_client(client))?;
            step.due(place, whose, |program| wants_topic(program, topic))
        });
        StepSet(due.collect())
    }

    /// Whether a step wants to authorize, one by one, the messages that this client is sent.
    pub fn asks_receive(&self, client: &Client) -> bool {
        let mut steps = self.authorize.steps.iter().filter(|step| step.wants_client(client));
        steps.any(|step| step.versions().any(|version| version.program.asks_receive(client)))
    }

    /// The authorize steps to ask. A filter is due to every step whose topics it touches.
    pub(crate) fn select_for_access(&self, client: &Client, access: &Access<'_>) -> StepSet {
        let touched = |filters: &[TopicFilter]| {
            filters.is_empty()
                || filters.iter().any(|filter| match access.action {
                    Action::Subscribe => filter_intersects(filter.bare(), access.topic),
                    // Literal topics are filters that match themselves alone.
                    Action::Publish | Action::Receive => {
                        filter.matches(TopicName::from_checked(access.topic))
                    }
                })
        };
        let whose = (Some(&*client.tenant), &*client.client_id);
        let steps = (0..).zip(&self.authorize.steps).filter_map(|(place, step)| {
            let wants = step.wants_client(client) && touched(&step.spec.condition.topics);
            let step = Some(step).filter(|_| wants)?;
            step.due(place, whose, |program| touched(program.topics()))
        });
        StepSet(steps.collect())
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
        let mut chain = Self { steps: vec![], by_topic: TopicTree::default(), everywhere: vec![] };
        for (position, spec) in (1..).zip(specs) {
            let parts = parts_of(position - 1, spec);
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
            let place =
                u16::try_from(chain.steps.len()).map_err(|_| AssembleError::TooMany { hook })?;
            let step = Step::new(hook, spec.clone(), parts);
            chain.index(place, &step);
            chain.steps.push(Arc::new(step));
        }
        Ok(chain)
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
