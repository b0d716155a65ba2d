//! What the broker's system calls show: a message is on disk before it is acknowledged.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::Command;

use hookmq_codec::{Packet, ProtocolVersion, Publish, Qos};
use hookmq_tests::client::{Client, packet_id, publish};
use hookmq_tests::faults::strace;
use hookmq_tests::trace::{Marked, Trace, WRITING};

use crate::Stage;
use crate::published::LONG_QUEUE;

const PUBLISHERS: u32 = 20;

/// Unacknowledged messages of each publisher.
const WINDOW: u32 = 50;

/// How many acknowledgements are looked at, unless `HOOKMQ_ORDER_ACKNOWLEDGEMENTS` says otherwise.
const ACKNOWLEDGEMENTS: u32 = 20_000;

fn publish_all(client: &mut Client, publisher: u32, messages: u32) {
    let (mut sent, mut acknowledged) = (0, 0);
    while acknowledged < messages {
        let mut bytes = Vec::new();
        while sent < messages.min(acknowledged + WINDOW) {
            sent += 1;
            let payload = Marked { publisher, number: sent }.text().into_bytes();
            let message = publish("t", &payload, Qos::AtLeastOnce);
            let packet_id = Some(packet_id((sent % 0xffff + 1) as u16));
            bytes.extend(client.encode(&Packet::Publish(Publish { packet_id, ..message })));
        }
        client.send_raw(&bytes);
        let answer = client.receive();
        acknowledged += 1;
        let code = answer.acknowledges(packet_id((acknowledged % 0xffff + 1) as u16));
        assert!(!code.is_failure(), "{code:?}");
    }
}

/// Lets publishers fill the queue of a client that is away, and gives what the broker did.
fn traced(mut stage: Stage, acknowledgements: u32) -> Option<Trace> {
    stage.away("s", "t", Qos::AtLeastOnce);
    assert!(stage.broker.terminate().success());
    let mut strace = strace()?;
    let pipe = stage.broker.directory().join("trace");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    strace.arg("-o").arg(&pipe);
    strace.args(["-e", &format!("trace=sendto,writev,write,{WRITING}")]);
    stage.broker.start_under(strace);
    let reading = std::thread::spawn(move || {
        let mut trace = Trace::default();
        let lines = BufReader::with_capacity(1 << 20, File::open(pipe).unwrap()).lines();
        lines.for_each(|line| trace.line(&line.unwrap()));
        trace
    });
    // One by one, for the trace tells them apart by the order of their CONNACKs.
    let clients: Vec<_> = (0..PUBLISHERS).map(|it| stage.client(&format!("p-{it}"))).collect();
    std::thread::scope(|threads| {
        for (publisher, mut client) in (0..).zip(clients) {
            threads
                .spawn(move || publish_all(&mut client, publisher, acknowledgements / PUBLISHERS));
        }
    });
    stage.broker.kill();
    Some(reading.join().unwrap())
}

#[test]
fn every_acknowledgement_leaves_behind_a_sync_that_began_behind_the_write_of_its_message() {
    let wanted = std::env::var("HOOKMQ_ORDER_ACKNOWLEDGEMENTS");
    let wanted = wanted.map_or(ACKNOWLEDGEMENTS, |it| it.parse().expect("a number"));
    for version in [ProtocolVersion::V5, ProtocolVersion::V311] {
        let began = std::time::Instant::now();
        let Some(trace) = traced(Stage::new(version, LONG_QUEUE), wanted / 2) else { return };
        let Trace { acknowledged, early, durable, .. } = &trace;
        eprintln!(
            "MQTT {}: {acknowledged} acknowledgements in {:.0?}, {} of them early",
            version.name(),
            began.elapsed(),
            early.len()
        );
        assert_eq!(early.iter().take(5).collect::<Vec<_>>(), Vec::<&Marked>::new());
        let expected = u64::from(wanted / 2 / PUBLISHERS * PUBLISHERS);
        assert_eq!((*acknowledged, durable.len() as u64), (expected, expected));
    }
}

/// The test above sees what it is for.
#[test]
fn acknowledgements_that_do_not_wait_for_the_disk_are_seen_to_leave_before() {
    let sections = format!("{LONG_QUEUE}store: {{memory_listeners: [listener-1]}}\n");
    let Some(trace) = traced(Stage::new(ProtocolVersion::V5, &sections), 2000) else { return };
    assert_eq!(trace.acknowledged, 2000);
    assert!(!trace.early.is_empty());
}
