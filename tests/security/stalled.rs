//! Clients that do not read: they cost themselves, and only for a while.

use hookmq_codec::{Connect, ProtocolVersion, Qos};
use hookmq_tests::client::{connect, publish, will};
use hookmq_tests::doors::{Doors, Transport};
use hookmq_tests::scene::in_both_versions_within;

use super::Bystanders;

#[test]
fn a_client_that_does_not_read_is_lost_after_the_write_timeout() {
    in_both_versions_within("write_timeout_ms: 500", |scene| {
        let mut bystanders = Bystanders::new(scene);
        let mut heir = scene.client("heir");
        heir.subscribe("gone", Qos::AtMostOnce);
        let will = Some(will("gone", b"stalled"));
        let mut stalled = scene.connect(Connect { will, ..connect(scene.version, "stalled") });
        stalled.subscribe("flood", Qos::AtMostOnce);
        let mut publisher = scene.client("publisher");
        // More than the buffers of both ends of a socket.
        let payload = vec![0; 100_000];
        for _ in 0..200 {
            publisher.publish(publish("flood", &payload, Qos::AtMostOnce));
        }
        heir.expect_message("gone", b"stalled");
        bystanders.exchange();
    });
}

#[test]
fn a_client_that_reads_slowly_stays() {
    in_both_versions_within("write_timeout_ms: 500", |scene| {
        let mut slow = scene.client("slow");
        slow.subscribe("flood", Qos::AtMostOnce);
        let mut publisher = scene.client("publisher");
        let payload = vec![0; 100_000];
        for _ in 0..100 {
            publisher.publish(publish("flood", &payload, Qos::AtMostOnce));
        }
        publisher.expect_nothing();
        for _ in 0..100 {
            slow.expect_message("flood", &payload);
        }
        slow.expect_nothing();
    });
}

/// What TLS holds back must leave as soon as the client reads, not with the next message. One of these
/// clients gets just as much as makes the broker's socket full with the last bytes.
#[test]
fn a_client_that_pauses_gets_all_that_tls_has_taken() {
    let doors = Doors::open(ProtocolVersion::V5, "", "");
    let payload = vec![0; 50_000];
    for door in [Transport::Tls, Transport::Wss] {
        let mut publisher = doors.client(Transport::Tcp, "publisher");
        let mut pausing: Vec<_> = (1..=100)
            .map(|count| {
                let topic = format!("flood/{count}");
                let mut client = doors.client(door, &topic);
                client.subscribe(&topic, Qos::AtMostOnce);
                for _ in 0..count {
                    publisher.publish(publish(&topic, &payload, Qos::AtMostOnce));
                }
                publisher.expect_nothing();
                (count, topic, client)
            })
            .collect();
        for (count, topic, client) in &mut pausing {
            for _ in 0..*count {
                client.expect_message(topic, &payload);
            }
        }
    }
}
