//! Everything that a rule may call: nothing of Rhai's own packages, whose functions can grow a value
//! past any limit before it is checked.

mod collections;
mod numbers;
mod strings;

use std::sync::Arc;

use rhai::{Dynamic, Engine, ImmutableString};

use crate::RuleLimits;
use crate::call;
use crate::fault::{Fallible, fault};

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

pub(crate) fn register(engine: &mut Engine, limits: &RuleLimits) {
    collections::register(engine, limits);
    numbers::register(engine);
    strings::register(engine, limits);
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

/// A count of characters or elements that is not negative.
fn count(number: i64) -> usize {
    usize::try_from(number).unwrap_or(0)
}

/// An index counted from the end where negative; nothing outside of `length`.
fn position(index: i64, length: usize) -> Option<usize> {
    let index = if index < 0 { index.checked_add(length as i64)? } else { index };
    usize::try_from(index).ok().filter(|&index| index < length)
}

fn text(value: &Dynamic) -> ImmutableString {
    value.to_string().into()
}
