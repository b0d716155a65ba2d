//! The plugins that ship, on the broker's side of the contract. What they decide is tested where they
//! stand.

use hookmq_codec::{ReasonCode, TopicFilter};
use hookmq_hooks::{CertificateFacts, ConnectVerdict, Program, PublishVerdict};
use hookmq_wasm::{PluginSettings, WasmPlugin};
use serde_json::{Value, json};

use crate::{artefact, artefacts, attempt, client, host, message, ready, settings};

/// The plugin with what it does without a schema of its configuration.
fn load(name: &str, manifest: Value, emit: &str, config: Value) -> WasmPlugin {
    let module = artefacts::with_manifest(&artefact(name), &manifest.to_string());
    let mut settings: PluginSettings = settings(config);
    settings.grants.emit = vec![TopicFilter::new(emit).unwrap()];
    host().load(&module, settings).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn spiffe_identity_names_the_client_of_a_certificate() {
    let manifest = json!({
        "name": "spiffe-identity", "version": "0.1.0", "hooks": ["connect"],
        "capabilities": ["log"],
    });
    let config = json!({"trust_domains": [{
        "name": "plant.example",
        "trust_anchors": ["plant-ca"],
        "paths": [{"path": "/{tenant}/{name}", "tenant": "{tenant}", "username": "{name}"}],
    }]});
    let plugin = load("spiffe-identity", manifest, "none", config);
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
    let manifest = json!({
        "name": "schema-guard", "version": "0.1.0", "hooks": ["publish"],
        "fields": ["payload", "properties"], "capabilities": ["log", "metric"],
        "emit": ["dead-letter/schema-guard/#"],
    });
    let guard = |on_invalid: &str| {
        let schema = json!({
            "type": "object",
            "properties": {"at": {"format": "date"}, "child": {"$ref": "#"}},
            "additionalProperties": false,
        });
        let config = json!({
            "rules": [{"topics": ["plant/+"], "on_invalid": on_invalid, "schema": schema}],
        });
        load("schema-guard", manifest.clone(), "dead-letter/#", config)
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
