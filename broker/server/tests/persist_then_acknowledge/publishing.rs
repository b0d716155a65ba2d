//! PUBLISH and PUBREL of clients: what is acknowledged is durable, and acknowledgements keep their order.

use crate::peer::{Keep, Peer};
use crate::world::{VERSIONS, World};

#[tokio::test]
async fn puback_waits_until_every_durable_session_has_the_message() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let _first = world.subscriber("s", Keep::Session, "t").await;
        let _second = world.subscriber("r", Keep::Session, "t").await;
        let mut publisher = world.client("p", Keep::Nothing).await;
        publisher.publish("t", 1, 7).await;
        assert_eq!(world.answer_behind("Queued #1 s+r", &mut publisher).await, "PUBACK 7");
    }
}

#[tokio::test]
async fn pubrec_waits_for_the_message_and_its_packet_id_which_are_one_commit() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let _subscriber = world.subscriber("s", Keep::Session, "t").await;
        let mut publisher = world.client("p", Keep::Session).await;
        publisher.publish("t", 2, 7).await;
        let stored = "Received p 7, Queued #1 s";
        assert_eq!(world.answer_behind(stored, &mut publisher).await, "PUBREC 7");
    }
}

#[tokio::test]
async fn pubrec_waits_for_the_packet_id_alone_where_nobody_is_guaranteed_the_message() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let mut publisher = world.client("p", Keep::Session).await;
        publisher.publish("t", 2, 7).await;
        assert_eq!(world.answer_behind("Received p 7", &mut publisher).await, "PUBREC 7");
    }
}

#[tokio::test]
async fn pubrec_of_a_client_whose_session_ends_waits_for_the_message() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let _subscriber = world.subscriber("s", Keep::Session, "t").await;
        let mut publisher = world.client("p", Keep::Nothing).await;
        publisher.publish("t", 2, 7).await;
        assert_eq!(world.answer_behind("Queued #1 s", &mut publisher).await, "PUBREC 7");
        publisher.pubrel(7).await;
        assert_eq!(publisher.receive().await, "PUBCOMP 7");
    }
}

#[tokio::test]
async fn a_publish_that_comes_again_is_answered_behind_the_commit_of_the_first() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let mut publisher = world.client("p", Keep::Session).await;
        publisher.publish("t", 2, 7).await;
        assert_eq!(world.commit().await, "Received p 7");
        // PUBREC to the first does not stand before that to the second in the new connection.
        drop(publisher);
        assert_eq!(world.commit().await, "Closed p");
        let mut publisher = Peer::new(&world.broker, version);
        publisher.connect("p", Keep::Session, None).await;
        publisher.publish_again("t", 2, 7).await;
        assert_eq!(world.answer_behind("Resumed p", &mut publisher).await, "CONNACK present");
        assert_eq!(publisher.receive().await, "PUBREC 7");
        world.expect_no_commit().await;
    }
}

#[tokio::test]
async fn each_publish_that_comes_again_in_the_connection_waits_too() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let mut publisher = world.client("p", Keep::Session).await;
        publisher.publish("t", 2, 7).await;
        publisher.publish_again("t", 2, 7).await;
        assert_eq!(world.answer_behind("Received p 7", &mut publisher).await, "PUBREC 7");
        assert_eq!(publisher.receive().await, "PUBREC 7");
        world.expect_no_commit().await;
    }
}

#[tokio::test]
async fn pubcomp_waits_until_the_packet_id_is_free() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let mut publisher = world.client("p", Keep::Session).await;
        publisher.publish("t", 2, 7).await;
        assert_eq!(world.answer_behind("Received p 7", &mut publisher).await, "PUBREC 7");
        publisher.pubrel(7).await;
        let stored = "ReceivedReleased p 7";
        assert_eq!(world.answer_behind(stored, &mut publisher).await, "PUBCOMP 7");
        publisher.pubrel(7).await;
        assert!(publisher.receive().await.starts_with("PUBCOMP 7"));
        world.expect_no_commit().await;
    }
}

#[tokio::test]
async fn acknowledgements_keep_their_order_behind_one_that_waits() {
    for version in VERSIONS {
        for qos in [1, 2] {
            let mut world = World::new(version);
            let _subscriber = world.subscriber("s", Keep::Session, "t").await;
            let mut publisher = world.client("p", Keep::Nothing).await;
            publisher.publish("t", qos, 1).await;
            publisher.publish("nobody", qos, 2).await;
            publisher.publish("t", qos, 3).await;
            let name = if qos == 1 { "PUBACK" } else { "PUBREC" };
            let answer = world.answer_behind("Queued #1 s", &mut publisher).await;
            assert_eq!(answer, format!("{name} 1"));
            assert_eq!(publisher.receive().await, format!("{name} 2"));
            let answer = world.answer_behind("Queued #2 s", &mut publisher).await;
            assert_eq!(answer, format!("{name} 3"));
        }
    }
}

#[tokio::test]
async fn a_retained_message_is_acknowledged_when_it_is_durable() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let mut publisher = world.client("p", Keep::Nothing).await;
        publisher.retain("t", 1, 7, b"x").await;
        assert_eq!(world.answer_behind("Retained #1", &mut publisher).await, "PUBACK 7");
        publisher.retain("t", 1, 8, b"").await;
        assert_eq!(world.answer_behind("Retained #2", &mut publisher).await, "PUBACK 8");
    }
}

#[tokio::test]
async fn a_message_that_is_retained_and_queued_is_one_commit_and_has_one_id() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let _subscriber = world.subscriber("s", Keep::Session, "t").await;
        let mut publisher = world.client("p", Keep::Session).await;
        publisher.retain("t", 1, 7, b"x").await;
        let stored = "Retained #1, Queued #1 s";
        assert_eq!(world.answer_behind(stored, &mut publisher).await, "PUBACK 7");
        publisher.retain("t", 2, 8, b"x").await;
        let stored = "Received p 8, Retained #2, Queued #2 s";
        assert_eq!(world.commit().await, stored);
    }
}

#[tokio::test]
async fn what_has_no_durable_target_makes_no_commit_and_does_not_wait() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let mut subscriber = world.subscriber("s", Keep::Nothing, "t").await;
        let mut publisher = world.client("p", Keep::Nothing).await;
        publisher.publish("t", 1, 1).await;
        assert_eq!(publisher.receive().await, "PUBACK 1");
        assert_eq!(subscriber.receive().await, "PUBLISH 1 1 t");
        subscriber.puback(1).await;
        publisher.publish("t", 2, 2).await;
        assert_eq!(publisher.receive().await, "PUBREC 2");
        publisher.pubrel(2).await;
        assert_eq!(publisher.receive().await, "PUBCOMP 2");
        assert_eq!(subscriber.receive().await, "PUBLISH 2 2 t");
        subscriber.pubrec(2).await;
        assert_eq!(subscriber.receive().await, "PUBREL 2");
        subscriber.pubcomp(2).await;
        world.expect_no_commit().await;
    }
}

#[tokio::test]
async fn durable_sessions_wait_for_nothing_where_nothing_is_guaranteed() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let mut subscriber = world.subscriber("s", Keep::Session, "t").await;
        let mut publisher = world.client("p", Keep::Session).await;
        publisher.publish("t", 0, 0).await;
        assert_eq!(subscriber.receive().await, "PUBLISH 0 0 t");
        publisher.publish("nobody", 1, 1).await;
        assert_eq!(publisher.receive().await, "PUBACK 1");
        world.expect_no_commit().await;
    }
}
