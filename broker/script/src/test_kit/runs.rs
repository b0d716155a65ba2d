//! `run_publish` and its like: one hook of the rule, judged as the pipeline judges it.
//!
//! The outcome is an object map with one flag for each verdict that is possible.

use hookmq_hooks::{
    AuthorizeVerdict, ConnectVerdict, DeliverVerdict, Effect, IdentityPatch, MessagePatch,
    PublishVerdict,
};
use rhai::{Array, Dynamic, Engine, FuncArgs, Map, NativeCallContext};

use crate::call;
use crate::fault::{Fallible, bad_output};
use crate::objects::access::AccessFacts;
use crate::objects::attempt::AttemptRef;
use crate::objects::client::ClientRef;
use crate::objects::message::MessageRef;
use crate::objects::verdict::Verdict;

pub(super) fn register(engine: &mut Engine) {
    engine
        .register_fn("run_connect", connect)
        .register_fn("run_authorize", authorize)
        .register_fn("run_publish", publish)
        .register_fn("run_deliver", deliver);
}

fn connect(context: NativeCallContext, client: AttemptRef) -> Fallible<Map> {
    let value = call_hook(&context, "connect", (client,))?;
    let verdict = Verdict::of_connect(value).map_err(bad_output)?;
    let mut outcome = flags(["accepted", "passed_on", "denied"]);
    let patch = match verdict {
        ConnectVerdict::Accept(patch) | ConnectVerdict::Authenticated { patch, .. } => {
            set(&mut outcome, "accepted", true);
            patch
        }
        ConnectVerdict::Next(patch) => {
            set(&mut outcome, "passed_on", true);
            patch
        }
        ConnectVerdict::Deny { reason_code, reason } => {
            set(&mut outcome, "denied", true);
            set(&mut outcome, "code", i64::from(reason_code as u8));
            set(&mut outcome, "reason", reason);
            IdentityPatch::default()
        }
    };
    let text = |text: Option<std::sync::Arc<str>>| match text {
        Some(text) => Dynamic::from(text.to_string()),
        None => Dynamic::UNIT,
    };
    set(&mut outcome, "tenant", text(patch.tenant));
    set(&mut outcome, "username", text(patch.username));
    set(&mut outcome, "client_id", text(patch.client_id));
    let roles: Array = patch.roles.iter().map(|role| Dynamic::from(role.to_string())).collect();
    set(&mut outcome, "roles", roles);
    let attributes: Map =
        patch.attributes.iter().map(|(name, value)| ((&**name).into(), value.into())).collect();
    set(&mut outcome, "attributes", attributes);
    Ok(outcome)
}

fn authorize(context: NativeCallContext, client: ClientRef, access: AccessFacts) -> Fallible<Map> {
    let value = call_hook(&context, "authorize", (client, access))?;
    let verdict = Verdict::of_authorize(value).map_err(bad_output)?;
    let mut outcome = flags(["allowed", "denied", "abstained", "silent", "disconnected"]);
    match verdict {
        AuthorizeVerdict::Deny(denial) => {
            set(&mut outcome, "denied", true);
            set(&mut outcome, "silent", denial.effect == Effect::AcknowledgeAndDrop);
            set(&mut outcome, "disconnected", denial.effect == Effect::Disconnect);
            set(&mut outcome, "reason", denial.reason);
        }
        AuthorizeVerdict::Abstain => set(&mut outcome, "abstained", true),
        _ => set(&mut outcome, "allowed", true),
    }
    Ok(outcome)
}

fn publish(context: NativeCallContext, client: ClientRef, message: MessageRef) -> Fallible<Map> {
    call::take_emitted();
    let value = call_hook(&context, "publish", (client, message.clone()))?;
    let emitted = call::take_emitted();
    let verdict = Verdict::of_publish(value, MessagePatch::default()).map_err(bad_output)?;
    let mut outcome = flags(["passed", "dropped", "consumed"]);
    match verdict {
        PublishVerdict::Drop(reason_code) => {
            set(&mut outcome, "dropped", true);
            set(&mut outcome, "code", i64::from(reason_code as u8));
        }
        PublishVerdict::Consume => set(&mut outcome, "consumed", true),
        PublishVerdict::Pass | PublishVerdict::Replace(_) => set(&mut outcome, "passed", true),
    }
    set(&mut outcome, "message", Dynamic::from(message));
    let emitted = emitted.iter().map(|it| super::message(it).map(Dynamic::from));
    set(&mut outcome, "emitted", emitted.collect::<Fallible<Array>>()?);
    Ok(outcome)
}

fn deliver(context: NativeCallContext, client: ClientRef, message: MessageRef) -> Fallible<Map> {
    let value = call_hook(&context, "deliver", (client, message.clone()))?;
    let verdict = Verdict::of_deliver(value, MessagePatch::default()).map_err(bad_output)?;
    let mut outcome = flags(["passed", "dropped"]);
    let flag = if verdict == DeliverVerdict::Drop { "dropped" } else { "passed" };
    set(&mut outcome, flag, true);
    set(&mut outcome, "message", Dynamic::from(message));
    Ok(outcome)
}

fn call_hook(
    context: &NativeCallContext<'_>,
    name: &str,
    arguments: impl FuncArgs,
) -> Fallible<Dynamic> {
    context.call_fn(name, arguments)
}

fn flags<const N: usize>(names: [&str; N]) -> Map {
    names.map(|name| (name.into(), Dynamic::FALSE)).into_iter().collect()
}

fn set(outcome: &mut Map, name: &str, value: impl Into<Dynamic>) {
    outcome.insert(name.into(), value.into());
}
