//! From a file to a rule that may go live: syntax, constants, hooks, names, tests.

use std::collections::{BTreeMap, BTreeSet};

use hookmq_codec::TopicFilter;
use hookmq_hooks::{HookSet, ProgramIdentity, ProgramKind};
use rhai::{
    AST, ASTFlags, ASTNode, Array, CallFnOptions, Dynamic, Engine, Expr, Map, OptimizationLevel,
    ParseError, ParseErrorType, Position, Scope, Stmt,
};
use sha2::{Digest, Sha256};

use crate::call::Setting;
use crate::error::Source;
use crate::fault::Failure;
use crate::functions::{Patterns, is_changeable};
use crate::rule::SpareCaches;
use crate::test_kit::pretence::Pretence;
use crate::{Problem, Rule, RuleEngine, RuleError, RuleOutline, call, objects};

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
    calls: Vec<(String, Position)>,
    /// Calls of `publish` as if it sent a message.
    sends: Vec<Position>,
}

pub(crate) fn load(rules: &RuleEngine, file: &str, text: &str) -> Result<Rule, RuleError> {
    let source = Source { file, text };
    let name = rule_name(source, rules.limits.source_size)?;
    let tree = parse(rules, source)?;
    let (outline, problems) = Outline::of(&tree, source);
    finish(problems)?;
    let constants = evaluate_constants(rules, &tree, &outline, source)?;
    let topics = topics(&constants, &outline, source)?;
    finish(check_functions(rules, &tree, &outline, source))?;

    let patterns = Patterns::default();
    let mut engine = rules.build(&name, &constants, &patterns);
    objects::register_fields(&mut engine, outline.properties.iter().map(String::as_str));
    let mut ast = engine
        .compile_with_scope(&constants, text)
        .map_err(|error| one(syntax_problem(source, &error)))?;
    ast.clear_statements();
    finish(prepare_patterns(&patterns, &ast, source))?;
    finish(run_tests(rules, &engine, &ast, source))?;
    ast.retain_functions(|_, _, name, _| !name.starts_with("test_"));

    let version = constants.get_value::<String>("VERSION").unwrap_or_default();
    let sha256 = hex::encode(Sha256::digest(text));
    Ok(Rule {
        identity: ProgramIdentity { kind: ProgramKind::Rule, name, version, sha256 },
        file: file.into(),
        doc: doc(text),
        hooks: hooks(&tree),
        functions: HOOKS.map(|(name, _)| (name, source.position_of_function(name))),
        topics,
        engine,
        ast,
        caches: SpareCaches::default(),
        authorize_is_cacheable: outline.is_cacheable(),
        clock: rules.clock,
        deadline: rules.limits.deadline,
    })
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
    finish(check_functions(rules, &tree, &outline, source))?;
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

fn syntax_problem(source: Source<'_>, error: &ParseError) -> Problem {
    let problem = source.problem(error.position(), error.err_type().to_string());
    match error.err_type() {
        ParseErrorType::VariableUndefined(name) => problem.hint(format!(
            "a function sees its parameters, its own `let`s and the file's constants; \
             is `{name}` misspelt, or is a `const` missing?"
        )),
        _ => problem,
    }
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
        !self.calls.iter().any(|(name, _)| is_changeable(name))
    }

    fn note(&mut self, path: &[ASTNode<'_>]) {
        let (call, position) = match path.last() {
            Some(ASTNode::Expr(Expr::Property(it, _))) => {
                self.properties.insert(it.2.to_string());
                return;
            }
            Some(ASTNode::Expr(
                Expr::FnCall(call, position) | Expr::MethodCall(call, position),
            ))
            | Some(ASTNode::Stmt(Stmt::FnCall(call, position))) => (call, position),
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
            self.calls.push((call.name.to_string(), *position));
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

fn check_functions(
    rules: &RuleEngine,
    tree: &AST,
    outline: &Outline,
    source: Source<'_>,
) -> Vec<Problem> {
    let mut problems = vec![];
    let mut defined = BTreeSet::new();
    for function in tree.iter_functions() {
        defined.insert(function.name);
        let place = source.position_of_function(function.name);
        let parameters = function.params.as_slice();
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
    if HOOKS.iter().all(|(name, _)| !defined.contains(name)) {
        problems.push(
            source
                .problem(Position::NONE, "the rule defines none of the hooks")
                .hint("define connect(client), authorize(client, access), publish(client, message) or deliver(client, message)"),
        );
    }
    for (name, position) in &outline.calls {
        if !defined.contains(name.as_str()) && !rules.function_names.contains(name) {
            problems.push(source.problem(*position, format!("there is no function `{name}`")));
        }
    }
    for position in &outline.sends {
        let message = "`publish` is the hook and takes a client and a message";
        let hint = "a message is sent with `emit(topic, payload)`";
        problems.push(source.problem(*position, message).hint(hint));
    }
    problems.sort_by_key(|problem| (problem.line, problem.column));
    problems
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

fn run_tests(rules: &RuleEngine, engine: &Engine, ast: &AST, source: Source<'_>) -> Vec<Problem> {
    let mut names: Vec<_> = ast
        .iter_functions()
        .map(|function| function.name)
        .filter(|name| name.starts_with("test_"))
        .collect();
    names.sort_by_key(|name| source.position_of_function(name).line());
    let failed = |name: &&str| {
        let setting = Setting::Test(Pretence::default());
        call::begin(rules.clock, rules.limits.test_deadline, setting);
        let options = CallFnOptions::new().eval_ast(false);
        let result =
            engine.call_fn_with_options::<Dynamic>(options, &mut Scope::new(), ast, name, ());
        let own_place = source.position_of_function(name);
        match result {
            Err(error) => {
                let failure = Failure::from_error(*error);
                let known = !failure.position.is_none();
                let place = if known { failure.position } else { own_place };
                Some(source.problem(place, format!("{name} failed: {}", failure.message)))
            }
            Ok(_) if call::expectations() == 0 => {
                let problem = source.problem(own_place, format!("{name} expects nothing"));
                Some(problem.hint("a test says what must hold with `assert` or `assert_eq`"))
            }
            Ok(_) => None,
        }
    };
    names.iter().filter_map(failed).collect()
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
