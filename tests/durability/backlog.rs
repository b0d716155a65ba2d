//! More messages than are kept in memory.

use hookmq_codec::{Packet, ProtocolVersion, Publish, Qos, ReasonCode};
use hookmq_tests::client::{Client, packet_id, publish};

use crate::{Stage, in_both_versions};

const MANY: usize = 3000;

fn fill(publisher: &mut Client, numbers: std::ops::Range<usize>, qos: Qos) {
    for number in numbers {
        publisher.publish(publish("t", format!("{number}").as_bytes(), qos));
    }
}

fn drain(subscriber: &mut Client, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let received = subscriber.expect_message("t", format!("{number}").as_bytes());
        subscriber.acknowledge(&received);
    }
}

#[test]
fn a_client_that_does_not_keep_up_gets_everything_in_order_and_once() {
    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let stage = Stage::new(ProtocolVersion::V5, "limits: {queue_messages: 100000}\n");
        let mut subscriber = stage.session("s");
        subscriber.subscribe("t", Qos::ExactlyOnce);
        let mut publisher = stage.client("p");
        fill(&mut publisher, 0..MANY, qos);
        std::thread::scope(|threads| {
            threads.spawn(|| fill(&mut publisher, MANY..MANY + 500, qos));
            drain(&mut subscriber, 0..MANY + 500);
        });
        // It has caught up, and goes on as before.
        fill(&mut publisher, 0..10, qos);
        drain(&mut subscriber, 0..10);
        subscriber.expect_nothing();
    }
}

#[test]
fn a_long_queue_survives_and_is_sent_while_more_comes() {
    let mut stage = Stage::new(ProtocolVersion::V5, "limits: {queue_messages: 100000}\n");
    stage.away("s", "t", Qos::AtLeastOnce);
    fill(&mut stage.client("p"), 0..MANY, Qos::AtLeastOnce);
    stage.crash();
    let mut publisher = stage.client("p");
    let mut subscriber = stage.resume("s");
    std::thread::scope(|threads| {
        threads.spawn(|| fill(&mut publisher, MANY..MANY + 500, Qos::AtLeastOnce));
        drain(&mut subscriber, 0..MANY + 500);
    });
    subscriber.disconnect();
    assert_eq!(stage.sessions(), [("s".into(), 0)]);
}

#[test]
fn with_drop_oldest_a_full_queue_keeps_what_came_last() {
    in_both_versions(|stage| {
        *stage = Stage::new(
            stage.version,
            "limits: {queue_messages: 5, queue_full: drop_oldest, maximum_inflight: 1}\n",
        );
        stage.away("s", "t", Qos::AtLeastOnce);
        let mut publisher = stage.client("p");
        fill(&mut publisher, 0..8, Qos::AtLeastOnce);
        assert_eq!(stage.sessions(), [("s".into(), 5)]);
        stage.crash();
        assert_eq!(stage.sessions(), [("s".into(), 5)]);
        let mut subscriber = stage.resume("s");
        drain(&mut subscriber, 3..8);
        // One is in flight and one is taken out of the queue; the others wait in memory, or behind it.
        let mut publisher = stage.client("p");
        fill(&mut publisher, 0..9, Qos::AtLeastOnce);
        drain(&mut subscriber, 0..1);
        let last: Vec<_> = std::iter::from_fn(|| {
            let received = subscriber.receive();
            subscriber.acknowledge(&received);
            let number = String::from_utf8(received.publish().payload.to_vec()).unwrap();
            (number != "8").then_some(number)
        })
        .collect();
        assert!(last.ends_with(&["4", "5", "6", "7"].map(str::to_owned)), "{last:?}");
        assert!(last.len() <= 6, "{last:?}");
        subscriber.expect_nothing();
    });
}

#[test]
fn with_refuse_a_message_for_a_full_queue_is_for_nobody_and_its_publisher_is_told() {
    in_both_versions(|stage| {
        let limits = "limits: {queue_messages: 2, queue_full: refuse}\n";
        *stage = Stage::new(stage.version, limits);
        stage.away("full", "t", Qos::AtLeastOnce);
        let mut other = stage.client("other");
        other.subscribe("t", Qos::AtLeastOnce);
        let mut publisher = stage.client("p");
        fill(&mut publisher, 0..2, Qos::AtLeastOnce);
        drain(&mut other, 0..2);
        match stage.version.is_v5() {
            true => {
                let refused = publisher.publish(publish("t", b"x", Qos::AtLeastOnce));
                assert_eq!(refused, ReasonCode::QuotaExceeded);
            }
            false => {
                let message = publish("t", b"x", Qos::AtLeastOnce);
                let packet_id = Some(packet_id(9));
                publisher.send(&Packet::Publish(Publish { packet_id, ..message }));
                publisher.expect_closed();
            }
        }
        other.expect_nothing();
        assert_eq!(stage.broker.admin().metric("publishes_refused_total"), 1);
        let mut subscriber = stage.resume("full");
        drain(&mut subscriber, 0..2);
        fill(&mut stage.client("p"), 2..3, Qos::AtLeastOnce);
        drain(&mut subscriber, 2..3);
    });
}

#[test]
fn the_bound_of_a_queue_holds_after_a_crash_as_before() {
    in_both_versions(|stage| {
        *stage = Stage::new(stage.version, "limits: {queue_messages: 5}\n");
        stage.away("s", "t", Qos::AtLeastOnce);
        let mut publisher = stage.client("p");
        fill(&mut publisher, 0..3, Qos::AtLeastOnce);
        stage.crash();
        let mut publisher = stage.client("p");
        fill(&mut publisher, 3..9, Qos::AtLeastOnce);
        assert_eq!(stage.sessions(), [("s".into(), 5)]);
        assert_eq!(stage.broker.admin().metric("messages_overflowed_total"), 4);
        let mut subscriber = stage.resume("s");
        drain(&mut subscriber, 0..5);
        subscriber.expect_nothing();
    });
}
