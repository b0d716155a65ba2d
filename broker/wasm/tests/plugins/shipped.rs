//! The plugins that ship, on the broker's side of the contract. What they decide is tested where they
//! stand.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};
use std::thread::{self, Thread};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hookmq_codec::{ReasonCode, TopicFilter, TopicName};
use hookmq_core::{Message, NewMessage};
use hookmq_hooks::{CertificateFacts, ConnectVerdict, Program, PublishVerdict, Secret};
use hookmq_wasm::{PluginSettings, WasmPlugin};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{artefact, attempt, client, host, message, ready, settings};

/// The plugin, with a grant for what it emits.
fn load(name: &str, emit: &str, config: Value) -> WasmPlugin {
    let mut settings: PluginSettings = settings(config);
    settings.grants.emit = vec![TopicFilter::new(emit).unwrap()];
    let secret = Secret::new(HMAC_SECRET.to_vec());
    settings.grants.secrets = [("signing".to_owned(), secret)].into();
    host().load(&artefact(name), settings).unwrap_or_else(|error| panic!("{name}: {error}"))
}

const HMAC_SECRET: &[u8] = b"a secret of at least thirty-two bytes";

#[test]
fn spiffe_identity_names_the_client_of_a_certificate() {
    let config = json!({"trust_domains": [{
        "name": "plant.example",
        "trust_anchors": ["plant-ca"],
        "paths": [{"path": "/{tenant}/{name}", "tenant": "{tenant}", "username": "{name}"}],
    }]});
    let plugin = load("spiffe-identity", "none", config);
    let mut attempt = attempt("c1");
    let certificate = |uri: &str| CertificateFacts {
        san_uri: vec![uri.into()],
        trust_anchor: "plant-ca".into(),
        not_after: 1_800_000_000,
        ..CertificateFacts::default()
    };
    attempt.certificate = Some(certificate("spiffe://plant.example/acme/press-7").into());
    let verdict = ready(plugin.connect(&attempt)).unwrap();
    let ConnectVerdict::Accept(patch) = verdict else { panic!("{verdict:?}") };
    assert_eq!(patch.tenant.as_deref(), Some("acme"));
    assert_eq!(patch.username.as_deref(), Some("press-7"));

    attempt.certificate = Some(certificate("spiffe://plant.example/acme/../x").into());
    let verdict = ready(plugin.connect(&attempt)).unwrap();
    let ConnectVerdict::Deny { reason_code, .. } = verdict else { panic!("{verdict:?}") };
    assert_eq!(reason_code, ReasonCode::NotAuthorized);
}

#[test]
fn schema_guard_passes_drops_and_puts_aside() {
    let guard = |on_invalid: &str| {
        let schema = json!({
            "type": "object",
            "properties": {"at": {"format": "date"}, "child": {"$ref": "#"}},
            "additionalProperties": false,
        });
        let config = json!({
            "rules": [{"topics": ["plant/+"], "on_invalid": on_invalid, "schema": schema}],
        });
        load("schema-guard", "dead-letter/#", config)
    };
    let drops = guard("drop");
    let ask = |plugin: &WasmPlugin, payload: &str| {
        plugin.publish(&client("acme"), &message(payload)).unwrap()
    };
    let nested = |depth| format!("{}{{}}{}", r#"{"child":"#.repeat(depth), "}".repeat(depth));
    for payload in ["{}", r#"{"at": "2024-02-29"}"#, &nested(31)] {
        assert_eq!(ask(&drops, payload).verdict, PublishVerdict::Pass, "{payload}");
    }
    for payload in ["", "[]", r#"{"at": "2023-02-29"}"#, r#"{"x": 1}"#, &nested(32)] {
        let verdict = ask(&drops, payload).verdict;
        assert_eq!(verdict, PublishVerdict::Drop(ReasonCode::PayloadFormatInvalid), "{payload}");
    }
    let answer = ask(&guard("dead_letter"), "[]");
    assert_eq!(answer.verdict, PublishVerdict::Consume);
    assert_eq!(answer.emitted[0].topic, "dead-letter/schema-guard/plant/1");
}

#[test]
fn rate_guard_drops_what_comes_too_fast_for_this_tenant_alone() {
    for scope in ["instance", "shared"] {
        let limit =
            json!({"topics": ["#"], "per": "tenant", "rate": 0.1, "burst": 3, "scope": scope});
        let guard = load("rate-guard", "none", json!({"limits": [limit]}));
        let verdicts = |tenant: &str| {
            let ask = |_| guard.publish(&client(tenant), &message("x")).unwrap().verdict;
            (0..5).map(ask).filter(|verdict| *verdict == PublishVerdict::Pass).count()
        };
        assert_eq!((verdicts("acme"), verdicts("other")), (3, 3), "{scope}");
    }
}

#[test]
fn sparkplug_guard_drops_what_is_no_sparkplug() {
    let guard = load("sparkplug-guard", "sparkplug-json/#", json!({"shadow": "json"}));
    let elsewhere = guard.publish(&client("acme"), &message("not protobuf")).unwrap();
    assert_eq!(elsewhere.verdict, PublishVerdict::Pass, "it is no affair of Sparkplug's");
    let message = Message::new(NewMessage {
        topic: TopicName::new("spBv1.0/group/NDATA/node").unwrap(),
        ..message("not protobuf").parts()
    });
    let verdict = guard.publish(&client("acme"), &message).unwrap().verdict;
    assert_eq!(verdict, PublishVerdict::Drop(ReasonCode::PayloadFormatInvalid));
}

/// RFC 2104.
fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let pad = |byte: u8| block.map(|it| it ^ byte);
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(pad(0x5C)).chain_update(inner).finalize().to_vec()
}

fn token(key: &[u8], claims: &Value) -> Secret {
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let header = json!({"alg": "HS256", "typ": "JWT"}).to_string();
    let signed = format!("{}.{}", encode(header.as_bytes()), encode(claims.to_string().as_bytes()));
    Secret::new(format!("{signed}.{}", encode(&hmac(key, &signed))).into_bytes())
}

#[test]
fn jwt_identity_names_the_client_of_a_token_until_it_expires() {
    let config = json!({
        "algorithms": ["HS256"],
        "keys": {"hmac_secret": "signing"},
        "issuer": "https://idp.example",
        "audiences": ["mqtt"],
        "identity": {"tenant": {"claim": "org"}, "username": {"claim": "sub"}},
    });
    let plugin = load("jwt-identity", "none", config);
    let claims = json!({
        "iss": "https://idp.example", "aud": "mqtt", "sub": "press-7", "org": "acme",
        "exp": 4_000_000_000_u64,
    });
    let mut attempt = attempt("c1");
    attempt.password = Some(token(HMAC_SECRET, &claims));
    let verdict = wait_for(plugin.connect(&attempt)).unwrap();
    let ConnectVerdict::Accept(patch) = verdict else { panic!("{verdict:?}") };
    assert_eq!(
        (patch.tenant.as_deref(), patch.username.as_deref()),
        (Some("acme"), Some("press-7"))
    );
    let expires_at = patch.limits.expires_at.unwrap();
    assert!((4_000_000_000_000..4_000_001_000_000).contains(&expires_at), "{expires_at}");

    attempt.password = Some(token(b"another secret of thirty-two bytes....", &claims));
    let verdict = wait_for(plugin.connect(&attempt)).unwrap();
    let ConnectVerdict::Deny { reason_code, .. } = verdict else { panic!("{verdict:?}") };
    assert_eq!(reason_code, ReasonCode::BadUserNameOrPassword);
}

/// A plugin that may send requests answers on a thread of its own.
fn wait_for<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(thread::current())).into();
    let (mut future, mut context) = (pin!(future), Context::from_waker(&waker));
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}
