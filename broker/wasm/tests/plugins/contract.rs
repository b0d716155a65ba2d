//! What guests see and what their answers become.

use std::sync::Arc;

use hookmq_codec::{PublishProperties, Qos, ReasonCode, TopicName, UserPropertiesBuf};
use hookmq_core::{Message, NewMessage};
use hookmq_hooks::{
    Access, Action, Attribute, AuthorizeVerdict, CertificateFacts, Client, ConnectVerdict,
    DeliverVerdict, Effect, FailureKind, IdentityPatch, Program, PublishVerdict, Secret, Voucher,
};
use serde_json::{Value, json};

use crate::{artefact, artefacts, attempt, client, host, load, message, ready, settings};

fn transformed(config: Value, payload: &str) -> PublishVerdict {
    let plugin = load("json-transform", config).unwrap();
    plugin.publish(&client("acme"), &message(payload)).unwrap().verdict
}

#[test]
fn the_transformation_sees_client_topic_and_clock() {
    let config = json!({"operations": [
        {"op": "rename", "from": "t", "to": "temperature"},
        {"op": "set", "field": "by", "value": "{tenant}/{username}/{client_id}/{topic}"},
        {"op": "timestamp", "field": "at"},
    ]});
    let PublishVerdict::Replace(patch) = transformed(config, r#"{"t":21}"#) else {
        panic!("the payload is replaced");
    };
    let mut object: Value = serde_json::from_slice(&patch.payload.unwrap()).unwrap();
    let at = object.as_object_mut().unwrap().remove("at").unwrap();
    assert!(at.as_u64().unwrap() > 1_700_000_000_000);
    assert_eq!(object, json!({"temperature": 21, "by": "acme/meter-7/c1/plant/1"}));
}

#[test]
fn a_message_that_the_transformation_leaves_alone_passes() {
    let config = json!({"operations": [{"op": "remove", "field": "absent"}]});
    assert_eq!(transformed(config.clone(), "{}"), PublishVerdict::Pass);
    assert_eq!(transformed(config, "no json"), PublishVerdict::Pass);
}

#[test]
fn a_dropped_message_carries_its_reason_code() {
    let operations = json!([{"op": "remove", "field": "a"}]);
    let config = json!({"on_invalid": "drop", "operations": operations});
    let expected = PublishVerdict::Drop(ReasonCode::PayloadFormatInvalid);
    assert_eq!(transformed(config, "no json"), expected);
}

#[test]
fn tenants_never_share_an_instance() {
    let plugin = load("fixtures/counter", json!(null)).unwrap();
    let count = |tenant: &str| {
        let answer = plugin.publish(&client(tenant), &message("")).unwrap();
        let PublishVerdict::Replace(patch) = answer.verdict else { panic!("it counts") };
        String::from_utf8(patch.payload.unwrap()).unwrap()
    };
    let counts = ["a", "a", "b", "a", "b", "c"].map(count);
    assert_eq!(counts, ["1", "2", "1", "3", "2", "1"]);
}

#[test]
fn every_hook_is_answered() {
    let plugin = load("fixtures/hostile", json!(null)).unwrap();
    let next = ConnectVerdict::Next(IdentityPatch::default());
    assert_eq!(ready(plugin.connect(&attempt("good"))), Ok(next));
    let access = Access {
        action: Action::Subscribe,
        topic: "a/#",
        qos: Qos::AtMostOnce,
        retain: false,
        share_name: None,
    };
    assert_eq!(plugin.authorize(&client("acme"), &access), Ok(AuthorizeVerdict::Allow));
    assert_eq!(plugin.deliver(&client("acme"), &message("good")), Ok(DeliverVerdict::Pass));
}

#[test]
fn an_emitted_message_needs_its_topic_granted() {
    let plugin = load("fixtures/hostile", json!(null)).unwrap();
    let answer = plugin.publish(&client("acme"), &message("emit")).unwrap();
    assert_eq!(answer.emitted.len(), 1);
    assert_eq!(
        (answer.emitted[0].topic.as_str(), &*answer.emitted[0].payload),
        ("granted/x", &b"emitted"[..])
    );
    let failure = plugin.publish(&client("acme"), &message("emit-elsewhere")).unwrap_err();
    assert!(failure.message.contains("name: \"topic\""), "{failure}");
    let failure = plugin.deliver(&client("acme"), &message("emit")).unwrap_err();
    assert!(failure.message.contains("name: \"not-here\""), "{failure}");
    let answer = plugin.publish(&client("acme"), &message("flood")).unwrap();
    assert_eq!(answer.emitted.len(), 16, "the rest was refused");
    let answer = plugin.publish(&client("acme"), &message("good")).unwrap();
    assert!(answer.emitted.is_empty());
}

#[test]
fn answers_that_break_the_contract_are_failures() {
    let plugin = load("fixtures/hostile", json!(null)).unwrap();
    for (payload, expected) in [("bad-topic", "wildcard"), ("bad-code", "0x55")] {
        let failure = plugin.publish(&client("acme"), &message(payload)).unwrap_err();
        assert_eq!(failure.kind, FailureKind::BadOutput, "{payload}");
        assert!(failure.message.contains(expected), "{failure}");
    }
    let failure = ready(plugin.connect(&attempt("bad-code"))).unwrap_err();
    assert_eq!(failure.kind, FailureKind::BadOutput);
}

#[test]
fn an_error_that_the_guest_reports_is_told_and_keeps_the_instance() {
    let plugin = load("fixtures/hostile", json!(null)).unwrap();
    let failure = plugin.publish(&client("acme"), &message("fail")).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Error);
    assert_eq!(failure.message, "failed as it was told");
}

/// A client with something in every field.
fn detailed_client() -> Arc<Client> {
    let mut client = Client::clone(&client("acme"));
    client.roles.insert("operator".into());
    let attribute = Attribute { value: "7".into(), vouched_by: Voucher::Step("map".into()) };
    client.attributes.insert("plant".into(), attribute);
    let mut certificate = CertificateFacts { serial: "4d2".into(), ..CertificateFacts::default() };
    certificate.subject.common_name = vec!["meter-7".into(), "meter-8".into()];
    client.certificate = Some(Arc::new(certificate));
    Arc::new(client)
}

/// A message with something in every field.
fn detailed_message() -> Message {
    let mut pairs = UserPropertiesBuf::default();
    pairs.push("unit", "C").unwrap();
    let properties = PublishProperties {
        content_type: Some("text/plain"),
        user_properties: pairs.as_user_properties(),
        ..PublishProperties::default()
    };
    let mut forwarded_properties = Vec::new();
    properties.encode_forwarded(&mut forwarded_properties);
    Message::new(NewMessage {
        topic: TopicName::new("plant/1").unwrap(),
        forwarded_properties: &forwarded_properties,
        payload: b"hello",
        qos: Qos::AtLeastOnce,
        retain: true,
        expires_at: None,
        publisher: 0,
    })
}

#[test]
fn a_guest_sees_the_fields_that_it_asks_for() {
    let plugin = load("fixtures/mirror", json!(null)).unwrap();
    let answer = plugin.publish(&detailed_client(), &detailed_message()).unwrap();
    let PublishVerdict::Replace(patch) = answer.verdict else { panic!("it answers a copy") };
    let seen = String::from_utf8(patch.payload.unwrap()).unwrap();
    for expected in [
        r#"tenant: "acme", username: "meter-7", client-id: "c1", client-id-bound: true"#,
        r#"roles: ["operator"]"#,
        r#"Attribute { name: "plant", value: "7", vouched-by: Voucher::Step("map") }"#,
        r#"listener: "main", peer: Some("127.0.0.1:1883"), protocol: Protocol::V5"#,
        r#"common-name: ["meter-7", "meter-8"]"#,
        r#"serial: "4d2""#,
        r#"Message { topic: "plant/1", payload: Some([104, 101, 108, 108, 111])"#,
        "qos: Qos::AtLeastOnce, retain: true",
        r#"content-type: Some("text/plain")"#,
        r#"UserProperty { name: "unit", value: "C" }"#,
    ] {
        assert!(seen.contains(expected), "{expected} in {seen}");
    }
}

#[test]
fn a_guest_does_not_see_what_it_does_not_ask_for() {
    let manifest = r#"{"name":"mirror","version":"1.0.0","hooks":["publish","connect"]}"#;
    let module = artefacts::with_manifest(&artefact("fixtures/mirror"), manifest);
    let plugin = host().load(&module, settings(json!(null))).unwrap();
    let answer = plugin.publish(&detailed_client(), &detailed_message()).unwrap();
    let PublishVerdict::Replace(patch) = answer.verdict else { panic!("it answers a copy") };
    let seen = String::from_utf8(patch.payload.unwrap()).unwrap();
    let expected = r#"None Message { topic: "plant/1", payload: None, qos: Qos::AtLeastOnce, retain: true, properties: None }"#;
    assert_eq!(seen, expected);

    let mut attempt = attempt("c1");
    attempt.password = Some(Secret::new(b"secret".to_vec()));
    let verdict = ready(plugin.connect(&attempt)).unwrap();
    let ConnectVerdict::Deny { reason_code, reason } = verdict else { panic!("it denies") };
    assert_eq!(reason_code, ReasonCode::NotAuthorized);
    assert!(reason.contains("password: None"), "{reason}");
}

#[test]
fn an_authorize_step_sees_the_client_and_the_access() {
    let plugin = load("fixtures/mirror", json!(null)).unwrap();
    let access = Access {
        action: Action::Receive,
        topic: "plant/1",
        qos: Qos::ExactlyOnce,
        retain: false,
        share_name: None,
    };
    let verdict = plugin.authorize(&detailed_client(), &access).unwrap();
    let AuthorizeVerdict::Deny(denial) = verdict else { panic!("it denies") };
    assert_eq!(denial.effect, Effect::Disconnect);
    assert!(denial.reason.starts_with(r#"Client { tenant: "acme""#), "{}", denial.reason);
}
