//! Forged records: each check finds what it is for, and nothing in a record that is right.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use hookmq_codec::{PacketId, Qos};
use hookmq_tests::client::packet_id;

use super::message::payload;
use super::{
    Arrival, Carriage, Check, Inbox, MessageKey, Order, Presence, RecipientId, Record, Registers,
    Value,
};

const TOPIC: &str = "stream/author";

/// One subscriber of everything, and one stream.
struct Forgery {
    record: Record,
    to: RecipientId,
    stream: usize,
    now: Instant,
}

impl Forgery {
    fn new(qos: Qos) -> Self {
        Self::with(Order::PerStream, |record| record.stream(TOPIC, qos))
    }

    fn of_wills() -> Self {
        Self::with(Order::PerStream, |record| record.wills(TOPIC, Qos::ExactlyOnce))
    }

    fn with(order: Order, stream: impl FnOnce(&mut Record) -> usize) -> Self {
        let mut record = Record::default();
        let to = record.recipient("subscriber", order);
        let stream = stream(&mut record);
        record.subscribing(to, "#", Qos::ExactlyOnce);
        record.subscribed(to, "#");
        Self { record, to, stream, now: Instant::now() }
    }

    /// A message that is acknowledged.
    fn sent(&mut self) -> MessageKey {
        let key = self.record.sent(self.stream);
        self.record.confirmed(key);
        key
    }

    fn comes(&mut self, key: MessageKey) {
        self.comes_on(1, key, false);
    }

    fn comes_on(&mut self, connection: u64, key: MessageKey, dup: bool) {
        let qos = self.record.qos(key);
        let carriage =
            Carriage { connection, qos, dup, packet_id: Some(packet_id(1)), at: self.now };
        self.record.delivered(self.to, TOPIC, &payload(TOPIC, key.number), carriage);
    }

    /// The checks that have found something, once all is settled.
    fn found(mut self) -> Vec<Check> {
        let owed = !self.record.nothing_is_owed();
        self.record.settle();
        let checks: Vec<Check> = self.record.violations().iter().map(|it| it.check).collect();
        assert!(owed || !checks.contains(&Check::Lost), "what is lost was waited for");
        checks
    }
}

#[test]
fn a_right_record_breaks_no_promise() {
    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let mut forgery = Forgery::new(qos);
        for _ in 0..3 {
            let key = forgery.sent();
            forgery.comes(key);
        }
        forgery.record.sent(forgery.stream);
        assert_eq!(forgery.found(), []);
    }
}

#[test]
fn a_message_that_was_acknowledged_and_has_not_come_is_lost() {
    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let mut forgery = Forgery::new(qos);
        let (first, second) = (forgery.sent(), forgery.sent());
        forgery.comes(second);
        assert_eq!(forgery.found(), [Check::Lost]);
        assert!(first < second);
    }
}

#[test]
fn a_message_of_qos_2_that_comes_twice_is_found() {
    let mut forgery = Forgery::new(Qos::ExactlyOnce);
    let key = forgery.sent();
    forgery.comes_on(1, key, false);
    forgery.comes_on(2, key, true);
    forgery.record.settle();
    forgery.comes_on(3, key, true);
    assert_eq!(forgery.found(), [Check::Duplicate, Check::Duplicate]);
}

#[test]
fn a_message_of_qos_1_may_come_again_with_a_reason() {
    let again = |sent_again: bool, connection, dup| {
        let mut forgery = Forgery::new(Qos::AtLeastOnce);
        let key = forgery.sent();
        forgery.comes_on(1, key, false);
        if sent_again {
            forgery.record.sent_again(key);
        }
        forgery.comes_on(connection, key, dup);
        forgery.found()
    };
    assert_eq!(again(false, 2, true), []);
    assert_eq!(again(true, 1, false), []);
    assert_eq!(again(false, 1, true), [Check::Duplicate]);
    assert_eq!(again(false, 2, false), [Check::Duplicate], "without DUP");
}

#[test]
fn messages_in_another_order_are_found() {
    let mut forgery = Forgery::new(Qos::ExactlyOnce);
    let (first, second) = (forgery.sent(), forgery.sent());
    forgery.comes(second);
    forgery.comes(first);
    assert_eq!(forgery.found(), [Check::Order]);
}

#[test]
fn members_of_a_shared_subscription_have_no_order_and_lose_nothing() {
    let shared = |record: &mut Record| record.stream(TOPIC, Qos::ExactlyOnce);
    let mut forgery = Forgery::with(Order::None, shared);
    let keys = [forgery.sent(), forgery.sent(), forgery.sent()];
    forgery.comes_on(2, keys[2], false);
    forgery.comes_on(1, keys[0], false);
    assert_eq!(forgery.found(), [Check::Lost]);
}

#[test]
fn a_message_that_nobody_sent_is_found() {
    let mut forgery = Forgery::new(Qos::AtLeastOnce);
    let key = forgery.sent();
    forgery.comes(MessageKey { number: key.number + 1, ..key });
    forgery.comes(key);
    let mut torn = payload(TOPIC, key.number);
    torn.push(0);
    let qos = Qos::AtLeastOnce;
    let carriage = Carriage { connection: 1, qos, dup: false, packet_id: None, at: forgery.now };
    forgery.record.delivered(forgery.to, TOPIC, &torn, carriage);
    let text = payload(TOPIC, key.number);
    let carriage = Carriage { qos: Qos::AtMostOnce, connection: 2, dup: true, ..carriage };
    forgery.record.delivered(forgery.to, TOPIC, &text, carriage);
    assert_eq!(forgery.found(), [Check::Invented; 3]);
}

#[test]
fn an_unsubscription_that_was_acknowledged_holds() {
    let mut forgery = Forgery::new(Qos::AtLeastOnce);
    let waiting = forgery.sent();
    forgery.record.unsubscribing(forgery.to, "#");
    let between = forgery.sent();
    forgery.record.unsubscribed(forgery.to, "#");
    forgery.comes(waiting);
    forgery.comes(between);
    let behind = forgery.sent();
    forgery.comes(behind);
    assert_eq!(forgery.found(), [Check::Subscription]);
}

#[test]
fn what_waits_at_unsubscribe_need_not_come() {
    let mut forgery = Forgery::new(Qos::ExactlyOnce);
    forgery.sent();
    forgery.record.unsubscribing(forgery.to, "#");
    assert_eq!(forgery.found(), []);
}

#[test]
fn what_came_with_the_subscription_may_come_when_all_is_settled() {
    let mut forgery = Forgery::new(Qos::ExactlyOnce);
    let before = forgery.sent();
    forgery.comes(before);
    forgery.record.unsubscribing(forgery.to, "#");
    let key = forgery.sent();
    forgery.record.settle();
    forgery.comes(key);
    forgery.comes_on(2, before, true);
    assert_eq!(forgery.found(), [Check::Duplicate]);
}

#[test]
fn a_subscription_that_was_acknowledged_holds() {
    let mut forgery = Forgery::new(Qos::ExactlyOnce);
    forgery.record.unsubscribing(forgery.to, "#");
    forgery.record.unsubscribed(forgery.to, "#");
    let on_its_way = forgery.record.sent(forgery.stream);
    forgery.record.subscribing(forgery.to, "#", Qos::ExactlyOnce);
    let between = forgery.sent();
    forgery.record.subscribed(forgery.to, "#");
    let behind = forgery.sent();
    forgery.record.confirmed(on_its_way);
    assert!(on_its_way < between && between < behind);
    assert_eq!(forgery.found(), [Check::Lost]);
}

#[test]
fn a_will_comes_once_when_it_is_due() {
    let mut forgery = Forgery::of_wills();
    let key = forgery.record.sent(forgery.stream);
    assert!(forgery.record.nothing_is_owed());
    forgery.record.confirmed(key);
    assert!(!forgery.record.nothing_is_owed());
    forgery.comes(key);
    assert_eq!(forgery.found(), []);
}

#[test]
fn a_will_that_does_not_come_or_comes_twice_is_found() {
    let mut forgery = Forgery::of_wills();
    let (doubled, missing) = (forgery.sent(), forgery.sent());
    forgery.comes_on(1, doubled, false);
    forgery.comes_on(2, doubled, false);
    assert!(doubled < missing);
    assert_eq!(forgery.found(), [Check::Will, Check::Will]);
}

#[test]
fn a_will_that_was_cancelled_or_comes_too_early_is_found() {
    let mut forgery = Forgery::of_wills();
    let [before, behind, early] = [(); 3].map(|()| forgery.record.sent(forgery.stream));
    forgery.comes(before);
    forgery.record.cancelled(before);
    forgery.record.cancelled(behind);
    forgery.comes(behind);
    forgery.record.delayed(early, forgery.now + Duration::from_secs(1));
    forgery.comes(early);
    assert_eq!(forgery.found(), [Check::Will; 3]);
}

#[test]
fn a_will_may_wait_longer_than_all_else() {
    let mut forgery = Forgery::of_wills();
    let key = forgery.record.sent(forgery.stream);
    forgery.record.settle();
    forgery.record.confirmed(key);
    assert_eq!(forgery.found(), [Check::Will]);
}

#[test]
fn a_session_that_was_confirmed_must_be_present() {
    let mut presence = Presence::default();
    assert!(presence.answered(true).is_err(), "nobody asked for it");
    for first in [false, true] {
        let mut presence = Presence::default();
        presence.asked();
        assert!({ presence }.answered(true).is_err(), "nobody has begun it");
        presence.asked();
        assert_eq!(presence.answered(first), Ok(()), "the first CONNECT may have come through");
        presence.asked();
        assert_eq!(presence.answered(true), Ok(()));
        assert!({ presence }.answered(false).is_err(), "it is forgotten");
        assert!(presence.answered_clean(true, Presence::Absent).is_err());
        presence.asked();
        assert!(presence.answered(true).is_err(), "it has ended");
    }
}

#[test]
fn what_waits_in_a_session_that_was_ended_does_not_come() {
    let mut forgery = Forgery::new(Qos::AtLeastOnce);
    let (came, waiting) = (forgery.sent(), forgery.sent());
    let on_its_way = forgery.record.sent(forgery.stream);
    forgery.comes(came);
    forgery.record.ending(forgery.to);
    forgery.comes(waiting);
    forgery.record.ended(forgery.to);
    forgery.comes_on(2, waiting, true);
    forgery.comes_on(2, on_its_way, false);
    assert_eq!(forgery.found(), [Check::Subscription]);
}

#[test]
fn what_is_retained_is_the_last_acknowledged_or_a_later_one() {
    let mut registers = Registers::default();
    let register = registers.register("register");
    let value = |number: u64| HashMap::from([("register".to_owned(), payload("register", number))]);
    let nothing = HashMap::new();
    let write = |registers: &mut Registers| registers.written(register, Value::Number).0;
    type Seen = HashMap<String, Vec<u8>>;
    let is_right = |registers: &Registers, seen: &Seen| registers.compare(seen).is_empty();

    assert!(is_right(&registers, &nothing));
    let first = write(&mut registers);
    assert!(is_right(&registers, &nothing) && is_right(&registers, &value(1)));
    registers.acknowledged(register, first);
    assert!(!is_right(&registers, &nothing), "it is lost");
    write(&mut registers);
    let third = write(&mut registers);
    assert!((1..=3).all(|number| is_right(&registers, &value(number))));
    registers.acknowledged(register, third);
    assert!(is_right(&registers, &value(3)) && !is_right(&registers, &value(2)), "it is old");
    assert!(!is_right(&registers, &value(4)), "nobody wrote it");

    let (removal, _) = registers.written(register, |_| Value::Nothing);
    assert!(is_right(&registers, &nothing) && is_right(&registers, &value(3)));
    registers.acknowledged(register, removal);
    assert!(is_right(&registers, &nothing) && !is_right(&registers, &value(3)), "it is back");
    let foreign = HashMap::from([("elsewhere".to_owned(), Vec::new())]);
    assert!(!is_right(&registers, &foreign));
}

#[test]
fn an_exchange_keeps_its_packet_id() {
    let id = packet_id(7);
    let [one, other] = [1, 2].map(|number| Some(MessageKey { stream: 0, number }));
    let is_wrong = |arrival| matches!(arrival, Arrival::Wrong(_));
    let held = |message| {
        let mut inbox = Inbox::default();
        assert_eq!(inbox.publish(id, message, false), Arrival::First);
        inbox
    };
    assert_eq!(held(one).publish(id, one, true), Arrival::Again);
    assert!(is_wrong(held(one).publish(id, one, false)), "without DUP");
    assert!(is_wrong(held(one).publish(id, other, true)), "the id is in use");
    assert!(held(one).publish_at_least_once(id).is_err(), "the id is in use");
    assert!(held(one).release(PacketId::MIN).is_err(), "nothing has come under it");

    let mut released = held(one);
    assert_eq!((released.release(id), released.release(id)), (Ok(()), Ok(())));
    assert!(is_wrong(released.publish(id, one, true)), "PUBLISH behind PUBREL");

    let mut completed = held(one);
    completed.release(id).unwrap();
    completed.complete(id);
    assert_eq!(completed.release(id), Ok(()));
    assert_eq!(completed.publish(id, other, false), Arrival::First);
    completed.release(id).unwrap();
    completed.complete(id);
    completed.publish_at_least_once(id).unwrap();
    assert!(completed.release(id).is_err(), "it was of a message of QoS 1");
}
