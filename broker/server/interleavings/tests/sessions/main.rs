//! Who has a session: connections of one client that come, wait for it and go, while time passes and
//! messages come.

mod judge;
mod scene;

use std::sync::Arc;

use hookmq_core::Delivery;
use hookmq_interleavings::broker::sessions::OpenedSession;
use hookmq_store::{MessageId, QueueKey};
use loom::thread;

use self::judge::{Meanwhile, conclude, stored};
use self::scene::{Claim, End, Scene, message, queued};

const CLAIMS: [Claim; 4] = [
    Claim { clean_start: false, is_patient: true },
    Claim { clean_start: false, is_patient: false },
    Claim { clean_start: true, is_patient: true },
    Claim { clean_start: true, is_patient: false },
];

/// Beside the connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Other {
    Nothing,
    /// The client comes once more, where its first connection was.
    Return,
    Publisher,
    /// Wills fall due, and sessions end.
    Time,
    /// The tenant is cleared.
    Clearance,
}

/// A client has a session with a will. Its connection ends in this way while others come; with none it is
/// away already.
fn explore(end: Option<End>, claims: &[Claim], other: Other, interruptions: Option<usize>) {
    let claims = claims.to_vec();
    check(interruptions, move |scene, mut opened| {
        scene.subscribe(&mut opened, "t");
        let will = (other != Other::Clearance).then(|| scene.will());
        let meanwhile = Meanwhile {
            has_will: will.is_some() && end != Some(End::Left),
            ended: end == Some(End::Left) || other == Other::Clearance,
            time_passed: other == Other::Time,
            came_later: other == Other::Time && end.is_none(),
        };
        let first = match end {
            Some(end) => Some((opened, will, end)),
            None => {
                scene.end(opened, will, End::Lost);
                None
            }
        };
        let set_before = meanwhile.came_later.then(|| scene.broker.set_so_far());
        let mut threads = come_and_go(&scene, &claims);
        if !matches!(other, Other::Nothing | Other::Return) {
            let scene = scene.clone();
            threads.push(thread::spawn(move || match other {
                Other::Nothing | Other::Return => {}
                Other::Publisher => scene.publish(),
                Other::Time => {
                    let due = set_before.unwrap_or_else(|| scene.broker.set_so_far());
                    scene.broker.let_time_pass(due, true);
                }
                Other::Clearance => scene.broker.clear(),
            }));
        }
        if let Some((opened, will, end)) = first {
            scene.end(opened, will, end);
        }
        if other == Other::Return {
            scene.come_and_go(CLAIMS[0]);
        }
        threads.into_iter().for_each(|thread| thread.join().expect("a thread"));
        conclude(&scene, meanwhile);
    });
}

/// As above, where the session holds a message of a shared subscription, which another client is a member
/// of.
fn explore_shared(end: End, claims: &[Claim], interruptions: Option<usize>) {
    let claims = claims.to_vec();
    check(interruptions, move |scene, mut opened| {
        scene.subscribe(&mut opened, "$share/s/t");
        let id = hold_shared(&scene, &mut opened);
        let other = scene.open(&scene.broker.client("d"), CLAIMS[0]).expect("it is alone");
        let mut other = scene.settle(other);
        scene.subscribe(&mut other, "$share/s/t");
        let threads = come_and_go(&scene, &claims);
        scene.end(opened, None, end);
        threads.into_iter().for_each(|thread| thread.join().expect("a thread"));
        let back = conclude(&scene, Meanwhile::default());
        let in_share = scene.tenant.share().fetch().is_some();
        assert_eq!(in_share, back.session.outgoing.in_flight() == 0, "the message is lost");
        let ledger = stored(&scene);
        let holds = |queue| ledger.index().queue(&queue).is_some_and(|it| it.find(id).is_some());
        assert_eq!(holds(scene.tenant.share().key()), in_share, "the store has it elsewhere");
        assert_eq!(holds(QueueKey::Session(scene.key())), !in_share, "the store has it elsewhere");
    });
}

/// Plays `scene` in every order of its threads, or in those with so many interruptions. The session is its
/// client's, which is connected.
fn check(
    interruptions: Option<usize>,
    scene: impl Fn(&Arc<Scene>, OpenedSession) + Send + Sync + 'static,
) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = interruptions;
    model.check(move || {
        let stage = Arc::new(Scene::new());
        let opened = stage.connect(CLAIMS[0]).expect("nobody else is there");
        scene(&stage, opened);
    });
}

/// A thread for each connection.
fn come_and_go(scene: &Arc<Scene>, claims: &[Claim]) -> Vec<thread::JoinHandle<()>> {
    let coming = claims.iter().map(|claim| {
        let (scene, claim) = (scene.clone(), *claim);
        thread::spawn(move || scene.come_and_go(claim))
    });
    coming.collect()
}

/// The session gets a message of the shared subscription, and has it in flight.
fn hold_shared(scene: &Scene, opened: &mut OpenedSession) -> MessageId {
    let (store, share) = (&scene.broker.store, scene.tenant.share());
    let message = message(&**store);
    let id = MessageId(message.stored());
    store.append(vec![queued(&message, share.key())]);
    share.post(message);
    let message = share.fetch().expect("it waits");
    store.append(share.fetched(&message, &opened.handle).into_iter().collect());
    share.rest(opened.handle.id);
    let qos = message.qos();
    let shared = Some(share.id);
    let subscription_identifiers = None;
    let delivery = Delivery { message, qos, retain: false, subscription_identifiers, shared };
    opened.session.outgoing.assign(delivery);
    id
}

#[test]
fn one_comes_while_the_first_goes() {
    for claim in CLAIMS {
        for end in [End::TakenOver, End::Lost, End::Left] {
            explore(Some(end), &[claim], Other::Nothing, None);
        }
    }
}

#[test]
fn two_come_to_a_session_whose_client_is_away() {
    for first in CLAIMS {
        for second in CLAIMS {
            explore(None, &[first, second], Other::Nothing, None);
        }
    }
}

#[test]
fn two_come_while_the_first_goes() {
    for first in CLAIMS {
        for second in CLAIMS {
            for end in [End::TakenOver, End::Lost, End::Left] {
                explore(Some(end), &[first, second], Other::Nothing, Some(2));
            }
        }
    }
}

#[test]
fn one_gives_up_and_another_comes_while_the_session_changes_hands() {
    for first in CLAIMS {
        for clean_start in [false, true] {
            let second = Claim { clean_start, is_patient: false };
            explore(Some(End::Lost), &[first, second], Other::Return, Some(2));
        }
    }
}

#[test]
fn one_comes_when_the_will_and_the_session_are_due() {
    for claim in CLAIMS {
        explore(None, &[claim], Other::Time, None);
        explore(Some(End::Lost), &[claim], Other::Time, Some(3));
    }
}

#[test]
fn a_message_comes_while_the_session_changes_hands() {
    for claim in CLAIMS {
        for end in [None, Some(End::TakenOver), Some(End::Lost)] {
            explore(end, &[claim], Other::Publisher, Some(3));
        }
    }
}

#[test]
fn the_tenant_is_cleared_while_the_session_changes_hands() {
    for claim in CLAIMS {
        for end in [None, Some(End::TakenOver), Some(End::Lost)] {
            explore(end, &[claim], Other::Clearance, Some(2));
        }
    }
}

#[test]
fn a_message_that_one_of_several_is_due_outlives_the_session_that_has_it() {
    for first in CLAIMS {
        for second in CLAIMS {
            explore_shared(End::TakenOver, &[first, second], Some(2));
        }
    }
}
