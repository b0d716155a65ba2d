//! A store that is damaged, in use, or fails.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use hookmq_codec::{Connect, ProtocolVersion, Qos, Will};
use hookmq_tests::client::{connect, connect_to_session, publish, will};
use hookmq_tests::wait::wait_until;

use crate::published::{LONG_QUEUE, expect_published, publish_until_closed};
use crate::{Stage, in_both_versions};

#[test]
fn a_broker_whose_disk_fails_ends_and_what_it_has_acknowledged_is_there() {
    in_both_versions(|stage| {
        *stage = Stage::new(stage.version, LONG_QUEUE);
        stage.away("s", "t", Qos::AtLeastOnce);
        assert!(stage.broker.terminate().success());
        stage.broker.start_on_failing_disk(12 << 10);
        let published = publish_until_closed(&mut stage.client("p"), 100 * 1024);
        assert!(published.acknowledged > 0, "the disk failed too early");
        assert!(!stage.broker.wait_for_end().success());
        let log = stage.broker.log();
        assert!(log.contains("nothing is acknowledged any more"), "{log}");
        stage.broker.start();
        expect_published(&mut stage.resume("s"), &published);
    });
}

#[test]
fn a_broker_that_is_told_to_stop_under_load_keeps_what_it_has_acknowledged_and_fires_no_wills() {
    in_both_versions(|stage| {
        *stage = Stage::new(stage.version, LONG_QUEUE);
        stage.away("witness", "will", Qos::AtLeastOnce);
        stage.away("s", "t", Qos::AtLeastOnce);
        let version = stage.version;
        let mortal = |client| {
            let will = Will { qos: Qos::AtLeastOnce, ..will("will", b"gone") };
            stage.connect(Connect { will: Some(will), ..client })
        };
        let mut publisher = mortal(connect(version, "p"));
        let _passing = mortal(connect(version, "passing"));
        let _lasting = mortal(connect_to_session(version, "lasting", 3600));
        let published = std::thread::scope(|threads| {
            let publishing = threads.spawn(|| publish_until_closed(&mut publisher, 2000));
            wait_until("messages are on their way", || {
                (stage.sessions().iter().any(|it| it.0 == "s" && it.1 > 100)).then_some(())
            });
            assert!(stage.broker.terminate().success());
            publishing.join().unwrap()
        });
        stage.broker.start();
        expect_published(&mut stage.resume("s"), &published);
        stage.resume("witness").expect_nothing();
    });
}

#[test]
fn a_damaged_store_is_told_and_not_served() {
    let mut stage = Stage::new(ProtocolVersion::V5, "");
    stage.away("s", "t", Qos::AtLeastOnce);
    stage.client("p").publish(publish("t", &[7; 5000], Qos::AtLeastOnce));
    assert!(stage.broker.terminate().success());
    let file = stage.broker.directory().join("data/store/store.sqlite");
    let bytes = std::fs::read(&file).unwrap();
    let place = bytes.windows(100).position(|it| it == [7; 100]).expect("the payload is there");
    let open = OpenOptions::new().write(true).open(&file).unwrap();
    open.write_all_at(&[8], place as u64 + 50).unwrap();
    stage.broker.start();
    assert!(!stage.broker.wait_for_end().success());
    let log = stage.broker.log();
    assert!(log.contains("the store is damaged") && log.contains("checksum"), "{log}");
}
