//! Verdicts: what hook functions return, made by `next`, `accept`, `deny`, `drop` and their like.

use std::sync::Arc;

use hookmq_codec::ReasonCode;
use hookmq_hooks::{
    AuthorizeVerdict, ConnectVerdict, DeliverVerdict, Denial, Effect, Emission, IdentityPatch,
    MessagePatch, PublishVerdict,
};
use rhai::{Dynamic, Engine, Map};

use crate::RuleLimits;
use crate::call;
use crate::fault::{Fallible, bad_output};
use crate::fields::Fields;
use crate::functions::{Log, LogLevel};
use crate::json::emission;
use crate::objects::message::qos_of;

/// Section 3.4.2.1: the message is valid, but the receiver is not willing to accept it.
const UNWILLING: ReasonCode = ReasonCode::ImplementationSpecificError;

#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    Next(Arc<IdentityPatch>),
    Accept(Arc<IdentityPatch>),
    Deny { reason_code: ReasonCode, effect: Effect, reason: Arc<str> },
    Allow,
    Abstain,
    Pass,
    Drop(ReasonCode),
    Consume,
}

impl Verdict {
    /// The function that makes it.
    fn name(&self) -> &'static str {
        match self {
            Self::Next(_) => "next",
            Self::Accept(_) => "accept",
            Self::Deny { .. } => "deny",
            Self::Allow => "allow",
            Self::Abstain => "abstain",
            Self::Pass => "pass",
            Self::Drop(_) => "drop",
            Self::Consume => "consume",
        }
    }

    /// Fails closed: nothing returned is no verdict.
    pub(crate) fn of_connect(value: Dynamic) -> Result<ConnectVerdict, String> {
        const ANSWERS: &str = "connect must return next(..), accept(..) or deny(..)";
        match Self::read(value, ANSWERS)? {
            Some(Self::Next(patch)) => Ok(ConnectVerdict::Next(Arc::unwrap_or_clone(patch))),
            Some(Self::Accept(patch)) => Ok(ConnectVerdict::Accept(Arc::unwrap_or_clone(patch))),
            Some(Self::Deny { reason_code, reason, .. }) => {
                Ok(ConnectVerdict::Deny { reason_code, reason: reason.to_string() })
            }
            other => Err(unfit(other, ANSWERS)),
        }
    }

    pub(crate) fn of_authorize(value: Dynamic) -> Result<AuthorizeVerdict, String> {
        const ANSWERS: &str = "authorize must return allow(), deny(..) or abstain()";
        match Self::read(value, ANSWERS)? {
            None | Some(Self::Abstain) => Ok(AuthorizeVerdict::Abstain),
            Some(Self::Allow) => Ok(AuthorizeVerdict::Allow),
            Some(Self::Deny { effect, reason, .. }) => {
                Ok(AuthorizeVerdict::Deny(Denial { effect, reason: reason.to_string() }))
            }
            other => Err(unfit(other, ANSWERS)),
        }
    }

    pub(crate) fn of_publish(
        value: Dynamic,
        patch: MessagePatch,
    ) -> Result<PublishVerdict, String> {
        const ANSWERS: &str = "publish must return pass(), drop(..), consume() or nothing";
        match Self::read(value, ANSWERS)? {
            None | Some(Self::Pass) if patch == MessagePatch::default() => Ok(PublishVerdict::Pass),
            None | Some(Self::Pass) => Ok(PublishVerdict::Replace(patch)),
            Some(Self::Drop(reason_code)) => Ok(PublishVerdict::Drop(reason_code)),
            Some(Self::Consume) => Ok(PublishVerdict::Consume),
            other => Err(unfit(other, ANSWERS)),
        }
    }

    pub(crate) fn of_deliver(
        value: Dynamic,
        patch: MessagePatch,
    ) -> Result<DeliverVerdict, String> {
        const ANSWERS: &str = "deliver must return pass(), drop() or nothing";
        match Self::read(value, ANSWERS)? {
            None | Some(Self::Pass) if patch == MessagePatch::default() => Ok(DeliverVerdict::Pass),
            None | Some(Self::Pass) => Ok(DeliverVerdict::Replace(patch)),
            Some(Self::Drop(_)) => Ok(DeliverVerdict::Drop),
            other => Err(unfit(other, ANSWERS)),
        }
    }

    /// Nothing for `()`.
    fn read(value: Dynamic, answers: &str) -> Result<Option<Self>, String> {
        if value.is_unit() {
            return Ok(None);
        }
        let kind = value.type_name();
        match value.try_cast::<Self>() {
            Some(verdict) => Ok(Some(verdict)),
            None => Err(format!(
                "{answers}, not a value of type {kind}; a function returns what its last statement \
                 gives"
            )),
        }
    }
}

fn unfit(verdict: Option<Verdict>, answers: &str) -> String {
    match verdict {
        Some(verdict) => format!("{answers}, not {}", verdict.name()),
        None => format!("{answers}, not nothing"),
    }
}

pub(super) fn register(engine: &mut Engine, limits: &RuleLimits, log: &Log) {
    engine
        .register_type_with_name::<Verdict>("verdict")
        .register_fn("next", || Verdict::Next(Arc::default()))
        .register_fn("next", |patch: Map| identity("next", patch).map(Verdict::Next))
        .register_fn("accept", || Verdict::Accept(Arc::default()))
        .register_fn("accept", |patch: Map| identity("accept", patch).map(Verdict::Accept))
        .register_fn("allow", || Verdict::Allow)
        .register_fn("abstain", || Verdict::Abstain)
        .register_fn("pass", || Verdict::Pass)
        .register_fn("consume", || Verdict::Consume)
        .register_fn("deny", |reason: &str| {
            denial(ReasonCode::NotAuthorized, Effect::Refuse, reason)
        })
        .register_fn("deny", |code: Dynamic, reason: &str| {
            failure_code(&code).map(|code| denial(code, Effect::Refuse, reason))
        })
        .register_fn("deny_silently", |reason: &str| {
            denial(ReasonCode::NotAuthorized, Effect::AcknowledgeAndDrop, reason)
        })
        .register_fn("disconnect", |reason: &str| {
            denial(ReasonCode::NotAuthorized, Effect::Disconnect, reason)
        });
    register_drop(engine, log);
    register_emit(engine, limits);
}

/// A reason goes to the log: the publisher is told a code only.
fn register_drop(engine: &mut Engine, log: &Log) {
    let (plain, coded) = (log.clone(), log.clone());
    engine
        .register_fn("drop", || Verdict::Drop(UNWILLING))
        .register_fn("drop", |code: i64| puback_code(&code.into()).map(Verdict::Drop))
        .register_fn("drop", move |reason: &str| {
            plain.write(LogLevel::Debug, reason);
            Verdict::Drop(UNWILLING)
        })
        .register_fn("drop", move |code: Dynamic, reason: &str| {
            coded.write(LogLevel::Debug, reason);
            puback_code(&code).map(Verdict::Drop)
        });
}

fn register_emit(engine: &mut Engine, limits: &RuleLimits) {
    let (most, most_bytes) = (limits.emissions, limits.emitted_size);
    engine
        .register_fn("emit", move |topic: &str, payload: Dynamic| {
            call::emit(emission(topic, &payload)?, most, most_bytes)
        })
        .register_fn("emit", move |topic: &str, payload: Dynamic, options: Map| {
            call::emit(emission_with(topic, &payload, options)?, most, most_bytes)
        });
}

fn emission_with(topic: &str, payload: &Dynamic, options: Map) -> Fallible<Emission> {
    let mut emission = emission(topic, payload)?;
    let mut options = Fields::new("emit", options);
    if let Some(qos) = options.integer("qos")? {
        emission.qos = qos_of(qos)?;
    }
    emission.retain = options.flag("retain")?.unwrap_or_default();
    options.finish()?;
    Ok(emission)
}

fn denial(reason_code: ReasonCode, effect: Effect, reason: &str) -> Verdict {
    Verdict::Deny { reason_code, effect, reason: reason.into() }
}

fn identity(what: &'static str, patch: Map) -> Fallible<Arc<IdentityPatch>> {
    let mut fields = Fields::new(what, patch);
    let mut name = |field| match fields.text(field)? {
        Some(name) if name.is_empty() => {
            Err(bad_output(format!("{what}: `{field}` must not be empty")))
        }
        name => Ok(name.map(Arc::from)),
    };
    let (tenant, username, client_id) = (name("tenant")?, name("username")?, name("client_id")?);
    let roles = fields.texts("roles")?.into_iter().map(Arc::from).collect();
    let attributes = fields.map("attributes")?.into_iter().filter(|(_, value)| !value.is_unit());
    let attribute = |(name, value): (rhai::Identifier, Dynamic)| {
        let scalar = value.is_string() || value.is_int() || value.is_float() || value.is_bool();
        match scalar {
            true => Ok((Arc::from(name.as_str()), value.to_string())),
            false => Err(fields.mismatch(&name, "a string, number or boolean", value.type_name())),
        }
    };
    let attributes = attributes.map(attribute).collect::<Fallible<_>>()?;
    fields.finish()?;
    let rest = IdentityPatch::default();
    Ok(Arc::new(IdentityPatch { tenant, username, client_id, roles, attributes, ..rest }))
}

/// A reason code by number or by the specification's name, as in `deny("banned", ..)`.
fn reason_code(code: &Dynamic) -> Fallible<ReasonCode> {
    let found = match code.as_int() {
        Ok(number) => u8::try_from(number).ok().and_then(ReasonCode::from_byte),
        Err(_) => {
            let name = code.to_string().replace('_', " ");
            (0..=u8::MAX).filter_map(ReasonCode::from_byte).find(|known| known.text() == name)
        }
    };
    found.ok_or_else(|| bad_output(format!("`{code}` is not a reason code")))
}

fn failure_code(code: &Dynamic) -> Fallible<ReasonCode> {
    let reason_code = reason_code(code)?;
    match reason_code.is_failure() {
        true => Ok(reason_code),
        false => Err(bad_output(format!("a denial needs a failure, and {reason_code} is none"))),
    }
}

/// The codes of section 3.4.2.1 that refuse a message.
fn puback_code(code: &Dynamic) -> Fallible<ReasonCode> {
    use ReasonCode as R;
    let reason_code = reason_code(code)?;
    match reason_code {
        R::UnspecifiedError
        | R::ImplementationSpecificError
        | R::NotAuthorized
        | R::TopicNameInvalid
        | R::QuotaExceeded
        | R::PayloadFormatInvalid => Ok(reason_code),
        _ => Err(bad_output(format!("a publisher cannot be told {reason_code}"))),
    }
}
