//! A store that version 1 has written can be read for ever.

use std::fs;
use std::path::{Path, PathBuf};

use hookmq_store::engine::{Engine, SqliteEngine, Synchronous, Table};
use hookmq_store::{CheckpointBounds, MessageId, tools};

use crate::model::Traffic;
use crate::picture::Picture;
use crate::scenes::{NOW, load};

/// Pieces of a finished checkpoint, and a log behind it.
const BOUNDS: CheckpointBounds = CheckpointBounds { log: 4_000, piece: 700, trim: 20 };

fn fixture(name: &str) -> PathBuf {
    // Tests run in the folder of their package, wherever they were built.
    Path::new("tests/fixtures").join(name)
}

fn engine(place: &Path) -> Box<dyn Engine> {
    Box::new(SqliteEngine::open(&place.join("store.sqlite"), Synchronous::Normal).unwrap())
}

/// Every kind of change, as it was made for the fixture.
fn history() -> Vec<Vec<hookmq_store::Change>> {
    let (mut traffic, mut picture) = (Traffic::of_version_1(1), Picture::default());
    (0..400).map(|_| traffic.commit(&mut picture)).collect()
}

/// Makes the fixture of the version that is written now. For a new version only: what an earlier one
/// has written stays as it is.
#[test]
#[ignore = "writes into the repository"]
fn write_the_fixture() {
    let place = tempfile::tempdir().unwrap();
    let mut ledger = load(engine(place.path()), BOUNDS);
    for commits in history().chunks(3) {
        ledger.commit(commits, MessageId(100_000), NOW).unwrap();
    }
    drop(ledger);
    fs::create_dir_all(fixture("")).unwrap();
    fs::copy(place.path().join("store.sqlite"), fixture("version-1.sqlite")).unwrap();
    let mut lines = Vec::new();
    tools::export(place.path(), &mut lines).unwrap();
    fs::write(fixture("version-1.jsonl"), lines).unwrap();
}

#[test]
fn version_1_is_read() {
    let place = tempfile::tempdir().unwrap();
    fs::copy(fixture("version-1.sqlite"), place.path().join("store.sqlite")).unwrap();
    let mut engine = engine(place.path());
    for table in Table::ALL {
        let mut records = 0;
        let mut count = |_, _: &[u8]| {
            records += 1;
            true
        };
        engine.scan(table, 0..=u64::MAX, &mut count).unwrap();
        assert!(records > 0, "the fixture has no {table:?}");
    }
    let ledger = load(engine, CheckpointBounds::default());
    assert_eq!((ledger.last_commit(), ledger.next_id()), (400, MessageId(100_000)));
    drop(ledger);
    let mut lines = Vec::new();
    tools::export(place.path(), &mut lines).unwrap();
    let expected = fs::read_to_string(fixture("version-1.jsonl")).unwrap();
    assert_eq!(String::from_utf8(lines).unwrap(), expected);
}
