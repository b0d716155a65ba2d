//! What is done with a store that nobody serves.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use hookmq_store::tools::{self, ImportError};
use hookmq_store::{CheckpointBounds, MessageId, OpenError, Recovery, Store, StoreOptions};

use crate::model::Disk;
use crate::model::Traffic;
use crate::picture::{Picture, read};
use crate::scenes::{append_durably, dequeued, load, opened, queued};
use crate::suite::SqliteDisk;

#[test]
fn an_export_makes_the_same_store_elsewhere() {
    let place = tempfile::tempdir().unwrap();
    let store = Recovery::open(&StoreOptions::new(place.path())).unwrap().serve(|_| {}).unwrap();
    let (mut traffic, mut picture) = (Traffic::new(11), Picture::default());
    for _ in 0..200 {
        let changes = traffic.commit(&mut picture);
        while store.next_id().0 < traffic.next_id {}
        store.append(changes);
    }
    drop(store);
    let mut lines = Vec::new();
    tools::export(place.path(), &mut lines).unwrap();
    let elsewhere = SqliteDisk::default();
    let stats = tools::import(elsewhere.0.path(), &mut &lines[..]).unwrap();
    assert_eq!(stats.sessions, picture.sessions.len());
    let mut again = Vec::new();
    tools::export(elsewhere.0.path(), &mut again).unwrap();
    assert_eq!(String::from_utf8(again).unwrap(), String::from_utf8(lines).unwrap());
    let mut ledger = load(elsewhere.engine(), CheckpointBounds::default());
    assert_eq!(read(&mut ledger), picture);
    assert!(ledger.next_id() >= MessageId(traffic.next_id));
}

#[test]
fn an_import_says_what_is_wrong_with_a_line_and_fills_no_store_twice() {
    let first = r#"{"kind":"store","format":1,"next_id":5}"#;
    let whole = format!("{first}\n{{\"kind\":\"end\",\"lines\":1}}");
    for (lines, expected) in [
        ("{}".to_string(), "line 1"),
        (format!("{first}\n{first}"), "line 2: an export begins"),
        (r#"{"kind":"store","format":9,"next_id":5}"#.into(), "format 9 is later"),
        (
            format!(
                "{first}\n{{\"kind\":\"message\",\"id\":1,\"topic\":\"a/#\",\"properties\":\"\",\"payload\":\"\",\"qos\":1,\"retain\":false,\"stored_at\":0,\"expires_at\":null}}"
            ),
            "line 2",
        ),
        (
            format!(
                "{first}\n{{\"kind\":\"retained\",\"retained\":{{\"tenant\":\"t\",\"topic\":\"a\"}},\"message\":{{\"id\":1,\"qos\":1,\"retain\":true,\"size\":5,\"expires_at\":0,\"identifiers\":[]}}}}"
            ),
            "messages are missing",
        ),
        (first.replace('5', "18446744073709551615"), "line 1: the id 18446744073709551615"),
        (first.into(), "cut off after line 1"),
        (
            format!("{first}\n{{\"kind\":\"end\",\"lines\":2}}"),
            "line 2: 2 lines were written, and 1",
        ),
        (format!("{whole}\n{whole}"), "line 3: an export ends"),
    ] {
        let lines = match lines.contains("\"retained\"") {
            true => format!("{lines}\n{{\"kind\":\"end\",\"lines\":2}}"),
            false => lines,
        };
        let place = tempfile::tempdir().unwrap();
        let error = tools::import(place.path(), &mut lines.as_bytes()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        let left = tools::stats(place.path());
        assert!(matches!(left, Err(OpenError::Missing(_))), "there is half a store: {left:?}");
        tools::import(place.path(), &mut whole.as_bytes()).unwrap();
        let again = tools::import(place.path(), &mut whole.as_bytes());
        assert!(matches!(again, Err(ImportError::NotEmpty)));
        assert_eq!(tools::stats(place.path()).unwrap().messages, 0, "the first one stays");
    }
}

/// Evidence is not to be destroyed by a look at it.
#[test]
fn looking_at_a_store_changes_no_byte_of_it() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path();
    let store = Recovery::open(&StoreOptions::new(path)).unwrap().serve(|_| {}).unwrap();
    append_durably(&*store, vec![opened("a"), queued(store.next_id(), b"one", &["a"])]);
    // As a crash leaves it: all of it in the write-ahead log.
    let copy = tempfile::tempdir().unwrap();
    let names = ["store.sqlite", "store.sqlite-wal", "mark"];
    let read = |name| std::fs::read(copy.path().join(name)).unwrap();
    for name in names {
        std::fs::copy(path.join(name), copy.path().join(name)).unwrap();
    }
    let before = names.map(read);
    assert!(before[1].len() > 1_000, "there is a log");
    assert_eq!(tools::check(copy.path()).unwrap().damages, []);
    assert_eq!(tools::stats(copy.path()).unwrap().messages, 1);
    tools::export(copy.path(), &mut Vec::new()).unwrap();
    assert!(names.map(read) == before, "the files are as they were");
    assert_eq!(copy.path().read_dir().unwrap().count(), names.len(), "and no others");
    assert!(tools::check(path).unwrap_err().to_string().contains("another process uses"));
}

#[test]
fn an_export_to_a_pipe_that_breaks_is_an_error() {
    struct Broken;
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let place = tempfile::tempdir().unwrap();
    Recovery::open(&StoreOptions::new(place.path())).unwrap();
    assert!(matches!(tools::export(place.path(), &mut Broken), Err(ImportError::Io(_))));
}

#[test]
fn where_no_store_is_none_is_made() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("typo");
    assert!(matches!(tools::check(&path), Err(OpenError::Missing(_))));
    assert!(tools::stats(&path).is_err() && tools::compact(&path).is_err());
    assert!(tools::repair(&path).is_err() && tools::export(&path, &mut Vec::new()).is_err());
    assert!(!path.exists());
}

#[test]
fn compacting_gives_space_back_and_forgets_nothing() {
    let place = tempfile::tempdir().unwrap();
    let store = Recovery::open(&StoreOptions::new(place.path())).unwrap().serve(|_| {}).unwrap();
    let ids: Vec<_> = (0..200).map(|_| store.next_id()).collect();
    let messages = ids.iter().map(|id| queued(*id, &[7; 5_000], &["a"]));
    append_durably(&*store, [opened("a")].into_iter().chain(messages).collect());
    append_durably(&*store, ids[1..].iter().map(|id| dequeued(*id, "a")).collect());
    drop(store);
    let before = tools::stats(place.path()).unwrap();
    assert!(before.free_bytes > 900_000, "{before:?}");
    tools::compact(place.path()).unwrap();
    let after = tools::stats(place.path()).unwrap();
    assert!(after.bytes < before.bytes - 900_000, "{after:?}");
    assert_eq!((after.sessions, after.messages, after.references), (1, 1, 1));
}

#[test]
fn every_file_is_its_owners_alone() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("store");
    let store = Recovery::open(&StoreOptions::new(&path)).unwrap().serve(|_| {}).unwrap();
    append_durably(&*store, vec![opened("a")]);
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    let files: Vec<_> = path.read_dir().unwrap().map(|it| it.unwrap().path()).collect();
    assert!(files.len() >= 5, "{files:?}");
    assert!(files.iter().all(|it| mode(it) == 0o600), "{files:?}");
}
