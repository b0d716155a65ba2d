//! The engine that all rules are loaded by: which functions and limits they get.

use std::collections::BTreeSet;
use std::sync::Arc;

use rhai::{Dynamic, Engine, Module, OptimizationLevel, Scope};

use crate::call::{Clock, monotonic_clock};
use crate::functions::{self, Log, LogSink};
use crate::load;
use crate::{Rule, RuleError, RuleLimits, call, objects, test_kit};

/// Loads rules. Cheap to keep; a loaded rule does not depend on it.
pub struct RuleEngine {
    pub(crate) limits: RuleLimits,
    pub(crate) clock: Clock,
    log: Option<LogSink>,
    /// Names of all functions that a rule may call.
    pub(crate) function_names: BTreeSet<String>,
}

impl RuleEngine {
    pub fn new(limits: RuleLimits) -> Self {
        let mut engine =
            Self { limits, clock: monotonic_clock, log: None, function_names: BTreeSet::new() };
        engine.function_names = function_names(&engine.build("", &Scope::new()));
        engine
    }

    /// Measures deadlines by `clock`.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Hands what rules log to `sink`, on the thread of the call; otherwise it is lost.
    #[must_use]
    pub fn with_log(mut self, sink: LogSink) -> Self {
        self.log = Some(sink);
        self
    }

    /// Compiles a rule and runs its tests.
    ///
    /// # Errors
    /// All problems of the first stage that finds any: syntax, constants, hooks and names, tests.
    pub fn load(&self, file_name: &str, source: &str) -> Result<Rule, RuleError> {
        load::load(self, file_name, source)
    }

    /// An engine of its own for one rule, with the rule's constants; rules share no lock.
    pub(crate) fn build(&self, rule: &str, constants: &Scope<'_>) -> Engine {
        let mut engine = Engine::new_raw();
        set_limits(&mut engine, &self.limits);
        engine.on_progress(call::progress);
        engine.disable_symbol("eval");
        engine.set_strict_variables(true);
        engine.set_optimization_level(OptimizationLevel::Simple);
        functions::register(&mut engine, &self.limits);
        let log = Log::new(rule, self.log.clone(), &self.limits);
        log.register(&mut engine);
        objects::register(&mut engine, &self.limits, &log);
        test_kit::register(&mut engine);
        let mut module = Module::new();
        for (name, _, value) in constants.iter_raw() {
            module.set_var(name, Dynamic::clone(value));
        }
        engine.register_global_module(Arc::new(module));
        engine
    }
}

fn set_limits(engine: &mut Engine, limits: &RuleLimits) {
    engine
        .set_max_operations(limits.operations)
        .set_max_call_levels(limits.call_levels)
        .set_max_expr_depths(48, 32)
        .set_max_string_size(limits.string_size)
        .set_max_array_size(limits.array_size)
        .set_max_map_size(limits.map_size)
        .set_max_variables(limits.variables)
        .set_max_functions(limits.functions);
}

/// Names of the registered functions, and of the calls that are part of the language.
fn function_names(engine: &Engine) -> BTreeSet<String> {
    let registered = engine.collect_fn_metadata(
        None,
        |function| Some(function.metadata.name.to_string()),
        false,
    );
    let language = ["type_of", "Fn", "call", "curry", "is_def_var", "is_def_fn"];
    registered.into_iter().chain(language.map(String::from)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each name with the numbers of parameters that it takes. A new name, or one that an update of
    /// Rhai brings in, is put here by someone who has asked whether it can grow a value.
    const ALLOWED: &str = include_str!("engine/allowed.txt");

    #[test]
    fn rules_can_call_what_is_on_the_list_and_nothing_else() {
        let engine = RuleEngine::new(RuleLimits::default()).build("", &Scope::new());
        let all = engine.collect_fn_metadata(
            None,
            |function| Some((function.metadata.name.to_string(), function.metadata.num_params)),
            true,
        );
        let found: BTreeSet<_> = all
            .iter()
            .map(|(name, parameters)| format!("{}/{parameters}", name.replace('$', " ").trim()))
            .collect();
        let allowed: BTreeSet<_> = ALLOWED.lines().map(String::from).collect();
        assert_eq!(found, allowed);
    }
}
