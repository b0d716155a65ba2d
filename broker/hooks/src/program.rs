//! What every engine offers to the pipeline.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use hookmq_codec::TopicFilter;
use hookmq_core::Message;

use crate::{
    Access, AuthorizeVerdict, Client, ConnectAttempt, ConnectVerdict, DeliverVerdict,
    IdentityPatch, PublishAnswer, StepFailure,
};

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The four places where a client or a message waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Hook {
    Connect,
    Authorize,
    Publish,
    Deliver,
}

impl Hook {
    pub const ALL: [Hook; 4] = [Hook::Connect, Hook::Authorize, Hook::Publish, Hook::Deliver];
}

/// Which hooks a program answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HookSet {
    pub connect: bool,
    pub authorize: bool,
    pub publish: bool,
    pub deliver: bool,
}

impl HookSet {
    /// Of those that only say who a client is.
    pub const CONNECT: Self =
        Self { connect: true, authorize: false, publish: false, deliver: false };

    pub fn contains(self, hook: Hook) -> bool {
        match hook {
            Hook::Connect => self.connect,
            Hook::Authorize => self.authorize,
            Hook::Publish => self.publish,
            Hook::Deliver => self.deliver,
        }
    }
}

#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum ProgramKind {
    Builtin,
    Plugin,
    Rule,
}

impl ProgramKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Builtin => "builtin",
            Self::Plugin => "plugin",
            Self::Rule => "rule",
        }
    }
}

/// What a program calls itself.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ProgramIdentity {
    pub kind: ProgramKind,
    pub name: String,
    /// A plugin's manifest says it; a rule's is empty.
    pub version: String,
    /// Of the artefact or the source, lower-case hex; a builtin's is empty.
    pub sha256: String,
}

impl fmt::Display for ProgramIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.name(), self.name)
    }
}

/// What a program holds besides its code.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Running guests.
    pub instances: u32,
    /// Memory of all of them.
    pub bytes: u64,
}

/// Passwords that a program tries, beside the threads of the connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checks {
    /// At this moment.
    pub running: u32,
    /// Since the program was made.
    pub begun: u64,
}

/// One version of a builtin, a plugin or a rule.
///
/// Calls come from many connections at once, on their own workers: `authorize`, `publish` and
/// `deliver` must not block for longer than the engine's time limit, which ends them.
pub trait Program: Send + Sync {
    fn identity(&self) -> &ProgramIdentity;

    fn hooks(&self) -> HookSet;

    /// The topics that the program itself asks for; empty means all. The step's own condition
    /// narrows them further.
    fn topics(&self) -> &[TopicFilter] {
        &[]
    }

    /// What it says of itself beside its identity, for people and tools.
    fn manifest(&self) -> Option<serde_json::Value> {
        None
    }

    /// Whether the same client and access always give the same verdict until the pipeline or the
    /// permissions change, so that a connection may remember it.
    fn authorize_is_cacheable(&self) -> bool {
        false
    }

    /// Whether this client's deliveries are to be authorized one by one (`receive`), even where the
    /// configuration does not demand it. Asked when the client connects and when its rights change.
    fn asks_receive(&self, _client: &Client) -> bool {
        false
    }

    /// Whether its connect step can carry this authentication method through.
    fn knows_method(&self, _method: &str) -> bool {
        false
    }

    fn connect<'a>(
        &'a self,
        _attempt: &'a ConnectAttempt,
    ) -> BoxFuture<'a, Result<ConnectVerdict, StepFailure>> {
        Box::pin(async { Ok(ConnectVerdict::Next(IdentityPatch::default())) })
    }

    fn authorize(&self, _: &Arc<Client>, _: &Access<'_>) -> Result<AuthorizeVerdict, StepFailure> {
        Ok(AuthorizeVerdict::Abstain)
    }

    fn publish(&self, _: &Arc<Client>, _: &Message) -> Result<PublishAnswer, StepFailure> {
        Ok(PublishAnswer::default())
    }

    fn deliver(&self, _: &Arc<Client>, _: &Message) -> Result<DeliverVerdict, StepFailure> {
        Ok(DeliverVerdict::default())
    }

    /// Begins anew for a tenant: what is kept for it between calls, other than in the broker, may be the
    /// reason why it fails.
    fn refresh(&self, _tenant: &str) {}

    /// What the program holds.
    fn footprint(&self) -> Footprint {
        Footprint::default()
    }

    /// None where it tries no passwords.
    fn checks(&self) -> Option<Checks> {
        None
    }
}
