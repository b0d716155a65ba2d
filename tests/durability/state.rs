//! Sessions, subscriptions, retained messages and wills.

use hookmq_codec::{
    Connect, Packet, ProtocolVersion, Qos, ReasonCode, SubscriptionOptions, UserPropertiesBuf, Will,
};
use hookmq_tests::broker::OPEN_LISTENER;
use hookmq_tests::client::{Client, at, connect, connect_to_session, publish, will};
use hookmq_tests::wait::wait_until;

use crate::{Stage, in_both_versions};

#[test]
fn subscriptions_survive_as_they_were_last_confirmed() {
    in_both_versions(|stage| {
        let mut subscriber = stage.session("s");
        for filter in ["kept", "gone", "changed"] {
            subscriber.subscribe(filter, Qos::ExactlyOnce);
        }
        subscriber.subscribe("changed", Qos::AtLeastOnce);
        subscriber.unsubscribe(&["gone"]);
        stage.crash();
        let mut publisher = stage.client("p");
        for topic in ["kept", "gone", "changed"] {
            publisher.publish(publish(topic, b"x", Qos::ExactlyOnce));
        }
        let mut subscriber = stage.resume("s");
        for (topic, qos) in [("kept", Qos::ExactlyOnce), ("changed", Qos::AtLeastOnce)] {
            let received = subscriber.expect_message(topic, b"x");
            assert_eq!(received.publish().qos, qos);
            subscriber.acknowledge(&received);
        }
        subscriber.expect_nothing();
    });
}

#[test]
fn options_and_identifiers_of_subscriptions_survive() {
    let mut stage = Stage::new(ProtocolVersion::V5, "");
    let mut subscriber = stage.session("s");
    let options =
        SubscriptionOptions { no_local: true, retain_as_published: true, ..at(Qos::AtLeastOnce) };
    subscriber.subscribe_with(&[("t", options)], Some(77));
    stage.crash();
    let retained = hookmq_codec::Publish { retain: true, ..publish("t", b"x", Qos::AtLeastOnce) };
    stage.client("p").publish(retained);
    let mut subscriber = stage.resume("s");
    let received = subscriber.expect_message("t", b"x");
    let identifiers: Vec<_> =
        received.publish().properties.subscription_identifiers.iter().map(|it| it.get()).collect();
    assert_eq!((identifiers, received.publish().retain), (vec![77], true));
    subscriber.acknowledge(&received);
    subscriber.publish(publish("t", b"own", Qos::AtLeastOnce));
    subscriber.expect_nothing();
}

#[test]
fn retained_messages_survive_and_so_does_their_removal() {
    in_both_versions(|stage| {
        let mut publisher = stage.client("p");
        let retained = |topic, payload| hookmq_codec::Publish {
            retain: true,
            ..publish(topic, payload, Qos::AtLeastOnce)
        };
        publisher.publish(retained("t/kept", b"old"));
        publisher.publish(retained("t/kept", b"new"));
        publisher.publish(retained("t/gone", b"x"));
        publisher.publish(retained("t/gone", b""));
        stage.crash();
        let mut client = stage.client("c");
        client.subscribe("t/#", Qos::AtLeastOnce);
        let received = client.expect_message("t/kept", b"new");
        assert!(received.publish().retain);
        client.acknowledge(&received);
        client.expect_nothing();
    });
}

#[test]
fn a_retained_message_that_a_session_was_sent_is_guaranteed_to_it() {
    in_both_versions(|stage| {
        let mut publisher = stage.client("p");
        let retained =
            hookmq_codec::Publish { retain: true, ..publish("t", b"x", Qos::AtLeastOnce) };
        publisher.publish(retained);
        let mut subscriber = stage.session("s");
        subscriber.subscribe("t", Qos::AtLeastOnce);
        subscriber.expect_message("t", b"x");
        stage.flush();
        stage.crash();
        let mut subscriber = stage.resume("s");
        let received = subscriber.expect_message("t", b"x");
        subscriber.acknowledge(&received);
        subscriber.disconnect();
        stage.flush();
        stage.crash();
        stage.resume("s").expect_nothing();
    });
}

#[test]
fn what_acknowledgements_stand_for_is_told_to_who_asks() {
    let sections = format!("store: {{memory_listeners: [{OPEN_LISTENER}]}}\n");
    for (sections, expected) in [("", "fsync"), ("store: {durability: os}\n", "os")]
        .into_iter()
        .chain([(&*sections, "memory")])
    {
        let stage = Stage::new(ProtocolVersion::V5, sections);
        let asks = UserPropertiesBuf::try_from_pairs([("durability", "")]).unwrap();
        let mut connect = connect_to_session(stage.version, "s", 3600);
        let address = stage.broker.address(OPEN_LISTENER);
        for asked in [false, true] {
            if asked {
                connect.properties.user_properties = asks.as_user_properties();
            }
            let (_client, answer) = Client::connect(address, connect.clone());
            let Packet::ConnAck(connack) = answer.packet() else { unreachable!("it was admitted") };
            let told: Vec<_> = connack.properties.user_properties.iter().collect();
            assert_eq!(told, if asked { vec![("durability", expected)] } else { vec![] });
        }
        let whose = match expected {
            "memory" => format!("listener=\"{OPEN_LISTENER}\","),
            _ => String::new(),
        };
        let figure = format!("store_durability{{{whose}mode=\"{expected}\"}}");
        assert_eq!(stage.broker.admin().metric(&figure), 1);
    }
}

#[test]
fn a_session_that_has_ended_does_not_come_back() {
    in_both_versions(|stage| {
        stage.session("s").disconnect();
        stage.client("s").disconnect();
        stage.session("other").disconnect();
        stage.crash();
        assert_eq!(stage.sessions(), [("other".into(), 0)]);
    });
}

#[test]
fn a_session_whose_time_ends_while_the_broker_is_down_is_over() {
    let mut stage = Stage::new(ProtocolVersion::V5, "");
    stage.connect(connect_to_session(stage.version, "brief", 1)).vanish();
    stage.session("long").vanish();
    stage.flush();
    stage.crash();
    wait_until("the brief session is over", || {
        (stage.sessions() == [("long".to_owned(), 0)]).then_some(())
    });
    stage.flush();
    stage.crash();
    assert_eq!(stage.sessions(), [("long".to_owned(), 0)]);
}

fn mortal<'a>(client: Connect<'a>, topic: &'a str) -> Connect<'a> {
    Connect { will: Some(Will { qos: Qos::AtLeastOnce, ..will(topic, b"gone") }), ..client }
}

#[test]
fn wills_of_clients_that_were_connected_are_published_once() {
    in_both_versions(|stage| {
        let mut witness = stage.session("witness");
        witness.subscribe("will/#", Qos::AtLeastOnce);
        let passing = stage.connect(mortal(connect(stage.version, "passing"), "will/passing"));
        let kept = connect_to_session(stage.version, "kept", 3600);
        let lasting = stage.connect(mortal(kept.clone(), "will/lasting"));
        for client_id in ["polite", "kept too"] {
            let passing = connect(stage.version, client_id);
            let lasting = connect_to_session(stage.version, client_id, 3600);
            let connect = if client_id == "polite" { passing } else { lasting };
            stage.connect(mortal(connect, "will/polite")).disconnect();
        }
        stage.flush();
        stage.crash();
        drop((passing, lasting));
        stage.crash();
        let mut witness = stage.resume("witness");
        let mut topics: Vec<_> = (0..2)
            .map(|_| {
                let received = witness.receive();
                witness.acknowledge(&received);
                received.publish().topic.unwrap().to_string()
            })
            .collect();
        topics.sort();
        assert_eq!(topics, ["will/lasting", "will/passing"]);
        witness.expect_nothing();
        let left = ["kept", "kept too", "witness"].map(|it| (it.to_owned(), 0));
        assert_eq!(stage.sessions(), left);
    });
}

#[test]
fn a_will_whose_client_is_back_before_its_delay_is_over_is_not_published() {
    let mut stage = Stage::new(ProtocolVersion::V5, "");
    let mut witness = stage.session("witness");
    witness.subscribe("will/#", Qos::AtLeastOnce);
    for (client_id, delay) in [("back", 3600), ("late", 1)] {
        let mut connect = mortal(connect_to_session(stage.version, client_id, 7200), "will/x");
        connect.will.as_mut().unwrap().delay_interval = delay;
        connect.will.as_mut().unwrap().payload = client_id.as_bytes();
        stage.connect(connect);
    }
    stage.crash();
    stage.resume("back").disconnect();
    let mut witness = stage.resume("witness");
    let received = witness.expect_message("will/x", b"late");
    witness.acknowledge(&received);
    witness.disconnect();
    stage.flush();
    stage.crash();
    stage.resume("witness").expect_nothing();
}

#[test]
fn a_broker_that_is_told_to_stop_leaves_sessions_and_fires_no_wills() {
    in_both_versions(|stage| {
        let mut witness = stage.session("witness");
        witness.subscribe("will/#", Qos::AtLeastOnce);
        let connect = connect_to_session(stage.version, "mortal", 3600);
        let _mortal = stage.connect(mortal(connect, "will/x"));
        assert!(stage.broker.terminate().success());
        stage.broker.restart();
        let mut witness = stage.resume("witness");
        witness.expect_nothing();
        assert_eq!(
            stage.client("witness").publish(publish("t", b"", Qos::AtLeastOnce)),
            match stage.version.is_v5() {
                true => ReasonCode::NoMatchingSubscribers,
                false => ReasonCode::Success,
            }
        );
        drop(witness);
        stage.resume("mortal");
    });
}
