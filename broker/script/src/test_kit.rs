//! What a rule's own tests are made of: clients, messages, runs of a hook, expectations.

mod expectations;
pub(crate) mod pretence;
mod runs;

use std::sync::Arc;

use hookmq_codec::{ProtocolVersion, Qos, TopicName};
use hookmq_core::{Message, NewMessage};
use hookmq_hooks::{
    Attribute, CertificateFacts, Client, ConnectAttempt, ConnectionFacts, DistinguishedName,
    Emission, Identity, Secret, Voucher,
};
use rhai::{Dynamic, Engine, Map};

use crate::fault::{Fallible, fault};
use crate::fields::Fields;
use crate::json;
use crate::objects::access::AccessFacts;
use crate::objects::attempt::AttemptRef;
use crate::objects::certificate::CertificateRef;
use crate::objects::client::ClientRef;
use crate::objects::message::{MessageRef, qos_of};

pub(crate) fn register(engine: &mut Engine) {
    engine
        .register_fn("test_client", client)
        .register_fn("test_connect", attempt)
        .register_fn("test_certificate", certificate)
        .register_fn("test_message", |topic: &str, payload: Dynamic| {
            message(&json::emission(topic, &payload)?)
        })
        .register_fn("test_access", |action: &str, topic: &str| access(action, topic, Map::new()))
        .register_fn("test_access", access);
    runs::register(engine);
    pretence::register(engine);
    expectations::register(engine);
}

fn message(content: &Emission) -> Fallible<MessageRef> {
    let topic = TopicName::new(&content.topic).map_err(|error| fault(error.to_string()))?;
    Ok(MessageRef::new(Message::new(NewMessage {
        topic,
        forwarded_properties: &[],
        payload: &content.payload,
        qos: content.qos,
        retain: content.retain,
        expires_at: None,
        publisher: 0,
    })))
}

fn client(description: Map) -> Fallible<ClientRef> {
    let mut fields = Fields::new("test_client", description);
    let mut name = |field, default: &str| -> Fallible<Arc<str>> {
        Ok(Arc::from(fields.text(field)?.as_deref().unwrap_or(default)))
    };
    let tenant = name("tenant", "default")?;
    let username = name("username", "test")?;
    let client_id = name("client_id", "test")?;
    let client = Client {
        tenant,
        username,
        client_id,
        client_id_bound: fields.flag("client_id_bound")?.unwrap_or(true),
        roles: fields.texts("roles")?.into_iter().map(Arc::from).collect(),
        attributes: attributes(&mut fields)?,
        attachments: Default::default(),
        limits: Default::default(),
        budget: Default::default(),
        steps: Default::default(),
        connection: connection(&mut fields)?,
        certificate: certificate_of(&mut fields)?,
    };
    fields.finish()?;
    Ok(ClientRef(Arc::new(client)))
}

fn attempt(description: Map) -> Fallible<AttemptRef> {
    let mut fields = Fields::new("test_connect", description);
    let has_password = fields.flag("has_password")?.unwrap_or_default();
    let attempt = ConnectAttempt {
        connection: connection(&mut fields)?,
        certificate: certificate_of(&mut fields)?,
        client_id: fields.text("claimed_client_id")?.unwrap_or_default(),
        username: fields.text("claimed_username")?,
        password: has_password.then(Secret::default),
        authentication: None,
        waited: Default::default(),
        identity: Identity {
            tenant: fields.text("tenant")?.map(Arc::from),
            username: fields.text("username")?.map(Arc::from),
            client_id: fields.text("client_id")?.map(Arc::from),
            roles: fields.texts("roles")?.into_iter().map(Arc::from).collect(),
            attributes: attributes(&mut fields)?,
            attachments: Default::default(),
            limits: Default::default(),
        },
    };
    fields.finish()?;
    Ok(AttemptRef::new(&attempt))
}

fn connection(fields: &mut Fields) -> Fallible<ConnectionFacts> {
    let listener = fields.text("listener")?.unwrap_or_else(|| "test".into()).into();
    let peer = match fields.text("address")? {
        None => None,
        Some(address) => {
            let ip: std::net::IpAddr =
                address.parse().map_err(|_| fault(format!("`{address}` is not an address")))?;
            Some((ip, 0).into())
        }
    };
    let protocol = match fields.text("protocol")?.as_deref() {
        None | Some("5.0") => ProtocolVersion::V5,
        Some("3.1.1") => ProtocolVersion::V311,
        Some("3.1") => ProtocolVersion::V31,
        Some(other) => return Err(fault(format!("`{other}` is not 3.1, 3.1.1 or 5.0"))),
    };
    let encrypted = fields.flag("encrypted")?.unwrap_or_default();
    Ok(ConnectionFacts { listener, peer, protocol, encrypted })
}

/// Vouched for by a step named `test`; what stands under `claims` is the client's own word.
fn attributes(fields: &mut Fields) -> Fallible<std::collections::BTreeMap<Arc<str>, Attribute>> {
    let vouched = fields.map("attributes")?.into_iter();
    let claimed = fields.map("claims")?.into_iter();
    let attribute = |vouched_by: Voucher| {
        move |(name, value): (rhai::Identifier, Dynamic)| {
            let attribute = Attribute { value: value.to_string(), vouched_by: vouched_by.clone() };
            (Arc::from(name.as_str()), attribute)
        }
    };
    let vouched = vouched.map(attribute(Voucher::Step("test".into())));
    Ok(vouched.chain(claimed.map(attribute(Voucher::Claim))).collect())
}

fn certificate_of(fields: &mut Fields) -> Fallible<Option<Arc<CertificateFacts>>> {
    let certificate = fields.object::<CertificateRef>("certificate", "a test_certificate(..)")?;
    Ok(certificate.map(|certificate| certificate.0))
}

fn certificate(description: Map) -> Fallible<CertificateRef> {
    let mut fields = Fields::new("test_certificate", description);
    let issuer = fields.texts("issuer")?;
    let facts = CertificateFacts {
        subject: DistinguishedName {
            common_name: fields.texts("cn")?,
            organization: fields.texts("o")?,
            organizational_unit: fields.texts("ou")?,
            country: fields.texts("country")?,
            text: fields.text("subject")?.unwrap_or_default(),
        },
        issuer: DistinguishedName {
            text: issuer.iter().map(|name| format!("CN={name}")).collect::<Vec<_>>().join(","),
            common_name: issuer,
            ..DistinguishedName::default()
        },
        san_dns: fields.texts("san_dns")?,
        san_uri: fields.texts("san_uri")?,
        san_email: fields.texts("san_email")?,
        san_ip: fields.texts("san_ip")?,
        serial: fields.text("serial")?.unwrap_or_else(|| "01".into()),
        fingerprint: fields.text("fingerprint")?.unwrap_or_default(),
        not_before: fields.integer("not_before")?.unwrap_or_default(),
        not_after: fields.integer("not_after")?.unwrap_or(i64::MAX),
        extended_key_usage: fields.texts("extended_key_usage")?,
        trust_anchor: fields.text("trust_anchor")?.unwrap_or_default(),
        vouched_by_proxy: fields.flag("vouched_by_proxy")?.unwrap_or_default(),
    };
    fields.finish()?;
    Ok(CertificateRef(Arc::new(facts)))
}

fn access(action: &str, topic: &str, options: Map) -> Fallible<AccessFacts> {
    let action = match action {
        "publish" => "publish",
        "subscribe" => "subscribe",
        "receive" => "receive",
        _ => return Err(fault(format!("`{action}` is not publish, subscribe or receive"))),
    };
    let mut options = Fields::new("test_access", options);
    let qos = qos_of(options.integer("qos")?.unwrap_or(Qos::AtMostOnce as i64))? as i64;
    let retain = options.flag("retain")?.unwrap_or_default();
    options.finish()?;
    Ok(AccessFacts { action, topic: topic.into(), qos, retain })
}
