//! Object maps as named arguments: each entry has a type, and an unknown name is refused.

use rhai::{Array, Dynamic, Map};

use crate::advice::nearest;
use crate::fault::{Fallible, bad_output};

/// The entries of a map that are not read yet.
pub(crate) struct Fields {
    what: &'static str,
    entries: Map,
    /// What was asked for.
    known: Vec<&'static str>,
}

impl Fields {
    /// `what` names the map in errors, as in "accept".
    pub(crate) fn new(what: &'static str, entries: Map) -> Self {
        Self { what, entries, known: Vec::new() }
    }

    /// An entry of any type; `()` counts as absent.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<Dynamic> {
        self.known.push(name);
        self.entries.remove(name).filter(|value| !value.is_unit())
    }

    pub(crate) fn text(&mut self, name: &'static str) -> Fallible<Option<String>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        value.into_string().map(Some).map_err(|kind| self.mismatch(name, "a string", kind))
    }

    pub(crate) fn flag(&mut self, name: &'static str) -> Fallible<Option<bool>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        value.as_bool().map(Some).map_err(|kind| self.mismatch(name, "true or false", kind))
    }

    pub(crate) fn integer(&mut self, name: &'static str) -> Fallible<Option<i64>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        value.as_int().map(Some).map_err(|kind| self.mismatch(name, "a whole number", kind))
    }

    /// A string, or an array of strings.
    pub(crate) fn texts(&mut self, name: &'static str) -> Fallible<Vec<String>> {
        let Some(value) = self.take(name) else { return Ok(vec![]) };
        if value.is_string() {
            return Ok(vec![value.into_string().expect("checked to be a string")]);
        }
        let elements: Array =
            value.into_array().map_err(|kind| self.mismatch(name, "an array of strings", kind))?;
        let text = |element: Dynamic| {
            element.into_string().map_err(|kind| self.mismatch(name, "an array of strings", kind))
        };
        elements.into_iter().map(text).collect()
    }

    pub(crate) fn map(&mut self, name: &'static str) -> Fallible<Map> {
        let Some(value) = self.take(name) else { return Ok(Map::new()) };
        let kind = value.type_name();
        value.try_cast::<Map>().ok_or_else(|| self.mismatch(name, "an object map", kind))
    }

    /// An object of the type `T`.
    pub(crate) fn object<T: Clone + Send + Sync + 'static>(
        &mut self,
        name: &'static str,
        wanted: &str,
    ) -> Fallible<Option<T>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let kind = value.type_name();
        value.try_cast::<T>().map(Some).ok_or_else(|| self.mismatch(name, wanted, kind))
    }

    /// Refuses what nobody has asked for.
    pub(crate) fn finish(self) -> Fallible<()> {
        let Some(name) = self.entries.keys().next() else { return Ok(()) };
        let near = nearest(name, self.known.iter().copied());
        let near = near.map(|near| format!("; is it `{near}`?")).unwrap_or_default();
        Err(bad_output(format!("{} knows no entry `{name}`{near}", self.what)))
    }

    pub(crate) fn mismatch(
        &self,
        name: &str,
        wanted: &str,
        kind: &str,
    ) -> Box<rhai::EvalAltResult> {
        bad_output(format!("{}: `{name}` must be {wanted}, not {kind}", self.what))
    }
}
