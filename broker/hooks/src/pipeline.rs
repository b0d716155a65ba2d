//! All steps of the four hooks in their order, as one value that is replaced as a whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use hookmq_codec::{TopicName, filter_intersects};
use hookmq_core::TopicTree;

use crate::{Access, Action, Blueprint, Client, FailurePolicy, Hook, Program, Step, StepSpec};

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
pub struct StepSet(pub(crate) Vec<u16>);

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
    /// Puts `program_of` each configured step in its place.
    pub fn assemble(
        generation: u64,
        blueprint: &Blueprint,
        mut program_of: impl FnMut(Hook, &StepSpec) -> Arc<dyn Program>,
    ) -> Result<Self, AssembleError> {
        let mut chain = |hook| Chain::new(hook, blueprint.steps(hook), &mut program_of);
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
        wanted.retain(|&step| {
            let step = &chain.steps[usize::from(step)];
            step.wants_client(client) && step.program_wants(topic)
        });
        wanted.sort_unstable();
        wanted.dedup();
        StepSet(wanted)
    }

    /// The authorize steps to ask. A filter is due to every step whose topics it touches.
    pub(crate) fn select_for_access(&self, client: &Client, access: &Access<'_>) -> StepSet {
        let steps = self.authorize.steps.iter().enumerate().filter(|(_, step)| {
            let touched = |filters: &[hookmq_codec::TopicFilter]| {
                filters.is_empty()
                    || filters.iter().any(|filter| match access.action {
                        Action::Subscribe => filter_intersects(filter.bare(), access.topic),
                        // Literal topics are filters that match themselves alone.
                        Action::Publish | Action::Receive => {
                            filter.matches(TopicName::from_checked(access.topic))
                        }
                    })
            };
            step.wants_client(client)
                && touched(&step.spec.condition.topics)
                && touched(step.program.topics())
        });
        StepSet(steps.map(|(place, _)| place as u16).collect())
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
        program_of: &mut impl FnMut(Hook, &StepSpec) -> Arc<dyn Program>,
    ) -> Result<Self, AssembleError> {
        let mut chain = Self { steps: vec![], by_topic: TopicTree::default(), everywhere: vec![] };
        for (position, spec) in (1..).zip(specs) {
            let program = program_of(hook, spec);
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
            chain.index(place, spec, &*program);
            chain.steps.push(Arc::new(Step::new(hook, spec.clone(), program)));
        }
        Ok(chain)
    }

    fn index(&mut self, place: u16, spec: &StepSpec, program: &dyn Program) {
        // The narrower of the two conditions is not known; either one will do, as `select` asks the
        // program again.
        let filters = match &*spec.condition.topics {
            [] => program.topics(),
            filters => filters,
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
