//! `client` in connect: one that asks to be let in. Its own word is named as a claim.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hookmq_hooks::{Attribute, CertificateFacts, ConnectAttempt, ConnectionFacts};
use rhai::Engine;

use crate::objects::attributes::Attributes;
use crate::objects::client::{Party, register_party};

/// A connect attempt without its password, which a rule never sees.
#[derive(Clone)]
pub(crate) struct AttemptRef(Arc<Attempt>);

struct Attempt {
    facts: ConnectAttempt,
    has_password: bool,
}

impl AttemptRef {
    pub(crate) fn new(attempt: &ConnectAttempt) -> Self {
        let facts = ConnectAttempt {
            connection: attempt.connection.clone(),
            certificate: attempt.certificate.clone(),
            client_id: attempt.client_id.clone(),
            username: attempt.username.clone(),
            password: None,
            authentication: None,
            waited: Default::default(),
            identity: attempt.identity.clone(),
        };
        Self(Arc::new(Attempt { facts, has_password: attempt.password.is_some() }))
    }

    pub(super) fn facts(&self) -> &ConnectAttempt {
        &self.0.facts
    }
}

impl Party for AttemptRef {
    fn connection(&self) -> &ConnectionFacts {
        &self.facts().connection
    }

    fn certificate(&self) -> Option<&Arc<CertificateFacts>> {
        self.facts().certificate.as_ref()
    }

    fn roles(&self) -> &BTreeSet<Arc<str>> {
        &self.facts().identity.roles
    }

    fn attributes(&self) -> &BTreeMap<Arc<str>, Attribute> {
        &self.facts().identity.attributes
    }
}

pub(super) fn register(engine: &mut Engine) {
    engine
        .register_type_with_name::<AttemptRef>("connecting_client")
        .register_get("claimed_client_id", |it: &mut AttemptRef| it.facts().client_id.clone())
        .register_get("claimed_username", |it: &mut AttemptRef| {
            super::optional(it.facts().username.as_deref())
        })
        .register_get("has_password", |it: &mut AttemptRef| it.0.has_password)
        .register_get("tenant", |it: &mut AttemptRef| {
            super::optional(it.facts().identity.tenant.as_deref())
        })
        .register_get("username", |it: &mut AttemptRef| {
            super::optional(it.facts().identity.username.as_deref())
        })
        .register_get("client_id", |it: &mut AttemptRef| {
            super::optional(it.facts().identity.client_id.as_deref())
        })
        .register_get("attributes", |it: &mut AttemptRef| Attributes::OfAttempt(it.clone()));
    register_party::<AttemptRef>(engine);
}
