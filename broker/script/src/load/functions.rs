//! The functions that a rule defines, and those that it calls.

use std::collections::{BTreeMap, BTreeSet};

use rhai::{AST, Position};

use super::own_tests::taken;
use super::{Call, HOOKS, Outline};
use crate::advice::{hook_meant, unknown_function};
use crate::error::Source;
use crate::{Problem, RuleEngine};

/// Wrong calls that are told; whoever has more has enough to do.
const MOST_CALLS: usize = 20;

pub(super) fn check(
    rules: &RuleEngine,
    tree: &AST,
    outline: &Outline,
    source: Source<'_>,
) -> Vec<Problem> {
    let mut problems = vec![];
    let mut defined: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
    for function in tree.iter_functions() {
        let parameters = function.params.as_slice();
        defined.entry(function.name).or_default().insert(parameters.len());
        let place = source.position_of_function(function.name);
        if let Some((name, wanted)) = HOOKS.iter().find(|(name, _)| *name == function.name)
            && parameters.len() != wanted.len()
        {
            let message = format!("`{name}` must take {} parameter(s)", wanted.len());
            let hint = format!("write `fn {name}({})`", wanted.join(", "));
            problems.push(source.problem(place, message).hint(hint));
        }
        if function.name.starts_with("test_") && !parameters.is_empty() {
            problems.push(source.problem(place, "a test takes no parameters"));
        }
        if let Some(parameter) = parameters.iter().find(|it| outline.constants.contains_key(**it)) {
            let message = format!("the parameter `{parameter}` has the name of a constant");
            problems.push(source.problem(place, message));
        }
    }
    problems.extend(check_hooks(&defined, outline, source));
    let wrong = outline.calls.iter().filter_map(|call| check_call(rules, &defined, call, source));
    problems.extend(wrong.take(MOST_CALLS));
    for position in &outline.sends {
        let message = "`publish` is the hook and takes a client and a message";
        let hint = "a message is sent with `emit(topic, payload)`";
        problems.push(source.problem(*position, message).hint(hint));
    }
    problems.sort_by_key(|problem| (problem.line, problem.column));
    problems
}

/// At least one hook is there, and no function is only thought to be one.
fn check_hooks(
    defined: &BTreeMap<&str, BTreeSet<usize>>,
    outline: &Outline,
    source: Source<'_>,
) -> Option<Problem> {
    let has_hook = HOOKS.iter().any(|(name, _)| defined.contains_key(name));
    // A pointer made by `Fn` may call anything.
    let is_called = |name: &str| outline.calls.iter().any(|it| it.name == name || it.name == "Fn");
    let mistaken = defined.keys().find_map(|name| {
        let prefixed = name.starts_with("on") || name.starts_with("handle");
        let is_own = HOOKS.iter().any(|(hook, _)| hook == name) || name.starts_with("test_");
        if is_own || is_called(name) || (has_hook && !prefixed) {
            return None;
        }
        let hook = hook_meant(name, &HOOKS.map(|(name, _)| name))?;
        let (_, parameters) = HOOKS.iter().find(|(name, _)| *name == hook)?;
        Some((*name, format!("fn {hook}({})", parameters.join(", "))))
    });
    match (has_hook, mistaken) {
        (true, None) => None,
        (true, Some((name, right))) => {
            let message = format!("`{name}` is no hook, and nothing calls it");
            let problem = source.problem(source.position_of_function(name), message);
            Some(problem.hint(format!("the hook is `{right}`")))
        }
        (false, Some((name, right))) => {
            let place = source.position_of_function(name);
            let problem = source.problem(place, "the rule defines none of the hooks");
            Some(problem.hint(format!("`{name}` is none: the hook is `{right}`")))
        }
        (false, None) => {
            let problem = source.problem(Position::NONE, "the rule defines none of the hooks");
            let hooks =
                HOOKS.map(|(name, parameters)| format!("{name}({})", parameters.join(", ")));
            Some(problem.hint(format!("define {}", hooks.join(" or "))))
        }
    }
}

/// Whether there is such a function, with so many parameters.
fn check_call(
    rules: &RuleEngine,
    defined: &BTreeMap<&str, BTreeSet<usize>>,
    call: &Call,
    source: Source<'_>,
) -> Option<Problem> {
    let (own, offered) = (defined.get(&*call.name), rules.functions.get(&call.name));
    let (name, given) = (&call.name, call.arguments);
    if own.is_none() && offered.is_none() {
        let problem = source.problem(call.position, format!("there is no function `{name}`"));
        let known = rules.functions.keys().map(String::as_str).filter(|it| is_name(it));
        let hint = unknown_function(name, known.chain(defined.keys().copied()));
        return Some(Problem { hint, ..problem });
    }
    // The value before the point is the first argument of what is offered, and `this` of a rule's own.
    let fits_own = own.is_some_and(|own| own.contains(&given));
    let all = given + usize::from(call.of_value);
    let fits = offered.is_some_and(|numbers| numbers.is_empty() || numbers.contains(&all));
    if fits_own || fits {
        return None;
    }
    let message = match call.of_value {
        false => format!("`{name}` does not take {given} argument(s)"),
        true => format!("`{name}` does not take {given} argument(s) behind a value"),
    };
    let hint = match own.and_then(|own| own.first()) {
        Some(parameters) => Some(format!("it is defined here with {parameters} parameter(s)")),
        None => taken(rules, name),
    };
    Some(Problem { hint, ..source.problem(call.position, message) })
}

/// Operators and getters are registered as functions, too.
fn is_name(text: &str) -> bool {
    text.chars().all(|it| it.is_ascii_alphanumeric() || it == '_')
}
