//! Messages under way when the broker is killed.

use hookmq_codec::{Packet, Publish, Qos, ReasonCode};
use hookmq_tests::broker::OPEN_LISTENER;
use hookmq_tests::client::{ack, packet_id, publish};

use crate::in_both_versions;

/// `[MQTT5-4.4.0-1]` `[MQTT311-4.4.0-1]`
#[test]
fn messages_for_a_client_that_is_away_survive_in_their_order() {
    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
        in_both_versions(|stage| {
            let mut subscriber = stage.session("s");
            subscriber.subscribe("t/#", Qos::ExactlyOnce);
            subscriber.disconnect();
            let mut publisher = stage.client("p");
            for number in 0..20 {
                publisher.publish(publish("t/1", format!("{number}").as_bytes(), qos));
            }
            stage.crash();
            assert_eq!(stage.sessions(), [("s".into(), 20)]);
            let mut subscriber = stage.resume("s");
            for number in 0..20 {
                let received = subscriber.expect_message("t/1", format!("{number}").as_bytes());
                assert_eq!(received.publish().qos, qos);
                subscriber.acknowledge(&received);
            }
            subscriber.disconnect();
            stage.flush();
            stage.crash();
            stage.resume("s").expect_nothing();
        });
    }
}

#[test]
fn a_message_of_qos_1_that_was_sent_comes_again_with_dup_under_its_id_or_as_it_may_have_been() {
    for client_leaves_first in [true, false] {
        in_both_versions(|stage| {
            let mut subscriber = stage.session("s");
            subscriber.subscribe("t", Qos::AtLeastOnce);
            stage.client("p").publish(publish("t", b"x", Qos::AtLeastOnce));
            let first = subscriber.expect_message("t", b"x");
            assert!(!first.publish().dup);
            if client_leaves_first {
                subscriber.vanish();
            }
            stage.crash();
            let mut subscriber = stage.resume("s");
            let again = subscriber.expect_message("t", b"x");
            assert!(again.publish().dup);
            assert_eq!(again.publish().packet_id, first.publish().packet_id);
            subscriber.acknowledge(&again);
            subscriber.expect_nothing();
        });
    }
}

#[test]
fn a_message_that_may_have_been_sent_has_dup_however_often_the_broker_ends_before_its_client_is_back()
 {
    in_both_versions(|stage| {
        let mut subscriber = stage.session("s");
        subscriber.subscribe("t", Qos::AtLeastOnce);
        stage.client("p").publish(publish("t", b"x", Qos::AtLeastOnce));
        subscriber.expect_message("t", b"x");
        stage.crash();
        stage.crash();
        stage.broker.address(OPEN_LISTENER);
        assert!(stage.broker.terminate().success());
        stage.broker.restart();
        stage.client("p").publish(publish("t", b"new", Qos::AtLeastOnce));
        let mut subscriber = stage.resume("s");
        assert!(subscriber.expect_message("t", b"x").publish().dup);
        assert!(!subscriber.expect_message("t", b"new").publish().dup);
    });
}

/// `[MQTT5-4.4.0-1]` `[MQTT311-4.4.0-1]`
#[test]
fn an_exchange_of_qos_2_goes_on_under_its_id_where_it_was() {
    in_both_versions(|stage| {
        let mut subscriber = stage.session("s");
        subscriber.subscribe("t", Qos::ExactlyOnce);
        let mut publisher = stage.client("p");
        for payload in [b"1", b"2"] {
            publisher.publish(publish("t", payload, Qos::ExactlyOnce));
        }
        let first = subscriber.expect_message("t", b"1").publish().packet_id.unwrap();
        let second = subscriber.expect_message("t", b"2").publish().packet_id.unwrap();
        subscriber.send(&Packet::PubRec(ack(first)));
        let release = subscriber.receive_where(|it| matches!(it, Packet::PubRel(_)));
        assert_eq!(release.acknowledges(first), ReasonCode::Success);
        stage.crash();
        let mut subscriber = stage.resume("s");
        let release = subscriber.receive();
        assert!(matches!(release.packet(), Packet::PubRel(_)), "{:?}", release.packet());
        assert_eq!(release.acknowledges(first), ReasonCode::Success);
        subscriber.send(&Packet::PubComp(ack(first)));
        let again = subscriber.expect_message("t", b"2");
        assert!(again.publish().dup);
        assert_eq!(again.publish().packet_id, Some(second));
        subscriber.acknowledge(&again);
        subscriber.disconnect();
        stage.flush();
        stage.crash();
        stage.resume("s").expect_nothing();
    });
}

/// `[MQTT5-4.3.3-10]` `[MQTT311-4.3.3-2]`
#[test]
fn a_message_of_qos_2_that_was_received_is_not_taken_twice() {
    in_both_versions(|stage| {
        let mut subscriber = stage.session("s");
        subscriber.subscribe("t", Qos::ExactlyOnce);
        let mut publisher = stage.session("p");
        let id = packet_id(7);
        let message = Publish { packet_id: Some(id), ..publish("t", b"once", Qos::ExactlyOnce) };
        publisher.send(&Packet::Publish(message.clone()));
        let answer = publisher.receive();
        assert!(matches!(answer.packet(), Packet::PubRec(_)));
        stage.crash();
        let mut publisher = stage.resume("p");
        publisher.publish(Publish { dup: true, ..message });
        let mut subscriber = stage.resume("s");
        let received = subscriber.expect_message("t", b"once");
        subscriber.acknowledge(&received);
        subscriber.expect_nothing();
        stage.flush();
        // PUBCOMP has come: the id is free, and what is under it now is another message.
        stage.crash();
        let mut publisher = stage.resume("p");
        let other = publish("t", b"another", Qos::ExactlyOnce);
        publisher.publish(Publish { packet_id: Some(id), ..other });
        stage.resume("s").expect_message("t", b"another");
    });
}

#[test]
fn without_a_session_that_outlives_its_connection_nothing_is_stored() {
    in_both_versions(|stage| {
        let mut subscriber = stage.client("s");
        subscriber.subscribe("t", Qos::ExactlyOnce);
        stage.client("p").publish(publish("t", b"x", Qos::ExactlyOnce));
        subscriber.expect_message("t", b"x");
        stage.crash();
        assert_eq!(stage.sessions(), []);
    });
}
