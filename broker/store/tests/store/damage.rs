//! What was written and is not there as it was is told, and nothing is served behind the operator's back.

use std::fs;
use std::path::Path;

use hookmq_store::{Damage, MessageId, OnDamage, OpenError, Recovery, Store, StoreOptions, tools};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::random::{Random, seeds};
use crate::scenes::{append_durably, opened, queued, retained, session, subscribed};

/// A store with a session, three messages, a retained one; its log behind an older checkpoint.
fn store() -> TempDir {
    let place = tempfile::tempdir().unwrap();
    let open = || Recovery::open(&StoreOptions::new(place.path())).unwrap().serve(|_| {}).unwrap();
    let store = open();
    append_durably(&*store, vec![opened("a"), opened("b"), subscribed("a", "a/+")]);
    append_durably(&*store, vec![queued(store.next_id(), b"one", &["a", "b"])]);
    drop(store);
    let store = open();
    append_durably(&*store, vec![queued(store.next_id(), b"two", &["b"])]);
    append_durably(&*store, vec![retained(store.next_id(), b"three")]);
    // Ended without a checkpoint, as by a crash.
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(place.path()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

fn change(place: &Path, sql: &str) {
    let connection = Connection::open(place.join("store.sqlite")).unwrap();
    assert!(connection.execute(sql, []).unwrap() > 0, "{sql} changes nothing");
}

fn damages(place: &Path) -> Vec<Damage> {
    match Recovery::open(&StoreOptions::new(place)) {
        Err(OpenError::Damaged(damages)) => damages,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was opened"),
    }
}

#[test]
fn a_whole_store_is_whole() {
    let place = store();
    let report = tools::check(place.path()).unwrap();
    assert_eq!((report.damages, report.engine), (vec![], vec![]));
    assert_eq!((report.stats.sessions, report.stats.messages, report.stats.references), (2, 3, 4));
}

#[test]
fn a_damaged_message_is_told_with_those_who_are_due_it() {
    let place = store();
    change(
        place.path(),
        "UPDATE body SET record = CAST(substr(record, 1, length(record) - 1) || x'77' AS BLOB) WHERE key = (SELECT min(key) FROM body)",
    );
    let [Damage::Message { holders, .. }] = &damages(place.path())[..] else { panic!() };
    assert_eq!(holders, &[r#"session "a" of "t""#, r#"session "b" of "t""#]);
    let text = damages(place.path())[0].to_string();
    assert!(text.contains("checksum") && text.contains("session \"a\""), "{text}");
    assert_eq!(tools::check(place.path()).unwrap().damages, damages(place.path()));
}

#[test]
fn a_lost_message_is_told() {
    let place = store();
    change(place.path(), "DELETE FROM body WHERE key = (SELECT max(key) FROM body)");
    let [Damage::NoMessage { holders, .. }] = &damages(place.path())[..] else { panic!() };
    assert_eq!(holders, &[r#"retained "a/b" of "t""#]);
}

#[test]
fn a_message_in_the_place_of_another_is_told() {
    let place = store();
    change(
        place.path(),
        "UPDATE body SET record = (SELECT record FROM body ORDER BY key DESC LIMIT 1) WHERE key = (SELECT min(key) FROM body)",
    );
    assert!(matches!(damages(place.path())[..], [Damage::Message { .. }]));
}

#[test]
fn a_damaged_log_a_gap_and_a_damaged_checkpoint_are_told() {
    for (sql, expected) in [
        (
            "UPDATE log SET record = x'0100000000' WHERE key = (SELECT min(key) FROM log)",
            "the log up to commit 3: its checksum",
        ),
        (
            "DELETE FROM log WHERE key = (SELECT min(key) FROM log)",
            "nothing between the commits 2 and 4",
        ),
        ("UPDATE checkpoint SET record = x'01'", "piece 0 of the checkpoint: its checksum"),
        ("DELETE FROM checkpoint", "piece 0 of the checkpoint is missing"),
        ("UPDATE head SET record = x'01'", "the head of the store: its checksum"),
        ("DELETE FROM head", "the head of the store is missing"),
    ] {
        let place = store();
        change(place.path(), sql);
        let text = damages(place.path())[0].to_string();
        assert!(text.contains(expected), "{sql}: {text}");
    }
}

#[test]
fn a_lost_tail_is_told_even_where_all_else_fits() {
    let place = store();
    change(place.path(), "DELETE FROM log WHERE key = (SELECT max(key) FROM log)");
    let told = damages(place.path());
    assert!(told.contains(&Damage::LostTail { stored: 3, durable: 4 }), "{told:?}");
    // The whole file as it was a while ago: a disk that lied, or a backup put back.
    let place = store();
    fs::remove_file(place.path().join("store.sqlite-wal")).unwrap();
    let told = damages(place.path());
    assert_eq!(told, [Damage::LostTail { stored: 2, durable: 4 }]);
}

#[test]
fn the_rest_is_served_where_the_operator_says_so() {
    let place = store();
    change(place.path(), "UPDATE body SET record = x'01' WHERE key = (SELECT min(key) FROM body)");
    let options =
        StoreOptions { on_damage: OnDamage::ServeRest, ..StoreOptions::new(place.path()) };
    let mut recovery = Recovery::open(&options).unwrap();
    let [Damage::Message { id, .. }] = recovery.damages()[..] else { panic!() };
    let state = recovery.index().session(&session("b")).unwrap();
    assert!(state.queue.find(id).is_none());
    let left = state.queue.iter().next().unwrap().id();
    assert_eq!(recovery.message(left).unwrap().message.payload(), b"two");
    drop(recovery);
    let report = tools::check(place.path()).unwrap();
    assert_eq!((report.damages, report.engine), (vec![], vec![]));
}

#[test]
fn a_store_without_its_tail_is_served_from_behind_it_once_repaired() {
    let place = store();
    fs::remove_file(place.path().join("store.sqlite-wal")).unwrap();
    assert_eq!(tools::repair(place.path()).unwrap().len(), 1);
    let store = Recovery::open(&StoreOptions::new(place.path())).unwrap().serve(|_| {}).unwrap();
    assert!(append_durably(&*store, vec![opened("c")]).0 > 4, "no commit has a number twice");
}

#[test]
fn a_later_version_is_not_touched() {
    let place = store();
    Connection::open(place.path().join("store.sqlite"))
        .unwrap()
        .pragma_update(None, "user_version", 2)
        .unwrap();
    let Err(OpenError::Engine(error)) = Recovery::open(&StoreOptions::new(place.path())) else {
        panic!("it was opened")
    };
    assert!(error.to_string().contains("version 2"), "{error}");
}

#[test]
fn another_file_is_not_taken_for_a_store() {
    let place = tempfile::tempdir().unwrap();
    let other = Connection::open(place.path().join("store.sqlite")).unwrap();
    other.execute_batch("PRAGMA user_version = 1; CREATE TABLE log (key INTEGER)").unwrap();
    drop(other);
    assert!(matches!(Recovery::open(&StoreOptions::new(place.path())), Err(OpenError::Engine(_))));
}

#[test]
fn two_brokers_do_not_share_a_store() {
    let place = tempfile::tempdir().unwrap();
    let options = StoreOptions::new(place.path());
    let first = Recovery::open(&options).unwrap();
    let Err(OpenError::Directory(error)) = Recovery::open(&options) else { panic!("two have it") };
    assert!(error.to_string().contains("another process uses this store"), "{error}");
    drop(first);
    Recovery::open(&options).unwrap();
}

/// Every page of the file is under somebody's checksum, or nobody needs it.
#[test]
fn a_flipped_bit_in_the_file_is_never_silent() {
    let place = store();
    tools::compact(place.path()).unwrap();
    let path = place.path().join("store.sqlite");
    let whole = fs::read(&path).unwrap();
    let mut expected = Vec::new();
    tools::export(place.path(), &mut expected).unwrap();
    let mut told = 0;
    for seed in seeds(300) {
        let mut random = Random::new(seed);
        let mut rotten = whole.clone();
        let bit = random.below(rotten.len() * 8);
        rotten[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, rotten).unwrap();
        let mut found = Vec::new();
        match tools::export(place.path(), &mut found) {
            Ok(()) => assert_eq!(found, expected, "bit {bit}"),
            Err(_) => told += 1,
        }
        let _ = fs::remove_file(place.path().join("store.sqlite-wal"));
    }
    assert!(told > 0, "some bits matter");
}

#[test]
fn a_message_that_rots_while_the_store_is_served_is_told_with_the_page() {
    let place = store();
    change(place.path(), "UPDATE body SET record = x'01' WHERE key = (SELECT min(key) FROM body)");
    let options =
        StoreOptions { verify: hookmq_store::Verify::Index, ..StoreOptions::new(place.path()) };
    let store = Recovery::open(&options).unwrap().serve(|_| {}).unwrap();
    let queue = hookmq_store::QueueKey::Session(session("b"));
    let page = crate::scenes::page(&*store, queue, MessageId(0), 10);
    assert_eq!(page.deliveries.len(), 1);
    assert!(matches!(page.damaged[..], [Damage::Message { .. }]));
}
