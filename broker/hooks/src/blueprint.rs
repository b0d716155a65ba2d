//! What the configuration says about the pipeline: which programs, where, on what terms.

use std::fmt;
use std::sync::Arc;

use hookmq_codec::TopicFilter;

use crate::{Hook, ProgramKind};

/// The configured steps of all four hooks, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Blueprint {
    pub connect: Vec<StepSpec>,
    pub authorize: Vec<StepSpec>,
    pub publish: Vec<StepSpec>,
    pub deliver: Vec<StepSpec>,
}

impl Blueprint {
    pub fn steps(&self, hook: Hook) -> &[StepSpec] {
        match hook {
            Hook::Connect => &self.connect,
            Hook::Authorize => &self.authorize,
            Hook::Publish => &self.publish,
            Hook::Deliver => &self.deliver,
        }
    }

    /// Every step of every hook.
    pub fn all(&self) -> impl Iterator<Item = (Hook, &StepSpec)> {
        Hook::ALL.into_iter().flat_map(|hook| self.steps(hook).iter().map(move |step| (hook, step)))
    }
}

/// One configured step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepSpec {
    pub program: ProgramName,
    pub condition: Condition,
    /// For connect steps.
    pub control: Control,
    /// For publish and deliver steps; connect and authorize fail closed.
    pub on_failure: FailurePolicy,
    pub explain: Explain,
    /// Handed to a plugin's or a builtin's own configuration; null where absent.
    pub settings: serde_json::Value,
}

impl StepSpec {
    /// A step whose options are all left out: it is asked always, and a failure drops the message.
    pub fn new(kind: ProgramKind, name: impl Into<Arc<str>>) -> Self {
        Self {
            program: ProgramName { kind, name: name.into() },
            condition: Condition::default(),
            control: Control::Required,
            on_failure: FailurePolicy::Drop,
            explain: Explain::default(),
            settings: serde_json::Value::Null,
        }
    }
}

/// A program as the configuration and the admin API name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct ProgramName {
    pub kind: ProgramKind,
    pub name: Arc<str>,
}

/// When a step is asked. An empty list sets no condition.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Condition {
    pub listeners: Vec<Arc<str>>,
    pub tenants: Vec<Arc<str>>,
    #[serde(serialize_with = "filters_as_text")]
    pub topics: Vec<TopicFilter>,
}

/// PAM's control words for connect steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// A denial or failure of this step refuses the client.
    #[default]
    Required,
    /// An acceptance ends the chain; a denial or failure leaves the word to the steps behind.
    Sufficient,
    /// Contributes a patch; neither its acceptance nor its denial decides.
    Optional,
}

/// What becomes of a message when a publish or deliver step fails.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FailurePolicy {
    #[default]
    Drop,
    /// The message goes on as it was before the step.
    Pass,
    /// The message, as it was, goes to this topic of its tenant instead. Publish steps only.
    DeadLetter { topic: String },
}

/// Who is told what a step answers, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Explain {
    /// Whoever asks for an explanation.
    #[default]
    OnRequest,
    /// The log as well, without payloads: some of the real calls.
    Log,
}

fn filters_as_text<S: serde::Serializer>(
    filters: &[TopicFilter],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(filters.iter().map(TopicFilter::as_str))
}

impl fmt::Display for ProgramName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} {:?}", self.kind.name(), self.name)
    }
}
