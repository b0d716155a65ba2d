//! The plugin host's bounds, and what is granted to plugins.

use std::time::Duration;

use super::{SOUND, Scene, assert_problem};

/// A sound configuration with a plugin `p` and these keys of the section `plugins`.
fn with_plugin(keys: &str) -> Scene {
    let scene = Scene::new(&text(keys));
    scene.write("plugins/p.wasm", "", 0o644);
    scene
}

fn text(keys: &str) -> String {
    format!("{SOUND}  publish: [{{plugin: p}}]\nplugins:\n  {keys}\n")
}

#[test]
fn bounds_and_grants_are_read() {
    let scene = with_plugin(
        "{kv_calls: 7, compile: {time_ms: 1500}, http: {requests: 2, networks: [10.0.0.0/8]},
          grants: {p: {kv: true, http: [auth.example], secrets: {token: {file: token}}}}}",
    );
    scene.write("token", "geheim\r\n", 0o600);
    let plugins = scene.load().unwrap().plugins;
    assert_eq!(plugins.host.limits.kv_calls, 7);
    assert_eq!(plugins.host.http.requests, 2);
    assert_eq!(plugins.compile.time, Duration::from_millis(1500));
    assert!(plugins.http.networks[0].contains([10, 9, 8, 7].into()));
    let grants = &plugins.grants["p"];
    assert!(grants.kv && !grants.log);
    assert_eq!(grants.http[0].to_string(), "https://auth.example");
    assert_eq!(grants.secrets["token"].expose(), b"geheim");
    assert!(!format!("{plugins:?}").contains("geheim"));
}

#[test]
fn a_secret_is_kept_from_others() {
    let scene = with_plugin("grants: {p: {secrets: {token: {file: token}}}}");
    assert!(scene.report()[0].contains("plugins.grants.p.secrets.token.file: cannot read token"));
    for (content, mode, words) in [
        ("geheim", 0o644, "token is open to others"),
        ("", 0o600, "holds not 1 to 65536 bytes"),
        ("\n", 0o600, "holds not 1 to 65536 bytes"),
        (&"x".repeat(65537), 0o600, "holds not 1 to 65536 bytes"),
    ] {
        scene.write("token", content, mode);
        let report = scene.report();
        assert!(report[0].contains(words), "{report:?}");
        scene.write("token", "x", 0o600);
    }
}

#[test]
fn mistakes_are_named() {
    for (keys, expected) in [
        ("grants: {p: {http: [\"http://*\"]}}", "plugins.grants.p.http[0]: \"http://*\": its host"),
        ("grants: {p: {http: [\"a/b\"]}}", "plugins.grants.p.http[0]: \"a/b\": "),
        ("grants: {p: {root: true}}", "plugins.grants.p.root: unknown field `root`"),
        ("compile: {time_ms: 0}", "plugins.compile.time_ms: must be more than 0"),
        ("http: {ca: nowhere.pem}", "plugins.http.ca: cannot read nowhere.pem"),
        ("http: {networks: [10.0.0.1/8]}", "plugins.http.networks[0]: \"10.0.0.1/8\" is no"),
    ] {
        let scene = with_plugin(keys);
        let report = scene.report();
        assert_eq!(report.len(), 1, "{report:?}");
        assert!(report[0].contains(expected), "expected {expected}\nbut got  {}", report[0]);
    }
    assert_problem(
        &text("kv_calls: 1"),
        "mq.yaml:9:14: pipeline.publish[0].plugin: there is no file",
    );
}
