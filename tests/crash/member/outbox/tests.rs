//! Forged answers: what does not belong to an exchange is found.

use std::time::Instant;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::member::Mood;

/// What `act` gives, which a member does whose moves are recorded.
fn on_stage<T>(record: &mut Record, act: impl FnOnce(&mut Stage<'_>) -> T) -> T {
    act(&mut Stage {
        record,
        registers: &mut Registers::default(),
        rng: &mut StdRng::seed_from_u64(1),
        mood: Mood::Finishing,
        now: Instant::now(),
    })
}

/// A message in flight, its packet id, and what the answers that `answers` gives have shown.
fn found(qos: Qos, answers: impl FnOnce(&mut Outbox, Ack<'static>, &mut Stage<'_>)) -> Vec<Check> {
    let mut record = Record::default();
    let stream = record.stream("stream", qos);
    let key = record.sent(stream);
    let mut outbox = Outbox::default();
    let outgoing = outbox.message(key, qos);
    on_stage(&mut record, |stage| answers(&mut outbox, ack(outgoing.id), stage));
    record.violations().iter().map(|it| it.check).collect()
}

fn not_found(ack: &Ack<'static>) -> Ack<'static> {
    Ack { reason_code: ReasonCode::PacketIdentifierNotFound, ..ack.clone() }
}

#[test]
fn exchanges_that_are_right_break_no_promise() {
    let exchange = |outbox: &mut Outbox, ack: Ack<'static>, stage: &mut Stage<'_>| {
        assert!(outbox.handle_pubrec(&ack, "client", stage).is_some());
        outbox.handle_pubcomp(&ack, "client", stage);
        assert!(outbox.is_empty());
    };
    assert_eq!(found(Qos::ExactlyOnce, exchange), []);
    let puback = |outbox: &mut Outbox, ack, stage: &mut Stage<'_>| {
        outbox.handle_puback(&ack, "client", stage);
        assert!(outbox.is_empty());
    };
    assert_eq!(found(Qos::AtLeastOnce, puback), []);
}

#[test]
fn answers_to_what_is_not_in_flight_are_found() {
    let confused = |outbox: &mut Outbox, ack: Ack<'static>, stage: &mut Stage<'_>| {
        let stranger = Ack { packet_id: packet_id(60_000), ..ack.clone() };
        outbox.handle_puback(&ack, "client", stage);
        outbox.handle_pubcomp(&ack, "client", stage);
        outbox.handle_pubrec(&stranger, "client", stage);
    };
    assert_eq!(found(Qos::ExactlyOnce, confused), [Check::PacketId; 3]);
}

#[test]
fn a_broker_that_has_forgotten_the_packet_id_behind_pubrec_is_found() {
    let forgotten = |outbox: &mut Outbox, ack: Ack<'static>, stage: &mut Stage<'_>| {
        outbox.handle_pubrec(&ack, "client", stage);
        outbox.handle_pubcomp(&not_found(&ack), "client", stage);
    };
    assert_eq!(found(Qos::ExactlyOnce, forgotten), [Check::PacketId]);
    // It has got PUBREL before, and its PUBCOMP was lost.
    let finished = |outbox: &mut Outbox, ack: Ack<'static>, stage: &mut Stage<'_>| {
        outbox.handle_pubrec(&ack, "client", stage);
        outbox.again(stage.record, true);
        outbox.handle_pubcomp(&not_found(&ack), "client", stage);
    };
    assert_eq!(found(Qos::ExactlyOnce, finished), []);
}

#[test]
fn a_message_that_is_refused_is_found() {
    let refused = |outbox: &mut Outbox, ack, stage: &mut Stage<'_>| {
        let refusal = Ack { reason_code: ReasonCode::QuotaExceeded, ..ack };
        outbox.handle_puback(&refusal, "client", stage);
    };
    assert_eq!(found(Qos::AtLeastOnce, refused), [Check::Refused]);
}

#[test]
fn what_was_released_is_not_published_again() {
    found(Qos::ExactlyOnce, |outbox, ack, stage| {
        let packet = |outbox: &mut Outbox, stage: &mut Stage<'_>| {
            let again = outbox.again(stage.record, true)[0];
            match again.content(stage.record, stage.registers).packet(&again) {
                Packet::Publish(publish) => ("PUBLISH", publish.dup),
                Packet::PubRel(_) => ("PUBREL", false),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(packet(outbox, stage), ("PUBLISH", true));
        outbox.handle_pubrec(&ack, "client", stage);
        assert_eq!(packet(outbox, stage), ("PUBREL", false));
    });
}

#[test]
fn the_lowest_packet_id_is_in_use_again_at_once() {
    let mut record = Record::default();
    let stream = record.stream("stream", Qos::AtLeastOnce);
    let mut outbox = Outbox::new(Numbering::Lowest);
    let send = |outbox: &mut Outbox, stage: &mut Stage<'_>| {
        let key = stage.record.sent(stream);
        outbox.message(key, Qos::AtLeastOnce).id.get()
    };
    on_stage(&mut record, |stage| {
        assert_eq!([(); 3].map(|()| send(&mut outbox, stage)), [1, 2, 3]);
        outbox.handle_puback(&ack(packet_id(2)), "client", stage);
        assert_eq!([(); 2].map(|()| send(&mut outbox, stage)), [2, 4]);
    });
    assert!(outbox.next_id().get() >= BEHIND_LOWEST, "a message may get the others at any time");
}
