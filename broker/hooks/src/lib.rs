//! The four hook points and what stands behind them: verdicts, failure policies, the pipeline.
//!
//! A [`Program`] (builtin, plugin or rule) answers hooks. A [`Step`] is a program at its place, with
//! conditions and a failure policy. A [`Pipeline`] is all steps in order; a new one replaces the old
//! by one atomic pointer while calls in flight finish on the one they started with. No engine is
//! known here.

mod answer;
mod answer_log;
mod authentication;
mod blueprint;
mod breaker;
mod budget;
mod client;
mod explain;
mod kept;
mod message_patch;
mod meter;
mod pipeline;
mod places;
mod program;
mod recorder;
mod rehearsal;
mod run;
mod services;
mod step;
mod sync;
mod tenant_steps;
mod trial;
mod verdict;

pub use answer::{Answer, VerdictKind, payload, redacted};
pub use answer_log::LoggedAnswer;
pub use authentication::{Authentication, Conversation, Exchange};
pub use blueprint::{Blueprint, Condition, Control, Explain, FailurePolicy, ProgramName, StepSpec};
pub use breaker::{BreakerChange, BreakerOptions, Breakers};
pub use budget::{TenantBudget, TenantRates};
pub use client::{
    Attachment, Attribute, CertificateFacts, Client, ClientLimits, ConnectAttempt, ConnectionFacts,
    DistinguishedName, Identity, Secret, Voucher, Waited, resembles_token,
};
pub use explain::{Explanation, StepTrace, ask_again};
pub use kept::Kept;
pub use message_patch::{Emission, MessagePatch, PatchError};
pub use meter::{BUCKETS, Meter};
pub use pipeline::{AssembleError, Pipeline, PipelineCell, StepSet};
pub use places::Places;
pub use program::{
    BoxFuture, Checks, Footprint, Hook, HookSet, Program, ProgramIdentity, ProgramKind,
};
pub use recorder::{OwnedAccess, Question, Recorded, Recorder, RecorderOptions};
pub use rehearsal::{
    Circumstances, Consequences, During, Note, is_noted, is_rehearsed, keep_notes, note, rehearse,
};
pub use run::{Decision, Emitted, Observer, PublishOutcome, Published, Refusal};
pub use services::{
    Keeper, KeyValueError, KeyValueLimits, KeyValueStore, ProgramMetric, ProgramMetrics, Services,
};
pub use step::{Step, StepParts};
pub use tenant_steps::{LastFailure, TENANT_RULES, TenantAccount, TenantSteps, TenantStepsCell};
pub use trial::{Difference, Differences, EVERYBODY, Stage, Trial, Version};
pub use verdict::{
    Access, Action, AuthorizeVerdict, ConnectVerdict, DeliverVerdict, Denial, Effect, FailureKind,
    IdentityPatch, Location, PublishAnswer, PublishVerdict, StepFailure,
};
