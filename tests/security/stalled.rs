//! Clients that do not read: they cost themselves, and only for a while.

use hookmq_codec::{Connect, Qos};
use hookmq_tests::client::{connect, publish, will};
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
