//! From what the contract hands over to what the engine asks a rule with.

use std::sync::Arc;

use hookmq_codec::{ProtocolVersion, PublishProperties, Qos, TopicName, UserPropertiesBuf};
use hookmq_core::{Message, NewMessage};
use hookmq_hooks::{
    Access, Action, Attribute, CertificateFacts, Client, ConnectAttempt, ConnectionFacts,
    DistinguishedName, Identity, Voucher,
};
use hookmq_plugin as wit;

pub fn attempt(attempt: wit::ConnectAttempt) -> ConnectAttempt {
    let (connection, certificate) = connection(attempt.connection);
    let text = |text: Option<String>| text.map(Arc::from);
    ConnectAttempt {
        connection,
        certificate,
        client_id: attempt.client_id,
        username: attempt.username,
        password: None,
        authentication: None,
        waited: Default::default(),
        identity: Identity {
            tenant: text(attempt.identity.tenant),
            username: text(attempt.identity.username),
            client_id: text(attempt.identity.client_id),
            roles: attempt.identity.roles.into_iter().map(Arc::from).collect(),
            attributes: attempt.identity.attributes.into_iter().map(attribute).collect(),
            ..Identity::default()
        },
    }
}

pub fn client(client: wit::Client) -> Client {
    let facts = client.connection.into_iter().next().map(connection);
    let (connection, certificate) = facts.unwrap_or_else(|| (nowhere(), None));
    Client {
        tenant: client.tenant.into(),
        username: client.username.into(),
        client_id: client.client_id.into(),
        client_id_bound: client.client_id_bound,
        roles: client.roles.into_iter().map(Arc::from).collect(),
        attributes: client.attributes.into_iter().map(attribute).collect(),
        connection,
        certificate,
        attachments: Default::default(),
        limits: Default::default(),
        budget: Default::default(),
        steps: Default::default(),
    }
}

/// For a client that the host has shown without its connection.
fn nowhere() -> ConnectionFacts {
    ConnectionFacts {
        listener: "".into(),
        peer: None,
        protocol: ProtocolVersion::V5,
        encrypted: false,
    }
}

fn connection(connection: wit::Connection) -> (ConnectionFacts, Option<Arc<CertificateFacts>>) {
    let facts = ConnectionFacts {
        listener: connection.listener.into(),
        peer: connection.peer.and_then(|peer| peer.parse().ok()),
        protocol: match connection.protocol {
            wit::Protocol::V31 => ProtocolVersion::V31,
            wit::Protocol::V311 => ProtocolVersion::V311,
            wit::Protocol::V5 => ProtocolVersion::V5,
        },
        encrypted: connection.encrypted,
    };
    (facts, connection.certificate.map(|it| Arc::new(certificate(it))))
}

fn certificate(it: wit::Certificate) -> CertificateFacts {
    CertificateFacts {
        subject: name(it.subject),
        issuer: name(it.issuer),
        san_dns: it.san_dns,
        san_uri: it.san_uri,
        san_email: it.san_email,
        san_ip: it.san_ip,
        serial: it.serial,
        fingerprint: it.fingerprint,
        not_before: it.not_before,
        not_after: it.not_after,
        extended_key_usage: it.extended_key_usage,
        trust_anchor: it.trust_anchor,
        vouched_by_proxy: it.vouched_by_proxy,
    }
}

fn name(it: wit::DistinguishedName) -> DistinguishedName {
    DistinguishedName {
        common_name: it.common_name,
        organization: it.organization,
        organizational_unit: it.organizational_unit,
        country: it.country,
        text: it.text,
    }
}

fn attribute(it: wit::Attribute) -> (Arc<str>, Attribute) {
    let vouched_by = match it.vouched_by {
        wit::Voucher::Tls => Voucher::Tls,
        wit::Voucher::Proxy => Voucher::Proxy,
        wit::Voucher::Step(step) => Voucher::Step(step.into()),
        wit::Voucher::Claim => Voucher::Claim,
    };
    (it.name.into(), Attribute { value: it.value, vouched_by })
}

pub fn access(access: &wit::Access) -> Access<'_> {
    Access {
        action: match access.action {
            wit::Action::Publish => Action::Publish,
            wit::Action::Subscribe => Action::Subscribe,
            wit::Action::Receive => Action::Receive,
        },
        topic: &access.topic,
        qos: qos(access.qos),
        retain: access.retain,
        // Rules judge topics.
        share_name: None,
    }
}

/// # Errors
/// Where topic or properties are not what the broker would have let in.
pub fn message(message: wit::Message) -> Result<Message, String> {
    let mut forwarded = Vec::new();
    if let Some(properties) = &message.properties {
        encode(properties, &mut forwarded)?;
    }
    let topic = TopicName::new(&message.topic).map_err(|error| error.to_string())?;
    Ok(Message::new(NewMessage {
        topic,
        forwarded_properties: &forwarded,
        payload: message.payload.as_deref().unwrap_or_default(),
        qos: qos(message.qos),
        retain: message.retain,
        expires_at: None,
        publisher: 0,
    }))
}

fn encode(properties: &wit::MessageProperties, into: &mut Vec<u8>) -> Result<(), String> {
    let mut pairs = UserPropertiesBuf::default();
    for pair in &properties.user_properties {
        pairs.push(&pair.name, &pair.value).map_err(|error| error.to_string())?;
    }
    let properties = PublishProperties {
        payload_format_indicator: properties.payload_is_text,
        content_type: properties.content_type.as_deref(),
        response_topic: properties.response_topic.as_deref(),
        correlation_data: properties.correlation_data.as_deref(),
        user_properties: pairs.as_user_properties(),
        ..PublishProperties::default()
    };
    properties.encode_forwarded(into);
    Ok(())
}

fn qos(qos: wit::Qos) -> Qos {
    match qos {
        wit::Qos::AtMostOnce => Qos::AtMostOnce,
        wit::Qos::AtLeastOnce => Qos::AtLeastOnce,
        wit::Qos::ExactlyOnce => Qos::ExactlyOnce,
    }
}
