//! Shared subscriptions: a message moves in the store before anything else is said of it there.

use crate::peer::{Keep, Peer};
use crate::world::{VERSIONS, World};

const SHARED: &str = "$share/g/t";

#[tokio::test]
async fn a_shared_message_is_queued_moved_and_removed_in_this_order() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let mut member = world.subscriber("s", Keep::Session, SHARED).await;
        let mut publisher = world.client("p", Keep::Nothing).await;
        publisher.publish("t", 1, 7).await;
        assert_eq!(member.receive().await, "PUBLISH 1 1 t");
        member.puback(1).await;
        assert_eq!(world.commit().await, "Queued #1 $share/g/t");
        assert_eq!(world.commit().await, "Moved #1 $share/g/t s");
        assert_eq!(world.commit().await, "Dequeued #1 s");
        publisher.expect_nothing().await;
        world.release_seen();
        assert_eq!(publisher.receive().await, "PUBACK 7");
    }
}

#[tokio::test]
async fn a_shared_message_of_qos_2_leaves_once_it_has_moved_and_has_its_packet_id() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let mut member = world.subscriber("s", Keep::Session, SHARED).await;
        let mut publisher = world.client("p", Keep::Nothing).await;
        publisher.publish("t", 2, 7).await;
        assert_eq!(world.commit().await, "Queued #1 $share/g/t");
        world.release_seen();
        let moved = "Moved #1 $share/g/t s, Assigned #1 s 1";
        assert_eq!(world.answer_behind(moved, &mut member).await, "PUBLISH 2 1 t");
    }
}

#[tokio::test]
async fn a_member_whose_session_ends_removes_messages_from_the_shared_queue() {
    for version in VERSIONS {
        let mut world = World::new(version);
        drop(world.subscriber("s", Keep::Session, SHARED).await);
        assert_eq!(world.commit().await, "Closed s");
        let mut member = world.subscriber("r", Keep::Nothing, SHARED).await;
        let mut publisher = world.client("p", Keep::Nothing).await;
        publisher.publish("t", 1, 7).await;
        assert_eq!(member.receive().await, "PUBLISH 1 1 t");
        assert_eq!(world.commit().await, "Queued #1 $share/g/t");
        world.expect_no_commit().await;
        member.puback(1).await;
        assert_eq!(world.commit().await, "Dequeued #1 $share/g/t");
        member.subscribe(SHARED, 0).await;
        assert_eq!(member.receive().await, "SUBACK 1");
        publisher.publish("t", 1, 8).await;
        assert_eq!(member.receive().await, "PUBLISH 0 0 t");
        assert_eq!(world.commit().await, "Queued #2 $share/g/t");
        assert_eq!(world.commit().await, "Dequeued #2 $share/g/t");
    }
}

#[tokio::test]
async fn a_group_none_of_whose_sessions_lasts_has_nothing_in_the_store() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let mut member = world.subscriber("r", Keep::Nothing, SHARED).await;
        let mut publisher = world.client("p", Keep::Nothing).await;
        publisher.retain("t", 1, 7, b"x").await;
        assert_eq!(world.answer_behind("Retained #1", &mut publisher).await, "PUBACK 7");
        assert_eq!(member.receive().await, "PUBLISH 1 1 t");
        member.puback(1).await;
        world.expect_no_commit().await;
        member.subscribe(SHARED, 0).await;
        assert_eq!(member.receive().await, "SUBACK 1");
        publisher.retain("t", 1, 8, b"y").await;
        assert_eq!(world.answer_behind("Retained #2", &mut publisher).await, "PUBACK 8");
        assert_eq!(member.receive().await, "PUBLISH 0 0 t");
        world.expect_no_commit().await;
    }
}

#[tokio::test]
async fn a_message_that_is_handed_back_has_moved_back_before_another_member_has_it() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let mut member = world.subscriber("s", Keep::Session, SHARED).await;
        let mut publisher = world.client("p", Keep::Nothing).await;
        publisher.publish("t", 1, 7).await;
        assert_eq!(world.commit().await, "Queued #1 $share/g/t");
        assert_eq!(world.commit().await, "Moved #1 $share/g/t s");
        assert_eq!(member.receive().await, "PUBLISH 1 1 t");
        let mut other = world.subscriber("r", Keep::Session, SHARED).await;
        // One thread: what is in the queue when the change is appended was there before it.
        let tenant = world.broker.tenants().remove(0);
        let share = tenant.share(hookmq_core::SharedId(std::num::NonZeroU32::MIN)).unwrap();
        world.store.watch(move |changes| {
            let back = |it: &hookmq_store::Change| {
                matches!(
                    it,
                    hookmq_store::Change::Moved { to: hookmq_store::QueueKey::Shared(_), .. }
                )
            };
            let early = changes.iter().any(back).then(|| share.fetch()).flatten();
            assert!(early.is_none(), "the message is there before it has moved");
        });
        drop(member);
        assert_eq!(world.commit().await, "Assigned #1 s 1, Closed s");
        assert_eq!(world.commit().await, "Moved #1 s $share/g/t");
        assert_eq!(world.commit().await, "Moved #1 $share/g/t r");
        assert_eq!(other.receive().await, "PUBLISH 1 1 t");
    }
}

#[tokio::test]
async fn a_session_that_ends_hands_back_what_it_holds_first() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let mut member = world.subscriber("s", Keep::Session, SHARED).await;
        let mut publisher = world.client("p", Keep::Nothing).await;
        publisher.publish("t", 1, 7).await;
        assert_eq!(world.commit().await, "Queued #1 $share/g/t");
        assert_eq!(world.commit().await, "Moved #1 $share/g/t s");
        assert_eq!(member.receive().await, "PUBLISH 1 1 t");
        let mut other = world.subscriber("r", Keep::Session, SHARED).await;
        let mut successor = Peer::new(&world.broker, version);
        successor.connect("s", Keep::Nothing, None).await;
        assert_eq!(world.commit().await, "Moved #1 s $share/g/t");
        assert_eq!(world.commit().await, "Ended s");
        assert_eq!(world.commit().await, "Moved #1 $share/g/t r");
        assert_eq!(other.receive().await, "PUBLISH 1 1 t");
    }
}
