//! Plugins that break their limits when they are called: the step fails, and nobody else does.

use hookmq_codec::{Packet, Qos, ReasonCode};
use hookmq_tests::client::{Client, publish};

use super::siege::{MIB, Siege, in_both_versions};

/// An endless loop, a trap, a panic, all memory there is, and all stack.
const OFFENCES: [&str; 5] = ["loop", "trap", "panic", "grow", "recurse"];

/// Publishes with QoS 1; gives the code of the PUBACK.
fn tell(client: &mut Client, topic: &str, payload: &[u8]) -> ReasonCode {
    client.publish(publish(topic, payload, Qos::AtLeastOnce))
}

/// P02, P03, P05
#[test]
fn a_connect_that_does_not_answer_refuses_the_client() {
    in_both_versions(|siege| {
        for (offences, offence) in (1..).zip(OFFENCES) {
            let code = siege.beside_others(|| siege.attempt_at("hostile", offence));
            assert_ne!(code, ReasonCode::Success, "{offence}");
            assert_eq!(siege.failures("connect", "hostile"), offences, "{offence}");
            assert_eq!(siege.attempt_at("hostile", "good"), ReasonCode::Success, "after {offence}");
        }
    });
}

/// P02, P03, P05
#[test]
fn an_authorize_that_does_not_answer_allows_nothing() {
    in_both_versions(|siege| {
        let mut observer = siege.client("observer");
        observer.subscribe("#", Qos::AtMostOnce);
        for (offences, offence) in (1..).zip(OFFENCES) {
            let mut offender = siege.client("offender");
            let code = siege.beside_others(|| tell(&mut offender, offence, b"forbidden"));
            assert!(!siege.version.is_v5() || code.is_failure(), "{offence}: {code:?}");
            assert_eq!(siege.failures("authorize", "hostile"), offences, "{offence}");
            tell(&mut siege.client("somebody"), "after", offence.as_bytes());
            let next = observer.receive_where(is_not_of_bystanders);
            assert_eq!(next.publish().payload, offence.as_bytes(), "and nothing before it");
        }
    });
}

fn is_not_of_bystanders(packet: &Packet<'_>) -> bool {
    match packet {
        Packet::Publish(publish) => publish.topic.is_some_and(|it| it.as_str() != "bystanders"),
        other => panic!("not PUBLISH: {other:?}"),
    }
}

/// P02, P03, P05
#[test]
fn a_publish_step_that_does_not_answer_drops_the_message() {
    in_both_versions(|siege| {
        let mut subscriber = siege.client("subscriber");
        subscriber.subscribe("publish/#", Qos::AtMostOnce);
        let mut offender = siege.client("offender");
        for (offences, offence) in (1..).zip(OFFENCES) {
            let attack = || tell(&mut offender, "publish/x", offence.as_bytes());
            let code = siege.beside_others(attack);
            let failed = ReasonCode::ImplementationSpecificError;
            assert!(!siege.version.is_v5() || code == failed, "{offence}: {code:?}");
            assert_eq!(siege.failures("publish", "hostile"), offences, "{offence}");
            assert_eq!(tell(&mut offender, "publish/x", b"good"), ReasonCode::Success);
            subscriber.expect_message("publish/x", b"good");
        }
    });
}

/// P02, P03, P05
#[test]
fn a_deliver_step_that_does_not_answer_drops_the_copy() {
    in_both_versions(|siege| {
        let mut subscriber = siege.client("subscriber");
        subscriber.subscribe("deliver/#", Qos::AtMostOnce);
        let mut publisher = siege.client("publisher");
        for (offences, offence) in (1..).zip(OFFENCES) {
            siege.beside_others(|| {
                tell(&mut publisher, "deliver/x", offence.as_bytes());
                tell(&mut publisher, "deliver/x", b"good");
                subscriber.expect_message("deliver/x", b"good");
            });
            assert_eq!(siege.failures("deliver", "hostile"), offences, "{offence}");
        }
    });
}

/// P03
#[test]
fn all_the_memory_that_guests_ask_for_is_given_back() {
    let siege = Siege::new(hookmq_codec::ProtocolVersion::V5);
    let mut offenders: Vec<_> = (0..8).map(|n| siege.client(&format!("offender {n}"))).collect();
    tell(&mut offenders[0], "publish/x", b"good");
    let before = siege.broker.resident_bytes();
    siege.beside_others(|| {
        for round in 0..5 {
            for (number, offender) in offenders.iter_mut().enumerate() {
                let id = hookmq_tests::client::packet_id(1000 + round * 100 + number as u16);
                let mut grow = publish("publish/x", b"grow", Qos::AtLeastOnce);
                grow.packet_id = Some(id);
                offender.send(&Packet::Publish(grow));
            }
            for offender in &mut offenders {
                offender.receive_where(|it| matches!(it, Packet::PubAck(_)));
            }
        }
    });
    assert_eq!(siege.failures("publish", "hostile"), 40);
    let grown = siege.broker.resident_bytes().saturating_sub(before);
    assert!(grown < 64 * MIB, "{grown} bytes");
}

/// P07
#[test]
fn an_answer_beyond_the_bounds_is_a_failure() {
    in_both_versions(|siege| {
        let mut subscriber = siege.client("subscriber");
        subscriber.subscribe("publish/#", Qos::AtMostOnce);
        let mut offender = siege.client("offender");
        for offence in ["big", "many-properties", "bad-topic", "bad-code"] {
            let attack = || tell(&mut offender, "publish/x", offence.as_bytes());
            let code = siege.beside_others(attack);
            assert!(!siege.version.is_v5() || code.is_failure(), "{offence}: {code:?}");
            tell(&mut offender, "publish/x", b"good");
            subscriber.expect_message("publish/x", b"good");
        }
        assert_eq!(siege.failures("publish", "hostile"), 4);
    });
}

#[test]
fn what_is_not_granted_is_not_emitted() {
    in_both_versions(|siege| {
        let mut observer = siege.client("observer");
        observer.subscribe("secret", Qos::AtMostOnce);
        observer.subscribe("granted/#", Qos::AtMostOnce);
        let mut offender = siege.client("offender");
        siege.beside_others(|| tell(&mut offender, "publish/x", b"emit-elsewhere"));
        assert_eq!(siege.failures("publish", "hostile"), 1);
        observer.expect_nothing();
        // Of a thousand, as many as one call may.
        siege.beside_others(|| tell(&mut offender, "publish/x", b"flood"));
        for _ in 0..16 {
            observer.expect_message("granted/x", b"emitted");
        }
        observer.expect_nothing();
    });
}
