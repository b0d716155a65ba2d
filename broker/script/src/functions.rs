//! Everything that a rule may call: nothing of Rhai's own packages, whose functions can grow a value
//! past any limit before it is checked.

mod collections;
mod figures;
mod hashes;
mod kept;
mod numbers;
mod regexes;
mod strings;
mod time;

use std::sync::Arc;

use rhai::{Dynamic, Engine, ImmutableString};

pub(crate) use self::regexes::Patterns;
use crate::call;
use crate::fault::{Fallible, fault};
use crate::host::{Owner, RuleHost, SharedHost};
use crate::objects::bytes::Bytes;
use crate::{RuleLimits, json};

/// How much a line that a rule logs matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

/// Takes a line that a rule logs: level, rule and text, which is the rule's and may hold anything.
pub type LogSink = Arc<dyn Fn(LogLevel, &str, &str) + Send + Sync>;

/// Bytes of one logged line; the rest is cut off.
const LOG_LINE: usize = 1024;

/// Functions whose answer is not always the same, so that nobody may remember a verdict for them; `Fn`
/// makes a pointer to any of them.
const CHANGEABLE: [&str; 7] = ["now", "kv_get", "kv_set", "kv_delete", "kv_increase", "rate", "Fn"];

/// Whether a call of the function `name` makes a rule depend on more than its arguments.
pub(crate) fn is_changeable(name: &str) -> bool {
    CHANGEABLE.contains(&name)
}

pub(crate) fn register(
    engine: &mut Engine,
    limits: &RuleLimits,
    facilities: &Facilities,
    patterns: &Patterns,
) {
    collections::register(engine, limits);
    figures::register(engine, facilities);
    hashes::register(engine);
    kept::register(engine, limits, facilities);
    numbers::register(engine, limits);
    regexes::register(engine, limits, patterns);
    strings::register(engine, limits);
    time::register(engine, facilities);
}

/// What one rule gets of the host.
#[derive(Clone)]
pub(crate) struct Facilities {
    rule: Arc<str>,
    host: Option<SharedHost>,
    most: usize,
}

impl Facilities {
    pub(crate) fn new(rule: &str, host: Option<SharedHost>, limits: &RuleLimits) -> Self {
        Self { rule: rule.into(), host, most: limits.host_calls }
    }

    fn host(&self) -> Option<&dyn RuleHost> {
        self.host.as_deref().map(|host| host as &dyn RuleHost)
    }

    /// Milliseconds since 1970.
    fn now(&self) -> Fallible<i64> {
        let now = call::now(self.host())?;
        Ok(i64::try_from(now).unwrap_or(i64::MAX))
    }

    /// Asks the host on behalf of the call's tenant.
    fn ask<R>(&self, ask: impl FnOnce(&dyn RuleHost, Owner<'_>) -> R) -> Fallible<R> {
        call::with_host(self.host(), self.most, |host, tenant| {
            ask(host, Owner { rule: &self.rule, tenant })
        })
    }
}

/// Where the lines of one rule go.
#[derive(Clone)]
pub(crate) struct Log {
    rule: Arc<str>,
    sink: Option<LogSink>,
    most: usize,
}

impl Log {
    pub(crate) fn new(rule: &str, sink: Option<LogSink>, limits: &RuleLimits) -> Self {
        Self { rule: rule.into(), sink, most: limits.log_lines }
    }

    pub(crate) fn write(&self, level: LogLevel, text: &str) {
        if let Some(sink) = self.sink.as_ref().filter(|_| call::may_log(self.most)) {
            sink(level, &self.rule, &text[..text.floor_char_boundary(LOG_LINE)]);
        }
    }

    /// `log("text")` and `log("warn", "text")`.
    pub(crate) fn register(&self, engine: &mut Engine) {
        let (info, any) = (self.clone(), self.clone());
        engine
            .register_fn("log", move |text: Dynamic| info.write(LogLevel::Info, &text.to_string()))
            .register_fn("log", move |level: &str, text: Dynamic| {
                log_level(level).map(|level| any.write(level, &text.to_string()))
            });
    }
}

fn log_level(name: &str) -> Fallible<LogLevel> {
    match name {
        "debug" => Ok(LogLevel::Debug),
        "info" => Ok(LogLevel::Info),
        "warn" => Ok(LogLevel::Warn),
        "error" => Ok(LogLevel::Error),
        _ => Err(fault(format!("`{name}` is not a level: debug, info, warn or error"))),
    }
}

/// A count of characters or elements: none where it is negative, and more than there can be where it is
/// beyond what the machine counts to, which is less in the sandbox.
fn count(number: i64) -> usize {
    usize::try_from(number.max(0)).unwrap_or(usize::MAX)
}

/// An index counted from the end where negative; nothing outside of `length`.
fn position(index: i64, length: usize) -> Option<usize> {
    let index = if index < 0 { index.checked_add(length as i64)? } else { index };
    usize::try_from(index).ok().filter(|&index| index < length)
}

/// The bytes of a string or of `bytes`.
fn bytes_of(value: &Dynamic) -> Fallible<Vec<u8>> {
    match value.is_string() || value.is::<Bytes>() {
        true => json::payload(value),
        false => Err(fault(format!("a string or bytes are needed, not {}", value.type_name()))),
    }
}

fn text(value: &Dynamic) -> ImmutableString {
    value.to_string().into()
}
