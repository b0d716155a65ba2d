//! Regular expressions, which never search back: the time is bounded by pattern and text together.
//!
//! Patterns that stand in the rule are compiled when it is loaded, the others at each use.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use regex::{Captures, Regex, RegexBuilder};
use rhai::{ASTNode, Array, Dynamic, Engine, Expr, ImmutableString, Position, Stmt};

use crate::RuleLimits;
use crate::call;
use crate::fault::{Fallible, fault, too_large};

/// Bytes of a pattern.
const PATTERN_SIZE: usize = 512;
/// Bytes of a compiled pattern.
const COMPILED_SIZE: usize = 160 * 1024;
/// Bytes that a search may use on the side; with less it is slower, not wrong.
const SEARCH_SIZE: usize = 128 * 1024;
/// Groups inside one another.
const NESTING: u32 = 24;
/// Bytes of a text that is searched. A search looks at each byte once for every state of the pattern.
const TEXT_SIZE: usize = 8 * 1024;
/// Patterns compiled in one call.
const COMPILATIONS: usize = 8;

/// The patterns that stand in one rule.
#[derive(Clone, Default)]
pub(crate) struct Patterns(Arc<OnceLock<HashMap<ImmutableString, Regex>>>);

impl Patterns {
    /// Compiles them all.
    ///
    /// # Errors
    /// The place of each that is none, and why.
    pub(crate) fn prepare(
        &self,
        found: Vec<(ImmutableString, Position)>,
    ) -> Result<(), Vec<(Position, String)>> {
        let mut compiled = HashMap::new();
        let mut problems = Vec::new();
        for (pattern, position) in found {
            match compile(&pattern) {
                Ok(regex) => drop(compiled.insert(pattern, regex)),
                Err(problem) => problems.push((position, problem)),
            }
        }
        // Prepared once: the rule is loaded once.
        let _ = self.0.set(compiled);
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// The pattern in the call that `path` leads to, where it is a constant.
    pub(crate) fn in_call(path: &[ASTNode<'_>]) -> Option<(ImmutableString, Position)> {
        let (call, place) = match path.last()? {
            ASTNode::Expr(Expr::FnCall(call, _)) | ASTNode::Stmt(Stmt::FnCall(call, _)) => {
                (call, 1)
            }
            ASTNode::Expr(Expr::MethodCall(call, _)) => (call, 0),
            _ => return None,
        };
        match call.args.get(place)? {
            Expr::StringConstant(pattern, position) if call.name.starts_with("regex_") => {
                Some((pattern.clone(), *position))
            }
            _ => None,
        }
    }

    /// Lets `search` have the pattern, if text and pattern are short enough.
    fn with<R>(
        &self,
        text: &str,
        pattern: &str,
        search: impl FnOnce(&Regex) -> Fallible<R>,
    ) -> Fallible<R> {
        if text.len() > TEXT_SIZE {
            return Err(too_large("length of a text that is searched"));
        }
        call::check_deadline()?;
        match self.0.get().and_then(|compiled| compiled.get(pattern)) {
            Some(regex) => search(regex),
            None => {
                call::count_compilation(COMPILATIONS)?;
                search(&compile(pattern).map_err(fault)?)
            }
        }
    }
}

fn compile(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > PATTERN_SIZE {
        return Err(format!("a pattern must not be longer than {PATTERN_SIZE} bytes"));
    }
    let built = RegexBuilder::new(pattern)
        .size_limit(COMPILED_SIZE)
        .dfa_size_limit(SEARCH_SIZE)
        .nest_limit(NESTING)
        .build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "the pattern is too large; repeat less".into(),
        error => {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            format!("bad pattern: {}", last.trim_start_matches("error: "))
        }
    })
}

pub(super) fn register(engine: &mut Engine, limits: &RuleLimits, patterns: &Patterns) {
    let (most, most_bytes) = (limits.array_size, limits.string_size);
    let (has, find) = (patterns.clone(), patterns.clone());
    let (count, all) = (patterns.clone(), patterns.clone());
    let (groups, replaced) = (patterns.clone(), patterns.clone());
    engine
        .register_fn("regex_matches", move |text: &str, pattern: &str| {
            has.with(text, pattern, |regex| Ok(regex.is_match(text)))
        })
        .register_fn("regex_find", move |text: &str, pattern: &str| {
            find.with(text, pattern, |regex| Ok(text_of(regex.find(text))))
        })
        .register_fn("regex_find_all", move |text: &str, pattern: &str| {
            all.with(text, pattern, |regex| find_all(regex, text, most))
        })
        .register_fn("regex_count", move |text: &str, pattern: &str| {
            count.with(text, pattern, |regex| {
                regex
                    .find_iter(text)
                    .try_fold(0_i64, |count, _| call::check_deadline().map(|()| count + 1))
            })
        })
        .register_fn("regex_captures", move |text: &str, pattern: &str| {
            groups.with(text, pattern, |regex| {
                Ok(regex.captures(text).map_or(Dynamic::UNIT, |groups| {
                    groups.iter().map(text_of).collect::<Array>().into()
                }))
            })
        })
        .register_fn("regex_replace", move |text: &str, pattern: &str, new: &str| {
            replaced.with(text, pattern, |regex| replace(regex, text, new, most_bytes))
        });
}

fn text_of(found: Option<regex::Match<'_>>) -> Dynamic {
    found.map_or(Dynamic::UNIT, |found| found.as_str().into())
}

fn find_all(regex: &Regex, text: &str, most: usize) -> Fallible<Array> {
    let mut found = Array::new();
    for piece in regex.find_iter(text) {
        call::check_deadline()?;
        if found.len() >= most {
            return Err(too_large("matches of a pattern"));
        }
        found.push(piece.as_str().into());
    }
    Ok(found)
}

/// Each match becomes `new`, in which `$1` and `${name}` stand for groups.
fn replace(regex: &Regex, text: &str, new: &str, most: usize) -> Fallible<ImmutableString> {
    let groups_in_new = new.matches('$').count();
    let mut result = String::new();
    let mut rest = 0;
    for groups in regex.captures_iter(text) {
        call::check_deadline()?;
        let whole = whole(&groups);
        result.push_str(&text[rest..whole.start]);
        rest = whole.end;
        // No group is longer than the match.
        let longest = new.len().saturating_add(groups_in_new.saturating_mul(whole.len()));
        if result.len().saturating_add(longest) > most {
            return Err(too_large("length of a string"));
        }
        groups.expand(new, &mut result);
    }
    result.push_str(&text[rest..]);
    if result.len() > most { Err(too_large("length of a string")) } else { Ok(result.into()) }
}

fn whole(groups: &Captures<'_>) -> std::ops::Range<usize> {
    groups.get(0).map(|whole| whole.range()).unwrap_or_default()
}
