//! What hooks are asked and what they may answer.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use hookmq_codec::{Qos, ReasonCode};

use crate::{Attachment, ClientLimits, Emission, MessagePatch, Secret, Voucher};

/// "Who is this?"
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectVerdict {
    /// Nothing against it so far; the patch is applied and the next step is asked.
    Next(IdentityPatch),
    /// This step vouches for the client.
    Accept(IdentityPatch),
    /// This step vouches for the client, because the exchange that it has held with it succeeded.
    Authenticated {
        patch: IdentityPatch,
        /// The method's last word to the client; empty where it has none.
        data: Secret,
    },
    Deny {
        reason_code: ReasonCode,
        reason: String,
    },
}

/// What a connect step adds to the identity. An absent field leaves what earlier steps said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdentityPatch {
    pub tenant: Option<Arc<str>>,
    pub username: Option<Arc<str>>,
    pub client_id: Option<Arc<str>>,
    /// Added to the roles so far.
    pub roles: BTreeSet<Arc<str>>,
    /// Added to, or put in the place of, the attributes so far.
    pub attributes: BTreeMap<Arc<str>, String>,
    /// Who says that the attributes are true; none: the step itself.
    pub vouched_by: Option<Voucher>,
    /// Added to, or put in the place of, the attachments so far.
    pub attachments: BTreeMap<Arc<str>, Attachment>,
    pub limits: ClientLimits,
}

impl IdentityPatch {
    /// Refuses names that could not be told from none.
    pub(crate) fn check(&self) -> Result<(), StepFailure> {
        let names = [
            ("tenant", &self.tenant),
            ("username", &self.username),
            ("client id", &self.client_id),
        ];
        let problem = names.into_iter().find_map(|(what, name)| match name.as_deref()? {
            "" => Some(format!("it names an empty {what}")),
            name if name.contains('\0') => Some(format!("it names a {what} that holds U+0000")),
            _ => None,
        });
        problem.map_or(Ok(()), |problem| Err(StepFailure::new(FailureKind::BadOutput, problem)))
    }
}

/// "May it do this here?"
#[derive(Debug, Clone, Copy)]
pub struct Access<'a> {
    pub action: Action,
    /// A topic name; for subscribe a bare topic filter, without `$share/name/`.
    pub topic: &'a str,
    pub qos: Qos,
    /// For publish: whether the message is to be retained.
    pub retain: bool,
    /// For subscribe: the name in `$share/NAME/FILTER`.
    pub share_name: Option<&'a str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Publish,
    Subscribe,
    Receive,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthorizeVerdict {
    Allow,
    /// Allowed, and a subscription is granted at most this QoS.
    AllowUpTo(Qos),
    Deny(Denial),
    /// No opinion: the next step decides. When no step has one, access is denied.
    Abstain,
}

/// Why access is refused, and what the client notices of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    pub effect: Effect,
    /// For the log and for explain, not for the client.
    pub reason: String,
}

/// What a denied client notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// The acknowledgement carries the code (version 5). A PUBLISH of 3.1.1, which has no such
    /// field, is acknowledged and dropped; a filter of 3.1.1 is answered with 0x80.
    #[default]
    Refuse,
    /// Acknowledged as if it had been done.
    AcknowledgeAndDrop,
    /// DISCONNECT with "not authorized".
    Disconnect,
}

impl ConnectVerdict {
    /// The same, or the failure of a step that answers what no step may.
    pub(crate) fn checked(self) -> Result<Self, StepFailure> {
        match &self {
            Self::Next(patch) | Self::Accept(patch) | Self::Authenticated { patch, .. } => {
                patch.check()?;
            }
            Self::Deny { .. } => {}
        }
        Ok(self)
    }
}

/// "What becomes of this message?"
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum PublishVerdict {
    #[default]
    Pass,
    Replace(MessagePatch),
    /// Not delivered; the publisher is told the code where its version has one.
    Drop(ReasonCode),
    /// Not delivered, and acknowledged as a success: the step took it.
    Consume,
}

/// A publish verdict with the messages that the step makes beside it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PublishAnswer {
    pub verdict: PublishVerdict,
    pub emitted: Vec<Emission>,
}

/// "What does this subscriber see?"
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum DeliverVerdict {
    #[default]
    Pass,
    Replace(MessagePatch),
    Drop,
}

/// A step that gave no answer. The step's failure policy decides what follows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct StepFailure {
    pub kind: FailureKind,
    pub message: String,
    pub location: Option<Location>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The guest trapped, or the script threw.
    Error,
    Timeout,
    /// A limit on memory, operations or output.
    Limit,
    /// The answer breaks the contract.
    BadOutput,
    /// Something the step needs (a database, a host) did not answer.
    Unavailable,
    /// It was not asked: it has failed too often, and is left alone for a while.
    BreakerOpen,
    /// It was not asked, or its messages were not sent: the tenant has used what it may.
    OverBudget,
}

impl FailureKind {
    pub const ALL: [Self; 7] = [
        Self::Error,
        Self::Timeout,
        Self::Limit,
        Self::BadOutput,
        Self::Unavailable,
        Self::BreakerOpen,
        Self::OverBudget,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::Limit => "limit",
            Self::BadOutput => "bad_output",
            Self::Unavailable => "unavailable",
            Self::BreakerOpen => "breaker_open",
            Self::OverBudget => "over_budget",
        }
    }
}

/// A place in a rule's source; line and column count from 1.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Location {
    pub file: String,
    pub line: usize,
    pub column: usize,
}

impl StepFailure {
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), location: None }
    }

    pub fn at(mut self, location: Location) -> Self {
        self.location = Some(location);
        self
    }
}

impl fmt::Display for StepFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Location { file, line, column }) = &self.location {
            write!(f, "{file}:{line}:{column}: ")?;
        }
        f.write_str(&self.message)
    }
}
