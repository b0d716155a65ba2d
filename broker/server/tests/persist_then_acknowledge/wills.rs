//! Wills: withdrawn before the connection is closed, forgotten with the commit that publishes them.

use hookmq_codec::{ProtocolVersion, Will};

use crate::peer::{Keep, Peer, will};
use crate::world::{VERSIONS, World};

/// A client with a will, which has the id 1.
async fn client_with(world: &mut World, keep: Keep, will: Option<Will<'_>>) -> Peer {
    let mut client = Peer::new(&world.broker, world.version);
    client.connect("c", keep, will).await;
    assert_eq!(world.answer_behind("Opened c, WillSet c #1", &mut client).await, "CONNACK");
    client
}

#[tokio::test]
async fn a_connection_is_closed_once_the_will_is_withdrawn() {
    for version in VERSIONS {
        for (keep, behind) in [(Keep::Nothing, "Ended c"), (Keep::Session, "Closed c")] {
            let mut world = World::new(version);
            let mut client = client_with(&mut world, keep, will(1, 0)).await;
            client.disconnect().await;
            let withdrawn = "WillCleared c #1";
            assert_eq!(world.answer_behind(withdrawn, &mut client).await, "CLOSED");
            assert_eq!(world.commit().await, behind);
        }
    }
}

#[tokio::test]
async fn a_will_is_forgotten_in_the_commit_that_publishes_it_before_the_session_is_left() {
    for version in VERSIONS {
        for (keep, behind) in [(Keep::Nothing, "Ended c"), (Keep::Session, "Closed c")] {
            let mut world = World::new(version);
            let client = client_with(&mut world, keep, will(1, 0)).await;
            let _subscriber = world.subscriber("s", Keep::Session, "w").await;
            drop(client);
            assert_eq!(world.commit().await, "WillCleared c #1, Queued #2 s");
            assert_eq!(world.commit().await, behind);
        }
    }
}

/// Else it would come once more, as another message, when the broker is killed before the commit is durable.
#[tokio::test]
async fn nobody_is_sent_a_will_before_it_is_stored_that_it_is_published() {
    for version in VERSIONS {
        for (qos, keep, stored) in [
            (0, Keep::Nothing, "WillCleared c #1"),
            (1, Keep::Nothing, "WillCleared c #1"),
            (2, Keep::Nothing, "WillCleared c #1"),
            (0, Keep::Session, "WillCleared c #1"),
            (1, Keep::Session, "WillCleared c #1, Queued #2 s"),
        ] {
            let mut world = World::new(version);
            let client = client_with(&mut world, Keep::Nothing, will(qos, 0)).await;
            let mut subscriber = world.subscriber("s", keep, "w").await;
            drop(client);
            let sent = world.answer_behind(stored, &mut subscriber).await;
            assert!(sent.starts_with(&format!("PUBLISH {qos} ")), "{sent}");
            assert_eq!(world.commit().await, "Ended c");
        }
    }
}

#[tokio::test]
async fn a_will_that_is_retained_is_forgotten_in_the_same_commit() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let retained = will(1, 0).map(|will| Will { retain: true, ..will });
        drop(client_with(&mut world, Keep::Nothing, retained).await);
        assert_eq!(world.commit().await, "WillCleared c #1, Retained #2");
        assert_eq!(world.commit().await, "Ended c");
    }
}

#[tokio::test]
async fn a_will_that_nobody_is_due_is_forgotten_too() {
    for version in VERSIONS {
        let mut world = World::new(version);
        drop(client_with(&mut world, Keep::Session, will(1, 0)).await);
        assert_eq!(world.commit().await, "WillCleared c #1");
        assert_eq!(world.commit().await, "Closed c");
    }
}

#[tokio::test]
async fn a_will_with_a_delay_is_due_from_the_commit_that_closes_the_session() {
    let mut world = World::new(ProtocolVersion::V5);
    drop(client_with(&mut world, Keep::Session, will(1, 60)).await);
    assert_eq!(world.commit().await, "Closed c, WillScheduled c");
    world.expect_no_commit().await;
}

#[tokio::test]
async fn the_will_of_a_session_that_a_clean_start_ends_is_published_before_it_is_forgotten() {
    for keep in [Keep::Nothing, Keep::NewSession] {
        let mut world = World::new(ProtocolVersion::V5);
        drop(client_with(&mut world, Keep::Session, will(1, 60)).await);
        assert_eq!(world.commit().await, "Closed c, WillScheduled c");
        let _subscriber = world.subscriber("s", Keep::Session, "w").await;
        let mut client = Peer::new(&world.broker, ProtocolVersion::V5);
        client.connect("c", keep, None).await;
        assert_eq!(world.commit().await, "WillCleared c #1, Queued #2 s");
        assert_eq!(world.commit().await, "Ended c");
    }
}

#[tokio::test]
async fn the_will_of_a_connection_that_a_clean_start_ends_is_published_before_it_is_forgotten() {
    let mut world = World::new(ProtocolVersion::V5);
    let _old = client_with(&mut world, Keep::Session, will(1, 60)).await;
    let mut client = Peer::new(&world.broker, ProtocolVersion::V5);
    client.connect("c", Keep::Nothing, None).await;
    assert_eq!(world.commit().await, "WillCleared c #1");
    assert_eq!(world.commit().await, "Ended c");
}
