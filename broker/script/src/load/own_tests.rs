//! A rule's own tests: the functions named `test_*`, each run by itself.

use rhai::{AST, CallFnOptions, Dynamic, Engine, Scope};

use crate::advice::nearest;
use crate::call::{self, Setting};
use crate::error::Source;
use crate::fault::Failure;
use crate::test_kit::pretence::Pretence;
use crate::{Problem, RuleEngine, TestOutcome};

/// Signatures of one function that are shown.
const SHOWN: usize = 4;

/// Runs each test, in the order of the file.
pub(super) fn run(
    rules: &RuleEngine,
    engine: &Engine,
    ast: &AST,
    source: Source<'_>,
) -> Vec<TestOutcome> {
    let mut names: Vec<_> = ast
        .iter_functions()
        .map(|function| function.name)
        .filter(|name| name.starts_with("test_"))
        .collect();
    names.sort_by_key(|name| source.position_of_function(name).line());
    let outcome = |name: &str| TestOutcome {
        name: name.to_owned(),
        problem: run_one(rules, engine, ast, source, name),
    };
    names.into_iter().map(outcome).collect()
}

/// Why it fails.
fn run_one(
    rules: &RuleEngine,
    engine: &Engine,
    ast: &AST,
    source: Source<'_>,
    name: &str,
) -> Option<Problem> {
    let setting = Setting::Test(Pretence::default());
    call::begin(rules.clock, rules.limits.test_deadline, setting);
    let options = CallFnOptions::new().eval_ast(false);
    let result = engine.call_fn_with_options::<Dynamic>(options, &mut Scope::new(), ast, name, ());
    let own_place = source.position_of_function(name);
    match result {
        Err(error) => {
            let failure = Failure::from_error(*error);
            let known = !failure.position.is_none();
            let place = if known { failure.position } else { own_place };
            let problem = source.problem(place, format!("{name} failed: {}", failure.message));
            let hint = hint(rules, &failure, &problem.source_line);
            Some(Problem { hint, ..problem })
        }
        Ok(_) if call::expectations() == 0 => {
            let problem = source.problem(own_place, format!("{name} expects nothing"));
            Some(problem.hint("a test says what must hold with `assert` or `assert_eq`"))
        }
        Ok(_) => None,
    }
}

fn hint(rules: &RuleEngine, failure: &Failure, line: &str) -> Option<String> {
    if let Some((of, name)) = &failure.unknown_field {
        if name == "payload" {
            return Some("it can be assigned; read `json`, `text` or `bytes`".into());
        }
        let signatures = rules.signatures();
        let getters = signatures.iter().filter_map(|it| it.strip_prefix("get "));
        let known = getters.filter_map(|it| it.strip_suffix(&*format!("({of})")));
        return nearest(name, known).map(|near| format!("is it `{near}`?"));
    }
    if let Some(called) = failure.message.strip_prefix("there is no function ") {
        let name = called.split('(').next().unwrap_or_default();
        return taken(rules, name);
    }
    let compares = line.trim_start().starts_with("assert(") && line.contains("==");
    compares.then(|| "`assert_eq(a, b)` shows both values".into())
}

/// What the registered function takes.
pub(super) fn taken(rules: &RuleEngine, name: &str) -> Option<String> {
    let signatures = rules.signatures();
    let begin = format!("{name}(");
    let of_name: Vec<_> = signatures.iter().filter(|it| it.starts_with(&begin)).collect();
    let shown: Vec<_> = of_name.iter().take(SHOWN).map(|it| format!("`{it}`")).collect();
    let more = if of_name.len() > SHOWN { ", .." } else { "" };
    (!shown.is_empty()).then(|| format!("there is {}{more}", shown.join(", ")))
}
