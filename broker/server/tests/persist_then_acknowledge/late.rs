//! A message that is stored behind others that have been given their ids after it.

use std::sync::{Mutex, mpsc};

use hookmq_codec::ProtocolVersion;
use hookmq_store::Change;

use crate::peer::Keep;
use crate::world::{DEADLINE, World};

/// The subscriber, which is behind, has come beyond the late one when that is stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_comes_before_what_its_publisher_has_sent_behind_it() {
    let mut world = World::new(ProtocolVersion::V5);
    let mut subscriber = world.subscriber("s", Keep::Session, "+").await;
    subscriber.disconnect().await;
    assert_eq!(world.commit().await, "Closed s");
    let (mut slow, mut quick) =
        (world.client("slow", Keep::Nothing).await, world.client("quick", Keep::Nothing).await);

    let (arrived, arrival) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let may_go_on = Mutex::new(may_go_on);
    world.store.watch(move |changes| {
        if let [Change::Queued { record, .. }] = changes
            && record.id.0 == 1
        {
            arrived.send(()).unwrap();
            tokio::task::block_in_place(|| may_go_on.lock().unwrap().recv_timeout(DEADLINE))
                .unwrap();
        }
    });
    slow.publish("slow", 1, 1).await;
    tokio::task::block_in_place(|| arrival.recv_timeout(DEADLINE)).unwrap();
    quick.publish("quick", 1, 1).await;
    assert_eq!(world.commit().await, "Queued #2 s");
    world.release_seen();
    let mut subscriber = world.client("s", Keep::Session).await;
    assert_eq!(subscriber.receive().await, "PUBLISH 1 1 quick");

    // What it asks for next is not answered yet.
    quick.publish("quick", 1, 2).await;
    assert_eq!(world.commit().await, "Queued #3 s");
    while world.store.asked() == 0 {
        tokio::task::yield_now().await;
    }
    go_on.send(()).unwrap();
    assert_eq!(world.commit().await, "Queued #1 s");
    slow.publish("slow", 1, 2).await;
    assert_eq!(world.commit().await, "Queued #4 s");
    world.store.release();
    assert_eq!(subscriber.receive().await, "PUBLISH 1 2 slow");
    assert_eq!(subscriber.receive().await, "PUBLISH 1 3 quick");
    assert_eq!(subscriber.receive().await, "PUBLISH 1 4 slow");
}
