//! The rule engine: `.rhai` files that an operator can read, compiled, tested and run within limits.
//!
//! [`RuleEngine::load`] turns a file into a [`Rule`], which the pipeline calls as any other
//! program. README.md in this crate describes what a rule may say.

mod advice;
mod call;
mod engine;
mod error;
mod fault;
mod fields;
mod functions;
mod host;
mod json;
mod limits;
mod load;
mod objects;
mod rule;
mod sandbox;
mod test_kit;

pub use call::Clock;
pub use engine::RuleEngine;
pub use error::{Problem, RuleError, TestOutcome};
pub use functions::{LogLevel, LogSink};
pub use host::{Owner, RuleHost, SharedHost};
pub use limits::RuleLimits;
pub use rule::Rule;
pub use sandbox::{RuleOutline, failure_of_text, failure_text};
