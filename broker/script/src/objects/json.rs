//! `json`: an object or array inside a JSON document, read and changed in place.

mod flat;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rhai::{Array, Dynamic, Engine, ImmutableString};
use serde_json::Value;

use crate::RuleLimits;
use crate::call;
use crate::fault::{Fallible, fault, too_large};
use crate::json::{MAX_DEPTH, depth, encode, equal, from_dynamic, size};
use crate::objects::json::flat::Flat;

/// Bytes of a text that is read sooner than the clock.
const SHORT: usize = 1024;

/// One parsed document; every view of it sees the changes made through any other.
pub(crate) struct Document {
    content: Mutex<Content>,
    /// The most that `Content::size` may become.
    most: usize,
}

struct Content {
    root: Root,
    /// The text that it was read from, and all that was ever put in; it never shrinks, so that a
    /// loop of changes ends.
    size: usize,
    changed: bool,
}

enum Root {
    /// Until more is wanted than to read fields.
    Flat(Flat),
    Tree(Value),
}

impl Content {
    fn tree(&mut self) -> &mut Value {
        if let Root::Flat(flat) = &self.root {
            self.root = Root::Tree(flat.to_tree());
        }
        match &mut self.root {
            Root::Tree(tree) => tree,
            Root::Flat(_) => unreachable!("a tree has just taken its place"),
        }
    }
}

/// An object or array at a place of a document.
#[derive(Clone)]
pub(crate) struct Json {
    document: Arc<Document>,
    path: Vec<Place>,
}

#[derive(Clone, PartialEq)]
enum Place {
    Field(ImmutableString),
    Element(usize),
}

impl Document {
    /// The document in `text`; nothing where that is not JSON.
    pub(crate) fn parse(text: &[u8], limits: &RuleLimits) -> Fallible<Option<Arc<Self>>> {
        if text.len() > limits.json_size {
            return Err(too_large("size of a JSON text"));
        }
        if text.len() > SHORT {
            call::check_deadline()?;
        }
        let Ok(text) = str::from_utf8(text) else { return Ok(None) };
        let root = match Flat::parse(text) {
            Some(flat) => Root::Flat(flat),
            None => match serde_json::from_str(text) {
                Ok(tree) => Root::Tree(tree),
                Err(_) => return Ok(None),
            },
        };
        Ok(Some(Self::new(root, text.len(), limits)))
    }

    /// A document that a rule has made.
    pub(crate) fn of(root: Value, limits: &RuleLimits) -> Arc<Self> {
        let document = Self::new(Root::Tree(root), 0, limits);
        document.lock().changed = true;
        document
    }

    fn new(root: Root, size: usize, limits: &RuleLimits) -> Arc<Self> {
        let content = Content { root, size, changed: false };
        Arc::new(Self { content: Mutex::new(content), most: 2 * limits.json_size })
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a rule sees of the whole: a view of an object or array, else the value itself.
    pub(crate) fn root(self: &Arc<Self>) -> Dynamic {
        let view = || Json { document: self.clone(), path: vec![] };
        match &self.lock().root {
            Root::Flat(_) => Dynamic::from(view()),
            Root::Tree(tree) => scalar(tree).unwrap_or_else(|| Dynamic::from(view())),
        }
    }

    /// The text, where the document is no longer what it was read from.
    pub(crate) fn changed_text(&self) -> Option<Vec<u8>> {
        let mut content = self.lock();
        content.changed.then(|| encode(content.tree()))
    }
}

impl Json {
    pub(crate) fn copy(&self) -> Value {
        self.resolve(self.document.lock().tree()).cloned().unwrap_or(Value::Null)
    }

    /// A copy whose size is taken from `room`.
    pub(crate) fn copy_within(&self, room: &mut usize) -> Fallible<Value> {
        let mut content = self.document.lock();
        let Some(value) = self.resolve(content.tree()) else { return Ok(Value::Null) };
        *room = room.checked_sub(size(value)).ok_or_else(|| too_large("size of JSON"))?;
        Ok(value.clone())
    }

    /// Whether this is the root of `document`.
    pub(crate) fn is_root_of(&self, document: &Arc<Document>) -> bool {
        self.path.is_empty() && Arc::ptr_eq(&self.document, document)
    }

    fn resolve<'a>(&self, root: &'a Value) -> Option<&'a Value> {
        self.path.iter().try_fold(root, |value, place| match place {
            Place::Field(name) => value.get(name.as_str()),
            Place::Element(index) => value.get(*index),
        })
    }

    fn resolve_mut<'a>(&self, root: &'a mut Value) -> Fallible<&'a mut Value> {
        let value = self.path.iter().try_fold(root, |value, place| match place {
            Place::Field(name) => value.get_mut(name.as_str()),
            Place::Element(index) => value.get_mut(*index),
        });
        value.ok_or_else(|| fault("this part of the JSON was removed"))
    }

    /// The value at `place`; `()` where there is none.
    fn child(&self, place: Place) -> Dynamic {
        let mut content = self.document.lock();
        if let (Root::Flat(flat), Place::Field(name)) = (&content.root, &place) {
            return flat.field(name).unwrap_or(Dynamic::UNIT);
        }
        let child = self.resolve(content.tree()).and_then(|value| match &place {
            Place::Field(name) => value.get(name.as_str()),
            Place::Element(index) => value.get(*index),
        });
        let Some(child) = child else { return Dynamic::UNIT };
        scalar(child).unwrap_or_else(|| {
            let path = self.path.iter().cloned().chain([place]).collect();
            Dynamic::from(Json { document: self.document.clone(), path })
        })
    }

    fn field(&self, name: ImmutableString) -> Dynamic {
        self.child(Place::Field(name))
    }

    /// Counted from the end where `index` is negative.
    fn element(&self, index: i64) -> Dynamic {
        match self.position(index) {
            Some(index) => self.child(Place::Element(index)),
            None => Dynamic::UNIT,
        }
    }

    fn position(&self, index: i64) -> Option<usize> {
        let length = self.len();
        let index = if index < 0 { index.checked_add(length)? } else { index };
        usize::try_from(index).ok().filter(|_| index < length)
    }

    fn set_field(&mut self, name: ImmutableString, value: Dynamic) -> Fallible<()> {
        if self.is_written_back(&value, &Place::Field(name.clone())) {
            return Ok(());
        }
        let new = from_dynamic(&value)?;
        self.change(&new.clone(), name.len(), |target| match target {
            Value::Object(entries) if entries.get(name.as_str()) == Some(&new) => Ok(false),
            Value::Object(entries) => {
                entries.insert(name.to_string(), new);
                Ok(true)
            }
            _ => Err(fault("a JSON array has no fields")),
        })
    }

    fn set_element(&mut self, index: i64, value: Dynamic) -> Fallible<()> {
        let place = self.position(index).ok_or_else(|| fault(format!("no element {index}")))?;
        if self.is_written_back(&value, &Place::Element(place)) {
            return Ok(());
        }
        let new = from_dynamic(&value)?;
        self.change(&new.clone(), 0, |target| match target.get_mut(place) {
            Some(old) if *old == new => Ok(false),
            Some(old) => {
                *old = new;
                Ok(true)
            }
            None => Err(fault("a JSON object has no numbered elements")),
        })
    }

    fn push(&mut self, value: Dynamic) -> Fallible<()> {
        let new = from_dynamic(&value)?;
        self.change(&new.clone(), 0, |target| match target {
            Value::Array(elements) => {
                elements.push(new);
                Ok(true)
            }
            _ => Err(fault("only a JSON array can be pushed to")),
        })
    }

    /// Gives nothing back, so that a hook may end with it.
    fn remove(&mut self, place: &Place) -> Fallible<()> {
        let mut content = self.document.lock();
        let removed = match (self.resolve_mut(content.tree())?, place) {
            (Value::Object(entries), Place::Field(name)) => entries.remove(name.as_str()),
            (Value::Array(elements), Place::Element(index)) if *index < elements.len() => {
                Some(elements.remove(*index))
            }
            _ => None,
        };
        content.changed |= removed.is_some();
        Ok(())
    }

    /// Lets `put` place `new`, of which it says whether it made a difference, within the limits.
    fn change(
        &self,
        new: &Value,
        name_length: usize,
        put: impl FnOnce(&mut Value) -> Fallible<bool>,
    ) -> Fallible<()> {
        if self.path.len() + 1 + depth(new) > MAX_DEPTH {
            return Err(too_large("nesting of JSON"));
        }
        let mut content = self.document.lock();
        let grown = content.size + size(new) + name_length;
        if grown > self.document.most {
            return Err(too_large("size of a JSON document"));
        }
        let target = self.resolve_mut(content.tree())?;
        if put(target)? {
            content.size = grown;
            content.changed = true;
        }
        Ok(())
    }

    /// Whether `value` is the view of `place` itself, which Rhai hands back after `view.place.x = 1`.
    fn is_written_back(&self, value: &Dynamic, place: &Place) -> bool {
        value.read_lock::<Json>().is_some_and(|view| {
            Arc::ptr_eq(&view.document, &self.document)
                && view
                    .path
                    .split_last()
                    .is_some_and(|(last, rest)| last == place && rest == self.path.as_slice())
        })
    }

    fn len(&self) -> i64 {
        let mut content = self.document.lock();
        let length = match self.resolve(content.tree()) {
            Some(Value::Array(elements)) => elements.len(),
            Some(Value::Object(entries)) => entries.len(),
            _ => 0,
        };
        length as i64
    }

    fn is_object(&self) -> bool {
        let mut content = self.document.lock();
        match &content.root {
            Root::Flat(_) => true,
            Root::Tree(_) => self.resolve(content.tree()).is_some_and(Value::is_object),
        }
    }

    fn keys(&self) -> Array {
        match self.resolve(self.document.lock().tree()) {
            Some(Value::Object(entries)) => super::array(entries.keys().map(String::as_str)),
            _ => Array::new(),
        }
    }

    /// Whether an object has the field, or an array the value.
    fn contains(&self, wanted: &Dynamic) -> Fallible<bool> {
        let wanted = from_dynamic(wanted)?;
        let mut content = self.document.lock();
        Ok(match (self.resolve(content.tree()), &wanted) {
            (Some(Value::Object(entries)), Value::String(name)) => entries.contains_key(name),
            (Some(Value::Array(elements)), wanted) => elements.iter().any(|it| equal(it, wanted)),
            _ => false,
        })
    }
}

/// Elements of an array, or names of an object's fields.
impl IntoIterator for Json {
    type Item = Dynamic;
    type IntoIter = Box<dyn Iterator<Item = Dynamic>>;

    fn into_iter(self) -> Self::IntoIter {
        let keys = self.keys();
        if !keys.is_empty() {
            return Box::new(keys.into_iter());
        }
        let places = 0..usize::try_from(self.len()).unwrap_or(0);
        Box::new(places.map(move |index| self.child(Place::Element(index))))
    }
}

/// The value itself, unless it is an object or array.
fn scalar(value: &Value) -> Option<Dynamic> {
    Some(match value {
        Value::Null => Dynamic::UNIT,
        Value::Bool(flag) => (*flag).into(),
        Value::String(text) => text.as_str().into(),
        Value::Number(number) => match number.as_i64() {
            Some(number) => number.into(),
            None => number.as_f64().unwrap_or(f64::MAX).into(),
        },
        Value::Array(_) | Value::Object(_) => return None,
    })
}

pub(super) fn register(engine: &mut Engine, limits: &RuleLimits) {
    let limits = *limits;
    engine
        .register_type_with_name::<Json>("json")
        .register_iterator::<Json>()
        .register_indexer_get(|view: &mut Json, name: ImmutableString| view.field(name))
        .register_indexer_get(|view: &mut Json, index: i64| view.element(index))
        .register_indexer_set(Json::set_field)
        .register_indexer_set(Json::set_element)
        .register_fn("len", |view: &mut Json| view.len())
        .register_fn("is_empty", |view: &mut Json| view.len() == 0)
        .register_fn("keys", |view: &mut Json| view.keys())
        .register_fn("push", Json::push)
        .register_fn("contains", |view: &mut Json, wanted: Dynamic| view.contains(&wanted))
        .register_fn("remove", |view: &mut Json, name: ImmutableString| {
            view.remove(&Place::Field(name))
        })
        .register_fn("remove", |view: &mut Json, index: i64| match view.position(index) {
            Some(index) => view.remove(&Place::Element(index)),
            None => Ok(()),
        })
        .register_fn("==", |left: &mut Json, right: Dynamic| equal_to(left, &right))
        .register_fn("!=", |left: &mut Json, right: Dynamic| equal_to(left, &right).map(|it| !it))
        .register_fn("is_object", |value: Dynamic| {
            value.is_map() || value.read_lock::<Json>().is_some_and(|view| view.is_object())
        })
        .register_fn("parse_json", move |text: &str| {
            Document::parse(text.as_bytes(), &limits)
                .map(|document| document.map_or(Dynamic::UNIT, |document| document.root()))
        })
        .register_fn("to_string", |view: &mut Json| text_of(&view.copy()))
        .register_fn("to_json", |value: Dynamic| from_dynamic(&value).map(|it| text_of(&it)));
}

pub(super) fn register_field(engine: &mut Engine, name: &str) {
    let read = ImmutableString::from(name);
    let write = read.clone();
    engine
        .register_get(name, move |view: &mut Json| view.field(read.clone()))
        .register_set(name, move |view: &mut Json, value: Dynamic| {
            view.set_field(write.clone(), value)
        });
}

/// Anything without a JSON form differs.
fn equal_to(left: &Json, right: &Dynamic) -> Fallible<bool> {
    call::check_deadline()?;
    Ok(from_dynamic(right).is_ok_and(|right| equal(&left.copy(), &right)))
}

fn text_of(value: &Value) -> ImmutableString {
    String::from_utf8(encode(value)).expect("JSON text is UTF-8").into()
}
