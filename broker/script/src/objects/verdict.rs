//! Verdicts: what hook functions return, made by `next`, `accept`, `deny`, `drop` and their like.

use std::sync::Arc;

use hookmq_codec::ReasonCode;
use hookmq_hooks::{
    AuthorizeVerdict, ConnectVerdict, DeliverVerdict, Denial, Effect, Emission, IdentityPatch,
    MessagePatch, PublishVerdict, note,
};
use rhai::{Dynamic, Engine, Map, NativeCallContext as Context, Position};

use crate::RuleLimits;
use crate::call;
use crate::fault::{Fallible, bad_output};
use crate::fields::Fields;
use crate::functions::{Log, LogLevel};
use crate::json::emission;
use crate::objects::message::qos_of;

/// Section 3.4.2.1: the message is valid, but the receiver is not willing to accept it.
const UNWILLING: ReasonCode = ReasonCode::ImplementationSpecificError;

/// What a hook function returns, and where it was said.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    word: Word,
    place: Position,
    /// What the call had done by then, as the engine counts.
    operations: u64,
}

#[derive(Clone, Debug)]
enum Word {
    Next(Arc<IdentityPatch>),
    Accept(Arc<IdentityPatch>),
    Deny { reason_code: ReasonCode, effect: Effect, reason: Arc<str> },
    Allow,
    Abstain,
    Pass,
    Drop(ReasonCode),
    Consume,
}

impl Word {
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
}

impl Verdict {
    /// By a call of one of the functions here.
    fn said(context: &Context<'_>, word: Word) -> Self {
        let operations = context.global_runtime_state().num_operations();
        Self { word, place: context.call_position(), operations }
    }

    /// Tells explain which line of `file` has decided; `hook` is the function that was called.
    pub(crate) fn tell(value: &Dynamic, file: &str, (hook, start): (&str, Position)) {
        let line = |place: Position| place.line().unwrap_or(1);
        match value.read_lock::<Self>() {
            Some(verdict) => {
                note("line", || format!("{file}:{}", line(verdict.place)));
                note("operations", || verdict.operations.to_string());
            }
            None => note("line", || format!("{file}:{} ({hook} names no verdict)", line(start))),
        }
    }

    /// Fails closed: nothing returned is no verdict.
    pub(crate) fn of_connect(value: Dynamic) -> Result<ConnectVerdict, String> {
        const ANSWERS: &str = "connect must return next(..), accept(..) or deny(..)";
        match Self::read(value, ANSWERS)? {
            Some(Word::Next(patch)) => Ok(ConnectVerdict::Next(Arc::unwrap_or_clone(patch))),
            Some(Word::Accept(patch)) => Ok(ConnectVerdict::Accept(Arc::unwrap_or_clone(patch))),
            Some(Word::Deny { reason_code, reason, .. }) => {
                Ok(ConnectVerdict::Deny { reason_code, reason: reason.to_string() })
            }
            other => Err(unfit(other, ANSWERS)),
        }
    }

    pub(crate) fn of_authorize(value: Dynamic) -> Result<AuthorizeVerdict, String> {
        const ANSWERS: &str = "authorize must return allow(), deny(..) or abstain()";
        match Self::read(value, ANSWERS)? {
            None | Some(Word::Abstain) => Ok(AuthorizeVerdict::Abstain),
            Some(Word::Allow) => Ok(AuthorizeVerdict::Allow),
            Some(Word::Deny { effect, reason, .. }) => {
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
            None | Some(Word::Pass) if patch == MessagePatch::default() => Ok(PublishVerdict::Pass),
            None | Some(Word::Pass) => Ok(PublishVerdict::Replace(patch)),
            Some(Word::Drop(reason_code)) => Ok(PublishVerdict::Drop(reason_code)),
            Some(Word::Consume) => Ok(PublishVerdict::Consume),
            other => Err(unfit(other, ANSWERS)),
        }
    }

    pub(crate) fn of_deliver(
        value: Dynamic,
        patch: MessagePatch,
    ) -> Result<DeliverVerdict, String> {
        const ANSWERS: &str = "deliver must return pass(), drop() or nothing";
        match Self::read(value, ANSWERS)? {
            None | Some(Word::Pass) if patch == MessagePatch::default() => Ok(DeliverVerdict::Pass),
            None | Some(Word::Pass) => Ok(DeliverVerdict::Replace(patch)),
            Some(Word::Drop(_)) => Ok(DeliverVerdict::Drop),
            other => Err(unfit(other, ANSWERS)),
        }
    }

    /// Nothing for `()`.
    fn read(value: Dynamic, answers: &str) -> Result<Option<Word>, String> {
        if value.is_unit() {
            return Ok(None);
        }
        let kind = value.type_name();
        match value.try_cast::<Self>() {
            Some(verdict) => Ok(Some(verdict.word)),
            None => Err(format!(
                "{answers}, not a value of type {kind}; a function returns what its last statement \
                 gives"
            )),
        }
    }
}

fn unfit(word: Option<Word>, answers: &str) -> String {
    match word {
        Some(word) => format!("{answers}, not {}", word.name()),
        None => format!("{answers}, not nothing"),
    }
}

pub(super) fn register(engine: &mut Engine, limits: &RuleLimits, log: &Log) {
    /// A function without arguments that says always the same.
    fn plain(engine: &mut Engine, name: &str, word: fn() -> Word) {
        engine.register_fn(name, move |context: Context<'_>| Verdict::said(&context, word()));
    }
    engine.register_type_with_name::<Verdict>("verdict");
    plain(engine, "next", || Word::Next(Arc::default()));
    plain(engine, "accept", || Word::Accept(Arc::default()));
    plain(engine, "allow", || Word::Allow);
    plain(engine, "abstain", || Word::Abstain);
    plain(engine, "pass", || Word::Pass);
    plain(engine, "consume", || Word::Consume);
    plain(engine, "drop", || Word::Drop(UNWILLING));
    engine
        .register_fn("next", |context: Context<'_>, patch: Map| {
            identity("next", patch).map(|patch| Verdict::said(&context, Word::Next(patch)))
        })
        .register_fn("accept", |context: Context<'_>, patch: Map| {
            identity("accept", patch).map(|patch| Verdict::said(&context, Word::Accept(patch)))
        })
        .register_fn("deny", |context: Context<'_>, reason: &str| {
            denial(&context, ReasonCode::NotAuthorized, Effect::Refuse, reason)
        })
        .register_fn("deny", |context: Context<'_>, code: Dynamic, reason: &str| {
            failure_code(&code).map(|code| denial(&context, code, Effect::Refuse, reason))
        })
        .register_fn("deny_silently", |context: Context<'_>, reason: &str| {
            denial(&context, ReasonCode::NotAuthorized, Effect::AcknowledgeAndDrop, reason)
        })
        .register_fn("disconnect", |context: Context<'_>, reason: &str| {
            denial(&context, ReasonCode::NotAuthorized, Effect::Disconnect, reason)
        });
    register_drop(engine, log);
    register_emit(engine, limits);
}

/// A reason goes to the log: the publisher is told a code only.
fn register_drop(engine: &mut Engine, log: &Log) {
    let (plain, coded) = (log.clone(), log.clone());
    engine
        .register_fn("drop", |context: Context<'_>, code: i64| {
            puback_code(&code.into()).map(|code| Verdict::said(&context, Word::Drop(code)))
        })
        .register_fn("drop", move |context: Context<'_>, reason: &str| {
            plain.write(LogLevel::Debug, reason);
            Verdict::said(&context, Word::Drop(UNWILLING))
        })
        .register_fn("drop", move |context: Context<'_>, code: Dynamic, reason: &str| {
            coded.write(LogLevel::Debug, reason);
            puback_code(&code).map(|code| Verdict::said(&context, Word::Drop(code)))
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

fn denial(context: &Context<'_>, reason_code: ReasonCode, effect: Effect, reason: &str) -> Verdict {
    Verdict::said(context, Word::Deny { reason_code, effect, reason: reason.into() })
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
