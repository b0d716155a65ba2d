//! What survives, what is compiled again, what does not load any more, and what goes with its tenant.

use std::fs;
use std::path::PathBuf;

use hookmq_tests::broker::Broker;

use super::*;
use crate::tenants::rules::lasting::restarted;
use crate::tenants::{run, said};

/// What a JSON object becomes.
fn becomes(broker: &Broker, tenant: &str) -> String {
    let mut client = newest(broker, tenant, "probe");
    client.subscribe("t", Qos::AtMostOnce);
    send(&mut client, "t", b"{}");
    received(&mut client)
}

/// The files of all tenants' plugins that have this extension.
fn files(broker: &Broker, extension: &str) -> Vec<PathBuf> {
    let directory = broker.directory().join("data/tenant-rules");
    let entries = |path: PathBuf| {
        let read = fs::read_dir(path).expect("a directory");
        read.map(|it| it.expect("an entry").path())
    };
    let shelves = entries(directory).filter(|it| it.is_dir()).collect::<Vec<_>>();
    let all = shelves.into_iter().flat_map(entries);
    let mut found: Vec<_> =
        all.filter(|it| it.extension().is_some_and(|it| it == extension)).collect();
    found.sort();
    found
}

#[test]
fn plugins_survive_a_broker_that_is_killed_without_being_compiled_again() {
    let mut broker = broker();
    let of_a = own(&broker, "a");
    let transform = artefact("json-transform");
    let configured = |value: &str| configured(&path("a", "sets"), &sets("by", value));
    assert_eq!(of_a.put(&configured("one"), &transform).0, 201);
    let (status, pushed) = of_a.put(&configured("two"), &transform);
    assert_eq!((status, &pushed["has_previous"]), (200, &json!(true)));
    push(&of_a, "a", "gone", "fixtures/counter");
    assert_eq!(of_a.delete(&path("a", "gone")).0, 204);
    push(&own(&broker, "b"), "b", "stamps", "fixtures/stamp-v1");
    let code = files(&broker, "compiled");
    assert_eq!((files(&broker, "wasm").len(), code.len()), (2, 2), "{code:?}");
    let disk = broker.admin().metric("tenant_plugin_disk_bytes");
    assert!(disk > transform.len() as u64, "{disk}");
    let inodes = |files: &[PathBuf]| {
        let inode =
            |it: &PathBuf| std::os::unix::fs::MetadataExt::ino(&it.metadata().expect("a file"));
        files.iter().map(inode).collect::<Vec<_>>()
    };
    let before = inodes(&code);
    let admin = restarted(&mut broker);
    assert_eq!(becomes(&broker, "a"), r#"{"by":"two"}"#);
    assert_eq!(becomes(&broker, "b"), r#"{"stamp":1}"#);
    assert_eq!(inodes(&code), before, "nothing was written anew");
    assert_eq!(
        (admin.metric("tenant_plugins"), admin.metric("tenant_plugin_disk_bytes")),
        (2, disk)
    );
    let shown = admin.get(&path("a", "sets")).1;
    assert_eq!((&shown["sha256"], &shown["pushed_at"]), (&pushed["sha256"], &pushed["pushed_at"]));
    let (status, shown) = admin.post(&format!("{}/rollback", path("a", "sets")), b"");
    assert_eq!((status, &shown["config"]), (200, &sets("by", "one")), "{shown}");
    assert_eq!(becomes(&broker, "a"), r#"{"by":"one"}"#);
    restarted(&mut broker);
    assert_eq!(becomes(&broker, "a"), r#"{"by":"one"}"#);
}

#[test]
fn a_rollback_goes_to_the_artefact_before_and_back_again() {
    let broker = broker();
    let of_a = own(&broker, "a");
    let back = format!("{}/rollback", path("a", "stamps"));
    assert_eq!(of_a.post(&back, b"").0, 404);
    push(&of_a, "a", "stamps", "fixtures/stamp-v1");
    assert_eq!(of_a.post(&back, b"").0, 409);
    push(&of_a, "a", "stamps", "fixtures/stamp-v2");
    for stamp in ["1", "2", "1"] {
        let (status, shown) = of_a.post(&back, b"");
        assert_eq!((status, &shown["version"]), (200, &json!(format!("{stamp}.0.0"))), "{shown}");
        assert_eq!(becomes(&broker, "a"), format!(r#"{{"stamp":{stamp}}}"#));
    }
    assert_eq!((files(&broker, "wasm").len(), files(&broker, "compiled").len()), (2, 2));
    // A third one takes the place of the one before.
    push(&of_a, "a", "stamps", "fixtures/counter");
    assert_eq!((files(&broker, "wasm").len(), files(&broker, "compiled").len()), (2, 2));
    assert_eq!(of_a.delete(&path("a", "stamps")).0, 204);
    assert_eq!((files(&broker, "wasm").len(), files(&broker, "compiled").len()), (0, 0));
    assert_eq!(broker.admin().metric("tenant_plugin_disk_bytes"), 0);
}

#[test]
fn what_was_compiled_is_made_again_where_it_is_gone_or_damaged() {
    let mut broker = broker();
    push(&own(&broker, "a"), "a", "stamps", "fixtures/stamp-v1");
    push(&own(&broker, "b"), "b", "stamps", "fixtures/stamp-v2");
    broker.kill();
    let code = files(&broker, "compiled");
    fs::remove_file(&code[0]).expect("remove");
    fs::write(&code[1], "not even code").expect("write");
    broker.start();
    let line = broker.wait_for_log("plugins of tenants are compiled again");
    assert!(line.contains("plugins=2"), "{line}");
    assert_eq!(
        (becomes(&broker, "a"), becomes(&broker, "b")),
        (r#"{"stamp":1}"#.into(), r#"{"stamp":2}"#.into())
    );
    restarted(&mut broker);
    assert!(!broker.log().contains("compiled again"), "it was kept: {}", broker.log());
}

#[test]
fn a_plugin_that_does_not_load_fails_where_it_was_asked_and_the_broker_starts() {
    let mut broker = broker();
    push(&own(&broker, "a"), "a", "stamps", "fixtures/stamp-v1");
    push(&own(&broker, "b"), "b", "stamps", "fixtures/stamp-v2");
    broker.kill();
    let mut artefacts = files(&broker, "wasm");
    artefacts.retain(|it| fs::read(it).expect("an artefact") == artefact("fixtures/stamp-v1"));
    assert_eq!(artefacts.len(), 1);
    fs::write(&artefacts[0], artefact("fixtures/counter")).expect("write");
    broker.start();
    let admin = broker.admin();
    let line = broker.wait_for_log("a tenant's plugin does not load");
    assert!(line.contains("tenant=\"a\""), "{line}");
    assert_eq!(becomes(&broker, "b"), r#"{"stamp":2}"#);
    let mut in_a = newest(&broker, "a", "c");
    assert_eq!(send(&mut in_a, "t", b"{}"), ReasonCode::ImplementationSpecificError);
    let shown = admin.get(&path("a", "stamps")).1;
    assert!(shown["problem"].as_str().unwrap_or_default().contains("has changed"), "{shown}");
    // The same once more mends it.
    push(&admin, "a", "stamps", "fixtures/stamp-v1");
    assert_eq!(becomes(&broker, "a"), r#"{"stamp":1}"#);
    assert_eq!(admin.get(&path("a", "stamps")).1["problem"], Value::Null);
}

#[test]
fn a_tenant_that_is_deleted_loses_its_plugins_and_one_that_is_disabled_does_not() {
    let broker = broker();
    let (admin, of_a) = (broker.admin(), own(&broker, "a"));
    push(&of_a, "a", "stamps", "fixtures/stamp-v1");
    assert_eq!(
        crate::tenants::patch(&admin, "/api/v1/tenants/a", json!({"enabled": false})).0,
        200
    );
    assert_eq!(admin.get(&path("a", "stamps")).0, 200);
    assert_eq!(of_a.put(&path("a", "stamps"), &artefact("fixtures/stamp-v2")).0, 401);
    assert_eq!(admin.delete("/api/v1/tenants/a").0, 204);
    assert!(files(&broker, "wasm").is_empty() && files(&broker, "compiled").is_empty());
    assert_eq!((admin.metric("tenant_plugins"), admin.metric("tenant_plugin_disk_bytes")), (0, 0));
    assert_eq!(post(&admin, "/api/v1/tenants", json!({"name": "a"})).0, 201);
    assert_eq!(becomes(&broker, "a"), "{}");
}

#[test]
fn the_command_line_does_what_the_api_does() {
    let broker = broker();
    let file = plugins().join("json-transform.wasm");
    let config = broker.directory().join("config.json");
    let (file, config) = (file.to_str().expect("a path"), config.to_str().expect("a path"));
    let push_with =
        |config: &str| said(&broker, &["plugin", "push", "a", file, "--config", config]);
    for value in ["one", "two"] {
        fs::write(config, sets("by", value).to_string()).expect("write");
        push_with(config);
        assert_eq!(becomes(&broker, "a"), format!(r#"{{"by":"{value}"}}"#));
    }
    let shown = said(&broker, &["plugin", "show", "a", "json-transform"]);
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(shown["config"], sets("by", "two"));
    said(&broker, &["plugin", "rollback", "a", "json-transform"]);
    assert_eq!(becomes(&broker, "a"), r#"{"by":"one"}"#);
    let listed = said(&broker, &["plugin", "list", "a"]);
    assert!(listed.contains("json-transform") && listed.contains("publish"), "{listed}");
    let refused = run(&broker, &["plugin", "push", "a", file, "--name", "other"]);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && why.contains("operations"), "{why}");
    said(&broker, &["plugin", "delete", "a", "json-transform"]);
    assert_eq!(becomes(&broker, "a"), "{}");
}
