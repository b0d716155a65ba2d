//! A disk that does not keep up, is full, or has failed.

use hookmq::broker::limits::{Limits, QueueFull};
use hookmq_codec::{Packet, ProtocolVersion};
use hookmq_core::QueueLimits;
use hookmq_store::Room;

use crate::peer::{Keep, Peer};
use crate::world::{VERSIONS, World};

#[tokio::test]
async fn while_the_disk_does_not_keep_up_publishers_are_not_read_and_others_are() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let mut subscriber = world.subscriber("s", Keep::Session, "t").await;
        let mut publisher = world.client("p", Keep::Nothing).await;
        publisher.publish("t", 1, 1).await;
        assert_eq!(world.answer_behind("Queued #1 s", &mut publisher).await, "PUBACK 1");
        assert_eq!(subscriber.receive().await, "PUBLISH 1 1 t");
        world.store.set_room(Room::Busy);
        publisher.publish("t", 1, 2).await;
        world.expect_no_commit().await;
        subscriber.puback(1).await;
        assert_eq!(world.commit().await, "Dequeued #1 s");
        subscriber.subscribe("u", 0).await;
        assert_eq!(world.answer_behind("Subscribed s u", &mut subscriber).await, "SUBACK 1");
        let _newcomer = world.client("c", Keep::Session).await;
        publisher.expect_nothing().await;
        world.store.set_room(Room::Open);
        assert_eq!(world.answer_behind("Queued #2 s", &mut publisher).await, "PUBACK 2");
    }
}

#[tokio::test]
async fn what_a_publisher_waits_for_leaves_while_it_is_not_read() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let _subscriber = world.subscriber("s", Keep::Session, "t").await;
        let mut publisher = world.client("p", Keep::Nothing).await;
        publisher.publish("t", 1, 1).await;
        assert_eq!(world.commit().await, "Queued #1 s");
        world.store.set_room(Room::Busy);
        publisher.publish("t", 1, 2).await;
        world.expect_no_commit().await;
        world.release_seen();
        assert_eq!(publisher.receive().await, "PUBACK 1");
        world.expect_no_commit().await;
    }
}

#[tokio::test]
async fn a_message_that_would_be_stored_is_refused_while_the_disk_is_full() {
    for qos in [1, 2] {
        for retained in [false, true] {
            let mut world = World::new(ProtocolVersion::V5);
            let mut durable = world.subscriber("s", Keep::Session, "t").await;
            let mut other = world.subscriber("r", Keep::Nothing, "t").await;
            let mut publisher = world.client("p", Keep::Session).await;
            world.store.set_room(Room::Full);
            match retained {
                false => publisher.publish("t", qos, 7).await,
                true => publisher.retain("t", qos, 7, b"x").await,
            }
            let name = if qos == 1 { "PUBACK" } else { "PUBREC" };
            assert_eq!(publisher.receive().await, format!("{name} 7 QuotaExceeded"));
            durable.expect_nothing().await;
            other.expect_nothing().await;
            assert_eq!(world.broker.tenants()[0].retained_count(), 0);
            world.expect_no_commit().await;
            world.store.set_room(Room::Open);
            publisher.publish("t", qos, 7).await;
            let stored = if qos == 1 { "Queued #1 s" } else { "Received p 7, Queued #1 s" };
            let answer = world.answer_behind(stored, &mut publisher).await;
            assert_eq!(answer, format!("{name} 7"), "the packet id is free again");
        }
    }
}

#[tokio::test]
async fn a_full_queue_drops_nothing_that_the_client_was_sent() {
    for version in VERSIONS {
        let limits = Limits {
            queue: QueueLimits { messages: 10, bytes: 1 << 30 },
            queue_full: QueueFull::DropOldest,
            maximum_inflight: 2,
            ..Limits::default()
        };
        let mut world = World::with_limits(version, limits);
        let mut subscriber = world.subscriber("s", Keep::Session, "t").await;
        let mut publisher = world.client("p", Keep::Nothing).await;
        // Some wait in memory, and when that is full the others in the store alone.
        for id in 1..=40 {
            publisher.publish_long("t", 1, id).await;
            world.commit().await;
            world.release_seen();
            assert_eq!(publisher.receive().await, format!("PUBACK {id}"));
            if id <= 2 {
                assert_eq!(subscriber.receive().await, format!("PUBLISH 1 {id} t"));
            }
        }
        let recovery = world.store.recovery();
        let session = recovery.index().sessions().find(|it| &*it.session.client_id == "s").unwrap();
        let stored: Vec<_> = session.queue.iter().map(|it| it.id().0).collect();
        assert!(stored.starts_with(&[1, 2]), "{stored:?}");
        assert!(stored.ends_with(&[38, 39, 40]), "{stored:?}");
        // What the connection has is at most two in flight, and one on its way.
        assert!(stored.len() <= 10 + 3, "{stored:?}");
    }
}

#[tokio::test]
async fn who_cannot_be_told_is_disconnected_without_puback_while_the_disk_is_full() {
    for qos in [1, 2] {
        let mut world = World::new(ProtocolVersion::V311);
        let mut durable = world.subscriber("s", Keep::Session, "t").await;
        let mut publisher = world.client("p", Keep::Nothing).await;
        world.store.set_room(Room::Full);
        publisher.publish("t", qos, 7).await;
        assert_eq!(publisher.receive().await, "CLOSED");
        durable.expect_nothing().await;
        world.expect_no_commit().await;
    }
}

#[tokio::test]
async fn what_makes_room_or_needs_none_goes_on_while_the_disk_is_full() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let mut subscriber = world.subscriber("s", Keep::Session, "t").await;
        let mut publisher = world.client("p", Keep::Nothing).await;
        publisher.retain("t", 1, 1, b"x").await;
        let stored = "Retained #1, Queued #1 s";
        assert_eq!(world.answer_behind(stored, &mut publisher).await, "PUBACK 1");
        assert_eq!(subscriber.receive().await, "PUBLISH 1 1 t");
        world.store.set_room(Room::Full);
        subscriber.puback(1).await;
        assert_eq!(world.commit().await, "Dequeued #1 s");
        subscriber.unsubscribe("t").await;
        assert_eq!(world.answer_behind("Unsubscribed s t", &mut subscriber).await, "UNSUBACK 1");
        subscriber.subscribe("u", 1).await;
        assert_eq!(world.answer_behind("Subscribed s u", &mut subscriber).await, "SUBACK 1");
        publisher.retain("t", 1, 2, b"").await;
        assert_eq!(world.answer_behind("Retained #2", &mut publisher).await, "PUBACK 2");
        publisher.publish("nobody", 1, 3).await;
        assert_eq!(publisher.receive().await, "PUBACK 3");
        let _newcomer = world.client("c", Keep::Session).await;
    }
}

#[tokio::test]
async fn nothing_is_accepted_once_the_disk_has_failed() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let mut subscriber = world.subscriber("s", Keep::Session, "t").await;
        let mut publisher = world.client("p", Keep::Nothing).await;
        publisher.publish("t", 1, 1).await;
        assert_eq!(world.commit().await, "Queued #1 s");
        assert_eq!(subscriber.receive().await, "PUBLISH 1 1 t");
        world.store.set_room(Room::Failed);
        subscriber.subscribe("u", 1).await;
        assert_eq!(world.commit().await, "Subscribed s u");
        subscriber.expect_nothing().await;
        // The one that comes now is refused, and that waits behind the first.
        if version.is_v5() {
            publisher.publish("t", 1, 2).await;
        }
        publisher.expect_nothing().await;
        publisher.send(Packet::PingReq).await;
        assert_eq!(publisher.receive().await, "PINGRESP", "it is read");
        world.expect_no_commit().await;
        let mut newcomer = Peer::new(&world.broker, version);
        newcomer.connect("c", Keep::Session, None).await;
        assert_eq!(world.commit().await, "Opened c");
        newcomer.expect_nothing().await;
    }
}
