//! Unix sockets: for whom they are, what they replace, what they leave.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;

use hookmq_codec::ProtocolVersion;
use hookmq_tests::broker::{Broker, directory, hookmq};
use hookmq_tests::client::{Client, connect};
use hookmq_tests::doors::{Doors, Transport};
use hookmq_tests::wire::unix;

fn configuration(mode: &str) -> String {
    format!(
        "data_dir: data
listeners:
  - {{name: local, bind: \"unix://run/mqtt.sock\"{mode}}}
pipeline:
  connect: [{{builtin: anonymous}}]
  authorize: [{{builtin: open}}]
"
    )
}

#[test]
fn the_socket_is_its_owners_and_goes_with_the_broker() {
    let mut doors = Doors::open(ProtocolVersion::V5, "", "");
    let file = doors.socket_file();
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut client = doors.client(Transport::Unix, "local");
    client.expect_nothing();
    assert!(doors.broker.terminate().success());
    assert!(!file.exists());
}

#[test]
fn what_a_broker_that_was_killed_has_left_is_replaced() {
    let directory = directory();
    let file = directory.path().join("run/mqtt.sock");
    fs::create_dir(directory.path().join("run")).unwrap();
    drop(UnixListener::bind(&file).unwrap());
    assert!(file.exists());
    let broker = Broker::with_config(&configuration(", mode: \"0666\""), directory);
    broker.wait_for_log("listening listener=\"local\"");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o666);
    for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
        Client::over(unix(&file), version).admitted(connect(version, "a")).expect_nothing();
    }
}

#[test]
fn a_file_that_is_no_stale_socket_stays() {
    let directory = directory();
    let file = directory.path().join("run/mqtt.sock");
    fs::create_dir(directory.path().join("run")).unwrap();
    let config = directory.path().join("hookmq.yaml");
    fs::write(&config, configuration("")).unwrap();
    let refusal = || {
        let output = hookmq().args(["run", "--config"]).arg(&config).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    fs::write(&file, "precious").unwrap();
    assert!(refusal().contains("there is a file that is no socket"));
    assert_eq!(fs::read(&file).unwrap(), b"precious");
    fs::remove_file(&file).unwrap();
    let _somebody = UnixListener::bind(&file).unwrap();
    assert!(refusal().contains("somebody listens there"));
    assert!(fs::metadata(&file).unwrap().file_type().is_socket());
}
