//! Clients that would have the broker hold memory for them.

use hookmq_codec::{Packet, ProtocolVersion, Qos};
use hookmq_tests::client::{Client, publish};
use hookmq_tests::scene::{Scene, in_both_versions, in_both_versions_within};
use hookmq_tests::wait::wait_until;

use crate::{Bystanders, MIB, metric};

#[test]
fn announced_packets_cost_nothing_until_they_come() {
    in_both_versions(|scene| {
        let mut bystanders = Bystanders::new(scene);
        bystanders.exchange();
        let before = scene.broker.resident_bytes();
        let idle: Vec<_> = (0..500)
            .map(|number| {
                let mut client = scene.client(&format!("idle {number}"));
                // A PUBLISH of a million bytes; not more than its topic comes.
                client.send_raw(b"\x30\xC0\x84\x3D\0\x01t");
                client
            })
            .collect();
        let _strangers: Vec<_> = (0..300)
            .map(|_| {
                let mut stranger = Client::open(scene.address, scene.version);
                stranger.send_raw(b"\x10\xC0\x84\x3D\0\x04MQTT");
                stranger
            })
            .collect();
        // Those who came before have been read when a later one is answered.
        bystanders.exchange();
        let grown = scene.broker.resident_bytes().saturating_sub(before);
        assert!(grown < 24 * MIB, "{} connections cost {grown} bytes", idle.len());
    });
}

#[test]
fn a_client_that_does_not_read_costs_itself_messages_and_nobody_else() {
    for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
        let scene = Scene::new(version, "queue_messages: 100");
        let mut stalled = scene.client("stalled");
        stalled.subscribe("t", Qos::AtMostOnce);
        let mut reading = scene.client("reading");
        reading.subscribe("t", Qos::AtMostOnce);
        let mut publisher = scene.client("publisher");
        let mut payload = vec![0; 64 << 10];
        let before = scene.broker.resident_bytes();
        // Far more than the sockets between them can hold.
        for number in 0..1000u32 {
            payload[..4].copy_from_slice(&number.to_be_bytes());
            publisher.publish(publish("t", &payload, Qos::AtMostOnce));
            reading.expect_message("t", &payload);
        }
        let grown = scene.broker.resident_bytes().saturating_sub(before);
        assert!(grown < 40 * MIB, "64 MB for a stalled client cost {grown} bytes");
        wait_until("what was dropped is counted", || {
            (metric(&scene, "hookmq_messages_overflowed_total") > 0).then_some(())
        });
        // Once it reads, it gets what was kept, in order, and what comes then.
        let mut last = None;
        publisher.publish(publish("t", b"end", Qos::AtMostOnce));
        stalled.send(&Packet::PingReq);
        let mut received = 0;
        while let Packet::Publish(message) = stalled.receive().packet() {
            if message.payload == b"end" {
                break;
            }
            let number = u32::from_be_bytes(message.payload[..4].try_into().unwrap());
            assert!(last < Some(number), "{number} after {last:?}");
            last = Some(number);
            received += 1;
        }
        assert!(received < 1000);
    }
}

#[test]
fn a_session_is_taken_over_from_a_client_that_does_not_read() {
    in_both_versions(|scene| {
        let mut stalled = scene.session("stalled");
        stalled.subscribe("t", Qos::AtMostOnce);
        let mut publisher = scene.client("publisher");
        let payload = vec![0; 64 << 10];
        for _ in 0..300 {
            publisher.publish(publish("t", &payload, Qos::AtMostOnce));
        }
        publisher.expect_nothing();
        let mut successor = scene.session("stalled");
        publisher.publish(publish("t", b"new", Qos::AtMostOnce));
        successor.expect_message("t", b"new");
    });
}

#[test]
fn many_clients_that_do_not_read_cost_no_more_than_their_queues() {
    in_both_versions_within("queue_bytes: 262144", |scene| {
        let mut bystanders = Bystanders::new(scene);
        bystanders.exchange();
        let before = scene.broker.resident_bytes();
        let stalled: Vec<_> = (0..50)
            .map(|number| {
                let mut client = scene.client(&format!("stalled {number}"));
                client.subscribe("t", Qos::AtMostOnce);
                client
            })
            .collect();
        let mut publisher = scene.client("publisher");
        let payload = vec![0; 16 << 10];
        // 16 MB for each, 800 MB for all.
        for _ in 0..1000 {
            publisher.publish(publish("t", &payload, Qos::AtMostOnce));
        }
        publisher.expect_nothing();
        let grown = scene.broker.resident_bytes().saturating_sub(before);
        assert!(grown < 64 * MIB, "{} stalled clients cost {grown} bytes", stalled.len());
        assert!(metric(scene, "hookmq_messages_overflowed_total") > 0);
        bystanders.exchange();
    });
}

/// Fifty clients that do not read, each of which may have as much as the broker in all.
#[test]
fn where_memory_is_short_long_queues_lose_what_nobody_is_guaranteed_and_others_notice_nothing() {
    const BOUND: u64 = 150 * MIB;
    let limits = format!("memory_bytes: {BOUND}\nqueue_bytes: {BOUND}\nwrite_timeout_ms: 600000");
    let scene = Scene::new(ProtocolVersion::V5, &limits);
    let mut bystanders = Bystanders::new(&scene);
    let mut away = scene.session("away");
    away.subscribe("kept", Qos::AtLeastOnce);
    away.vanish();
    let stalled: Vec<_> = (0..50)
        .map(|number| {
            let mut client = scene.client(&format!("stalled {number}"));
            // Nobody shares the messages of another.
            client.subscribe(&format!("t/{number}"), Qos::AtMostOnce);
            client
        })
        .collect();
    let mut publisher = scene.client("publisher");
    let payload = vec![0; 16 << 10];
    // 16 MB for each, 800 MB for all.
    for round in 0..1000 {
        for number in 0..stalled.len() {
            publisher.publish(publish(&format!("t/{number}"), &payload, Qos::AtMostOnce));
        }
        if round % 100 == 0 {
            publisher.publish(publish("kept", &payload, Qos::AtLeastOnce));
            bystanders.exchange();
        }
    }
    publisher.expect_nothing();
    let peak = scene.broker.peak_bytes();
    assert!(peak < BOUND + 64 * MIB, "{peak} bytes");
    assert!(metric(&scene, "hookmq_messages_overflowed_total") > 10_000);
    // What was guaranteed is there, and who had too much can go on.
    drop(stalled);
    wait_until("memory is there again", || {
        (metric(&scene, "hookmq_memory_short") == 0).then_some(())
    });
    let mut back = scene.session("away");
    for _ in 0..10 {
        let received = back.expect_message("kept", &payload);
        back.acknowledge(&received);
    }
    bystanders.exchange();
}

#[test]
fn where_memory_is_short_nobody_new_is_let_in() {
    let scene = Scene::new(ProtocolVersion::V5, "memory_bytes: 1");
    wait_until("it is noticed", || (metric(&scene, "hookmq_memory_short") == 1).then_some(()));
    Client::open(scene.address, scene.version).expect_closed();
    let shed = r#"hookmq_connections_shed_total{bound="memory_bytes"}"#;
    assert!(metric(&scene, shed) > 0);
}
