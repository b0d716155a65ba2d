//! What the answers of the four hooks have in common: a kind to count, a form to show.

use serde_json::{Map, Value, json};

use crate::{
    AuthorizeVerdict, ConnectVerdict, DeliverVerdict, Emission, IdentityPatch, MessagePatch,
    PublishAnswer, PublishVerdict, StepFailure,
};

/// The kind of an answer, as monitoring shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictKind {
    Next,
    Accept,
    Deny,
    Allow,
    Abstain,
    Pass,
    Replace,
    Drop,
    Consume,
}

impl VerdictKind {
    pub const ALL: [Self; 9] = [
        Self::Next,
        Self::Accept,
        Self::Deny,
        Self::Allow,
        Self::Abstain,
        Self::Pass,
        Self::Replace,
        Self::Drop,
        Self::Consume,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Accept => "accept",
            Self::Deny => "deny",
            Self::Allow => "allow",
            Self::Abstain => "abstain",
            Self::Pass => "pass",
            Self::Replace => "replace",
            Self::Drop => "drop",
            Self::Consume => "consume",
        }
    }
}

/// What a hook may be answered with.
pub trait Answer: PartialEq {
    /// What a step says that has no opinion.
    fn indifferent() -> Self;

    fn kind(&self) -> VerdictKind;

    /// All of it but secrets, for people: `{"verdict": kind, ..}`.
    fn describe(&self) -> Value;
}

impl Answer for ConnectVerdict {
    fn indifferent() -> Self {
        Self::Next(IdentityPatch::default())
    }

    fn kind(&self) -> VerdictKind {
        match self {
            Self::Next(_) => VerdictKind::Next,
            Self::Accept(_) | Self::Authenticated { .. } => VerdictKind::Accept,
            Self::Deny { .. } => VerdictKind::Deny,
        }
    }

    fn describe(&self) -> Value {
        match self {
            Self::Next(patch) | Self::Accept(patch) | Self::Authenticated { patch, .. } => {
                json!({"verdict": self.kind().name(), "patch": identity(patch)})
            }
            Self::Deny { reason_code, reason } => {
                let code = *reason_code as u8;
                json!({"verdict": "deny", "reason_code": code, "reason": reason})
            }
        }
    }
}

impl Answer for AuthorizeVerdict {
    fn indifferent() -> Self {
        Self::Abstain
    }

    fn kind(&self) -> VerdictKind {
        match self {
            Self::Allow | Self::AllowUpTo(_) => VerdictKind::Allow,
            Self::Deny(_) => VerdictKind::Deny,
            Self::Abstain => VerdictKind::Abstain,
        }
    }

    fn describe(&self) -> Value {
        match self {
            Self::AllowUpTo(qos) => json!({"verdict": "allow", "maximum_qos": *qos as u8}),
            Self::Deny(denial) => {
                json!({"verdict": "deny", "effect": denial.effect, "reason": denial.reason})
            }
            Self::Allow | Self::Abstain => json!({"verdict": self.kind().name()}),
        }
    }
}

impl Answer for PublishAnswer {
    fn indifferent() -> Self {
        Self::default()
    }

    fn kind(&self) -> VerdictKind {
        match self.verdict {
            PublishVerdict::Pass => VerdictKind::Pass,
            PublishVerdict::Replace(_) => VerdictKind::Replace,
            PublishVerdict::Drop(_) => VerdictKind::Drop,
            PublishVerdict::Consume => VerdictKind::Consume,
        }
    }

    fn describe(&self) -> Value {
        let mut described = json!({"verdict": self.kind().name()});
        match &self.verdict {
            PublishVerdict::Replace(patch) => described["patch"] = message(patch),
            PublishVerdict::Drop(code) => described["reason_code"] = json!(*code as u8),
            PublishVerdict::Pass | PublishVerdict::Consume => {}
        }
        if !self.emitted.is_empty() {
            described["emitted"] = self.emitted.iter().map(emission).collect();
        }
        described
    }
}

impl Answer for DeliverVerdict {
    fn indifferent() -> Self {
        Self::Pass
    }

    fn kind(&self) -> VerdictKind {
        match self {
            Self::Pass => VerdictKind::Pass,
            Self::Replace(_) => VerdictKind::Replace,
            Self::Drop => VerdictKind::Drop,
        }
    }

    fn describe(&self) -> Value {
        match self {
            Self::Replace(patch) => json!({"verdict": "replace", "patch": message(patch)}),
            Self::Pass | Self::Drop => json!({"verdict": self.kind().name()}),
        }
    }
}

/// An answer, or why there is none, as [`Answer::describe`] shows it.
pub fn described<T: Answer>(answer: &Result<T, StepFailure>) -> Value {
    match answer {
        Ok(answer) => answer.describe(),
        Err(failure) => json!({"failed": failure.kind.name(), "reason": failure.to_string()}),
    }
}

fn identity(patch: &IdentityPatch) -> Value {
    let mut fields = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        fields.extend(value.map(|value| (name.to_owned(), value)));
    };
    put("tenant", patch.tenant.as_deref().map(Value::from));
    put("username", patch.username.as_deref().map(Value::from));
    put("client_id", patch.client_id.as_deref().map(Value::from));
    put("roles", (!patch.roles.is_empty()).then(|| json!(patch.roles)));
    put("attributes", (!patch.attributes.is_empty()).then(|| json!(patch.attributes)));
    put("expires_at", patch.limits.expires_at.map(Value::from));
    put("session_expiry_maximum", patch.limits.session_expiry_maximum.map(Value::from));
    put("receive_maximum", patch.limits.receive_maximum.map(|it| it.get().into()));
    fields.into()
}

fn message(patch: &MessagePatch) -> Value {
    let mut fields = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        fields.extend(value.map(|value| (name.to_owned(), value)));
    };
    put("topic", patch.topic.as_deref().map(Value::from));
    put("payload", patch.payload.as_deref().map(payload));
    put("qos", patch.qos.map(|qos| json!(qos as u8)));
    put("retain", patch.retain.map(Value::from));
    put("content_type", patch.content_type.as_deref().map(Value::from));
    put("user_properties", patch.user_properties.as_ref().map(|it| json!(it)));
    fields.into()
}

fn emission(emission: &Emission) -> Value {
    json!({
        "topic": emission.topic,
        "payload": payload(&emission.payload),
        "qos": emission.qos as u8,
        "retain": emission.retain,
    })
}

/// A described answer without what messages carry: for logs and lists, which others read.
pub fn redacted(mut answer: Value) -> Value {
    fn hide(object: &mut Value) {
        if let Some(payload) = object.get_mut("payload") {
            let bytes =
                payload.as_str().map_or_else(|| payload["bytes"].clone(), |it| json!(it.len()));
            *payload = json!({"bytes": bytes});
        }
        if let Some(properties) = object.get_mut("user_properties") {
            *properties = json!({"count": properties.as_array().map_or(0, Vec::len)});
        }
    }
    if let Some(patch) = answer.get_mut("patch") {
        hide(patch);
    }
    if let Some(emitted) = answer.get_mut("emitted").and_then(Value::as_array_mut) {
        emitted.iter_mut().for_each(hide);
    }
    answer
}

/// Bytes of a payload that are shown.
const SHOWN: usize = 4096;

/// Text as it is, or what cannot be shown as its length: `{"bytes": n}`.
pub fn payload(payload: &[u8]) -> Value {
    match std::str::from_utf8(payload) {
        Ok(text) if text.len() <= SHOWN => text.into(),
        _ => json!({"bytes": payload.len()}),
    }
}
