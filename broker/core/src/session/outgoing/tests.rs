//! The window towards a client, event by event.

use hookmq_codec::{ReasonCode, TopicName};

use super::*;
use crate::NewMessage;

fn delivery(qos: Qos, payload: &[u8]) -> Delivery {
    let message = Message::new(NewMessage {
        topic: TopicName::new("t").unwrap(),
        forwarded_properties: &[],
        payload,
        qos,
        retain: false,
        expires_at: None,
        publisher: 0,
    });
    Delivery { message, qos, retain: false, subscription_identifiers: None, shared: None }
}

fn open(window: u16) -> Outgoing {
    let mut outgoing = Outgoing::default();
    outgoing.handle_connected(window);
    outgoing
}

/// What is sent again at once to a client that comes back with this window.
fn reconnect(outgoing: &mut Outgoing, window: u16) -> Vec<(u16, Option<Vec<u8>>)> {
    outgoing.handle_connected(window);
    let mut again = Vec::new();
    while let Some(redelivery) = outgoing.poll_redelivery() {
        again.push(match redelivery {
            Redelivery::Publish(id, delivery) => {
                (id.get(), Some(delivery.message.payload().to_vec()))
            }
            Redelivery::Release(id) => (id.get(), None),
        });
    }
    again
}

fn id(id: u16) -> PacketId {
    PacketId::new(id).unwrap()
}

#[test]
fn puback_frees_the_inflight_window() {
    let mut outgoing = open(2);
    let first = outgoing.assign(delivery(Qos::AtLeastOnce, b"1"));
    outgoing.assign(delivery(Qos::AtLeastOnce, b"2"));
    assert!(!outgoing.is_open());
    outgoing.handle_puback(first).unwrap();
    assert!(outgoing.is_open());
    assert!(outgoing.handle_puback(first).is_err());
}

#[test]
fn ids_go_round_without_zero_and_without_reuse_in_flight() {
    let mut outgoing = open(3);
    let mut last = 0;
    for _ in 0..200_000 {
        let given = outgoing.assign(delivery(Qos::AtLeastOnce, b""));
        assert_eq!(given.get(), if last == u16::MAX { 1 } else { last + 1 });
        last = given.get();
        outgoing.handle_puback(given).unwrap();
    }
    assert!(outgoing.slots.is_empty());
}

#[test]
fn an_id_that_is_never_acknowledged_is_never_given_out_again() {
    let mut outgoing = open(2);
    let stuck = outgoing.assign(delivery(Qos::AtLeastOnce, b"stuck"));
    let mut others = 0;
    while outgoing.is_open() {
        let other = outgoing.assign(delivery(Qos::AtLeastOnce, b""));
        assert_ne!(other, stuck);
        outgoing.handle_puback(other).unwrap();
        others += 1;
    }
    assert_eq!(others, IDS - 1);
    outgoing.handle_puback(stuck).unwrap();
    assert!(outgoing.is_open());
}

#[test]
fn acknowledgements_out_of_order_keep_the_order_of_the_rest() {
    let mut outgoing = open(10);
    for payload in [b"1", b"2", b"3"] {
        outgoing.assign(delivery(Qos::AtLeastOnce, payload));
    }
    outgoing.handle_puback(id(2)).unwrap();
    let left = reconnect(&mut outgoing, 10);
    assert_eq!(left, [(1, Some(b"1".to_vec())), (3, Some(b"3".to_vec()))]);
}

#[test]
fn redeliveries_keep_to_the_new_window_and_come_before_what_is_new() {
    let mut outgoing = open(10);
    for payload in [b"1", b"2", b"3"] {
        outgoing.assign(delivery(Qos::AtLeastOnce, payload));
    }
    assert_eq!(reconnect(&mut outgoing, 1), [(1, Some(b"1".to_vec()))]);
    // It has come over the old connection, and is acknowledged over the new.
    outgoing.handle_puback(id(2)).unwrap();
    assert!(outgoing.poll_redelivery().is_none(), "the first one still fills the window");
    outgoing.handle_puback(id(1)).unwrap();
    assert!(!outgoing.is_open(), "the third one comes first");
    assert!(matches!(outgoing.poll_redelivery(), Some(Redelivery::Publish(..))));
    outgoing.abandon(id(3)).unwrap();
    assert!(outgoing.is_open());
    assert_eq!(outgoing.assign(delivery(Qos::AtLeastOnce, b"4")), id(4));
}

#[test]
fn what_cannot_be_sent_again_is_released_where_the_client_may_hold_its_id() {
    let mut outgoing = open(10);
    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce, Qos::ExactlyOnce] {
        outgoing.assign(delivery(qos, b""));
    }
    outgoing.handle_connected(10);
    assert_eq!(outgoing.withhold(|_| true).len(), 3, "before anything is sent again");
    let release = outgoing.poll_redelivery();
    assert!(matches!(release, Some(Redelivery::Release(given)) if given == id(2)));
    assert!(matches!(outgoing.poll_redelivery(), Some(Redelivery::Release(_))));
    let mut outgoing = open(10);
    outgoing.assign(delivery(Qos::ExactlyOnce, b""));
    outgoing.handle_connected(10);
    assert!(matches!(outgoing.poll_redelivery(), Some(Redelivery::Publish(..))));
    assert!(outgoing.abandon(id(1)).unwrap().is_some());
    assert!(matches!(outgoing.handle_pubrec(id(1), None), Ok(Release::Send(None))));
    assert_eq!(outgoing.next_id(), id(2), "until PUBCOMP");
    outgoing.handle_pubcomp(id(1)).unwrap();
    assert!(outgoing.slots.is_empty());
}

#[test]
fn releases_do_not_wait_for_the_window() {
    let mut outgoing = open(3);
    for _ in 0..2 {
        let given = outgoing.assign(delivery(Qos::ExactlyOnce, b""));
        outgoing.handle_pubrec(given, None).unwrap();
    }
    assert_eq!(reconnect(&mut outgoing, 1), [(1, None), (2, None)]);
    assert!(!outgoing.is_open());
}

#[test]
fn qos_2_goes_by_pubrec_and_pubcomp() {
    let mut outgoing = open(1);
    let given = outgoing.assign(delivery(Qos::ExactlyOnce, b""));
    assert!(outgoing.handle_puback(given).is_err());
    assert_eq!(outgoing.handle_pubcomp(given), Err(PacketIdNotFound));
    assert!(matches!(outgoing.handle_pubrec(given, None), Ok(Release::Send(Some(_)))));
    assert_eq!(reconnect(&mut outgoing, 1), [(given.get(), None)]);
    let again = outgoing.handle_pubrec(given, None);
    assert!(matches!(again, Ok(Release::Send(None))), "a repeated PUBREC");
    assert!(!outgoing.is_open());
    outgoing.handle_pubcomp(given).unwrap();
    assert!(outgoing.is_open());
}

#[test]
fn a_refusing_pubrec_ends_the_exchange() {
    let mut outgoing = open(1);
    let given = outgoing.assign(delivery(Qos::ExactlyOnce, b""));
    let refused = Some(ReasonCode::QuotaExceeded);
    assert!(matches!(outgoing.handle_pubrec(given, refused), Ok(Release::Refused(Some(_)))));
    assert!(outgoing.is_open());
}

#[test]
fn messages_of_a_shared_subscription_are_taken_out_in_order() {
    let shared = |number| Some(SharedId(std::num::NonZeroU32::new(number).unwrap()));
    let mut outgoing = open(10);
    for (payload, qos, number) in [
        (b"1", Qos::AtLeastOnce, 7),
        (b"2", Qos::AtLeastOnce, 8),
        (b"3", Qos::ExactlyOnce, 7),
        (b"4", Qos::AtLeastOnce, 7),
    ] {
        outgoing.assign(Delivery { shared: shared(number), ..delivery(qos, payload) });
    }
    let taken = outgoing.take_shared(shared(7).unwrap());
    assert_eq!(taken.iter().map(Message::payload).collect::<Vec<_>>(), [b"1", b"4"]);
    assert!(!outgoing.holds_shared(shared(7).unwrap()));
    assert_eq!(outgoing.in_flight(), 2);
    let left = [(2, Some(b"2".to_vec())), (3, Some(b"3".to_vec()))];
    assert_eq!(reconnect(&mut outgoing, 10), left);
}

#[test]
fn what_is_withheld_is_not_sent_again_and_keeps_its_id_until_it_is_acknowledged() {
    let mut outgoing = open(10);
    for (payload, qos) in [
        (b"1", Qos::AtLeastOnce),
        (b"2", Qos::ExactlyOnce),
        (b"3", Qos::AtLeastOnce),
        (b"4", Qos::ExactlyOnce),
    ] {
        outgoing.assign(delivery(qos, payload));
    }
    let lost = |it: &Delivery| it.message.payload() != b"3";
    let withheld = outgoing.withhold(lost);
    let payloads: Vec<_> = withheld.iter().map(|it| (it.0, it.1.message.payload())).collect();
    assert_eq!(payloads, [(id(1), &b"1"[..]), (id(2), b"2"), (id(4), b"4")]);
    assert_eq!(outgoing.in_flight(), 4, "the client has them");
    outgoing.handle_puback(id(1)).unwrap();
    assert!(outgoing.handle_puback(id(2)).is_err());
    assert!(matches!(outgoing.handle_pubrec(id(2), None), Ok(Release::Send(None))));
    let again = [(2, None), (3, Some(b"3".to_vec())), (4, None)];
    assert_eq!(reconnect(&mut outgoing, 10), again, "the client may hold the id of the fourth");
    outgoing.handle_pubcomp(id(2)).unwrap();
    outgoing.handle_puback(id(3)).unwrap();
    outgoing.handle_pubcomp(id(4)).unwrap();
    assert!(outgoing.slots.is_empty());
}

#[test]
fn what_is_withheld_before_it_is_sent_again_leaves_the_window() {
    let mut outgoing = open(10);
    for payload in [b"1", b"2", b"3"] {
        outgoing.assign(delivery(Qos::AtLeastOnce, payload));
    }
    outgoing.handle_connected(1);
    assert_eq!(outgoing.withhold(|it| it.message.payload() != b"2").len(), 2);
    assert!(matches!(outgoing.poll_redelivery(), Some(Redelivery::Publish(..))));
    outgoing.handle_puback(id(2)).unwrap();
    assert!(outgoing.is_open() && outgoing.slots.is_empty());
}

#[test]
fn what_was_under_way_is_taken_up_under_its_ids_and_in_its_order() {
    let mut outgoing = Outgoing::default();
    let publish = |payload| Resumed::Publish(delivery(Qos::ExactlyOnce, payload));
    outgoing.restore([
        (id(2), publish(b"third")),
        (id(u16::MAX), publish(b"first")),
        (id(1), Resumed::Release),
    ]);
    let first = (u16::MAX, Some(b"first".to_vec()));
    assert_eq!(reconnect(&mut outgoing, 10), [first, (1, None), (2, Some(b"third".to_vec()))]);
    outgoing.handle_pubcomp(id(1)).unwrap();
    assert_eq!(outgoing.assign(delivery(Qos::AtLeastOnce, b"next")), id(3));
}
