//! A system call of the store's fails once, and would succeed if it were tried again.

use hookmq_codec::{ProtocolVersion, Qos, ReasonCode};
use hookmq_tests::broker::OPEN_LISTENER;
use hookmq_tests::client::publish;
use hookmq_tests::faults::strace;
use hookmq_tests::trace::{Marked, Trace, WRITING};

use crate::Stage;
use crate::published::{LONG_QUEUE, expect_published, publish_until_closed};

const STORE: &str = "data/store";
const DATABASE: &str = "data/store/store.sqlite";
const LOG: &str = "data/store/store.sqlite-wal";
const MARK: &str = "data/store/mark";
const SYNC: &str = "fsync,fdatasync";

/// Starts the broker so that `fault` happens to its calls on `file`, as strace has it. Says whether that
/// is possible here.
fn start_with(stage: &mut Stage, file: &str, fault: &str) -> bool {
    let Some(mut strace) = strace() else { return false };
    let directory = stage.broker.directory();
    strace.arg("-P").arg(directory.join(file)).arg("-o").arg(directory.join("trace"));
    strace.args(["-e", &format!("trace=write,{WRITING}"), "-e", &format!("inject={fault}")]);
    stage.broker.start_under(strace);
    true
}

/// What the broker did with the file, once it has ended.
fn trace(stage: &Stage) -> Trace {
    let lines = std::fs::read_to_string(stage.broker.directory().join("trace")).unwrap();
    let mut trace = Trace::default();
    lines.lines().for_each(|line| trace.line(line));
    trace
}

/// A broker that has ended well, with a session of `s`.
fn prepared(version: ProtocolVersion) -> Stage {
    let mut stage = Stage::new(version, LONG_QUEUE);
    stage.away("s", "t", Qos::AtLeastOnce);
    assert!(stage.broker.terminate().success());
    stage
}

/// Under load, the `nth` of `calls` to `file` fails.
fn fails_under_load(version: ProtocolVersion, file: &str, calls: &str, nth: u32) {
    eprintln!("the {nth}. {calls} of {file}");
    let mut stage = prepared(version);
    if !start_with(&mut stage, file, &format!("{calls}:error=EIO:when={nth}")) {
        return;
    }
    let published = publish_until_closed(&mut stage.client("p"), 100 * 1024);
    assert!(published.acknowledged > 0, "it failed too early");
    assert!(!stage.broker.wait_for_end().success());
    let log = stage.broker.log();
    assert!(log.contains("nothing is acknowledged any more failure=the store has failed"), "{log}");
    let trace = trace(&stage);
    assert!(trace.fault.is_some(), "nothing failed");
    assert!(trace.behind_fault.is_empty(), "tried again: {:?}", trace.behind_fault);
    if file == LOG {
        for number in 1..=published.acknowledged {
            let message = Marked { publisher: 0, number };
            assert!(trace.durable.contains(&message), "{message:?} of {published:?}");
        }
    }
    stage.broker.start();
    expect_published(&mut stage.resume("s"), &published);
}

#[test]
fn a_broker_ends_and_tries_nothing_again_where_its_log_cannot_be_written() {
    fails_under_load(ProtocolVersion::V5, LOG, "pwrite64", 2501);
    fails_under_load(ProtocolVersion::V311, LOG, "pwrite64", 4002);
}

#[test]
fn a_broker_ends_and_tries_nothing_again_where_its_log_cannot_be_synced() {
    fails_under_load(ProtocolVersion::V5, LOG, SYNC, 6);
    fails_under_load(ProtocolVersion::V311, LOG, SYNC, 13);
}

#[test]
fn a_broker_ends_and_tries_nothing_again_where_its_database_cannot_be_written() {
    fails_under_load(ProtocolVersion::V311, DATABASE, "pwrite64", 700);
    fails_under_load(ProtocolVersion::V5, DATABASE, "ftruncate", 1);
    fails_under_load(ProtocolVersion::V311, DATABASE, SYNC, 1);
    fails_under_load(ProtocolVersion::V5, DATABASE, SYNC, 2);
}

#[test]
fn a_broker_ends_where_it_cannot_note_what_is_durable() {
    fails_under_load(ProtocolVersion::V5, MARK, "pwrite64", 5);
}

#[test]
fn a_broker_that_finds_no_room_for_the_note_of_what_is_durable_waits_for_it() {
    let mut stage = prepared(ProtocolVersion::V5);
    if !start_with(&mut stage, MARK, "pwrite64:error=ENOSPC:when=4..6") {
        return;
    }
    let mut publisher = stage.client("p");
    for _ in 0..10 {
        let code = publisher.publish(publish("t", b"x", Qos::AtLeastOnce));
        // While it waits, messages are refused.
        assert!(matches!(code, ReasonCode::Success | ReasonCode::QuotaExceeded), "{code:?}");
    }
    stage.broker.wait_for_log("the disk is full: no new messages are taken");
    stage.broker.wait_for_log("messages are taken again");
    let code = publisher.publish(publish("t", b"last", Qos::AtLeastOnce));
    assert_eq!(code, ReasonCode::Success);
    assert!(stage.broker.terminate().success());
    assert!(trace(&stage).fault.is_some());
}

#[test]
fn a_broker_does_not_start_where_the_names_of_its_files_cannot_be_made_durable() {
    // Before the store's files are opened, and behind it.
    for nth in 1..=2 {
        let mut stage = Stage::new(ProtocolVersion::V5, "");
        stage.away("s", "t", Qos::AtLeastOnce);
        stage.client("p").publish(publish("t", b"x", Qos::AtLeastOnce));
        assert!(stage.broker.terminate().success());
        if !start_with(&mut stage, STORE, &format!("{SYNC}:error=EIO:when={nth}")) {
            return;
        }
        assert!(!stage.broker.wait_for_end().success());
        let log = stage.broker.log();
        assert!(log.contains("Input/output error"), "{log}");
        assert!(!log.contains("listening"), "{log}");
        stage.broker.start();
        stage.resume("s").expect_message("t", b"x");
    }
}

#[test]
fn a_broker_that_can_set_nothing_aside_for_a_full_disk_says_so_and_serves() {
    let mut stage = prepared(ProtocolVersion::V5);
    let reserve = stage.broker.directory().join("data/store/reserve");
    std::fs::remove_file(&reserve).unwrap();
    if !start_with(&mut stage, "data/store/reserve", "write:error=EIO:when=3") {
        return;
    }
    stage.broker.address(OPEN_LISTENER);
    assert!(stage.broker.log().contains("no space can be set aside"), "{}", stage.broker.log());
    assert!(!reserve.exists(), "half of it is none");
    let code = stage.client("p").publish(publish("t", b"x", Qos::AtLeastOnce));
    assert_eq!(code, ReasonCode::Success);
}
