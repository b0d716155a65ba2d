//! What a guest is given: views that borrow from clients and messages.
//!
//! The contract's lists are slices, so the views of strings in sets and maps are collected first:
//! the `…Input` types own those, and nothing else. Functions that make views call back with them.

use hookmq_codec::{ProtocolVersion, Qos};
use hookmq_core::Message;
use hookmq_hooks::{
    Access, Action, Attribute, CertificateFacts, Client, ConnectAttempt, ConnectionFacts,
    DistinguishedName, FailureKind, Identity, Secret, StepFailure, Voucher,
};

use crate::contract::types;
use crate::manifest::Fields;

/// Calls `call` with the client, its attributes and connection as far as the plugin wants them.
pub(crate) fn with_client<R>(
    client: &Client,
    fields: Fields,
    call: impl FnOnce(types::Client<'_>) -> R,
) -> R {
    let (mut role_texts, mut attribute_views) = (Vec::new(), Vec::new());
    if fields.attributes {
        role_texts = client.roles.iter().map(|role| &**role).collect();
        attribute_views = attributes(&client.attributes);
    }
    let connection = fields
        .connection
        .then(|| ConnectionInput::new(&client.connection, client.certificate.as_deref()));
    let connection = connection.as_ref().map(ConnectionInput::view);
    call(types::Client {
        tenant: &client.tenant,
        username: &client.username,
        client_id: &client.client_id,
        client_id_bound: client.client_id_bound,
        roles: &role_texts,
        attributes: &attribute_views,
        connection: connection.as_slice(),
    })
}

/// Calls `call` with the message, and with the client where the plugin wants it.
pub(crate) fn with_message<R>(
    client: &Client,
    message: &Message,
    fields: Fields,
    call: impl FnOnce(Option<types::Client<'_>>, types::Message<'_>) -> Result<R, StepFailure>,
) -> Result<R, StepFailure> {
    with_message_alone(message, fields, |message| {
        if !fields.client {
            return call(None, message);
        }
        with_client(client, fields, |client| call(Some(client), message))
    })
}

/// A CONNECT; the password only where the plugin asks for it.
pub(crate) struct AttemptInput<'a> {
    attempt: &'a ConnectAttempt,
    connection: ConnectionInput<'a>,
    password: Option<&'a Secret>,
    roles: Vec<&'a str>,
    attributes: Vec<types::Attribute<'a>>,
}

impl<'a> AttemptInput<'a> {
    pub(crate) fn new(attempt: &'a ConnectAttempt, fields: Fields) -> Self {
        let certificate = attempt.certificate.as_deref();
        Self {
            attempt,
            connection: ConnectionInput::new(&attempt.connection, certificate),
            password: attempt.password.as_ref().filter(|_| fields.password),
            roles: attempt.identity.roles.iter().map(|role| &**role).collect(),
            attributes: attributes(&attempt.identity.attributes),
        }
    }

    pub(crate) fn view(&self) -> types::ConnectAttempt<'_> {
        let Identity { tenant, username, client_id, .. } = &self.attempt.identity;
        types::ConnectAttempt {
            connection: self.connection.view(),
            client_id: &self.attempt.client_id,
            username: self.attempt.username.as_deref(),
            password: self.password.map(Secret::expose),
            identity: types::Identity {
                tenant: tenant.as_deref(),
                username: username.as_deref(),
                client_id: client_id.as_deref(),
                roles: &self.roles,
                attributes: &self.attributes,
            },
        }
    }
}

struct ConnectionInput<'a> {
    facts: &'a ConnectionFacts,
    peer: Option<String>,
    certificate: Option<CertificateInput<'a>>,
}

impl<'a> ConnectionInput<'a> {
    fn new(facts: &'a ConnectionFacts, certificate: Option<&'a CertificateFacts>) -> Self {
        Self {
            facts,
            peer: facts.peer.map(|peer| peer.to_string()),
            certificate: certificate.map(CertificateInput::new),
        }
    }

    fn view(&self) -> types::Connection<'_> {
        types::Connection {
            listener: &self.facts.listener,
            peer: self.peer.as_deref(),
            protocol: match self.facts.protocol {
                ProtocolVersion::V31 => types::Protocol::V31,
                ProtocolVersion::V311 => types::Protocol::V311,
                ProtocolVersion::V5 => types::Protocol::V5,
            },
            encrypted: self.facts.encrypted,
            certificate: self.certificate.as_ref().map(CertificateInput::view),
        }
    }
}

struct CertificateInput<'a> {
    facts: &'a CertificateFacts,
    subject: NameInput<'a>,
    issuer: NameInput<'a>,
    san_dns: Vec<&'a str>,
    san_uri: Vec<&'a str>,
    san_email: Vec<&'a str>,
    san_ip: Vec<&'a str>,
    extended_key_usage: Vec<&'a str>,
}

impl<'a> CertificateInput<'a> {
    fn new(facts: &'a CertificateFacts) -> Self {
        Self {
            facts,
            subject: NameInput::new(&facts.subject),
            issuer: NameInput::new(&facts.issuer),
            san_dns: texts(&facts.san_dns),
            san_uri: texts(&facts.san_uri),
            san_email: texts(&facts.san_email),
            san_ip: texts(&facts.san_ip),
            extended_key_usage: texts(&facts.extended_key_usage),
        }
    }

    fn view(&self) -> types::Certificate<'_> {
        types::Certificate {
            subject: self.subject.view(),
            issuer: self.issuer.view(),
            san_dns: &self.san_dns,
            san_uri: &self.san_uri,
            san_email: &self.san_email,
            san_ip: &self.san_ip,
            serial: &self.facts.serial,
            fingerprint: &self.facts.fingerprint,
            not_before: self.facts.not_before,
            not_after: self.facts.not_after,
            extended_key_usage: &self.extended_key_usage,
            trust_anchor: &self.facts.trust_anchor,
            vouched_by_proxy: self.facts.vouched_by_proxy,
        }
    }
}

struct NameInput<'a> {
    text: &'a str,
    common_name: Vec<&'a str>,
    organization: Vec<&'a str>,
    organizational_unit: Vec<&'a str>,
    country: Vec<&'a str>,
}

impl<'a> NameInput<'a> {
    fn new(name: &'a DistinguishedName) -> Self {
        Self {
            text: &name.text,
            common_name: texts(&name.common_name),
            organization: texts(&name.organization),
            organizational_unit: texts(&name.organizational_unit),
            country: texts(&name.country),
        }
    }

    fn view(&self) -> types::DistinguishedName<'_> {
        types::DistinguishedName {
            common_name: &self.common_name,
            organization: &self.organization,
            organizational_unit: &self.organizational_unit,
            country: &self.country,
            text: self.text,
        }
    }
}

pub(crate) fn access_input<'a>(access: &Access<'a>) -> types::Access<'a> {
    types::Access {
        action: match access.action {
            Action::Publish => types::Action::Publish,
            Action::Subscribe => types::Action::Subscribe,
            Action::Receive => types::Action::Receive,
        },
        topic: access.topic,
        qos: qos(access.qos),
        retain: access.retain,
    }
}

/// Calls `call` with the message, as far as the plugin wants it.
fn with_message_alone<R>(
    message: &Message,
    fields: Fields,
    call: impl FnOnce(types::Message<'_>) -> Result<R, StepFailure>,
) -> Result<R, StepFailure> {
    let view = types::Message {
        topic: message.topic().as_str(),
        payload: fields.payload.then(|| message.payload()),
        qos: qos(message.qos()),
        retain: message.retain(),
        properties: None,
    };
    if !fields.properties {
        return call(view);
    }
    let properties = message.properties().map_err(|error| {
        StepFailure::new(FailureKind::Error, format!("the message's properties: {error}"))
    })?;
    let user_properties: Vec<_> = properties
        .user_properties
        .iter()
        .map(|(name, value)| types::UserPropertyParam { name, value })
        .collect();
    let properties = types::MessageProperties {
        payload_is_text: properties.payload_format_indicator,
        content_type: properties.content_type,
        response_topic: properties.response_topic,
        correlation_data: properties.correlation_data,
        user_properties: &user_properties,
    };
    call(types::Message { properties: Some(properties), ..view })
}

fn attributes<'a>(
    attributes: impl IntoIterator<Item = (&'a std::sync::Arc<str>, &'a Attribute)>,
) -> Vec<types::Attribute<'a>> {
    let attribute =
        |(name, attribute): (&'a std::sync::Arc<str>, &'a Attribute)| types::Attribute {
            name,
            value: &attribute.value,
            vouched_by: match &attribute.vouched_by {
                Voucher::Tls => types::Voucher::Tls,
                Voucher::Proxy => types::Voucher::Proxy,
                Voucher::Step(step) => types::Voucher::Step(step),
                Voucher::Claim => types::Voucher::Claim,
            },
        };
    attributes.into_iter().map(attribute).collect()
}

fn texts(strings: &[String]) -> Vec<&str> {
    strings.iter().map(String::as_str).collect()
}

fn qos(qos: Qos) -> types::Qos {
    match qos {
        Qos::AtMostOnce => types::Qos::AtMostOnce,
        Qos::AtLeastOnce => types::Qos::AtLeastOnce,
        Qos::ExactlyOnce => types::Qos::ExactlyOnce,
    }
}
