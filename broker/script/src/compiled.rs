//! What a rule is compiled to, several times.
//!
//! Rhai counts references to the functions and constants that a call names. Threads that called the same
//! engine would all write these counts at each message: two that do nothing but call one rule took half as
//! long again for each call.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use hookmq_hooks::Places;
use parking_lot::Mutex;
use rhai::{AST, Array, Caches, Dynamic, Engine, GlobalRuntimeState, Map, ParseError, Scope};

use crate::functions::Patterns;
use crate::{RuleEngine, objects};

/// Each takes some memory, and some time when a rule is loaded.
const MOST_COPIES: usize = 16;

/// What a rule is compiled from.
pub(crate) struct Recipe<'a> {
    pub(crate) rules: &'a RuleEngine,
    pub(crate) name: String,
    pub(crate) text: &'a str,
    /// Their values, so that they are worked out once.
    pub(crate) constants: Scope<'static>,
    pub(crate) properties: BTreeSet<String>,
    pub(crate) patterns: Patterns,
}

/// An engine with one rule.
pub(crate) struct Compiled {
    pub(crate) engine: Engine,
    pub(crate) ast: AST,
    spares: Mutex<Vec<State>>,
}

/// What the engine keeps while a call runs, and what the next call has of it: which function each call in
/// the rule means. To find that out anew takes as long as a short rule runs.
pub(crate) struct State {
    pub(crate) global: GlobalRuntimeState,
    pub(crate) caches: Caches,
}

impl Recipe<'_> {
    pub(crate) fn compile(&self) -> Result<Compiled, ParseError> {
        let mut constants = Scope::new();
        for (name, _, value) in self.constants.iter_raw() {
            constants.push_constant_dynamic(name, apart(value));
        }
        let mut engine = self.rules.build(&self.name, &constants, &self.patterns);
        objects::register_fields(&mut engine, self.properties.iter().map(String::as_str));
        let mut ast = engine.compile_with_scope(&constants, self.text)?;
        ast.clear_statements();
        Ok(Compiled { engine, ast, spares: Mutex::default() })
    }
}

/// A compiled rule for each of as many threads as there are processors; with more threads, some share.
pub(crate) struct Copies {
    copies: Vec<Compiled>,
    /// Which one a thread has.
    chosen: Places<OnceLock<usize>>,
    next: AtomicUsize,
}

impl Copies {
    /// Compiled now, and not when a thread first calls: it would have less of its stack left.
    pub(crate) fn new(first: Compiled, recipe: &Recipe<'_>) -> Result<Self, ParseError> {
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        let mut copies = vec![first.without_tests()];
        while copies.len() < processors.min(MOST_COPIES) {
            copies.push(recipe.compile()?.without_tests());
        }
        Ok(Self { copies, chosen: Places::default(), next: AtomicUsize::new(0) })
    }

    /// The calling thread's.
    pub(crate) fn own(&self) -> &Compiled {
        let next = || self.next.fetch_add(1, Ordering::Relaxed) % self.copies.len();
        &self.copies[*self.chosen.own().get_or_init(next)]
    }
}

impl Compiled {
    /// Forgets the rule's tests.
    pub(crate) fn without_tests(mut self) -> Self {
        self.ast.retain_functions(|_, _, name, _| !name.starts_with("test_"));
        self
    }

    /// For one call. Each running call has a state of its own, so there are as many as calls ran at once;
    /// each is bounded by the calls that stand in the rule.
    pub(crate) fn state(&self) -> State {
        self.spares.lock().pop().unwrap_or_else(|| {
            let mut global = self.engine.new_global_runtime_state();
            global.lib.push(self.ast.shared_lib().clone());
            State { global, caches: Caches::new() }
        })
    }

    /// Of a call that has succeeded: one that fails may leave its state in disorder.
    pub(crate) fn give_back(&self, mut state: State) {
        state.global.num_operations = 0;
        self.spares.lock().push(state);
    }
}

/// The same plain value, in memory of its own.
fn apart(value: &Dynamic) -> Dynamic {
    if let Some(elements) = value.read_lock::<Array>() {
        return elements.iter().map(apart).collect::<Array>().into();
    }
    if let Some(entries) = value.read_lock::<Map>() {
        return entries
            .iter()
            .map(|(key, value)| (key.clone(), apart(value)))
            .collect::<Map>()
            .into();
    }
    match value.read_lock::<rhai::ImmutableString>() {
        Some(text) => text.as_str().to_owned().into(),
        None => value.clone(),
    }
}
