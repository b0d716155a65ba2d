//! The four hook points and what stands behind them: verdicts, failure policies, the pipeline.
//!
//! A [`Program`] (builtin, plugin or rule) answers hooks. A [`Step`] is a program at its place, with
//! conditions and a failure policy. A [`Pipeline`] is all steps in order; a new one replaces the old
//! by one atomic pointer while calls in flight finish on the one they started with. No engine is
//! known here.

mod authentication;
mod blueprint;
mod client;
mod message_patch;
mod pipeline;
mod program;
mod run;
mod services;
mod step;
mod verdict;

pub use authentication::{Authentication, Conversation, Exchange};
pub use blueprint::{Blueprint, Condition, Control, FailurePolicy, ProgramName, StepSpec};
pub use client::{
    Attachment, Attribute, CertificateFacts, Client, ClientLimits, ConnectAttempt, ConnectionFacts,
    DistinguishedName, Identity, Secret, Voucher,
};
pub use message_patch::{Emission, MessagePatch, PatchError};
pub use pipeline::{AssembleError, Pipeline, PipelineCell, StepSet};
pub use program::{BoxFuture, Hook, HookSet, Program, ProgramIdentity, ProgramKind};
pub use run::{Decision, Emitted, FailureObserver, PublishOutcome, Published, Refusal};
pub use services::{
    KeyValueError, KeyValueLimits, KeyValueStore, ProgramMetric, ProgramMetrics, Services,
};
pub use step::{Counters, Step};
pub use verdict::{
    Access, Action, AuthorizeVerdict, ConnectVerdict, DeliverVerdict, Denial, Effect, FailureKind,
    IdentityPatch, Location, PublishAnswer, PublishVerdict, StepFailure,
};
