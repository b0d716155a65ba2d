//! `client` in authorize, publish and deliver: a connected client.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hookmq_hooks::{Attribute, CertificateFacts, Client, ConnectionFacts};
use rhai::{Dynamic, Engine, ImmutableString};

use crate::objects::attributes::{self, Attributes};
use crate::objects::certificate::CertificateRef;

#[derive(Clone)]
pub(crate) struct ClientRef(pub(crate) Arc<Client>);

/// What a client has in common before and after it is let in.
pub(super) trait Party: Clone + Send + Sync + 'static {
    fn connection(&self) -> &ConnectionFacts;
    fn certificate(&self) -> Option<&Arc<CertificateFacts>>;
    fn roles(&self) -> &BTreeSet<Arc<str>>;
    fn attributes(&self) -> &BTreeMap<Arc<str>, Attribute>;
}

impl Party for ClientRef {
    fn connection(&self) -> &ConnectionFacts {
        &self.0.connection
    }

    fn certificate(&self) -> Option<&Arc<CertificateFacts>> {
        self.0.certificate.as_ref()
    }

    fn roles(&self) -> &BTreeSet<Arc<str>> {
        &self.0.roles
    }

    fn attributes(&self) -> &BTreeMap<Arc<str>, Attribute> {
        &self.0.attributes
    }
}

pub(super) fn register(engine: &mut Engine) {
    engine
        .register_type_with_name::<ClientRef>("client")
        .register_get("tenant", |it: &mut ClientRef| ImmutableString::from(&*it.0.tenant))
        .register_get("username", |it: &mut ClientRef| ImmutableString::from(&*it.0.username))
        .register_get("client_id", |it: &mut ClientRef| ImmutableString::from(&*it.0.client_id))
        .register_get("client_id_bound", |it: &mut ClientRef| it.0.client_id_bound)
        .register_get("attributes", |it: &mut ClientRef| Attributes::OfClient(it.0.clone()));
    register_party::<ClientRef>(engine);
}

pub(super) fn register_party<T: Party>(engine: &mut Engine) {
    engine
        .register_get("roles", |it: &mut T| super::array(it.roles().iter().map(|role| &**role)))
        .register_fn("has_role", |it: &mut T, role: &str| it.roles().contains(role))
        .register_fn("vouched", |it: &mut T, name: &str| {
            attributes::is_vouched(it.attributes(), name)
        })
        .register_fn("vouched_by", |it: &mut T, name: &str| {
            attributes::voucher(it.attributes(), name)
        })
        .register_get("certificate", |it: &mut T| match it.certificate() {
            Some(certificate) => Dynamic::from(CertificateRef(certificate.clone())),
            None => Dynamic::UNIT,
        })
        .register_get("listener", |it: &mut T| ImmutableString::from(&*it.connection().listener))
        .register_get("address", |it: &mut T| {
            super::optional(it.connection().peer.map(|peer| peer.ip().to_string()))
        })
        .register_get("protocol", |it: &mut T| it.connection().protocol.name())
        .register_get("encrypted", |it: &mut T| it.connection().encrypted);
}
