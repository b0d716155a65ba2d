//! How functions of ours fail inside a rule, and what the pipeline hears of it.

use hookmq_hooks::{FailureKind, Location, StepFailure};
use rhai::{Dynamic, EvalAltResult, Position};

pub(crate) type Fallible<T> = Result<T, Box<EvalAltResult>>;

/// A value that the rule must not answer with.
#[derive(Clone)]
pub(crate) struct BadOutput(pub(crate) String);

/// A wrong argument or a failed expectation.
pub(crate) fn fault(message: impl Into<String>) -> Box<EvalAltResult> {
    EvalAltResult::ErrorRuntime(Dynamic::from(message.into()), Position::NONE).into()
}

/// A verdict that cannot be one.
pub(crate) fn bad_output(message: impl Into<String>) -> Box<EvalAltResult> {
    EvalAltResult::ErrorRuntime(Dynamic::from(BadOutput(message.into())), Position::NONE).into()
}

/// A limit that would be passed; a rule cannot catch it.
pub(crate) fn too_large(what: &str) -> Box<EvalAltResult> {
    EvalAltResult::ErrorDataTooLarge(what.into(), Position::NONE).into()
}

/// An error of the engine in our terms.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    pub(crate) message: String,
    pub(crate) position: Position,
    /// The type of an object and the field that it does not have.
    pub(crate) unknown_field: Option<(String, String)>,
}

impl Failure {
    pub(crate) fn new(kind: FailureKind, message: String, position: Position) -> Self {
        Self { kind, message, position, unknown_field: None }
    }

    /// The innermost error with the innermost position that is known.
    pub(crate) fn from_error(mut error: EvalAltResult) -> Self {
        let mut position = Position::NONE;
        loop {
            let own = error.take_position();
            if !own.is_none() {
                position = own;
            }
            match error {
                EvalAltResult::ErrorInFunctionCall(_, _, inner, _) => error = *inner,
                other => {
                    let (kind, message) = explain(&other);
                    let unknown_field = unknown_field(&other);
                    return Self { unknown_field, ..Self::new(kind, message, position) };
                }
            }
        }
    }

    /// Located at `fallback` where the engine does not know better.
    pub(crate) fn into_step_failure(self, file: &str, fallback: Position) -> StepFailure {
        let position = if self.position.is_none() { fallback } else { self.position };
        let line = position.line().unwrap_or(1);
        let column = position.position().unwrap_or(1);
        StepFailure::new(self.kind, self.message).at(Location { file: file.into(), line, column })
    }
}

fn explain(error: &EvalAltResult) -> (FailureKind, String) {
    use EvalAltResult as E;
    match error {
        E::ErrorTerminated(..) => (FailureKind::Timeout, "the call took too long".into()),
        E::ErrorTooManyOperations(..) => {
            (FailureKind::Limit, "too many operations in one call".into())
        }
        E::ErrorTooManyVariables(..) => (FailureKind::Limit, "too many variables".into()),
        E::ErrorStackOverflow(..) => {
            (FailureKind::Limit, "functions call one another too deep".into())
        }
        E::ErrorDataTooLarge(what, _) => (FailureKind::Limit, format!("over the limit: {what}")),
        E::ErrorRuntime(token, _) => match token.read_lock::<BadOutput>() {
            Some(bad) => (FailureKind::BadOutput, bad.0.clone()),
            None => (FailureKind::Error, token.to_string()),
        },
        E::ErrorFunctionNotFound(signature, _) => {
            (FailureKind::Error, format!("there is no function {}", in_words(signature)))
        }
        other => match unknown_field(other) {
            Some((of, name)) => (FailureKind::Error, format!("`{of}` has no field `{name}`")),
            None => (FailureKind::Error, other.to_string()),
        },
    }
}

/// A signature with the types' names in the language.
fn in_words(signature: &str) -> String {
    let names = [
        ("&str | ImmutableString | String", "string"),
        ("i64", "int"),
        ("f64", "float"),
        (" (", "("),
    ];
    names.iter().fold(signature.to_owned(), |text, (rust, ours)| text.replace(rust, ours))
}

/// The engine tells in words alone which field of what is unknown.
fn unknown_field(error: &EvalAltResult) -> Option<(String, String)> {
    let EvalAltResult::ErrorDotExpr(text, _) = error else { return None };
    let rest = text.strip_prefix("Unknown property '")?;
    let (name, of) = rest.split_once("' - a getter is not registered for type '")?;
    Some((of.trim_end_matches('\'').to_owned(), name.to_owned()))
}
