//! What expires while nobody asks for it goes from the store, and is not counted any more.

use hookmq::broker::sweep::Sweeper;
use hookmq_codec::ProtocolVersion;
use hookmq_store::{Store, UnixMillis};

use crate::peer::{Keep, Peer};
use crate::world::{World, settle};

/// Messages that wait for `s`, and whether their bytes are as much as the tenant's.
fn waiting(world: &World) -> usize {
    let tenant = world.broker.tenants().remove(0);
    let mailbox = &tenant.session("s").unwrap().mailbox;
    assert_eq!(mailbox.queued_bytes(), tenant.queued_bytes());
    assert_eq!(mailbox.queued() == 0, mailbox.queued_bytes() == 0);
    mailbox.queued()
}

/// Sweeps what has expired an hour from now.
async fn sweep(world: &mut World, sweeper: &mut Sweeper) {
    let at = UnixMillis(UnixMillis::now().0 + 3_600_000);
    let released = async {
        assert_eq!(world.commit().await, "Expired");
        world.release_seen();
    };
    tokio::join!(sweeper.sweep(at), released);
}

async fn away(world: &mut World) -> Peer {
    drop(world.subscriber("s", Keep::Session, "t").await);
    assert_eq!(world.commit().await, "Closed s");
    world.client("p", Keep::Nothing).await
}

#[tokio::test]
async fn what_has_expired_takes_no_room_in_the_queue_of_a_client_that_is_away() {
    let mut world = World::new(ProtocolVersion::V5);
    let mut sweeper = Sweeper::new(world.broker.clone());
    let mut publisher = away(&mut world).await;
    publisher.publish("t", 1, 1).await;
    publisher.publish_for(60, "t", 1, 2).await;
    publisher.publish_for(60, "t", 2, 3).await;
    for _ in 1..=3 {
        world.commit().await;
    }
    world.release_seen();
    assert_eq!(waiting(&world), 3);
    sweep(&mut world, &mut sweeper).await;
    assert_eq!(waiting(&world), 1);
    let mut subscriber = world.back("s").await;
    assert_eq!(subscriber.receive().await, "PUBLISH 1 1 t");
    subscriber.expect_nothing().await;
    assert_eq!(waiting(&world), 0);
}

#[tokio::test]
async fn what_comes_while_it_is_counted_is_counted_too() {
    let mut world = World::new(ProtocolVersion::V5);
    let mut sweeper = Sweeper::new(world.broker.clone());
    let mut publisher = away(&mut world).await;
    publisher.publish_for(60, "t", 1, 1).await;
    assert_eq!(world.commit().await, "Queued #1 s");
    world.release_seen();
    let at = UnixMillis(UnixMillis::now().0 + 3_600_000);
    let meanwhile = async {
        assert_eq!(world.commit().await, "Expired");
        // Each question is answered behind an empty commit.
        world.store.append(vec![]);
        world.release_seen();
        settle().await;
        assert_eq!(world.commit().await, "");
        world.store.append(vec![]);
        world.release_seen();
        settle().await;
        publisher.publish("t", 1, 2).await;
        assert_eq!(world.commit().await, "");
        assert_eq!(world.commit().await, "Queued #2 s");
        world.release_seen();
    };
    tokio::join!(sweeper.sweep(at), meanwhile);
    assert_eq!(waiting(&world), 2, "what the store has said is not what waits any more");
    sweeper.sweep(at).await;
    assert_eq!(waiting(&world), 1);
}
