//! SUBSCRIBE and UNSUBSCRIBE: answered when they are durable; retained messages come behind SUBACK.

use crate::peer::Keep;
use crate::world::{VERSIONS, World};

#[tokio::test]
async fn suback_and_unsuback_wait() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let mut client = world.client("c", Keep::Session).await;
        client.subscribe("t", 1).await;
        assert_eq!(world.answer_behind("Subscribed c t", &mut client).await, "SUBACK 1");
        client.unsubscribe("t").await;
        assert_eq!(world.answer_behind("Unsubscribed c t", &mut client).await, "UNSUBACK 1");
        client.unsubscribe("t").await;
        assert_eq!(client.receive().await, "UNSUBACK 1");
        world.expect_no_commit().await;
    }
}

#[tokio::test]
async fn retained_messages_come_behind_suback() {
    for version in VERSIONS {
        for qos in [0, 1, 2] {
            let mut world = World::new(version);
            let mut publisher = world.client("p", Keep::Nothing).await;
            publisher.retain("t", qos, 7, b"x").await;
            assert_eq!(world.commit().await, "Retained #1");
            world.release_seen();
            let mut client = world.client("c", Keep::Session).await;
            client.subscribe("t", qos).await;
            assert_eq!(world.answer_behind("Subscribed c t", &mut client).await, "SUBACK 1");
            let stored = match qos {
                0 => None,
                1 => Some("Queued #1 c, Taken #1 c"),
                _ => Some("Queued #1 c, Taken #1 c, Assigned #1 c 1"),
            };
            let id = if qos == 0 { 0 } else { 1 };
            if let Some(stored) = stored {
                assert_eq!(world.commit().await, stored);
            }
            if qos == 2 {
                client.expect_nothing().await;
                world.release_seen();
            }
            assert_eq!(client.receive().await, format!("PUBLISH {qos} {id} t"));
            world.expect_no_commit().await;
        }
    }
}

#[tokio::test]
async fn retained_messages_come_behind_a_suback_that_waits_for_another_answer() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let mut client = world.client("c", Keep::Session).await;
        client.retain("t", 0, 0, b"x").await;
        assert_eq!(world.commit().await, "Retained #1");
        client.subscribe("t", 0).await;
        assert_eq!(world.commit().await, "Subscribed c t");
        client.subscribe("u", 0).await;
        assert_eq!(world.commit().await, "Subscribed c u");
        client.expect_nothing().await;
        world.release_seen();
        assert_eq!(client.receive().await, "SUBACK 1");
        assert_eq!(client.receive().await, "SUBACK 1");
        assert_eq!(client.receive().await, "PUBLISH 0 0 t");
    }
}
