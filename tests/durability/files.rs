//! What a store's files are like, and which are left alone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use hookmq_codec::{ProtocolVersion, Publish, PublishProperties, Qos};
use hookmq_tests::broker::hookmq;
use hookmq_tests::client::publish;
use hookmq_tests::wait::wait_until;

use crate::Stage;

#[test]
fn a_store_is_its_owners_alone_whatever_the_umask() {
    let mut stage = Stage::new(ProtocolVersion::V5, "");
    assert!(stage.broker.wait_for_log("listening").contains("listening"));
    assert!(stage.broker.terminate().success());
    let store = stage.broker.directory().join("data/store");
    fs::remove_dir_all(&store).unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", "umask 000; exec \"$0\" \"$@\""]);
    stage.broker.start_under(shell);
    stage.away("s", "t", Qos::AtLeastOnce);
    stage.client("p").publish(publish("t", b"x", Qos::AtLeastOnce));
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&store), 0o700);
    let files = fs::read_dir(&store).unwrap().map(|it| it.unwrap().path());
    let mut modes: Vec<_> =
        files.map(|it| (it.file_name().unwrap().to_owned(), mode(&it))).collect();
    modes.sort();
    let expected = ["lock", "mark", "reserve", "store.sqlite", "store.sqlite-wal"];
    assert_eq!(modes, expected.map(|it| (it.into(), 0o600)));
}

/// Runs this on the store's database, whose write-ahead log stays as it is.
fn sqlite(stage: &Stage, sql: &str) {
    let mut command = Command::new("sqlite3");
    command.arg(stage.broker.directory().join("data/store/store.sqlite"));
    let output = command.args([".dbconfig no_ckpt_on_close on", sql]).output();
    let output = output.expect("apt-get install sqlite3");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

/// The files that hold something, byte by byte.
fn contents(stage: &Stage) -> Vec<Vec<u8>> {
    let store = stage.broker.directory().join("data/store");
    let files = ["store.sqlite", "store.sqlite-wal", "mark"];
    files.map(|name| fs::read(store.join(name)).unwrap()).into()
}

#[test]
fn a_store_of_a_later_version_is_refused_and_stays_as_it_is() {
    // The second has a checksum that fits: CRC-32 over table, version, key and content.
    for (change, told) in [
        ("PRAGMA user_version = 2", "the store is of version 2, later than 1"),
        (
            "UPDATE head SET record = X'02D161726F00'",
            "it is of version 2, and this broker reads versions up to 1",
        ),
    ] {
        let mut stage = Stage::new(ProtocolVersion::V5, "");
        stage.away("s", "t", Qos::AtLeastOnce);
        stage.client("p").publish(publish("t", b"x", Qos::AtLeastOnce));
        stage.broker.kill();
        sqlite(&stage, change);
        let before = contents(&stage);
        for _ in 0..2 {
            stage.broker.start();
            assert!(!stage.broker.wait_for_end().success());
            let log = stage.broker.log();
            assert!(log.contains(told), "{log}");
            assert!(contents(&stage) == before, "{change}: it was changed");
        }
    }
}

#[test]
fn messages_that_have_expired_in_a_queue_leave_the_disk() {
    let mut stage = Stage::new(ProtocolVersion::V5, "");
    stage.away("s", "t", Qos::AtLeastOnce);
    let mut publisher = stage.client("p");
    for _ in 0..50 {
        let message = publish("t", b"x", Qos::AtLeastOnce);
        let properties =
            PublishProperties { message_expiry_interval: Some(1), ..message.properties.clone() };
        publisher.publish(Publish { properties, ..message });
    }
    publisher.publish(publish("t", b"lasting", Qos::AtLeastOnce));
    wait_until("the number is corrected", || (stage.sessions() == [("s".into(), 1)]).then_some(()));
    // Nothing is tidied up by an end or a start.
    stage.broker.kill();
    let mut stats = hookmq();
    stats.current_dir(stage.broker.directory()).args(["store", "stats", "--json"]);
    let told = stats.output().unwrap().stdout;
    let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
    assert_eq!((&told["messages"], &told["references"]), (&1.into(), &1.into()), "{told}");
    stage.broker.start();
    stage.resume("s").expect_message("t", b"lasting");
}
