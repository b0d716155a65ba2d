//! Clients, messages and rules to try.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use hookmq_codec::{ProtocolVersion, PublishProperties, Qos, TopicName, UserPropertiesBuf};
use hookmq_core::{Message, NewMessage};
use hookmq_hooks::{
    Attribute, CertificateFacts, Client, ConnectAttempt, ConnectVerdict, ConnectionFacts,
    DeliverVerdict, Identity, MessagePatch, Program, PublishAnswer, PublishVerdict, Secret,
    StepFailure, Voucher,
};
use hookmq_script::{Rule, RuleEngine, RuleError, RuleLimits};

pub fn try_load(source: &str) -> Result<Rule, RuleError> {
    RuleEngine::new(RuleLimits::default(), || 0).load("rule.rhai", source)
}

/// A rule that never runs out of time, however busy the machine is.
pub fn load(source: &str) -> Rule {
    try_load(source).unwrap_or_else(|error| panic!("{error}"))
}

/// The error of a rule that must not load.
pub fn refusal(source: &str) -> RuleError {
    match try_load(source) {
        Ok(_) => panic!("this must not load: {source}"),
        Err(error) => error,
    }
}

pub fn connection() -> ConnectionFacts {
    ConnectionFacts {
        listener: "tls".into(),
        peer: Some(([192, 0, 2, 7], 50000).into()),
        protocol: ProtocolVersion::V311,
        encrypted: true,
    }
}

pub fn client() -> Arc<Client> {
    let attribute = |value: &str, vouched_by| Attribute { value: value.into(), vouched_by };
    Arc::new(Client {
        tenant: "acme".into(),
        username: "pump-7".into(),
        client_id: "id-7".into(),
        client_id_bound: true,
        roles: ["device".into(), "reader".into()].into(),
        attributes: [
            ("site".into(), attribute("north", Voucher::Step("mapping".into()))),
            ("color".into(), attribute("red", Voucher::Claim)),
        ]
        .into(),
        attachments: Default::default(),
        limits: Default::default(),
        budget: Default::default(),
        steps: Default::default(),
        connection: connection(),
        certificate: Some(Arc::new(certificate())),
    })
}

pub fn certificate() -> CertificateFacts {
    let mut facts = CertificateFacts {
        san_uri: vec!["urn:a".into(), "urn:b".into()],
        serial: "2a".into(),
        trust_anchor: "devices".into(),
        not_after: 4_000_000_000,
        ..CertificateFacts::default()
    };
    facts.subject.common_name = vec!["pump-7".into()];
    facts.subject.organizational_unit = vec!["a".into(), "b".into()];
    facts.issuer.common_name = vec!["Device CA".into()];
    facts.issuer.text = "CN=Device CA,O=Acme".into();
    facts
}

pub fn attempt() -> ConnectAttempt {
    ConnectAttempt {
        connection: connection(),
        certificate: Some(Arc::new(certificate())),
        client_id: "claimed-id".into(),
        username: Some("claimed-name".into()),
        password: Some(Secret::new(b"hunter2".to_vec())),
        authentication: None,
        waited: Default::default(),
        identity: Identity { tenant: Some("acme".into()), ..Identity::default() },
    }
}

pub fn message(payload: &str) -> Message {
    let user_properties =
        UserPropertiesBuf::try_from_pairs([("unit", "C"), ("unit", "F")]).unwrap();
    let properties = PublishProperties {
        content_type: Some("application/json"),
        response_topic: Some("answers/7"),
        correlation_data: Some(&[1, 255]),
        payload_format_indicator: Some(true),
        user_properties: user_properties.as_user_properties(),
        ..PublishProperties::default()
    };
    let mut encoded = vec![];
    properties.encode_forwarded(&mut encoded);
    Message::new(NewMessage {
        topic: TopicName::new("devices/pump-7/telemetry").unwrap(),
        forwarded_properties: &encoded,
        payload: payload.as_bytes(),
        qos: Qos::AtLeastOnce,
        retain: false,
        expires_at: None,
        publisher: 1,
    })
}

pub fn connect(rule: &Rule) -> Result<ConnectVerdict, StepFailure> {
    connect_as(rule, &attempt())
}

pub fn connect_as(rule: &Rule, attempt: &ConnectAttempt) -> Result<ConnectVerdict, StepFailure> {
    let mut call = pin!(rule.connect(attempt));
    match call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(verdict) => verdict,
        Poll::Pending => panic!("a rule answers at once"),
    }
}

pub fn publish(body: &str, payload: &str) -> Result<PublishAnswer, StepFailure> {
    load(&format!("fn publish(client, message) {{\n{body}\n}}"))
        .publish(&client(), &message(payload))
}

/// The changes that a publish rule makes.
pub fn patch(body: &str, payload: &str) -> MessagePatch {
    match publish(body, payload).unwrap().verdict {
        PublishVerdict::Pass => MessagePatch::default(),
        PublishVerdict::Replace(patch) => patch,
        other => panic!("{body} gave {other:?}"),
    }
}

pub fn new_payload(body: &str, payload: &str) -> Option<String> {
    patch(body, payload).payload.map(|payload| String::from_utf8(payload).unwrap())
}

pub fn deliver(body: &str, payload: &str) -> Result<DeliverVerdict, StepFailure> {
    load(&format!("fn deliver(client, message) {{\n{body}\n}}"))
        .deliver(&client(), &message(payload))
}

/// What a failed `assert_eq` in a rule's publish function says; nothing where all hold.
pub fn check(body: &str, payload: &str) {
    if let Err(failure) = publish(body, payload) {
        panic!("{failure}\n{body}");
    }
}
