//! Every sync takes long: publishers wait for it, and nobody else does.

use hookmq_codec::{Packet, ProtocolVersion, Publish, Qos};
use hookmq_tests::broker::{Broker, directory};
use hookmq_tests::client::{Client, connect, packet_id, publish};
use hookmq_tests::faults::strace;
use hookmq_tests::wait::wait_until;

use crate::Stage;
use crate::published::{expect_numbers, send};

/// Lets each sync of the store take so long; says whether that is possible here.
fn start_with_slow_syncs(broker: &mut Broker, milliseconds: u32) -> bool {
    let Some(mut strace) = strace() else { return false };
    let slow = format!("inject=fsync,fdatasync:delay_enter={}", milliseconds * 1000);
    strace.args(["-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", &slow, "-P"]);
    strace.arg(broker.directory().join("data/store/store.sqlite-wal"));
    broker.start_under(strace);
    true
}

#[test]
fn publishers_are_not_read_while_the_disk_does_not_keep_up_and_subscribers_go_on() {
    const WAITING: u32 = 300;
    const BOUND: u64 = 50;
    let sections =
        format!("store: {{queued_changes: {BOUND}}}\nlimits: {{queue_messages: 100000}}\n");
    let mut stage = Stage::new(ProtocolVersion::V5, &sections);
    stage.away("s", "t", Qos::AtLeastOnce);
    stage.away("far", "flood", Qos::AtLeastOnce);
    let mut publisher = stage.client("p");
    for number in 1..=WAITING {
        send(&mut publisher, number, 0);
        publisher.receive();
    }
    assert!(stage.broker.terminate().success());
    if !start_with_slow_syncs(&mut stage.broker, 300) {
        return;
    }
    let mut flooding: Vec<_> = (0..4).map(|it| stage.client(&format!("p-{it}"))).collect();
    let mut subscriber = stage.resume("s");
    // As much as each may have sent without an acknowledgement, and more than one turn reads.
    flooding.iter_mut().for_each(|client| flood(client, 1000));
    let admin = stage.broker.admin();
    let wait_until_busy = |what| {
        let busy = "store_room{state=\"busy\"}";
        wait_until(what, || (admin.metric(busy) == 1).then_some(()));
    };
    wait_until_busy("publishers wait");
    expect_numbers(&mut subscriber, 1..=WAITING);
    let queued = admin.metric("store_queued_changes");
    assert!(queued < BOUND + 4 * 200, "more than each connection had begun: {queued}");
    wait_until_busy("publishers still wait");
    for client in &mut flooding {
        for id in 1..=1000 {
            assert!(!client.receive().acknowledges(packet_id(id)).is_failure());
        }
    }
}

fn flood(client: &mut Client, messages: u16) {
    let payload = [0; 1000];
    let message = |id| Publish {
        packet_id: Some(packet_id(id)),
        ..publish("flood", &payload, Qos::AtLeastOnce)
    };
    let bytes: Vec<u8> =
        (1..=messages).flat_map(|id| client.encode(&Packet::Publish(message(id)))).collect();
    client.try_send_raw(&bytes);
}

#[test]
fn clients_of_a_listener_for_memory_do_not_wait_for_the_disk() {
    let yaml = "data_dir: data
listeners:
  - {name: patient, bind: \"tcp://127.0.0.1:0\"}
  - {name: hasty, bind: \"tcp://127.0.0.1:0\"}
store: {memory_listeners: [hasty]}
pipeline:
  connect: [{builtin: anonymous}]
  authorize: [{builtin: open}]
";
    let broker = Broker::with_config(yaml, directory());
    let mut stage = Stage { broker, version: ProtocolVersion::V5 };
    let version = stage.version;
    let at = |stage: &Stage, listener: &str, client: &str| {
        Client::connect(stage.broker.address(listener), connect(version, client)).0
    };
    let away = hookmq_tests::client::connect_to_session(version, "s", 3600);
    let mut subscriber = Client::connect(stage.broker.address("hasty"), away).0;
    subscriber.subscribe("t", Qos::AtLeastOnce);
    subscriber.disconnect();
    assert!(stage.broker.terminate().success());
    if !start_with_slow_syncs(&mut stage.broker, 4000) {
        return;
    }
    let mut patient = at(&stage, "patient", "patient");
    let mut hasty = at(&stage, "hasty", "hasty");
    send(&mut patient, 1, 0);
    patient.expect_nothing();
    for _ in 0..20 {
        hasty.publish(publish("t", b"x", Qos::AtLeastOnce));
    }
    // The first sync, which the other waits for, is not over.
    patient.expect_nothing();
    assert_eq!(patient.receive().acknowledges(packet_id(1)) as u8, 0);
}
