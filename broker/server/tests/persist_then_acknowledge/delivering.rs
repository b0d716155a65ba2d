//! Messages on their way to clients: what leaves at once, what waits, and what becomes of the queue.

use hookmq_codec::ProtocolVersion;

use crate::peer::{Keep, Peer};
use crate::world::{VERSIONS, World};

#[tokio::test]
async fn a_message_of_qos_1_leaves_at_once_and_its_deletion_waits_for_nothing() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let mut subscriber = world.subscriber("s", Keep::Session, "t").await;
        let mut publisher = world.client("p", Keep::Nothing).await;
        publisher.publish("t", 1, 7).await;
        assert_eq!(subscriber.receive().await, "PUBLISH 1 1 t");
        subscriber.puback(1).await;
        assert_eq!(world.commit().await, "Queued #1 s");
        assert_eq!(world.commit().await, "Dequeued #1 s");
        publisher.expect_nothing().await;
        world.expect_no_commit().await;
    }
}

#[tokio::test]
async fn a_message_of_qos_2_leaves_once_its_packet_id_is_durable() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let mut subscriber = world.subscriber("s", Keep::Session, "t").await;
        let mut publisher = world.client("p", Keep::Nothing).await;
        publisher.publish("t", 2, 7).await;
        assert_eq!(world.commit().await, "Queued #1 s");
        world.release_seen();
        let sent = world.answer_behind("Assigned #1 s 1", &mut subscriber).await;
        assert_eq!(sent, "PUBLISH 2 1 t");
    }
}

#[tokio::test]
async fn pubrel_waits_until_the_message_is_released() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let mut subscriber = subscriber_with_qos_2(&mut world).await;
        subscriber.pubrec(1).await;
        let answer = world.answer_behind("Released s 1", &mut subscriber).await;
        assert_eq!(answer, "PUBREL 1");
        subscriber.pubcomp(1).await;
        assert_eq!(world.commit().await, "Completed s 1");
    }
}

#[tokio::test]
async fn pubrel_to_a_second_pubrec_waits_for_the_first() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let mut subscriber = subscriber_with_qos_2(&mut world).await;
        subscriber.pubrec(1).await;
        assert_eq!(world.commit().await, "Released s 1");
        subscriber.pubrec(1).await;
        subscriber.expect_nothing().await;
        world.release_seen();
        assert_eq!(subscriber.receive().await, "PUBREL 1");
        assert_eq!(subscriber.receive().await, "PUBREL 1");
        world.expect_no_commit().await;
    }
}

#[tokio::test]
async fn a_message_of_qos_2_goes_on_to_nobody_before_it_is_durable() {
    for version in VERSIONS {
        for qos in [0, 1, 2] {
            let mut world = World::new(version);
            let _durable = world.subscriber("s", Keep::Session, "t").await;
            let mut other = world.client("r", Keep::Nothing).await;
            other.subscribe("t", qos).await;
            assert_eq!(other.receive().await, "SUBACK 1");
            let mut publisher = world.client("p", Keep::Nothing).await;
            publisher.publish("t", 2, 7).await;
            let sent = world.answer_behind("Queued #1 s", &mut other).await;
            assert_eq!(sent, format!("PUBLISH {qos} {} t", qos.min(1)));
        }
    }
}

#[tokio::test]
async fn a_message_of_qos_2_waits_for_the_packet_id_of_its_publisher() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let mut subscriber = world.subscriber("s", Keep::Session, "t").await;
        // At QoS 1 the subscriber's own part waits for nothing.
        subscriber.subscribe("t", 1).await;
        assert_eq!(world.answer_behind("Subscribed s t", &mut subscriber).await, "SUBACK 1");
        let mut publisher = world.client("p", Keep::Session).await;
        publisher.publish("t", 2, 7).await;
        let stored = "Received p 7, Queued #1 s";
        assert_eq!(world.answer_behind(stored, &mut subscriber).await, "PUBLISH 1 1 t");
    }
}

#[tokio::test]
async fn a_message_of_qos_2_that_is_retained_waits_for_that() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let mut other = world.subscriber("r", Keep::Nothing, "t").await;
        let mut publisher = world.client("p", Keep::Nothing).await;
        publisher.retain("t", 2, 7, b"x").await;
        assert_eq!(world.answer_behind("Retained #1", &mut other).await, "PUBLISH 2 1 t");
    }
}

#[tokio::test]
async fn a_message_of_qos_2_that_only_its_publishers_session_concerns_waits_for_its_packet_id() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let mut other = world.subscriber("r", Keep::Nothing, "t").await;
        let mut publisher = world.client("p", Keep::Session).await;
        publisher.publish("t", 2, 7).await;
        assert_eq!(world.answer_behind("Received p 7", &mut other).await, "PUBLISH 2 1 t");
    }
}

#[tokio::test]
async fn what_is_behind_a_message_that_waits_waits_with_it() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let _durable = world.subscriber("s", Keep::Session, "t").await;
        let mut other = world.subscriber("r", Keep::Nothing, "#").await;
        let mut publisher = world.client("p", Keep::Nothing).await;
        publisher.publish("t", 2, 7).await;
        assert_eq!(world.commit().await, "Queued #1 s");
        publisher.publish("u", 1, 8).await;
        publisher.publish("u", 2, 9).await;
        other.expect_nothing().await;
        world.release_seen();
        assert_eq!(other.receive().await, "PUBLISH 2 1 t");
        assert_eq!(other.receive().await, "PUBLISH 1 2 u");
        assert_eq!(other.receive().await, "PUBLISH 2 3 u");
    }
}

#[tokio::test]
async fn what_was_sent_of_qos_1_is_stored_when_the_client_goes_and_sent_again() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let mut subscriber = world.subscriber("s", Keep::Session, "t").await;
        let mut publisher = world.client("p", Keep::Nothing).await;
        publisher.publish("t", 1, 7).await;
        assert_eq!(subscriber.receive().await, "PUBLISH 1 1 t");
        drop(subscriber);
        assert_eq!(world.commit().await, "Queued #1 s");
        assert_eq!(world.commit().await, "Assigned #1 s 1, Closed s");
        let mut subscriber = world.back("s").await;
        assert_eq!(subscriber.receive().await, "PUBLISH 1 1 t again");
        subscriber.puback(1).await;
        assert_eq!(world.commit().await, "Dequeued #1 s");
        subscriber.expect_nothing().await;
    }
}

#[tokio::test]
async fn what_was_stored_meanwhile_is_delivered_and_its_packet_ids_are_stored_first() {
    for version in VERSIONS {
        let mut world = World::new(version);
        drop(world.subscriber("s", Keep::Session, "t").await);
        assert_eq!(world.commit().await, "Closed s");
        let mut publisher = world.client("p", Keep::Nothing).await;
        publisher.publish("t", 2, 7).await;
        assert_eq!(world.commit().await, "Queued #1 s");
        let mut subscriber = world.back("s").await;
        let sent = world.answer_behind("Assigned #1 s 1", &mut subscriber).await;
        assert_eq!(sent, "PUBLISH 2 1 t");
    }
}

#[tokio::test]
async fn what_is_acknowledged_while_a_page_is_asked_for_is_not_in_it() {
    let mut world = World::new(ProtocolVersion::V5);
    let shared = "$share/g/u";
    let mut subscriber = world.subscriber("s", Keep::Session, "t").await;
    subscriber.subscribe(shared, 1).await;
    assert_eq!(world.commit().await, "Subscribed s $share/g/u");
    drop(subscriber);
    assert_eq!(world.commit().await, "Closed s");
    let mut publisher = world.client("p", Keep::Nothing).await;
    // Each is more than half of a page.
    for id in 1..=2 {
        publisher.publish_long("t", 1, id).await;
        assert_eq!(world.commit().await, format!("Queued #{id} s"));
    }
    let mut subscriber = Peer::new(&world.broker, ProtocolVersion::V5);
    subscriber.connect("s", Keep::Session, None).await;
    assert_eq!(world.commit().await, "Resumed s");
    let resumed = world.store.commits().len();
    // The first page is asked for behind this commit, and comes with it.
    publisher.retain("v", 1, 3, b"x").await;
    assert_eq!(world.commit().await, "Retained #3");
    world.store.release_first(resumed);
    assert_eq!(subscriber.receive().await, "CONNACK present");
    publisher.publish("u", 1, 4).await;
    assert_eq!(subscriber.receive().await, "PUBLISH 1 1 u");
    subscriber.puback(1).await;
    world.store.release();
    assert_eq!(subscriber.receive().await, "PUBLISH 1 2 t");
    world.store.release();
    assert_eq!(subscriber.receive().await, "PUBLISH 1 3 t");
    world.store.release();
    subscriber.expect_nothing().await;
}

/// A subscriber that was sent a message of QoS 2 under the packet id 1.
async fn subscriber_with_qos_2(world: &mut World) -> Peer {
    let mut subscriber = world.subscriber("s", Keep::Session, "t").await;
    let mut publisher = world.client("p", Keep::Nothing).await;
    publisher.publish("t", 2, 7).await;
    assert_eq!(world.commit().await, "Queued #1 s");
    let sent = world.answer_behind("Assigned #1 s 1", &mut subscriber).await;
    assert_eq!(sent, "PUBLISH 2 1 t");
    subscriber
}
