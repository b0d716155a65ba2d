//! The validator, and the names of what it finds wrong.

use std::error::Error;

use boon::{Compiler, InstanceToken, SchemaIndex, Schemas, UrlLoader, ValidationError};
use serde_json::Value;

/// Longest place that is told, in bytes.
const MAX_PLACE_BYTES: usize = 200;

/// Everything compiled, to be asked by index.
pub struct Compiled(Schemas);

impl Compiled {
    /// # Errors
    /// Where a schema is none, with its position in front.
    pub fn new(schemas: Vec<Value>) -> Result<(Self, Vec<SchemaIndex>), String> {
        let mut compiler = Compiler::new();
        compiler.use_loader(Box::new(Nowhere));
        compiler.enable_format_assertions();
        let mut compiled = Schemas::new();
        let mut indices = Vec::new();
        for (index, schema) in schemas.into_iter().enumerate() {
            let failed = |error: boon::CompileError| format!("rules[{index}].schema: {error:#}");
            let url = format!("hookmq:///rules/{index}");
            compiler.add_resource(&url, schema).map_err(failed)?;
            indices.push(compiler.compile(&url, &mut compiled).map_err(failed)?);
        }
        Ok((Self(compiled), indices))
    }

    /// # Errors
    /// The place in the value that is wrong, as a JSON pointer: empty for the value as a whole.
    pub fn validate(&self, value: &Value, schema: SchemaIndex) -> Result<(), String> {
        self.0.validate(value, schema).map_err(|error| place(&error))
    }
}

/// Schemas stand in the configuration, and refer to no others.
struct Nowhere;

impl UrlLoader for Nowhere {
    fn load(&self, url: &str) -> Result<Value, Box<dyn Error>> {
        Err(format!("{url} is outside of the schema").into())
    }
}

/// The innermost first cause tells most.
fn place(error: &ValidationError<'_, '_>) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.causes.first() {
        innermost = cause;
    }
    let mut place = String::new();
    for token in &innermost.instance_location.tokens {
        place.push('/');
        match token {
            InstanceToken::Item(index) => place.push_str(&index.to_string()),
            InstanceToken::Prop(name) => push_escaped(&mut place, name),
        }
        if place.len() > MAX_PLACE_BYTES {
            place.truncate(place.floor_char_boundary(MAX_PLACE_BYTES));
            break;
        }
    }
    place
}

/// As RFC 6901 escapes; control characters, which a user property may not hold, become `?`.
fn push_escaped(place: &mut String, name: &str) {
    for character in name.chars().take(MAX_PLACE_BYTES) {
        match character {
            '~' => place.push_str("~0"),
            '/' => place.push_str("~1"),
            _ if character.is_control() => place.push('?'),
            _ => place.push(character),
        }
    }
}
