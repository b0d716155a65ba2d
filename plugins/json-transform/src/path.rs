//! Dotted paths into nested objects.

use serde_json::{Map, Value};

/// `a.b.c` names the field `c` of the object in field `b` of the object in field `a`. A dot that
/// belongs to a name is written `\.`, a backslash `\\`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    parents: Vec<String>,
    name: String,
}

impl Path {
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut names = vec![String::new()];
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            let literal = match character {
                '.' => {
                    names.push(String::new());
                    continue;
                }
                '\\' => match characters.next() {
                    Some(escaped @ ('.' | '\\')) => escaped,
                    _ => return Err(format!("{text:?}: a backslash stands before . or \\ only")),
                },
                other => other,
            };
            names.last_mut().expect("it is never empty").push(literal);
        }
        if names.iter().any(String::is_empty) {
            return Err(format!("{text:?} holds an empty name"));
        }
        let name = names.pop().expect("it is never empty");
        Ok(Self { parents: names, name })
    }

    pub fn value<'a>(&self, object: &'a Map<String, Value>) -> Option<&'a Value> {
        let parent = self
            .parents
            .iter()
            .try_fold(object, |object, name| object.get(name).and_then(Value::as_object))?;
        parent.get(&self.name)
    }

    pub fn value_mut<'a>(&self, object: &'a mut Map<String, Value>) -> Option<&'a mut Value> {
        self.parent(object)?.get_mut(&self.name)
    }

    pub fn remove(&self, object: &mut Map<String, Value>) -> Option<Value> {
        self.parent(object)?.remove(&self.name)
    }

    /// Puts the value there, making the objects on the way. Does nothing and returns false where
    /// something else than an object is in the way.
    pub fn insert(&self, object: &mut Map<String, Value>, value: Value) -> bool {
        let parent = self.parents.iter().try_fold(object, |object, name| {
            let child = object.entry(name.as_str()).or_insert_with(|| Map::new().into());
            child.as_object_mut()
        });
        match parent {
            Some(parent) => {
                parent.insert(self.name.clone(), value);
                true
            }
            None => false,
        }
    }

    fn parent<'a>(&self, object: &'a mut Map<String, Value>) -> Option<&'a mut Map<String, Value>> {
        self.parents
            .iter()
            .try_fold(object, |object, name| object.get_mut(name).and_then(Value::as_object_mut))
    }
}

impl<'de> serde::Deserialize<'de> for Path {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}
