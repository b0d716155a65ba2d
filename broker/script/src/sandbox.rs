//! What the broker must know of a rule that runs in a plugin's sandbox, found without running any of it.
//!
//! The text is read by the parser, under the same bounds on size, depth and number as ever, and nothing
//! is evaluated. What the rule asks for must therefore stand in it literally.

use hookmq_codec::TopicFilter;
use hookmq_hooks::{FailureKind, HookSet, Location, StepFailure};

/// What stands in a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleOutline {
    pub hooks: HookSet,
    /// Empty means all.
    pub topics: Vec<TopicFilter>,
    /// See [`hookmq_hooks::Program::authorize_is_cacheable`].
    pub authorize_is_cacheable: bool,
    /// Of the source, lower-case hex.
    pub sha256: String,
}

/// The kinds that a rule's failure has, by name.
const KINDS: [(&str, FailureKind); 4] = [
    ("error", FailureKind::Error),
    ("timeout", FailureKind::Timeout),
    ("limit", FailureKind::Limit),
    ("bad output", FailureKind::BadOutput),
];

/// A failure as the text that a plugin fails with: `limit:3:14:too many operations in one call`.
pub fn failure_text(failure: &StepFailure) -> String {
    let kind =
        KINDS.iter().find(|(_, kind)| *kind == failure.kind).map_or("error", |(name, _)| name);
    let (line, column) = failure.location.as_ref().map_or((0, 0), |it| (it.line, it.column));
    format!("{kind}:{line}:{column}:{}", failure.message)
}

/// The failure that [`failure_text`] told of the rule in `file`; any other text is an error's message.
/// The text comes from the sandbox: it can mislead a reader about that rule, and nobody else.
pub fn failure_of_text(text: &str, file: &str) -> StepFailure {
    let read = || {
        let mut parts = text.splitn(4, ':');
        let name = parts.next()?;
        let (_, kind) = KINDS.iter().find(|(known, _)| *known == name)?;
        let line: usize = parts.next()?.parse().ok()?;
        let column = parts.next()?.parse().ok()?;
        let failure = StepFailure::new(*kind, parts.next()?);
        Some(match line {
            0 => failure,
            line => failure.at(Location { file: file.into(), line, column }),
        })
    };
    read().unwrap_or_else(|| StepFailure::new(FailureKind::Error, text))
}
