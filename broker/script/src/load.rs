//! From a file to a rule that may go live: syntax, constants, hooks, names, tests.

mod functions;
mod own_tests;

use std::collections::{BTreeMap, BTreeSet};

use hookmq_codec::TopicFilter;
use hookmq_hooks::{HookSet, ProgramIdentity, ProgramKind};
use rhai::{
    AST, ASTFlags, ASTNode, Array, Dynamic, Engine, Expr, Map, OptimizationLevel, Position, Scope,
    Stmt,
};
use sha2::{Digest, Sha256};

use crate::advice::syntax_problem;
use crate::call::Setting;
use crate::error::Source;
use crate::fault::Failure;
use crate::functions::{Patterns, is_changeable};
use crate::rule::Spares;
use crate::{Problem, Rule, RuleEngine, RuleError, RuleOutline, TestOutcome, call, objects};

/// The functions that a rule may define for the pipeline, with their parameters, in the order of
/// [`hookmq_hooks::Hook::ALL`].
const HOOKS: [(&str, &[&str]); 4] = [
    ("connect", &["client"]),
    ("authorize", &["client", "access"]),
    ("publish", &["client", "message"]),
    ("deliver", &["client", "message"]),
];

/// What the syntax tree says before anything runs.
#[derive(Default)]
struct Outline {
    constants: BTreeMap<String, Position>,
    properties: BTreeSet<String>,
    calls: Vec<Call>,
    /// Calls of `publish` as if it sent a message.
    sends: Vec<Position>,
}

/// A rule that is in order, but for its tests.
struct Prepared {
    name: String,
    hooks: HookSet,
    topics: Vec<TopicFilter>,
    engine: Engine,
    ast: AST,
    authorize_is_cacheable: bool,
    version: String,
}

pub(crate) fn load(rules: &RuleEngine, file: &str, text: &str) -> Result<Rule, RuleError> {
    let source = Source { file, text };
    let prepared = prepare(rules, source)?;
    let outcomes = own_tests::run(rules, &prepared.engine, &prepared.ast, source);
    finish(outcomes.into_iter().filter_map(|outcome| outcome.problem).collect())?;
    let Prepared { name, hooks, topics, engine, mut ast, authorize_is_cacheable, version } =
        prepared;
    ast.retain_functions(|_, _, name, _| !name.starts_with("test_"));
    let sha256 = hex::encode(Sha256::digest(text));
    Ok(Rule {
        identity: ProgramIdentity { kind: ProgramKind::Rule, name, version, sha256 },
        file: file.into(),
        doc: doc(text),
        hooks,
        functions: HOOKS.map(|(name, _)| (name, source.position_of_function(name))),
        topics,
        engine,
        ast,
        spares: Spares::default(),
        authorize_is_cacheable,
        clock: rules.clock,
        deadline: rules.limits.deadline,
    })
}

/// As [`load`], of which only the tests are of interest.
pub(crate) fn test(
    rules: &RuleEngine,
    file: &str,
    text: &str,
) -> Result<Vec<TestOutcome>, RuleError> {
    let source = Source { file, text };
    let prepared = prepare(rules, source)?;
    Ok(own_tests::run(rules, &prepared.engine, &prepared.ast, source))
}

fn prepare(rules: &RuleEngine, source: Source<'_>) -> Result<Prepared, RuleError> {
    let name = rule_name(source, rules.limits.source_size)?;
    let tree = parse(rules, source)?;
    let (outline, problems) = Outline::of(&tree, source);
    finish(problems)?;
    let constants = evaluate_constants(rules, &tree, &outline, source)?;
    let topics = topics(&constants, &outline, source)?;
    finish(functions::check(rules, &tree, &outline, source))?;

    let patterns = Patterns::default();
    let mut engine = rules.build(&name, &constants, &patterns);
    objects::register_fields(&mut engine, outline.properties.iter().map(String::as_str));
    let mut ast = engine
        .compile_with_scope(&constants, source.text)
        .map_err(|error| one(syntax_problem(source, &error)))?;
    ast.clear_statements();
    finish(prepare_patterns(&patterns, &ast, source))?;
    let version = constants.get_value::<String>("VERSION").unwrap_or_default();
    let authorize_is_cacheable = outline.is_cacheable();
    Ok(Prepared { name, hooks: hooks(&tree), topics, engine, ast, authorize_is_cacheable, version })
}

/// As [`load`], as far as it goes without running anything.
pub(crate) fn outline(
    rules: &RuleEngine,
    file: &str,
    text: &str,
) -> Result<RuleOutline, RuleError> {
    let source = Source { file, text };
    rule_name(source, rules.limits.source_size)?;
    let tree = parse(rules, source)?;
    let (outline, problems) = Outline::of(&tree, source);
    finish(problems)?;
    let topics = literal_topics(&tree, &outline, source)?;
    finish(functions::check(rules, &tree, &outline, source))?;
    Ok(RuleOutline {
        hooks: hooks(&tree),
        topics,
        authorize_is_cacheable: outline.is_cacheable(),
        sha256: hex::encode(Sha256::digest(text)),
    })
}

/// The file's name without `.rhai`, by which configuration and API call the rule.
fn rule_name(source: Source<'_>, most: usize) -> Result<String, RuleError> {
    let problem = |message: String| one(source.problem(Position::NONE, message));
    if source.text.len() > most {
        return Err(problem(format!("a rule must not be longer than {most} bytes")));
    }
    let base = source.file.rsplit('/').next().unwrap_or_default();
    let name = base.strip_suffix(".rhai").unwrap_or(base);
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    match !name.is_empty() && name.len() <= 64 && name.bytes().all(fits) {
        true => Ok(name.into()),
        false => Err(problem(
            "a rule's file name must be of letters, digits, _ and -, and end with .rhai".into(),
        )),
    }
}

/// A first pass that finds the constants, which functions see only once they are known.
fn parse(rules: &RuleEngine, source: Source<'_>) -> Result<AST, RuleError> {
    let mut engine = rules.build_plain();
    engine.set_strict_variables(false);
    engine.set_optimization_level(OptimizationLevel::None);
    engine.compile(source.text).map_err(|error| one(syntax_problem(source, &error)))
}

/// A call that stands in the text.
struct Call {
    name: String,
    position: Position,
    arguments: usize,
    /// Whether it is of the form `x.name()`.
    of_value: bool,
}

impl Outline {
    fn of(tree: &AST, source: Source<'_>) -> (Self, Vec<Problem>) {
        let mut outline = Self::default();
        let mut problems = vec![];
        for statement in tree.statements() {
            match statement {
                Stmt::Noop(_) => {}
                Stmt::Var(it, flags, position) if flags.contains(ASTFlags::CONSTANT) => {
                    outline.constants.insert(it.0.name.to_string(), *position);
                }
                other => {
                    let message = "only constants and functions may stand outside of functions";
                    problems.push(
                        source
                            .problem(other.position(), message)
                            .hint("a value for the whole file is `const NAME = value;`"),
                    );
                }
            }
        }
        tree.walk(&mut |path| {
            outline.note(path);
            true
        });
        (outline, problems)
    }

    fn is_cacheable(&self) -> bool {
        !self.calls.iter().any(|call| is_changeable(&call.name))
    }

    fn note(&mut self, path: &[ASTNode<'_>]) {
        let (call, position, of_value) = match path.last() {
            Some(ASTNode::Expr(Expr::Property(it, _))) => {
                self.properties.insert(it.2.to_string());
                return;
            }
            Some(ASTNode::Expr(Expr::MethodCall(call, position))) => (call, position, true),
            Some(ASTNode::Expr(Expr::FnCall(call, position)))
            | Some(ASTNode::Stmt(Stmt::FnCall(call, position))) => (call, position, false),
            _ => return,
        };
        let begins_with_text = matches!(
            call.args.first(),
            Some(Expr::StringConstant(..) | Expr::InterpolatedString(..))
        );
        if call.name == "publish" && begins_with_text {
            self.sends.push(*position);
        }
        if call.op_token.is_none() {
            let (name, arguments) = (call.name.to_string(), call.args.len());
            self.calls.push(Call { name, position: *position, arguments, of_value });
        }
    }
}

fn evaluate_constants(
    rules: &RuleEngine,
    tree: &AST,
    outline: &Outline,
    source: Source<'_>,
) -> Result<Scope<'static>, RuleError> {
    let mut scope = Scope::new();
    call::begin(rules.clock, rules.limits.test_deadline, Setting::Constants);
    rules.build_plain().run_ast_with_scope(&mut scope, tree).map_err(|error| {
        let failure = Failure::from_error(*error);
        one(source.problem(failure.position, failure.message))
    })?;
    let odd = scope.iter_raw().filter(|(_, _, value)| !is_plain(value)).map(|(name, _, _)| {
        let place = outline.constants.get(name).copied().unwrap_or(Position::NONE);
        source.problem(place, format!("the constant `{name}` must be a plain value"))
    });
    finish(odd.collect())?;
    Ok(scope)
}

/// Data alone: an object in a constant would be shared by all calls.
fn is_plain(value: &Dynamic) -> bool {
    if let Some(elements) = value.read_lock::<Array>() {
        return elements.iter().all(is_plain);
    }
    if let Some(entries) = value.read_lock::<Map>() {
        return entries.values().all(is_plain);
    }
    let single = value.is_int() || value.is_float() || value.is_bool() || value.is_unit();
    single || value.is_string() || value.is_char()
}

/// `const TOPICS = ["a/+", ..];`, which may be absent.
fn topics(
    constants: &Scope<'_>,
    outline: &Outline,
    source: Source<'_>,
) -> Result<Vec<TopicFilter>, RuleError> {
    let Some(value) = constants.get("TOPICS") else { return Ok(vec![]) };
    let place = outline.constants.get("TOPICS").copied().unwrap_or(Position::NONE);
    let problem = |message: String| {
        one(source
            .problem(place, message)
            .hint(r#"as in `const TOPICS = ["devices/+/telemetry"];`"#))
    };
    let Some(elements) = value.read_lock::<Array>() else {
        return Err(problem("TOPICS must be an array of topic filters".into()));
    };
    if elements.is_empty() {
        return Err(problem("TOPICS must not be empty; leave it out for all topics".into()));
    }
    let filter = |element: &Dynamic| {
        let text = element.clone().into_string().map_err(|kind| {
            problem(format!("TOPICS must hold topic filters as strings, not {kind}"))
        })?;
        let filter = TopicFilter::new(text.as_str())
            .map_err(|error| problem(format!("the topic filter `{text}`: {error}")))?;
        match filter.share_name() {
            None => Ok(filter),
            Some(_) => Err(problem(format!("`{text}` is a shared subscription, not a filter"))),
        }
    };
    elements.iter().map(filter).collect()
}

/// As [`topics`], of a constant that is not evaluated.
fn literal_topics(
    tree: &AST,
    outline: &Outline,
    source: Source<'_>,
) -> Result<Vec<TopicFilter>, RuleError> {
    let value = tree.statements().iter().find_map(|statement| match statement {
        Stmt::Var(it, ..) if it.0.name == "TOPICS" => Some(&it.1),
        _ => None,
    });
    let Some(value) = value else { return Ok(vec![]) };
    let Some(value) = value.get_literal_value(None) else {
        let place = outline.constants.get("TOPICS").copied().unwrap_or(Position::NONE);
        let message = "in the sandbox TOPICS must be an array of plain strings";
        let hint = r#"as in `const TOPICS = ["devices/+/telemetry"];`"#;
        return Err(one(source.problem(place, message).hint(hint)));
    };
    let mut constants = Scope::new();
    constants.push_constant_dynamic("TOPICS", value);
    topics(&constants, outline, source)
}

fn hooks(tree: &AST) -> HookSet {
    let defines = |wanted: &str| tree.iter_functions().any(|function| function.name == wanted);
    HookSet {
        connect: defines("connect"),
        authorize: defines("authorize"),
        publish: defines("publish"),
        deliver: defines("deliver"),
    }
}

/// Compiles the patterns that stand in the rule, so that a bad one is known now.
fn prepare_patterns(patterns: &Patterns, ast: &AST, source: Source<'_>) -> Vec<Problem> {
    let mut found = vec![];
    ast.walk(&mut |path| {
        found.extend(Patterns::in_call(path));
        true
    });
    let problems = patterns.prepare(found).err().unwrap_or_default();
    problems.into_iter().map(|(place, problem)| source.problem(place, problem)).collect()
}

/// The comment that the file begins with.
fn doc(text: &str) -> String {
    let lines = text.lines().skip_while(|line| line.trim().is_empty());
    let comment = |line: &str| {
        let line = line.trim();
        let rest = line.strip_prefix("//!").or_else(|| line.strip_prefix("///"))?;
        Some(rest.strip_prefix(' ').unwrap_or(rest).to_owned())
    };
    lines.map_while(comment).collect::<Vec<_>>().join("\n")
}

fn one(problem: Problem) -> RuleError {
    RuleError { problems: vec![problem] }
}

fn finish(problems: Vec<Problem>) -> Result<(), RuleError> {
    if problems.is_empty() { Ok(()) } else { Err(RuleError { problems }) }
}
