//! CONNECT: CONNACK waits for all that the session's beginning changes.

use hookmq_codec::ProtocolVersion;

use crate::peer::{Keep, Peer, will};
use crate::world::{VERSIONS, World};

#[tokio::test]
async fn connack_of_a_session_that_lasts_waits_for_its_record() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let mut client = Peer::new(&world.broker, version);
        client.connect("c", Keep::Session, None).await;
        assert_eq!(world.answer_behind("Opened c", &mut client).await, "CONNACK");
    }
}

#[tokio::test]
async fn connack_of_a_session_that_is_resumed_waits_for_that() {
    for version in VERSIONS {
        let mut world = World::new(version);
        drop(world.client("c", Keep::Session).await);
        assert_eq!(world.commit().await, "Closed c");
        let _client = world.back("c").await;
    }
}

#[tokio::test]
async fn connack_behind_a_clean_start_waits_until_the_old_session_is_forgotten() {
    for version in VERSIONS {
        let mut world = World::new(version);
        drop(world.client("c", Keep::Session).await);
        assert_eq!(world.commit().await, "Closed c");
        let mut client = Peer::new(&world.broker, version);
        client.connect("c", Keep::Nothing, None).await;
        assert_eq!(world.answer_behind("Ended c", &mut client).await, "CONNACK");
    }
}

#[tokio::test]
async fn connack_behind_a_clean_start_over_a_session_in_use_waits_for_the_same() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let _old = world.client("c", Keep::Session).await;
        let mut client = Peer::new(&world.broker, version);
        client.connect("c", Keep::Nothing, None).await;
        assert_eq!(world.answer_behind("Ended c", &mut client).await, "CONNACK");
    }
}

#[tokio::test]
async fn the_old_session_is_forgotten_before_the_new_one_is_stored() {
    let mut world = World::new(ProtocolVersion::V5);
    drop(world.client("c", Keep::Session).await);
    assert_eq!(world.commit().await, "Closed c");
    let mut client = Peer::new(&world.broker, ProtocolVersion::V5);
    client.connect("c", Keep::NewSession, None).await;
    assert_eq!(world.commit().await, "Ended c");
    world.release_seen();
    assert_eq!(world.answer_behind("Opened c", &mut client).await, "CONNACK");
}

#[tokio::test]
async fn connack_waits_for_the_will_which_is_stored_with_the_session() {
    for version in VERSIONS {
        for keep in [Keep::Nothing, Keep::Session] {
            let mut world = World::new(version);
            let mut client = Peer::new(&world.broker, version);
            client.connect("c", keep, will(1, 0)).await;
            let stored = "Opened c, WillSet c #1";
            assert_eq!(world.answer_behind(stored, &mut client).await, "CONNACK");
        }
    }
}

#[tokio::test]
async fn a_session_that_ends_with_its_connection_is_not_stored() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let mut client = world.client("c", Keep::Nothing).await;
        client.subscribe("t", 2).await;
        assert_eq!(client.receive().await, "SUBACK 1");
        client.unsubscribe("t").await;
        assert_eq!(client.receive().await, "UNSUBACK 1");
        client.disconnect().await;
        assert_eq!(client.receive().await, "CLOSED");
        world.expect_no_commit().await;
    }
}
