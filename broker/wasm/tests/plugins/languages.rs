//! The example plugins in other languages, as `cargo xtask examples` builds them, through the real host.

use std::time::Instant;

use hookmq_hooks::{Access, Action, AuthorizeVerdict, Program, PublishVerdict};
use hookmq_wasm::{
    HostOptions, Limits, MANIFEST_SECTION, PluginSettings, WasmPlugin, with_manifest,
};
use serde_json::{Value, json};

use crate::{artefact, client, host_with, message, patient, plugins, settings};

const MIB: usize = 1 << 20;

/// None, which is printed, where the language's tool is not installed.
fn example(language: &str, limits: Limits, config: Value) -> Option<WasmPlugin> {
    let name = format!("examples/{language}");
    if !plugins().join(format!("{name}.wasm")).is_file() {
        println!("SKIPPED: there is no example plugin in {language}");
        return None;
    }
    let host = host_with(HostOptions { artefact_bytes: 32 * MIB, limits, ..Default::default() });
    let settings = PluginSettings { limits, ..settings(config) };
    Some(host.load(&artefact(&name), settings).unwrap())
}

fn memory(memory_bytes: usize) -> Limits {
    Limits { memory_bytes, ..patient() }
}

fn publish(plugin: &WasmPlugin, payload: impl AsRef<[u8]>) -> PublishVerdict {
    plugin.publish(&client("acme"), &message(payload)).unwrap().verdict
}

fn publish_access(topic: &str) -> Access<'_> {
    Access {
        action: Action::Publish,
        topic,
        qos: Default::default(),
        retain: false,
        share_name: None,
    }
}

#[test]
fn a_plugin_in_c_allows_a_clients_own_topics() {
    let Some(plugin) = example("c", memory(MIB), json!(null)) else { return };
    let authorize = |topic| plugin.authorize(&client("acme"), &publish_access(topic)).unwrap();
    assert_eq!(authorize("devices/meter-7/state"), AuthorizeVerdict::Allow);
    for topic in
        ["devices/meter-7", "devices/meter-78/state", "devices/other/state", "d", "plant/1"]
    {
        assert_eq!(authorize(topic), AuthorizeVerdict::Abstain, "{topic}");
    }
    // More than the memory holds, were none of it given back.
    let long = format!("devices/meter-7/{}", "x".repeat(60_000));
    assert!((0..100).all(|_| authorize(&long) == AuthorizeVerdict::Allow));
    print_cost("c", || drop(authorize("devices/meter-7/state")));
}

#[test]
fn a_plugin_in_javascript_adds_fields_to_json() {
    let config = json!({"add": {"site": "plant-7"}});
    // Its instances grow with every call.
    let limits = Limits { calls_per_instance: 2_000, ..memory(16 * MIB) };
    let Some(plugin) = example("javascript", limits, config) else { return };
    let PublishVerdict::Replace(patch) = publish(&plugin, r#"{"t":"é"}"#) else {
        panic!("it adds")
    };
    assert_eq!(patch.payload.unwrap(), r#"{"site":"plant-7","t":"é"}"#.as_bytes());
    assert_eq!(publish(&plugin, "[1]"), PublishVerdict::Pass);
    assert!(matches!(publish(&plugin, b"\xff"), PublishVerdict::Drop(_)));
    print_cost("javascript", || drop(publish(&plugin, r#"{"t":21.5}"#)));
}

#[test]
fn a_plugin_in_python_drops_what_is_out_of_range() {
    let config = json!({"ranges": {"t": [-60, 60]}});
    let Some(plugin) = example("python", memory(32 * MIB), config) else { return };
    assert_eq!(publish(&plugin, r#"{"t":21.5}"#), PublishVerdict::Pass);
    assert_eq!(publish(&plugin, "no JSON"), PublishVerdict::Pass);
    for reading in [r#"{"t":61}"#, r#"{"t":"warm"}"#, r#"{"t":true}"#] {
        assert!(matches!(publish(&plugin, reading), PublishVerdict::Drop(_)), "{reading}");
    }
    print_cost("python", || drop(publish(&plugin, r#"{"t":21.5}"#)));
}

/// For `docs/plugin-languages.md`; shown with `--no-capture`.
fn print_cost(language: &str, call: impl Fn()) {
    const CALLS: u32 = 5_000;
    let start = Instant::now();
    (0..CALLS).for_each(|_| call());
    println!("{language}: {:?} a call", start.elapsed() / CALLS);
}

#[test]
fn a_manifest_is_appended_or_replaced() {
    let module = artefact("fixtures/stamp-v1");
    let manifest =
        br#"{"name":"other","version":"2.0.0","hooks":["publish"],"fields":["payload"]}"#;
    for bytes in [module.clone(), crate::artefacts::component(&module)] {
        let once = with_manifest(&bytes, manifest).unwrap();
        let twice = with_manifest(&once, manifest).unwrap();
        assert_eq!(once, twice);
        let names = once.windows(MANIFEST_SECTION.len());
        assert_eq!(names.filter(|name| *name == MANIFEST_SECTION.as_bytes()).count(), 1);
    }
    let replaced = with_manifest(&module, manifest).unwrap();
    let plugin = host_with(HostOptions { limits: patient(), ..Default::default() })
        .load(&replaced, settings(json!(null)))
        .unwrap();
    assert_eq!(plugin.identity().name, "other");
}

#[test]
fn what_is_not_framed_as_webassembly_gets_no_manifest() {
    let module = artefact("fixtures/stamp-v1");
    for bytes in [&b""[..], b"\0asm", b"no wasm at all", &module[..module.len() - 1]] {
        assert_eq!(with_manifest(bytes, b"{}"), None);
    }
}
