//! Messages whose time is over go from disk, wherever they wait.

use hookmq_codec::PacketId;
use hookmq_store::engine::Table;
use hookmq_store::{
    Change, Ledger, MessageId, NewRecord, QueueKey, Recovery, Store, UnixMillis, Verify,
};

use crate::model::{Disk, TINY};
use crate::picture::read;
use crate::scenes::{
    NOW, QOS_1, append_durably, copy, dequeued, load, opened, options, record, serve, session,
    shared, subscribed,
};
use crate::suite::MemoryDisk;

const FILTER: &str = "$share/g/a/b";

/// So long after `NOW`, which is a whole second.
fn later(millis: u64) -> UnixMillis {
    UnixMillis(NOW.0 + millis)
}

fn expiring(id: MessageId, at: UnixMillis) -> NewRecord {
    NewRecord { expires_at: Some(at), ..record(id, b"x") }
}

fn queued(record: NewRecord, queue: QueueKey) -> Change {
    Change::Queued { record, copies: vec![copy(queue)] }
}

fn waiting(id: MessageId, at: UnixMillis, client_id: &str) -> Change {
    queued(expiring(id, at), QueueKey::Session(session(client_id)))
}

fn swept(millis: u64) -> Change {
    Change::Expired { at: later(millis) }
}

pub fn expired_messages_hold_no_disk(disk: &dyn Disk) {
    let store = serve(disk.engine());
    assert_eq!(store.next_expiry(), None);
    let ids: Vec<_> = (0..7).map(|_| store.next_id()).collect();
    let a = QueueKey::Session(session("a"));
    append_durably(
        &*store,
        vec![
            opened("a"),
            subscribed("a", FILTER),
            queued(record(ids[0], b"x"), a.clone()),
            waiting(ids[1], later(1_001), "a"),
            waiting(ids[2], later(1_000), "a"),
            queued(expiring(ids[3], later(900)), QueueKey::Shared(shared(FILTER))),
            Change::Retained { tenant: "t".into(), record: expiring(ids[4], later(999)) },
            waiting(ids[5], later(5), "a"),
            Change::PacketIdAssigned {
                session: session("a"),
                id: ids[5],
                copy: QOS_1,
                packet_id: PacketId::new(1).unwrap(),
            },
            queued(expiring(ids[6], later(1)), a),
        ],
    );
    assert_eq!(store.next_expiry(), Some(later(1_000)));
    append_durably(&*store, vec![swept(999)]);
    assert_eq!(store.next_expiry(), Some(later(1_000)), "nobody's time was over");
    append_durably(&*store, vec![swept(1_000)]);
    assert_eq!(store.next_expiry(), Some(later(2_000)));
    drop(store);
    let mut engine = disk.engine();
    let mut left = Vec::new();
    let mut each = |id, _: &[u8]| {
        left.push(MessageId(id));
        true
    };
    engine.scan(Table::Body, 0..=u64::MAX, &mut each).unwrap();
    assert_eq!(left, [ids[0], ids[1], ids[5]], "what waits for later, and what is in flight");
    drop(engine);
    let recovery = Recovery::with_engine(disk.engine(), &options()).unwrap();
    assert_eq!(recovery.damages(), []);
    let state = recovery.index().session(&session("a")).unwrap();
    assert_eq!(state.queue.iter().map(|it| it.id()).collect::<Vec<_>>(), [ids[0], ids[1]]);
    assert_eq!(recovery.index().retained().count(), 0);
    assert!(recovery.index().shared().all(|it| it.queue.is_empty() && it.members == 1));
}

pub fn what_expires_is_known_after_a_restart(disk: &dyn Disk) {
    let store = serve(disk.engine());
    let ids: Vec<_> = (0..3).map(|_| store.next_id()).collect();
    append_durably(&*store, vec![opened("a"), opened("b")]);
    append_durably(&*store, vec![waiting(ids[0], later(3_000), "a")]);
    append_durably(&*store, vec![waiting(ids[1], later(2_000), "b")]);
    append_durably(&*store, vec![waiting(ids[2], later(2_000), "a")]);
    drop(store);
    // From a checkpoint, then from a checkpoint and the log.
    for change in [dequeued(ids[1], "b"), dequeued(ids[2], "a")] {
        drop(store_of(disk, later(2_000)));
        let store = serve(disk.engine());
        append_durably(&*store, vec![change]);
    }
    let store = store_of(disk, later(3_000));
    append_durably(&*store, vec![swept(3_000)]);
    assert_eq!(store.next_expiry(), None);
    drop(store);
    assert_eq!(load(disk.engine(), TINY).index().messages(), 0);
}

fn store_of(disk: &dyn Disk, expiry: UnixMillis) -> std::sync::Arc<hookmq_store::DurableStore> {
    let store = serve(disk.engine());
    assert_eq!(store.next_expiry(), Some(expiry));
    store
}

/// Whoever sweeps does not have the disk written where nothing has expired.
#[test]
fn a_queue_that_has_emptied_is_not_due() {
    let store = serve(MemoryDisk::default().engine());
    let ids: Vec<_> = (0..4).map(|_| store.next_id()).collect();
    let waiting = |place: usize| waiting(ids[place], later(1_000), "a");
    let assigned = Change::PacketIdAssigned {
        session: session("a"),
        id: ids[1],
        copy: QOS_1,
        packet_id: PacketId::new(1).unwrap(),
    };
    let ended = Change::SessionEnded { session: session("a") };
    for end in [dequeued(ids[0], "a"), assigned, ended] {
        let place = usize::from(!matches!(end, Change::Dequeued { .. }));
        append_durably(&*store, vec![opened("a"), waiting(place)]);
        assert_eq!(store.next_expiry(), Some(later(1_000)));
        append_durably(&*store, vec![end]);
        assert_eq!(store.next_expiry(), None);
    }
    // Where others wait the time may be too early, and is right after one sweep.
    let late = queued(expiring(ids[3], later(9_000)), QueueKey::Session(session("a")));
    append_durably(&*store, vec![opened("a"), waiting(2), late, dequeued(ids[2], "a")]);
    append_durably(&*store, vec![swept(1_000)]);
    assert_eq!(store.next_expiry(), Some(later(9_000)));
}

/// The transaction that others wait for stays short.
#[test]
fn very_many_go_in_portions() {
    const QUEUES: usize = 30;
    const EACH: usize = 1_000;
    let mut ledger = load(MemoryDisk::default().engine(), TINY);
    let clients: Vec<String> = (0..QUEUES).map(|it| it.to_string()).collect();
    let commit = |ledger: &mut Ledger, changes| {
        ledger.commit([&changes], MessageId(100_000), NOW).unwrap();
    };
    for (number, client) in clients.iter().enumerate() {
        let ids = (0..EACH).map(|it| MessageId((number * EACH + it + 1) as u64));
        let messages = ids.map(|id| waiting(id, later(1_000), client));
        commit(&mut ledger, [opened(client)].into_iter().chain(messages).collect());
    }
    let mut left = Vec::new();
    while ledger.index().next_expiry().is_some() {
        commit(&mut ledger, vec![swept(60_000)]);
        left.push(ledger.index().messages());
    }
    assert_eq!(left, [20_000, 10_000, 0]);
}

/// The pieces of a checkpoint stand before the sweep and behind it.
#[test]
fn a_sweep_between_two_pieces_of_a_checkpoint_comes_to_the_same() {
    const CLIENTS: usize = 12;
    for moment in 0..20 {
        let disk = MemoryDisk::default();
        let mut ledger = load(disk.engine(), TINY);
        let mut id = 0;
        for number in 0..CLIENTS {
            let client = number.to_string();
            let messages = [1_000, 2_000, 3_000].map(|millis| {
                id += 1;
                waiting(MessageId(id), later(millis), &client)
            });
            let changes = [opened(&client)].into_iter().chain(messages).collect();
            ledger.commit([&changes], MessageId(100), NOW).unwrap();
        }
        for step in 0..40 {
            let changes = if step == moment { vec![swept(2_000)] } else { vec![opened("other")] };
            ledger.commit([&changes], MessageId(100), NOW).unwrap();
            let expected = read(&mut ledger);
            let (mut again, damages) = Ledger::load(disk.engine(), TINY, 0, Verify::All).unwrap();
            assert_eq!((damages, read(&mut again)), (vec![], expected), "{moment}, {step}");
            let due = again.index().next_expiry();
            let next = if step < moment { 1_000 } else { 3_000 };
            assert_eq!(due, Some(later(next)), "{moment}, {step}");
        }
    }
}
