//! Files that lie where the broker looks for plugins, secrets, and what it has compiled before.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use hookmq_codec::{ProtocolVersion, Qos};
use hookmq_tests::broker::{Broker, hookmq};
use hookmq_tests::client::{Client, connect, publish};
use tempfile::TempDir;

use super::crafted::configured;
use super::siege::{artefact, prepared};

const CONFIGURATION: &str = r#"
data_dir: data
listeners: [{name: main, bind: "tcp://127.0.0.1:0"}]
plugins: {time_ms: 100, grants: {hostile: {log: true, emit: [granted/#], MORE}}}
pipeline:
  connect: [{builtin: anonymous}]
  authorize: [{builtin: open}]
  publish: [{plugin: hostile, config: CONFIG}]
"#;

/// A directory where the plugin `hostile` is configured like this.
fn directory(artefact: &[u8], more: &str, config: &str) -> TempDir {
    let directory = prepared(&[("hostile", artefact)]);
    configure(&directory, more, config);
    directory
}

fn configure(directory: &TempDir, more: &str, config: &str) {
    let yaml = CONFIGURATION.replace("MORE", more).replace("CONFIG", config);
    std::fs::write(directory.path().join("hookmq.yaml"), yaml).expect("write the configuration");
}

/// That neither `check` nor `run` goes on with it, and what they say.
#[track_caller]
fn does_not_start(directory: &TempDir, words: &str) {
    for command in ["check", "run"] {
        let mut hookmq = hookmq();
        hookmq.arg(command).arg("--config").arg(directory.path().join("hookmq.yaml"));
        let output = hookmq.output().expect("start hookmq");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{command}: {said}");
        assert!(said.contains(words), "{command}: expected {words:?} in {said:?}");
    }
}

/// P02
#[test]
fn a_broker_does_not_start_with_a_plugin_that_cannot_be_configured() {
    let directory = prepared(&[("hostile", &artefact("hostile"))]);
    for (how, words) in [
        ("loop", "ran for longer than 100 ms"),
        ("trap", "unreachable"),
        ("panic", "as it was told"),
        ("grow", "bytes of memory"),
        ("recurse", "stack"),
        ("fail", "failed as it was told"),
    ] {
        configure(&directory, "kv: true", &format!("{{configure: {how}}}"));
        does_not_start(&directory, words);
    }
}

#[test]
fn a_broker_does_not_start_with_a_secret_that_others_can_read() {
    let secret = "secrets: {token: {file: token}}";
    let directory = directory(&artefact("hostile"), secret, "{}");
    let token = directory.path().join("token");
    std::fs::set_permissions(&token, Permissions::from_mode(0o644)).expect("open a secret");
    does_not_start(&directory, "token is open to others");
    std::fs::remove_file(&token).expect("remove a secret");
    does_not_start(&directory, "cannot read");
}

/// Starts a broker in `directory`, whose plugin passes a message, and ends it.
fn serves(directory: TempDir) -> Broker {
    let yaml = std::fs::read_to_string(directory.path().join("hookmq.yaml")).expect("its yaml");
    let mut broker = Broker::with_config(&yaml, directory);
    let mut client = Client::connect(broker.address("main"), connect(ProtocolVersion::V5, "c")).0;
    client.subscribe("a", Qos::AtMostOnce);
    client.publish(publish("a", b"good", Qos::AtMostOnce));
    client.expect_message("a", b"good");
    client.publish(publish("a", b"fail", Qos::AtMostOnce));
    client.expect_nothing();
    assert!(broker.terminate().success());
    broker
}

/// The only file in the cache.
fn compiled(directory: &Path) -> PathBuf {
    let files = std::fs::read_dir(directory.join("data/compiled")).expect("there is a cache");
    let files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.into_iter().next().expect("there is one")
}

#[test]
fn what_was_compiled_is_used_again_and_never_where_it_is_damaged_or_foreign() {
    let first = serves(directory(&artefact("hostile"), "kv: true", "{}"));
    let cached = compiled(first.directory());
    let cache = cached.parent().expect("it lies in a directory");
    assert_eq!(std::fs::metadata(cache).expect("a directory").mode() & 0o777, 0o700);
    let sound = std::fs::read(&cached).expect("read the cache");
    let damaged: Vec<u8> = sound.iter().rev().copied().collect();
    let other = {
        let other =
            configured(r#"{"name":"hostile","version":"1.0.0","hooks":["publish"]}"#, |_| {});
        let broker = serves_other(directory(&other, "kv: true", "{}"));
        std::fs::read(compiled(broker.directory())).expect("read the cache")
    };
    for content in [&damaged[..], &sound[..sound.len() / 2], b"", &sound] {
        let directory = directory(&artefact("hostile"), "kv: true", "{}");
        keep(directory.path(), &cached, content, 0o600);
        let broker = serves(directory);
        assert_eq!(std::fs::read(compiled(broker.directory())).expect("read it"), sound);
    }
    // Another user's, or one that others could have written.
    let directory = directory(&artefact("hostile"), "kv: true", "{}");
    keep(directory.path(), &cached, &other, 0o622);
    let broker = serves(directory);
    assert_eq!(std::fs::read(compiled(broker.directory())).expect("read it"), sound);
}

/// As [`serves`], for a plugin that never fails.
fn serves_other(directory: TempDir) -> Broker {
    let yaml = std::fs::read_to_string(directory.path().join("hookmq.yaml")).expect("its yaml");
    let mut broker = Broker::with_config(&yaml, directory);
    broker.address("main");
    assert!(broker.terminate().success());
    broker
}

/// Puts `content` where a broker in `directory` finds it, under the name of `cached`.
fn keep(directory: &Path, cached: &Path, content: &[u8], mode: u32) {
    let cache = directory.join("data/compiled");
    std::fs::create_dir_all(&cache).expect("make a cache");
    std::fs::set_permissions(&cache, Permissions::from_mode(0o700)).expect("keep it private");
    let file = cache.join(cached.file_name().expect("it has a name"));
    std::fs::write(&file, content).expect("write into the cache");
    std::fs::set_permissions(&file, Permissions::from_mode(mode)).expect("set its mode");
}
