//! What a rule is handed and what it answers with, one file for each object.

pub(crate) mod access;
pub(crate) mod attempt;
pub(crate) mod attributes;
pub(crate) mod bytes;
pub(crate) mod certificate;
pub(crate) mod client;
pub(crate) mod json;
pub(crate) mod message;
pub(crate) mod verdict;

use std::any::TypeId;

use rhai::{Array, Dynamic, Engine, ImmutableString};

use crate::RuleLimits;
use crate::functions::Log;

pub(crate) fn register(engine: &mut Engine, limits: &RuleLimits, log: &Log) {
    access::register(engine);
    attempt::register(engine);
    attributes::register(engine);
    bytes::register(engine, limits);
    certificate::register(engine);
    client::register(engine);
    json::register(engine, limits);
    message::register(engine, limits);
    verdict::register(engine, limits, log);
}

/// The name that an object's type is registered under.
pub(crate) fn type_name(engine: &Engine, kind: TypeId) -> String {
    fn of<T: 'static>() -> (TypeId, &'static str) {
        (TypeId::of::<T>(), std::any::type_name::<T>())
    }
    let types = [
        of::<access::AccessFacts>(),
        of::<attempt::AttemptRef>(),
        of::<attributes::Attributes>(),
        of::<bytes::Bytes>(),
        of::<certificate::CertificateRef>(),
        of::<certificate::NameRef>(),
        of::<client::ClientRef>(),
        of::<json::Json>(),
        of::<message::MessageRef>(),
        of::<verdict::Verdict>(),
    ];
    let found = types.iter().find(|(known, _)| *known == kind);
    found.map_or("?", |(_, name)| engine.map_type_name(name)).into()
}

/// Makes `object.name` a direct look-up for each property that a rule names.
///
/// Rhai tries a getter first and falls back to the indexer, building an error on the way. A payload
/// field or an attribute is read in almost every call.
pub(crate) fn register_fields<'a>(engine: &mut Engine, names: impl Iterator<Item = &'a str>) {
    for name in names {
        json::register_field(engine, name);
        attributes::register_field(engine, name);
    }
}

/// A string, or `()` where there is none.
fn optional(text: Option<impl Into<ImmutableString>>) -> Dynamic {
    text.map_or(Dynamic::UNIT, |text| text.into().into())
}

fn array(texts: impl IntoIterator<Item = impl Into<ImmutableString>>) -> Array {
    texts.into_iter().map(|text| text.into().into()).collect()
}
