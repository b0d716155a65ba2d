//! Orders that a single thread cannot get wrong: what is held, and who has what, while a change is
//! appended.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use hookmq::broker::publisher::Publisher;
use hookmq::broker::tenant::Tenant;
use hookmq_codec::{ProtocolVersion, Qos, TopicName};
use hookmq_core::{CommitSequence, NewMessage, SharedId};
use hookmq_store::Change;

use crate::peer::{Keep, Peer, will};
use crate::world::{VERSIONS, World};

/// Whether `look` cannot go on, for the lock that it needs is held. Where it can, that shows long
/// before the time is over.
fn is_held(look: impl FnOnce() + Send + 'static) -> bool {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        look();
        // Nobody listens where the lock was held.
        let _ = sender.send(());
    });
    receiver.recv_timeout(Duration::from_millis(100)).is_err()
}

/// Counts the changes that `concerns` picks, and asserts that `look` is held up while each is appended.
fn expect_held(
    world: &World,
    concerns: fn(&Change) -> bool,
    look: impl Fn() + Clone + Send + Sync + 'static,
) -> Arc<AtomicUsize> {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    world.store.watch(move |changes| {
        if changes.iter().any(concerns) {
            assert!(is_held(look.clone()), "others can go on before it is appended: {changes:?}");
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    seen
}

fn tenant(world: &World) -> Arc<Tenant> {
    world.broker.tenants().remove(0)
}

#[tokio::test]
async fn a_message_is_appended_before_anybody_has_it() {
    for version in VERSIONS {
        for qos in [1, 2] {
            let mut world = World::new(version);
            let _durable = world.subscriber("s", Keep::Session, "t").await;
            let _passing = world.subscriber("r", Keep::Nothing, "t").await;
            let _member = world.subscriber("m", Keep::Session, "$share/g/t").await;
            let mut publisher = world.client("p", Keep::Nothing).await;
            let tenant = tenant(&world);
            let share = tenant.share(SharedId(NonZeroU32::MIN)).unwrap();
            let sessions = ["s", "r"].map(|it| tenant.session(it).unwrap());
            world.store.watch(move |changes| {
                if changes.iter().any(|it| matches!(it, Change::Queued { .. })) {
                    for session in &sessions {
                        let mut batch = VecDeque::new();
                        session.mailbox.take(&mut batch);
                        assert!(batch.is_empty(), "a session has it before the store");
                    }
                    assert!(share.fetch().is_none(), "a share has it before the store");
                }
            });
            publisher.publish("t", qos, 7).await;
            assert_eq!(world.commit().await, "Queued #1 s+$share/g/t");
            publisher.expect_nothing().await;
            world.store.release();
            assert!(publisher.receive().await.ends_with(" 7"));
        }
    }
}

#[tokio::test]
async fn what_is_retained_last_is_stored_last() {
    let mut world = World::new(ProtocolVersion::V5);
    let mut publisher = world.client("p", Keep::Nothing).await;
    let of_all = tenant(&world);
    let look = move || _ = of_all.retained_count();
    let seen = expect_held(&world, |it| matches!(it, Change::Retained { .. }), look);
    publisher.retain("t", 1, 7, b"x").await;
    assert_eq!(world.answer_behind("Retained #1", &mut publisher).await, "PUBACK 7");
    assert_eq!(seen.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn nobody_comes_back_to_a_session_before_its_departure_is_appended() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let client = world.client("c", Keep::Session).await;
        let session = tenant(&world).session("c").unwrap();
        let look = move || _ = session.is_online();
        let seen = expect_held(&world, |it| matches!(it, Change::SessionClosed { .. }), look);
        drop(client);
        assert_eq!(world.commit().await, "Closed c");
        assert_eq!(seen.load(Ordering::Relaxed), 1);
    }
}

#[tokio::test]
async fn nobody_begins_a_session_before_the_end_of_the_one_before_is_appended() {
    for version in VERSIONS {
        // It ends with its connection, or with the clean start of the next.
        for keep in [Keep::Nothing, Keep::Session] {
            let mut world = World::new(version);
            let mut client = Peer::new(&world.broker, version);
            client.connect("c", keep, will(1, 0)).await;
            assert_eq!(world.answer_behind("Opened c, WillSet c #1", &mut client).await, "CONNACK");
            let tenant = tenant(&world);
            let look = move || _ = tenant.session("c");
            let seen = expect_held(&world, |it| matches!(it, Change::SessionEnded { .. }), look);
            drop(client);
            assert_eq!(world.commit().await, "WillCleared c #1");
            if keep == Keep::Session {
                assert_eq!(world.commit().await, "Closed c");
                Peer::new(&world.broker, version).connect("c", Keep::Nothing, None).await;
            }
            assert_eq!(world.commit().await, "Ended c");
            assert_eq!(seen.load(Ordering::Relaxed), 1);
        }
    }
}

#[tokio::test]
async fn whoever_has_a_message_of_qos_2_knows_what_it_waits_for() {
    let mut world = World::new(ProtocolVersion::V5);
    // The first is given each message long before the last.
    let mut subscribers = vec![world.subscriber("r", Keep::Nothing, "t").await];
    for number in 0..100 {
        let client_id = format!("r{number}");
        subscribers.push(world.subscriber(&client_id, Keep::Nothing, "t").await);
    }
    let _publisher = world.client("p", Keep::Nothing).await;
    let tenant = tenant(&world);
    let publishing = tenant.session("p").unwrap();
    let client = publishing.client().unwrap();
    let mut publisher = Publisher::new(world.broker.clone(), tenant.clone(), client, publishing.id);
    let receiving = tenant.session("r").unwrap();
    let over = AtomicBool::new(false);
    // No driver does anything meanwhile: their thread is this one.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut batch = VecDeque::new();
            while !over.load(Ordering::Acquire) {
                receiving.mailbox.take(&mut batch);
                for delivery in batch.drain(..) {
                    assert!(delivery.message.onward_after() > CommitSequence::NONE);
                }
            }
        });
        for _ in 0..5_000 {
            publisher.publish(NewMessage {
                topic: TopicName::new("t").unwrap(),
                forwarded_properties: &[],
                payload: b"x",
                qos: Qos::ExactlyOnce,
                retain: true,
                expires_at: None,
                publisher: publishing.id,
            });
        }
        over.store(true, Ordering::Release);
    });
}
