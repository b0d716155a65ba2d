//! Every hook, what it is handed, and every verdict.

use hookmq_codec::{Qos, ReasonCode};
use hookmq_hooks::{
    Access, Action, AuthorizeVerdict, ConnectVerdict, DeliverVerdict, Denial, Effect, FailureKind,
    Program, ProgramKind, PublishVerdict,
};

use crate::support::*;

#[test]
fn connect_accepts_with_an_identity() {
    let rule = load(
        r#"fn connect(client) {
            accept(#{
                tenant: client.tenant, username: client.certificate.cn, client_id: (),
                roles: ["device"], attributes: #{ site: "north", slot: 3, absent: () },
            })
        }"#,
    );
    let ConnectVerdict::Accept(patch) = connect(&rule).unwrap() else { panic!("must accept") };
    assert_eq!(patch.tenant.as_deref(), Some("acme"));
    assert_eq!(patch.username.as_deref(), Some("pump-7"));
    assert_eq!(patch.client_id, None);
    assert!(patch.roles.contains("device"));
    let attributes: Vec<_> = patch.attributes.iter().map(|(k, v)| (&**k, v.as_str())).collect();
    assert_eq!(attributes, [("site", "north"), ("slot", "3")]);
}

#[test]
fn connect_denies_with_a_reason_and_a_code() {
    for (call, reason_code) in [
        (r#"deny("no")"#, ReasonCode::NotAuthorized),
        (r#"deny(0x8A, "no")"#, ReasonCode::Banned),
        (r#"deny("bad_user_name_or_password", "no")"#, ReasonCode::BadUserNameOrPassword),
    ] {
        let rule = load(&format!("fn connect(client) {{ {call} }}"));
        let denied = ConnectVerdict::Deny { reason_code, reason: "no".into() };
        assert_eq!(connect(&rule).unwrap(), denied, "{call}");
    }
}

#[test]
fn connect_must_answer_and_know_its_words() {
    for (body, part) in [
        ("", "connect must return next(..), accept(..) or deny(..), not nothing"),
        ("allow()", "not allow"),
        ("42", "not a value of type i64"),
        ("accept(#{ tenent: \"x\" })", "accept knows no entry `tenent`"),
        ("accept(#{ tenant: 7 })", "accept: `tenant` must be a string, not i64"),
        ("next(#{ username: \"\" })", "next: `username` must not be empty"),
        ("next(#{ roles: [1] })", "next: `roles` must be an array of strings"),
        ("next(#{ attributes: #{ a: [] } })", "`a` must be a string, number or boolean"),
        ("deny(0, \"fine\")", "a denial needs a failure"),
        ("deny(\"nonsense\", \"fine\")", "`nonsense` is not a reason code"),
    ] {
        let failure = connect(&load(&format!("fn connect(client) {{\n{body}\n}}"))).unwrap_err();
        assert_eq!(failure.kind, FailureKind::BadOutput, "{body}");
        assert!(failure.message.contains(part), "{}", failure.message);
        assert_eq!(failure.location.unwrap().file, "rule.rhai");
    }
}

#[test]
fn connect_sees_claims_as_claims_and_no_password() {
    let rule = load(
        r#"fn connect(client) {
            assert_eq(client.claimed_client_id, "claimed-id");
            assert_eq(client.claimed_username, "claimed-name");
            assert_eq(client.client_id, ());
            assert_eq(client.username, ());
            assert(client.has_password);
            assert_eq(client.listener, "tls");
            next()
        }"#,
    );
    assert!(matches!(connect(&rule), Ok(ConnectVerdict::Next(_))));
    let nosy = load("fn connect(client) { client.password; next() }");
    let failure = connect(&nosy).unwrap_err();
    assert!(failure.message.contains("password"), "{}", failure.message);
}

#[test]
fn authorize_allows_denies_and_abstains() {
    let refused = |effect| AuthorizeVerdict::Deny(Denial { effect, reason: "no".into() });
    for (body, verdict) in [
        ("allow()", AuthorizeVerdict::Allow),
        ("abstain()", AuthorizeVerdict::Abstain),
        ("", AuthorizeVerdict::Abstain),
        (r#"deny("no")"#, refused(Effect::Refuse)),
        (r#"deny_silently("no")"#, refused(Effect::AcknowledgeAndDrop)),
        (r#"disconnect("no")"#, refused(Effect::Disconnect)),
    ] {
        let rule = load(&format!(
            r#"fn authorize(client, access) {{
                assert_eq(access.action, "subscribe");
                assert_eq(access.topic, "a/#");
                assert_eq(access.qos, 2);
                assert_eq(access.retain, false);
                {body}
            }}"#
        ));
        let access = Access {
            action: Action::Subscribe,
            topic: "a/#",
            qos: Qos::ExactlyOnce,
            retain: false,
            share_name: None,
        };
        assert_eq!(rule.authorize(&client(), &access).unwrap(), verdict, "{body}");
        assert!(rule.authorize_is_cacheable());
    }
}

#[test]
fn hooks_see_who_the_client_is() {
    check(
        r#"assert_eq([client.tenant, client.username, client.client_id], ["acme", "pump-7", "id-7"]);
        assert(client.client_id_bound && client.encrypted);
        assert_eq(client.roles, ["device", "reader"]);
        assert(client.has_role("device") && !client.has_role("operator"));
        assert_eq(client.attributes.site, "north");
        assert_eq(client.attributes["color"], "red");
        assert_eq(client.attributes.unknown, ());
        assert_eq(client.attributes.keys(), ["color", "site"]);
        assert("site" in client.attributes);
        assert(client.vouched("site") && !client.vouched("color") && !client.vouched("unknown"));
        assert_eq([client.vouched_by("site"), client.vouched_by("color")], ["mapping", "claim"]);
        assert_eq([client.address, client.protocol], ["192.0.2.7", "3.1.1"]);
        let certificate = client.certificate;
        assert_eq(certificate.cn, "pump-7");
        assert_eq(certificate.o, (), "none");
        assert_eq(certificate.ou, (), "two");
        assert_eq(certificate.subject.organizational_unit, ["a", "b"]);
        assert_eq(certificate.san_uri, ["urn:a", "urn:b"]);
        assert_eq([certificate.issuer.cn, certificate.issuer.text], ["Device CA", "CN=Device CA,O=Acme"]);
        assert_eq([certificate.serial, certificate.trust_anchor], ["2a", "devices"]);
        assert_eq(certificate.not_after, 4000000000);"#,
        "{}",
    );
}

#[test]
fn publish_passes_drops_and_consumes() {
    for (body, verdict) in [
        ("", PublishVerdict::Pass),
        ("pass()", PublishVerdict::Pass),
        ("drop()", PublishVerdict::Drop(ReasonCode::ImplementationSpecificError)),
        ("drop(0x97)", PublishVerdict::Drop(ReasonCode::QuotaExceeded)),
        ("drop(\"too old\")", PublishVerdict::Drop(ReasonCode::ImplementationSpecificError)),
        ("drop(\"not_authorized\", \"x\")", PublishVerdict::Drop(ReasonCode::NotAuthorized)),
        ("consume()", PublishVerdict::Consume),
    ] {
        assert_eq!(publish(body, "{}").unwrap().verdict, verdict, "{body}");
    }
}

#[test]
fn publish_refuses_what_is_no_verdict() {
    for (body, part) in [
        ("message.topic", "publish must return pass(), drop(..), consume() or nothing"),
        ("deny(\"no\")", "not deny"),
        ("drop(0x8A)", "a publisher cannot be told banned (0x8A)"),
    ] {
        let failure = publish(body, "{}").unwrap_err();
        assert_eq!(failure.kind, FailureKind::BadOutput, "{body}");
        assert!(failure.message.contains(part), "{}", failure.message);
    }
}

#[test]
fn publish_emits_texts_bytes_and_json() {
    let answer = publish(
        r#"emit("a", "text");
        emit("b", "AP8=".from_base64());
        emit("c", #{ x: [1, 2.5, true, ()] }, #{ qos: 1, retain: true });
        emit("d", message.json);"#,
        r#"{"k":"v"}"#,
    )
    .unwrap();
    assert_eq!(answer.verdict, PublishVerdict::Pass);
    let emitted: Vec<_> = answer
        .emitted
        .iter()
        .map(|it| (it.topic.as_str(), it.payload.as_slice(), it.qos, it.retain))
        .collect();
    assert_eq!(
        emitted,
        [
            ("a", b"text".as_slice(), Qos::AtMostOnce, false),
            ("b", &[0, 255], Qos::AtMostOnce, false),
            ("c", br#"{"x":[1,2.5,true,null]}"#, Qos::AtLeastOnce, true),
            ("d", br#"{"k":"v"}"#, Qos::AtMostOnce, false),
        ]
    );
}

#[test]
fn a_dropped_message_may_leave_another_behind() {
    let answer = publish(r#"emit("audit", message.topic); drop()"#, "{}").unwrap();
    assert!(matches!(answer.verdict, PublishVerdict::Drop(_)));
    assert_eq!(answer.emitted.len(), 1);
}

#[test]
fn emitting_checks_topic_payload_and_options() {
    for (body, part) in [
        (r#"emit("a/#", "x")"#, "`a/#`: a topic name must not hold a wildcard"),
        (r#"emit("a", ())"#, "a payload must not be ()"),
        (r#"emit("a", "x", #{ qso: 1 })"#, "emit knows no entry `qso`"),
        (r#"emit("a", "x", #{ qos: 3 })"#, "3 is not a QoS"),
    ] {
        let failure = publish(body, "{}").unwrap_err();
        assert!(failure.message.contains(part), "{}", failure.message);
        let location = failure.location.unwrap();
        assert_eq!((location.line, location.column), (2, 1), "{body}");
    }
}

#[test]
fn only_publish_may_emit() {
    let failure = deliver(r#"emit("a", "x");"#, "{}").unwrap_err();
    assert_eq!(failure.kind, FailureKind::BadOutput);
    assert_eq!(failure.message, "only publish may emit messages");
}

#[test]
fn what_a_failed_call_emitted_is_forgotten() {
    let rule = load(
        r#"fn publish(client, message) {
            if message.text == "fail" { emit("a", "x"); throw "no"; }
        }"#,
    );
    assert!(rule.publish(&client(), &message("fail")).is_err());
    assert!(rule.publish(&client(), &message("fine")).unwrap().emitted.is_empty());
}

#[test]
fn deliver_passes_changes_and_drops() {
    assert_eq!(deliver("", "{}").unwrap(), DeliverVerdict::Pass);
    assert_eq!(deliver("drop()", "{}").unwrap(), DeliverVerdict::Drop);
    let DeliverVerdict::Replace(patch) =
        deliver("message.json.remove(\"location\");", r#"{"location":1,"t":2}"#).unwrap()
    else {
        panic!("must replace")
    };
    assert_eq!(patch.payload.as_deref(), Some(br#"{"t":2}"#.as_slice()));
    let failure = deliver("consume()", "{}").unwrap_err();
    assert_eq!(failure.kind, FailureKind::BadOutput);
}

#[test]
fn a_rule_says_what_it_is() {
    let rule = load(
        "//! Does little.\n//! Does it well.\n\nconst TOPICS = [\"a/+\"];\nconst VERSION = \"1.2\";\n\
         fn publish(client, message) {}\nfn deliver(client, message) {}",
    );
    let identity = rule.identity();
    assert_eq!((identity.kind, identity.name.as_str()), (ProgramKind::Rule, "rule"));
    assert_eq!(identity.version, "1.2");
    assert_eq!(identity.sha256.len(), 64);
    assert_eq!(rule.doc(), "Does little.\nDoes it well.");
    assert_eq!(rule.topics()[0].as_str(), "a/+");
    let hooks = rule.hooks();
    assert!(hooks.publish && hooks.deliver && !hooks.connect && !hooks.authorize);
}

#[test]
fn one_rule_serves_many_threads() {
    let rule = load(
        "const ALARMS = #{from: [2, 3], topic: \"a\"};
        fn publish(client, message) {
            if message.json.n in ALARMS.from { emit(ALARMS.topic, message.text); }
        }",
    );
    std::thread::scope(|scope| {
        // More than there are processors.
        for n in 0..20 {
            let rule = &rule;
            scope.spawn(move || {
                for _ in 0..100 {
                    let payload = format!("{{\"n\":{n}}}");
                    let answer = rule.publish(&client(), &message(&payload)).unwrap();
                    assert_eq!(answer.emitted.len(), usize::from(n == 2 || n == 3));
                    assert!(
                        answer
                            .emitted
                            .iter()
                            .all(|it| &*it.topic == "a" && it.payload == payload.as_bytes())
                    );
                }
            });
        }
    });
}
