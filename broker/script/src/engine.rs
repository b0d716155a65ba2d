//! The engine that all rules are loaded by: which functions and limits they get.

use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use rhai::{
    Array, Dynamic, Engine, FuncMetadata, ImmutableString, Map, Module, OptimizationLevel, Scope,
};

use crate::call::Clock;
use crate::functions::{self, Facilities, Log, LogSink, Patterns};
use crate::host::SharedHost;
use crate::load;
use crate::{Rule, RuleError, RuleLimits, RuleOutline, TestOutcome, call, objects, test_kit};

/// Loads rules. Cheap to keep; a loaded rule does not depend on it.
pub struct RuleEngine {
    pub(crate) limits: RuleLimits,
    pub(crate) clock: Clock,
    log: Option<LogSink>,
    host: Option<SharedHost>,
    /// The functions that a rule may call, with the numbers of parameters that they have; none where
    /// they take any.
    pub(crate) functions: BTreeMap<String, BTreeSet<usize>>,
}

impl RuleEngine {
    /// Deadlines are measured by `clock`. Where that stands still, only the number of operations ends a
    /// call, and whoever runs the engine must bound its time.
    pub fn new(limits: RuleLimits, clock: Clock) -> Self {
        let mut engine = Self { limits, clock, log: None, host: None, functions: BTreeMap::new() };
        engine.functions = functions(&engine.build_plain());
        engine
    }

    /// Lends `host` to the rules; without one they have no time, no store and no figures outside of
    /// their tests.
    #[must_use]
    pub fn with_host(mut self, host: SharedHost) -> Self {
        self.host = Some(host);
        self
    }

    /// Hands what rules log to `sink`, on the thread of the call; otherwise it is lost.
    #[must_use]
    pub fn with_log(mut self, sink: LogSink) -> Self {
        self.log = Some(sink);
        self
    }

    /// All that a rule may call, with the types of the parameters: `replace(string, string, string)`,
    /// `get topic(message)`.
    pub fn signatures(&self) -> BTreeSet<String> {
        let engine = self.build_plain();
        let all = engine.collect_fn_metadata(
            None,
            |function| Some(signature(&engine, function.metadata)),
            true,
        );
        all.into_iter().collect()
    }

    /// Compiles a rule and runs its tests.
    ///
    /// # Errors
    /// All problems of the first stage that finds any: syntax, constants, hooks and names, tests.
    pub fn load(&self, file_name: &str, source: &str) -> Result<Rule, RuleError> {
        load::load(self, file_name, source)
    }

    /// Compiles a rule and runs each of its tests, in the order of the file.
    ///
    /// # Errors
    /// As [`RuleEngine::load`], but for tests that fail.
    pub fn test(&self, file_name: &str, source: &str) -> Result<Vec<TestOutcome>, RuleError> {
        load::test(self, file_name, source)
    }

    /// What stands in a rule, of which nothing is run.
    ///
    /// # Errors
    /// Where the text is no rule, or its topics do not stand in it literally.
    pub fn outline(&self, file_name: &str, source: &str) -> Result<RuleOutline, RuleError> {
        load::outline(self, file_name, source)
    }

    /// An engine that knows all functions and no constants.
    pub(crate) fn build_plain(&self) -> Engine {
        self.build("", &Scope::new(), &Patterns::default())
    }

    /// An engine of its own for one rule, with the rule's constants; rules share no lock.
    pub(crate) fn build(&self, rule: &str, constants: &Scope<'_>, patterns: &Patterns) -> Engine {
        let mut engine = Engine::new_raw();
        set_limits(&mut engine, &self.limits);
        engine.on_progress(call::progress);
        engine.disable_symbol("eval");
        engine.set_strict_variables(true);
        engine.set_optimization_level(OptimizationLevel::Simple);
        let facilities = Facilities::new(rule, self.host.clone(), &self.limits);
        functions::register(&mut engine, &self.limits, &facilities, patterns);
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

/// The registered functions, and the calls that are part of the language.
fn functions(engine: &Engine) -> BTreeMap<String, BTreeSet<usize>> {
    let registered = engine.collect_fn_metadata(
        None,
        |function| {
            let metadata = function.metadata;
            Some((metadata.name.to_string(), metadata.param_types.len()))
        },
        false,
    );
    let mut functions: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (name, parameters) in registered {
        functions.entry(name).or_default().insert(parameters);
    }
    let language = ["type_of", "Fn", "call", "curry", "is_def_var", "is_def_fn"];
    functions.extend(language.map(|name| (name.into(), BTreeSet::new())));
    functions
}

/// `get$topic` and its like, without the sign that no rule can write.
fn signature(engine: &Engine, function: &FuncMetadata) -> String {
    let name = function.name.replace('$', " ");
    let parameters = function.param_types.iter().map(|kind| type_name(engine, *kind));
    format!("{}({})", name.trim(), parameters.collect::<Vec<_>>().join(", "))
}

/// As a rule writer calls the type.
fn type_name(engine: &Engine, kind: TypeId) -> String {
    let of_language = [
        (TypeId::of::<i64>(), "int"),
        (TypeId::of::<f64>(), "float"),
        (TypeId::of::<bool>(), "bool"),
        (TypeId::of::<char>(), "char"),
        (TypeId::of::<&str>(), "string"),
        (TypeId::of::<String>(), "string"),
        (TypeId::of::<ImmutableString>(), "string"),
        (TypeId::of::<Array>(), "array"),
        (TypeId::of::<Map>(), "map"),
        (TypeId::of::<Dynamic>(), "any"),
        (TypeId::of::<Range<i64>>(), "range"),
        (TypeId::of::<RangeInclusive<i64>>(), "range="),
    ];
    match of_language.iter().find(|(known, _)| *known == kind) {
        Some((_, name)) => (*name).into(),
        None => objects::type_name(engine, kind),
    }
}
