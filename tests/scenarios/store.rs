//! An operator looks after the store of a broker that is down: `hookmq store`.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Output, Stdio};

use hookmq_tests::broker::{directory, hookmq};

const EXPORT: &str = include_str!("../../broker/store/tests/fixtures/version-1.jsonl");

/// The last message of the export consists of these, and is retained.
const PAYLOAD: [u8; 64] = [240; 64];

/// Runs `hookmq store` in `place`; gives exit code, standard output and standard error.
fn store(place: &Path, arguments: &[&str]) -> (i32, String, String) {
    store_fed(place, arguments, "")
}

fn store_fed(place: &Path, arguments: &[&str], input: &str) -> (i32, String, String) {
    let mut command = hookmq();
    command.current_dir(place).arg("store").args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("start hookmq");
    // Dropped at once, which ends the input. Who reads none of it may have ended before.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().expect("wait for hookmq");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code().expect("an exit code"), text(stdout), text(stderr))
}

fn imported() -> tempfile::TempDir {
    let place = directory();
    let (code, told, errors) = store_fed(place.path(), &["import"], EXPORT);
    assert_eq!((code, &*errors), (0, ""));
    assert!(told.contains("3 sessions"), "{told}");
    place
}

/// Every file of the store, byte by byte.
fn files(place: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(place.join("data/store")).expect("the store's directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = paths
        .map(|path| (path.display().to_string(), fs::read(path).expect("a file of the store")))
        .collect();
    files.sort();
    files
}

#[test]
fn a_store_is_taken_to_another_place() {
    let place = imported();
    let place = place.path();
    let (code, told, _) = store(place, &["check"]);
    assert_eq!(code, 0);
    assert!(told.starts_with("ok: 3 sessions"), "{told}");
    assert_eq!(store(place, &["export"]), (0, EXPORT.to_owned(), String::new()));
    assert_eq!(store(place, &["export", "--to", "a.jsonl"]).0, 0);
    let mode = fs::metadata(place.join("a.jsonl")).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it holds what clients have sent");
    let (code, _, errors) = store(place, &["export", "--to", "a.jsonl"]);
    assert_eq!(code, 2, "nothing is overwritten");
    assert!(errors.contains("a.jsonl") && errors.contains("exists"), "{errors}");
    let yaml = "data_dir: elsewhere
listeners: [{name: plain, bind: \"tcp://127.0.0.1:0\"}]
pipeline: {connect: [{builtin: anonymous}], authorize: [{builtin: open}]}
";
    fs::write(place.join("mq.yaml"), yaml).expect("write the configuration");
    let there = ["--config", "mq.yaml"];
    let (code, _, errors) = store(place, &[&["import", "--from", "a.jsonl"], &there[..]].concat());
    assert_eq!((code, &*errors), (0, ""));
    assert_eq!(store(place, &["export", "--data-dir", "elsewhere"]).1, EXPORT);
    let (code, _, errors) = store_fed(place, &[&["import"], &there[..]].concat(), EXPORT);
    assert_eq!(code, 2);
    assert!(errors.contains("there is a store already"), "{errors}");
    let (code, told, _) = store(place, &[&["stats", "--json"], &there[..]].concat());
    let stats: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!((code, &stats["sessions"], &stats["retained"]), (0, &3.into(), &1.into()));
    let (code, told, _) = store(place, &["compact"]);
    assert_eq!(code, 0);
    assert!(told.contains("bytes, now"), "{told}");
    assert_eq!(store(place, &["export"]).1, EXPORT);
}

#[test]
fn what_is_damaged_is_told_and_let_go_of_where_that_is_said() {
    let place = imported();
    let place = place.path();
    let file = place.join("data/store/store.sqlite");
    let mut bytes = fs::read(&file).expect("the store");
    let at = bytes.windows(PAYLOAD.len()).position(|it| it == PAYLOAD).expect("a payload");
    bytes[at] ^= 1;
    fs::write(&file, bytes).expect("damage the store");
    let before = files(place);
    for command in [&["check"][..], &["repair"]] {
        let (code, told, _) = store(place, command);
        assert_eq!((code, told.lines().count()), (1, 1), "{told}");
        let expected = "message 240: its checksum does not fit; it is due to retained \"a/b\"";
        assert!(told.starts_with(expected), "{told}");
    }
    for command in ["export", "compact"] {
        let (code, told, errors) = store(place, &[command]);
        assert_eq!((code, &*told), (1, ""), "{command}: {errors}");
        assert!(errors.contains("message 240"), "{command}: {errors}");
    }
    assert!(files(place)[..] == before[..], "nothing has changed");
    let (code, told, _) = store(place, &["repair", "--yes"]);
    assert_eq!(code, 0);
    assert!(told.starts_with("let go of: message 240"), "{told}");
    assert_eq!(store(place, &["check"]).0, 0);
    let (_, exported, _) = store(place, &["export"]);
    assert!(!exported.contains("\"id\":240,") && exported.contains("\"id\":238,"));
    assert_eq!(store(place, &["repair"]).1, "nothing is damaged\n");
}

#[test]
fn a_store_that_is_in_use_or_absent_or_half_written_is_told_from_one_that_is_damaged() {
    let place = imported();
    let lock = File::open(place.path().join("data/store/lock")).expect("the lock");
    lock.lock().expect("use the store");
    let commands = [
        &["check"][..],
        &["stats"],
        &["export"],
        &["repair"],
        &["repair", "--yes"],
        &["compact"],
        &["import"],
    ];
    for command in commands {
        let (code, _, errors) = store_fed(place.path(), command, EXPORT);
        assert_eq!(code, 2, "{command:?}: {errors}");
        assert!(errors.contains("another process uses this store"), "{command:?}: {errors}");
    }
    for command in &commands[..6] {
        let elsewhere = [command, &["--data-dir", "typo"][..]].concat();
        let (code, _, errors) = store(place.path(), &elsewhere);
        assert_eq!(code, 2, "{command:?}: {errors}");
        assert!(errors.contains("typo/store: there is no store"), "{command:?}: {errors}");
    }
    let (half, _) = EXPORT.split_at(EXPORT.len() / 2);
    let (half, _) = half.rsplit_once('\n').expect("lines");
    let elsewhere = ["import", "--data-dir", "typo"];
    let (code, _, errors) = store_fed(place.path(), &elsewhere, half);
    assert_eq!(code, 2);
    assert!(errors.contains("cut off"), "{errors}");
    assert_eq!(store_fed(place.path(), &elsewhere, EXPORT).0, 0, "nothing was left behind");
    let two = ["check", "--data-dir", "data", "--config", "mq.yaml"];
    assert_eq!(store(place.path(), &two).0, 2);
}
