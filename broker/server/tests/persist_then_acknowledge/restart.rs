//! What was durable when the process ended is taken up, and what that changes is stored in its order.

use hookmq::broker::limits::Limits;
use hookmq::broker::recovery::Remains;
use hookmq_codec::ProtocolVersion;
use hookmq_store::Room;

use crate::peer::{Keep, Peer, will};
use crate::world::{VERSIONS, World};

/// The broker as it begins again with what is durable.
fn restarted(world: &World) -> World {
    let again = World::with_store(world.version, world.store.after_crash());
    let remains = Remains::read(&mut again.store.recovery()).unwrap();
    again.broker.restore(remains);
    again
}

#[tokio::test]
async fn a_connected_session_counts_as_closed_and_its_will_is_scheduled_with_that() {
    let mut world = World::new(ProtocolVersion::V5);
    let mut client = Peer::new(&world.broker, ProtocolVersion::V5);
    client.connect("c", Keep::Session, will(1, 60)).await;
    assert_eq!(world.answer_behind("Opened c, WillSet c #1", &mut client).await, "CONNACK");
    let mut world = restarted(&world);
    assert_eq!(world.commit().await, "Lost c, WillScheduled c");
    world.expect_no_commit().await;
}

#[tokio::test]
async fn a_will_that_is_due_is_published_before_the_session_that_it_kept_ends() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let _subscriber = world.subscriber("s", Keep::Session, "w").await;
        let mut client = Peer::new(&world.broker, version);
        client.connect("c", Keep::Nothing, will(1, 0)).await;
        assert_eq!(world.answer_behind("Opened c, WillSet c #1", &mut client).await, "CONNACK");
        let mut world = restarted(&world);
        assert_eq!(world.commit().await, "Lost s");
        assert_eq!(world.commit().await, "WillCleared c #1, Queued #2 s");
        assert_eq!(world.commit().await, "Ended c");
        world.store.release();
        let mut world = restarted(&world);
        world.expect_no_commit().await;
        let mut subscriber = world.back("s").await;
        assert!(subscriber.receive().await.starts_with("PUBLISH 1 1 w"));
        subscriber.expect_nothing().await;
    }
}

#[tokio::test]
async fn a_publish_of_qos_2_that_comes_again_after_a_restart_is_not_published_again() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let mut publisher = world.client("p", Keep::Session).await;
        publisher.publish("t", 2, 7).await;
        assert_eq!(world.answer_behind("Received p 7", &mut publisher).await, "PUBREC 7");
        let mut world = restarted(&world);
        assert_eq!(world.commit().await, "Lost p");
        world.release_seen();
        let mut publisher = world.back("p").await;
        publisher.publish_again("t", 2, 7).await;
        assert_eq!(publisher.receive().await, "PUBREC 7");
        world.expect_no_commit().await;
        publisher.pubrel(7).await;
        let answer = world.answer_behind("ReceivedReleased p 7", &mut publisher).await;
        assert_eq!(answer, "PUBCOMP 7");
    }
}

#[tokio::test]
async fn a_message_of_qos_2_goes_on_under_its_packet_id_and_pubrel_from_where_it_was() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let mut subscriber = world.subscriber("s", Keep::Session, "t").await;
        let mut publisher = world.client("p", Keep::Nothing).await;
        for id in 1..=2 {
            publisher.publish("t", 2, id).await;
            assert_eq!(world.commit().await, format!("Queued #{id} s"));
            let assigned = format!("Assigned #{id} s {id}");
            let sent = world.answer_behind(&assigned, &mut subscriber).await;
            assert_eq!(sent, format!("PUBLISH 2 {id} t"));
            assert!(publisher.receive().await.starts_with("PUBREC"));
        }
        subscriber.pubrec(1).await;
        assert_eq!(world.answer_behind("Released s 1", &mut subscriber).await, "PUBREL 1");
        let mut world = restarted(&world);
        assert_eq!(world.commit().await, "Lost s");
        world.release_seen();
        let mut subscriber = Peer::new(&world.broker, version);
        subscriber.connect("s", Keep::Session, None).await;
        assert_eq!(world.commit().await, "Resumed s");
        subscriber.expect_nothing().await;
        world.release_seen();
        assert_eq!(subscriber.receive().await, "CONNACK present");
        let mut sent = [subscriber.receive().await, subscriber.receive().await];
        sent.sort();
        assert_eq!(sent, ["PUBLISH 2 2 t again", "PUBREL 1"]);
        subscriber.expect_nothing().await;
    }
}

/// It comes as a retained one while it waits for the same client as it was published. The client then holds
/// both packet ids, and would take what comes next under one of them for this message.
#[tokio::test]
async fn a_message_that_is_sent_twice_keeps_both_packet_ids() {
    for version in VERSIONS {
        let limits = Limits { maximum_inflight: 2, ..Limits::default() };
        let mut world = World::with_limits(version, limits);
        let mut client = world.subscriber("c", Keep::Session, "t").await;
        let mut publisher = world.client("p", Keep::Nothing).await;
        for id in 1..=2 {
            publisher.publish("t", 2, id).await;
            assert_eq!(world.commit().await, format!("Queued #{id} c"));
            world.release_seen();
            let assigned = format!("Assigned #{id} c {id}");
            let sent = world.answer_behind(&assigned, &mut client).await;
            assert_eq!(sent, format!("PUBLISH 2 {id} t"));
        }
        publisher.publish("t", 1, 3).await;
        assert_eq!(world.commit().await, "Queued #3 c");
        // Behind the third, which waits for the window.
        publisher.retain("t", 2, 4, b"x").await;
        assert_eq!(world.commit().await, "Retained #4, Queued #4 c");
        client.subscribe("t", 2).await;
        assert_eq!(world.answer_behind("Subscribed c t", &mut client).await, "SUBACK 1");
        for id in 1..=2 {
            client.pubrec(id).await;
            let released = format!("Released c {id}");
            assert_eq!(world.answer_behind(&released, &mut client).await, format!("PUBREL {id}"));
        }
        client.pubcomp(1).await;
        assert_eq!(world.commit().await, "Completed c 1, Queued #4 c, Taken #4 c");
        assert_eq!(client.receive().await, "PUBLISH 1 3 t");
        client.pubcomp(2).await;
        let stored = "Completed c 2, Assigned #4 c 4";
        assert_eq!(world.answer_behind(stored, &mut client).await, "PUBLISH 2 4 t");
        client.puback(3).await;
        let stored = "Dequeued #3 c, Assigned #4 c 5";
        assert_eq!(world.answer_behind(stored, &mut client).await, "PUBLISH 2 5 t");
        let mut world = restarted(&world);
        assert_eq!(world.commit().await, "Lost c");
        world.release_seen();
        let mut client = world.back("c").await;
        let mut again = [client.receive().await, client.receive().await];
        again.sort();
        assert_eq!(again, ["PUBLISH 2 5 t again", "PUBREL 4"]);
    }
}

#[tokio::test]
async fn a_session_whose_messages_cannot_be_asked_for_is_not_resumed() {
    let mut world = World::new(ProtocolVersion::V5);
    let _client = world.client("c", Keep::Session).await;
    let mut world = restarted(&world);
    assert_eq!(world.commit().await, "Lost c");
    world.store.set_room(Room::Failed);
    let mut client = Peer::new(&world.broker, ProtocolVersion::V5);
    client.connect("c", Keep::Session, None).await;
    assert_eq!(client.receive().await, "CONNACK ServerUnavailable");
}
