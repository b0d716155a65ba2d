//! A store that is damaged, in use, or fails.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use hookmq_codec::{ProtocolVersion, Qos};
use hookmq_tests::client::publish;
use hookmq_tests::wait::wait_until;

use crate::Stage;

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
    stage.broker.restart();
    wait_until("the broker ends", || (!stage.broker.is_running()).then_some(()));
    let log = stage.broker.log();
    assert!(log.contains("the store is damaged") && log.contains("checksum"), "{log}");
}
