//! One message that a session is due twice: its queue has it once, and every packet id is kept.

use hookmq_codec::Qos::{AtLeastOnce as QOS_1, ExactlyOnce as QOS_2};
use hookmq_codec::{PacketId, Qos};
use hookmq_store::{Change, MessageId, QueueKey, QueuedCopy, Recovery, SentCopy};

use crate::model::Disk;
use crate::scenes::{append_durably, copy, dequeued, opened, options, record, serve, session};
use crate::suite::MemoryDisk;

fn queued(id: MessageId, qos: Qos) -> Change {
    let copy = QueuedCopy { qos, retain: false, ..copy(QueueKey::Session(session("a"))) };
    Change::Queued { record: record(id, b"x"), copies: vec![copy] }
}

fn assigned(id: MessageId, qos: Qos, packet_id: u16) -> Change {
    let packet_id = PacketId::new(packet_id).unwrap();
    let copy = SentCopy { qos, ..crate::scenes::QOS_1 };
    Change::PacketIdAssigned { session: session("a"), id, copy, packet_id }
}

/// What is in flight after a restart: packet ids, and of which QoS the message is, and how many wait.
fn left(disk: &MemoryDisk, changes: Vec<Change>) -> (Vec<(u16, Option<Qos>)>, usize) {
    let store = serve(disk.engine());
    append_durably(&*store, [opened("a")].into_iter().chain(changes).collect());
    drop(store);
    let mut recovery = Recovery::with_engine(disk.engine(), &options()).unwrap();
    let (in_flight, damaged) = recovery.in_flight(&session("a"));
    assert_eq!(damaged, []);
    let qos = |it: &hookmq_store::StoredDelivery| it.qos;
    let in_flight =
        in_flight.iter().map(|it| (it.slot.packet_id.get(), it.delivery.as_ref().map(qos)));
    (in_flight.collect(), recovery.index().session(&session("a")).unwrap().queue.len())
}

#[test]
fn a_copy_of_qos_2_does_not_take_the_place_of_one_of_qos_1() {
    let id = MessageId(1);
    let changes = vec![queued(id, QOS_1), queued(id, QOS_2), assigned(id, QOS_2, 7)];
    assert_eq!(left(&MemoryDisk::default(), changes), (vec![(7, None)], 1));
}

#[test]
fn the_second_of_two_copies_of_qos_2_has_its_packet_id_while_the_first_goes_on() {
    let id = MessageId(1);
    let mut changes =
        vec![queued(id, QOS_2), queued(id, QOS_2), assigned(id, QOS_2, 7), assigned(id, QOS_2, 8)];
    let expected = (vec![(7, Some(QOS_2)), (8, None)], 0);
    assert_eq!(left(&MemoryDisk::default(), changes.clone()), expected);
    let packet_id = PacketId::new(8).unwrap();
    changes.push(Change::Completed { session: session("a"), packet_id });
    assert_eq!(left(&MemoryDisk::default(), changes), (vec![(7, Some(QOS_2))], 0));
}

#[test]
fn the_acknowledgement_of_a_copy_of_qos_1_frees_no_packet_id_of_qos_2() {
    let id = MessageId(1);
    let changes =
        vec![queued(id, QOS_2), queued(id, QOS_1), assigned(id, QOS_2, 7), dequeued(id, "a")];
    assert_eq!(left(&MemoryDisk::default(), changes), (vec![(7, Some(QOS_2))], 0));
}

#[test]
fn a_retained_copy_of_qos_1_leaves_the_other_its_place() {
    let id = MessageId(1);
    let packet_id = PacketId::new(7).unwrap();
    let copy = SentCopy { retain: true, ..crate::scenes::QOS_1 };
    let retained = Change::PacketIdAssigned { session: session("a"), id, copy, packet_id };
    assert_eq!(left(&MemoryDisk::default(), vec![queued(id, QOS_1), retained]), (vec![], 1));
}

#[test]
fn what_was_sent_with_qos_1_is_dequeued_under_its_packet_id() {
    let id = MessageId(1);
    let changes = vec![queued(id, QOS_1), assigned(id, QOS_1, 7), dequeued(id, "a")];
    assert_eq!(left(&MemoryDisk::default(), changes), (vec![], 0));
}
