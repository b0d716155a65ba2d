//! What becomes a plugin, and what is refused with which words.

use std::time::Duration;

use hookmq_hooks::{HookSet, Program, PublishVerdict};
use hookmq_wasm::{Grants, HostOptions, Limits, PluginSettings};
use serde_json::json;

use crate::{artefact, artefacts, client, host, host_with, load, message, settings};

/// The words of a refusal.
fn refusal(bytes: &[u8]) -> String {
    let refused = host().load(bytes, settings(json!(null)));
    refused.err().expect("the artefact is refused").to_string()
}

#[test]
fn a_core_module_and_its_component_are_the_same_plugin() {
    let module = artefact("fixtures/stamp-v1");
    let component = artefacts::component(&module);
    let mut hashes = Vec::new();
    for bytes in [module, component] {
        let plugin = host().load(&bytes, settings(json!(null))).unwrap();
        let identity = plugin.identity();
        assert_eq!((identity.name.as_str(), identity.version.as_str()), ("stamp", "1.0.0"));
        assert_eq!(plugin.hooks(), HookSet { publish: true, ..HookSet::default() });
        let answer = plugin.publish(&client("acme"), &message("{}")).unwrap();
        let PublishVerdict::Replace(patch) = answer.verdict else { panic!("it stamps") };
        assert_eq!(patch.payload.unwrap(), br#"{"stamp":1}"#);
        hashes.push(identity.sha256.clone());
    }
    assert_ne!(hashes[0], hashes[1]);
    assert!(hashes.iter().all(|hash| hash.len() == 64));
}

#[test]
fn two_versions_answer_differently() {
    let plugin = load("fixtures/stamp-v2", json!(null)).unwrap();
    assert_eq!(plugin.identity().version, "2.0.0");
    let answer = plugin.publish(&client("acme"), &message("{}")).unwrap();
    let PublishVerdict::Replace(patch) = answer.verdict else { panic!("it stamps") };
    assert_eq!(patch.payload.unwrap(), br#"{"stamp":2}"#);
}

#[test]
fn bytes_that_are_no_wasm_are_refused() {
    let module = artefact("fixtures/counter");
    for bytes in [&b""[..], b"garbage", b"\0asm", &module[..module.len() / 2]] {
        let words = refusal(bytes);
        assert!(words.contains("not a WebAssembly module"), "{words}");
    }
}

#[test]
fn damaged_artefacts_are_refused_or_work_but_never_panic() {
    let module = artefact("fixtures/counter");
    let component = artefacts::component(&module);
    let host = host();
    for bytes in [module, component] {
        // The end holds the custom sections: of the module, component type and manifest.
        let tail = bytes.len().saturating_sub(3000)..bytes.len();
        for at in tail.step_by(211).chain((0..2000).step_by(401)) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x55;
            let _ = host.load(&damaged, settings(json!(null)));
        }
    }
}

#[test]
fn an_artefact_beyond_the_size_is_refused() {
    let host = host_with(HostOptions { artefact_bytes: 1000, ..HostOptions::default() });
    let refused = host.load(&artefact("fixtures/counter"), settings(json!(null)));
    let words = refused.err().unwrap().to_string();
    assert!(words.contains("at most 1000 are accepted"), "{words}");
}

#[test]
fn an_unknown_import_is_refused_by_name() {
    let words = refusal(&artefacts::importing("env", "system"));
    assert!(words.contains("`env.system`"), "{words}");
    let words = refusal(&artefacts::importing("wasi_snapshot_preview1", "fd_write"));
    assert!(words.contains("`wasi_snapshot_preview1.fd_write`"), "{words}");
    let words = refusal(&artefacts::importing("hookmq:plugin/files@1.0.0", "read"));
    assert!(words.contains("`hookmq:plugin/files@1.0.0.read`"), "{words}");
}

/// What would help with an artefact that is refused.
fn hint(bytes: &[u8], settings: PluginSettings) -> String {
    let refused = host().load(bytes, settings).err().expect("the artefact is refused");
    refused.hint().unwrap_or_else(|| panic!("{refused} has a hint"))
}

#[test]
fn a_refusal_says_what_would_help() {
    let manifest = r#"{"name":"sly","version":"1.0.0","hooks":["publish"],"emit":["a"]}"#;
    let sly = artefacts::with_manifest(&artefact("fixtures/hostile"), manifest);
    for (bytes, expected) in [
        (b"text".to_vec(), "the .wasm file that `hookmq plugin build` makes"),
        (artefacts::empty(&[]), "hookmq_plugin::export! { plugin: MyPlugin, hooks: [publish]"),
        (
            artefacts::empty(&[]),
            r#"{"name": "my-plugin", "version": "1.0.0", "hooks": ["publish"]"#,
        ),
        (artefacts::empty(&["{}"]), r#"{"name": "my-plugin", "version": "1.0.0""#),
        (
            artefacts::importing("env", "system"),
            "what there is to import: log, clock, metric, kv, emit, http and secret, as \
             hookmq:plugin/NAME@1.0.0",
        ),
        (
            artefacts::importing("wasi_snapshot_preview1", "fd_write"),
            "there is no WASI here: build for wasm32-unknown-unknown",
        ),
        (artefacts::importing("__wbindgen_placeholder__", "x"), "built for JavaScript"),
        (artefacts::importing("hookmq:plugin/log@2.0.0", "write"), "hookmq-plugin.wit"),
        (sly, "write `capabilities: [log]` in export!"),
    ] {
        let told = hint(&bytes, settings(json!(null)));
        assert!(told.contains(expected), "{told}\n{expected}");
    }
    let other = PluginSettings { name: Some("x".into()), ..settings(json!(null)) };
    let told = hint(&artefact("json-transform"), other);
    assert_eq!(
        told,
        "the step and the command say its name: `{plugin: json-transform}`, `--name json-transform`"
    );
}

#[test]
fn what_is_not_granted_is_told_as_the_configuration_that_would_grant_it() {
    let told = hint(&artefact("fixtures/hostile"), PluginSettings::default());
    assert_eq!(
        told,
        r#"if it may have that, say so in the configuration (plugins.grants.hostile):
  plugins:
    grants:
      hostile:
        log: true
        emit: ["granted/#"]"#
    );
}

#[test]
fn another_version_of_the_contract_is_refused() {
    let words = refusal(&artefacts::importing("hookmq:plugin/log@2.0.0", "write"));
    assert!(words.contains("made for hookmq:plugin@2.0.0"), "{words}");
}

#[test]
fn an_import_that_the_manifest_does_not_ask_for_is_refused() {
    let manifest = r#"{"name":"sly","version":"1.0.0","hooks":["publish"],"emit":["a"]}"#;
    let words = refusal(&artefacts::with_manifest(&artefact("fixtures/hostile"), manifest));
    assert!(words.contains("`log` in its manifest"), "{words}");
}

#[test]
fn manifests_are_checked_before_anything_else() {
    let good = r#"{"name":"a","version":"1.0.0","hooks":["publish"]}"#;
    let words = refusal(&artefacts::empty(&[]));
    assert!(words.contains("has no manifest"), "{words}");
    let words = refusal(&artefacts::empty(&[good, good]));
    assert!(words.contains("2 manifests"), "{words}");
    let words = refusal(&artefacts::empty(&[r#"{"name":"a"}"#]));
    assert!(words.starts_with("manifest: missing field `version`"), "{words}");
    let words = refusal(&artefacts::empty(&[good]));
    assert!(words.contains("does not export hookmq:plugin/hooks@1.0.0"), "{words}");
}

#[test]
fn capabilities_that_are_not_granted_are_named() {
    let grants = Grants { log: true, ..Grants::default() };
    let without = PluginSettings { grants, ..settings(json!(null)) };
    let refused = host().load(&artefact("json-transform"), without);
    let words = refused.err().unwrap().to_string();
    assert_eq!(words, "the plugin asks for what it is not granted: clock");
    let refused = host().load(&artefact("fixtures/hostile"), PluginSettings::default());
    let words = refused.err().unwrap().to_string();
    assert!(words.ends_with("log, emit granted/#"), "{words}");
}

#[test]
fn another_plugin_does_not_get_the_configuration() {
    let name = Some("json-transform".to_owned());
    let meant = PluginSettings { name, ..settings(json!({"operations": []})) };
    let refused = host().load(&artefact("fixtures/stamp-v1"), meant);
    let words = refused.err().unwrap().to_string();
    assert_eq!(words, r#"the artefact is the plugin "stamp", not "json-transform""#);
}

#[test]
fn a_refused_configuration_says_why() {
    let table = [
        (json!(null), "operations: at least one is needed"),
        (json!({"operations": [{"op": "explode"}]}), "unknown variant `explode`"),
        (json!({"operations": [{"op": "set", "field": "a", "value": "{x}"}]}), "operations[0]"),
    ];
    for (config, expected) in table {
        let words = load("json-transform", config).err().unwrap().to_string();
        assert!(words.starts_with("the plugin refuses its configuration: "), "{words}");
        assert!(words.contains(expected), "{words}");
    }
}

#[test]
fn a_plugin_that_misbehaves_while_it_is_configured_is_refused() {
    let limits = Limits { time: Duration::from_millis(200), ..Limits::default() };
    let host = host_with(HostOptions { limits, ..HostOptions::default() });
    for (how, expected) in [
        ("loop", "ran for longer than 200 ms"),
        ("trap", "unreachable"),
        ("panic", "as it was told"),
        ("grow", "bytes of memory"),
    ] {
        let refused = host.load(&artefact("fixtures/hostile"), settings(json!({"configure": how})));
        let words = refused.err().unwrap().to_string();
        assert!(words.starts_with("the plugin does not start: "), "{how}: {words}");
        assert!(words.contains(expected), "{how}: {words}");
    }
}
