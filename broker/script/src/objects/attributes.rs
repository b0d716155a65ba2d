//! `client.attributes`: named facts, each with the one who vouches for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use hookmq_hooks::{Attribute, Client, Voucher};
use rhai::{Dynamic, Engine, ImmutableString};

use crate::objects::attempt::AttemptRef;

#[derive(Clone)]
pub(crate) enum Attributes {
    OfClient(Arc<Client>),
    OfAttempt(AttemptRef),
}

impl Attributes {
    fn all(&self) -> &BTreeMap<Arc<str>, Attribute> {
        match self {
            Self::OfClient(client) => &client.attributes,
            Self::OfAttempt(attempt) => &attempt.facts().identity.attributes,
        }
    }

    fn value(&self, name: &str) -> Dynamic {
        super::optional(self.all().get(name).map(|attribute| attribute.value.as_str()))
    }
}

/// Whether somebody other than the client itself vouches for the attribute.
pub(super) fn is_vouched(attributes: &BTreeMap<Arc<str>, Attribute>, name: &str) -> bool {
    attributes.get(name).is_some_and(|attribute| attribute.vouched_by != Voucher::Claim)
}

/// Who vouches: `tls`, `proxy`, `claim`, or the name of a step; `()` for an unknown attribute.
pub(super) fn voucher(attributes: &BTreeMap<Arc<str>, Attribute>, name: &str) -> Dynamic {
    super::optional(attributes.get(name).map(|attribute| match &attribute.vouched_by {
        Voucher::Tls => "tls",
        Voucher::Proxy => "proxy",
        Voucher::Claim => "claim",
        Voucher::Step(step) => &**step,
    }))
}

pub(super) fn register(engine: &mut Engine) {
    engine
        .register_type_with_name::<Attributes>("attributes")
        .register_indexer_get(|attributes: &mut Attributes, name: ImmutableString| {
            attributes.value(&name)
        })
        .register_fn("keys", |attributes: &mut Attributes| {
            super::array(attributes.all().keys().map(|name| &**name))
        })
        .register_fn("contains", |attributes: &mut Attributes, name: &str| {
            attributes.all().contains_key(name)
        });
}

pub(super) fn register_field(engine: &mut Engine, name: &str) {
    let field = name.to_owned();
    engine.register_get(name, move |attributes: &mut Attributes| attributes.value(&field));
}
