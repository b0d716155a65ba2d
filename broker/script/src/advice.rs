//! What to do about a mistake: the hints under errors, for those who know another language better.

mod near;

use rhai::{LexError, ParseError, ParseErrorType, Position};

pub(crate) use self::near::nearest;
use crate::Problem;
use crate::error::Source;

/// What other languages call it, and what it is here.
const WORDS: [(&str, &str); 15] = [
    ("and", "&&"),
    ("or", "||"),
    ("not", "!"),
    ("elif", "else if"),
    ("elsif", "else if"),
    ("elseif", "else if"),
    ("function", "fn"),
    ("func", "fn"),
    ("def", "fn"),
    ("var", "let"),
    ("null", "()"),
    ("nil", "()"),
    ("None", "()"),
    ("undefined", "()"),
    ("match", "switch"),
];

/// Functions that other languages have, and what to write here.
const FUNCTIONS: [(&str, &str); 14] = [
    ("print", "log(text)"),
    ("println", "log(text)"),
    ("debug", "log(\"debug\", text)"),
    ("send", "emit(topic, payload)"),
    ("length", "len()"),
    ("count", "len()"),
    ("includes", "contains(part)"),
    ("substring", "sub_string(start, length)"),
    ("substr", "sub_string(start, length)"),
    ("stringify", "to_json()"),
    ("reject", "deny(reason)"),
    ("refuse", "deny(reason)"),
    ("permit", "allow()"),
    ("timestamp", "now()"),
];

/// What a hook is called by mistake, beside `on_` and `handle_` before its name.
const HOOK_NAMES: [(&str, &str); 10] = [
    ("authenticate", "connect"),
    ("login", "connect"),
    ("acl", "authorize"),
    ("subscribe", "authorize"),
    ("permit", "authorize"),
    ("message", "publish"),
    ("transform", "publish"),
    ("filter", "publish"),
    ("receive", "deliver"),
    ("delivery", "deliver"),
];

/// An error of the parser, in the rule writer's terms.
pub(crate) fn syntax_problem(source: Source<'_>, error: &ParseError) -> Problem {
    use ParseErrorType as P;
    let place = error.position();
    let problem = source.problem(place, error.err_type().to_string());
    let (before, here) = source.words_at(place);
    let foreign = |wanted: &str| WORDS.iter().find(|(word, _)| *word == wanted);
    if let Some((word, right)) = foreign(here).or_else(|| foreign(before)) {
        return problem.hint(format!("what is `{word}` elsewhere is `{right}` in a rule"));
    }
    match error.err_type() {
        P::VariableUndefined(name) => problem.hint(undefined(source, place, name)),
        P::BadInput(LexError::ImproperSymbol(symbol, _)) if symbol == "=" => source
            .problem(place, "this assigns, where a condition must stand")
            .hint("compare with `==`"),
        P::BadInput(LexError::MalformedChar(text)) => {
            problem.hint(format!("text stands between double quotes: \"{text}\""))
        }
        P::UnknownOperator(operator) if matches!(&**operator, "++" | "--") => {
            problem.hint(format!("write `{}= 1`", &operator[..1]))
        }
        P::MissingToken(token, _) if token == ";" => missing_semicolon(source, place),
        P::WrongFnDefinition => problem.hint("is a `}` missing before it?"),
        _ => problem,
    }
}

fn undefined(source: Source<'_>, place: Position, name: &str) -> String {
    let line = source.line(place);
    let before = line.chars().take(place.position().unwrap_or(1) - 1).collect::<String>();
    if before.matches('|').count() == 2 {
        return "a closure sees its own parameters only".into();
    }
    let names = source.variables();
    match nearest(name, names.iter().map(String::as_str)) {
        Some(near) => format!("is it misspelt? There is `{near}`"),
        None => format!(
            "a function sees its parameters, its own `let`s and the file's constants; \
             is `{name}` misspelt, or is a `const` missing?"
        ),
    }
}

/// Pointed at where the `;` belongs, which is the end of a line before the place where it is missed.
fn missing_semicolon(source: Source<'_>, place: Position) -> Problem {
    let column = place.position().unwrap_or(1);
    let line = source.line(place);
    if line.chars().nth(column - 1) == Some(':') {
        let problem = source.problem(place, "a `;` is missing before this");
        return problem.hint("an object map begins with `#`: `#{ name: value }`");
    }
    let is_first = line.chars().take(column - 1).all(char::is_whitespace);
    let lines = source.text.lines().take(place.line().unwrap_or(1) - 1).enumerate();
    let code = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
    let end = lines.filter(|(_, line)| code(line)).last().filter(|_| is_first);
    let position = end.and_then(|(number, line)| {
        let column = u16::try_from(line.trim_end().chars().count() + 1).ok()?;
        Some(Position::new(u16::try_from(number + 1).ok()?, column))
    });
    match position {
        Some(position) => source.problem(position, "a `;` is missing here"),
        None => source.problem(place, "a `;` is missing before this"),
    }
}

/// For a call of a function that there is not.
pub(crate) fn unknown_function<'a>(
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    if let Some((_, right)) = FUNCTIONS.iter().find(|(other, _)| *other == name) {
        return Some(format!("in a rule it is `{right}`"));
    }
    nearest(name, known).map(|near| format!("is it `{near}`?"))
}

/// The hook that a function of this name was probably meant to be.
pub(crate) fn hook_meant<'a>(name: &str, hooks: &[&'a str]) -> Option<&'a str> {
    let bare = ["on_", "on", "handle_", "handle"].into_iter().find_map(|it| name.strip_prefix(it));
    let bare = bare.unwrap_or(name).to_lowercase();
    let other = HOOK_NAMES.iter().find(|(known, _)| *known == bare).map(|(_, hook)| *hook);
    hooks.iter().copied().find(|hook| bare == *hook || other == Some(hook)).or_else(|| {
        let near = nearest(&bare, hooks.iter().copied());
        near.and_then(|near| hooks.iter().copied().find(|hook| *hook == near))
    })
}

impl<'a> Source<'a> {
    fn line(&self, place: Position) -> &'a str {
        self.text.lines().nth(place.line().unwrap_or(1) - 1).unwrap_or_default()
    }

    /// The word right before a place, with nothing but spaces between, and the one that begins there.
    fn words_at(&self, place: Position) -> (&'a str, &'a str) {
        let line = self.line(place);
        let start = place.position().unwrap_or(1) - 1;
        let at = line.char_indices().nth(start).map_or(line.len(), |(at, _)| at);
        let (before, here) = line.split_at(at);
        let before = before.trim_end();
        let begin = before.trim_end_matches(is_of_word).len();
        let end = here.find(|it| !is_of_word(it)).unwrap_or(here.len());
        (&before[begin..], &here[..end])
    }

    /// The names of constants, variables and parameters, wherever they stand.
    fn variables(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut last = "";
        for word in self.text.split(|it| !is_of_word(it)).filter(|word| !word.is_empty()) {
            if matches!(last, "const" | "let" | "for") {
                names.push(word.to_owned());
            }
            last = word;
        }
        for line in self.text.lines().filter(|line| line.trim_start().starts_with("fn ")) {
            let parameters = line.split(['(', ')']).nth(1).unwrap_or_default();
            names.extend(parameters.split(',').map(|name| name.trim().to_owned()));
        }
        names
    }
}

fn is_of_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}
