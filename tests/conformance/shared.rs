//! Shared subscriptions: who gets a message, and what becomes of one that its member cannot finish.

use hookmq_codec::{Connect, ConnectProperties, Packet, Qos, ReasonCode, SubscriptionOptions};
use hookmq_tests::client::{Client, ack, at, connect_to_session, publish};
use hookmq_tests::scene::{Scene, in_both_versions};

const FILTER: &str = "$share/group/jobs/+";

/// Members with names from `names`, each in the group at this QoS.
fn members<const N: usize>(scene: &Scene, names: [&str; N], qos: Qos) -> [Client; N] {
    names.map(|name| {
        let mut member = scene.session(name);
        member.subscribe(FILTER, qos);
        // It has looked into the group's queue, and waits for a call.
        member.expect_nothing();
        member
    })
}

fn publish_numbers(publisher: &mut Client, numbers: std::ops::Range<u32>, qos: Qos) {
    for number in numbers {
        publisher.publish(publish("jobs/x", number.to_string().as_bytes(), qos));
    }
}

/// All that the member is sent until it has `count` messages, acknowledged to the end.
fn receive_numbers(member: &mut Client, count: usize) -> Vec<u32> {
    (0..count)
        .map(|_| {
            let received = member.receive_where(|it| matches!(it, Packet::Publish(_)));
            member.acknowledge(&received);
            number(received.publish().payload)
        })
        .collect()
}

fn number(payload: &[u8]) -> u32 {
    std::str::from_utf8(payload).expect("digits").parse().expect("a number")
}

/// `[MQTT5-4.8.2-3]`
#[test]
fn every_message_goes_to_one_member_and_members_take_turns() {
    in_both_versions(|scene| {
        let mut publisher = scene.client("publisher");
        let mut outsider = scene.client("outsider");
        outsider.subscribe("jobs/#", Qos::AtMostOnce);
        let mut other_group = scene.client("other group");
        other_group.subscribe("$share/other/jobs/+", Qos::AtLeastOnce);
        let mut members = members(scene, ["a", "b", "c"], Qos::AtLeastOnce);
        let mut all = Vec::new();
        for round in 0..4 {
            for member in &mut members {
                let next = all.len() as u32;
                publish_numbers(&mut publisher, next..next + 1, Qos::ExactlyOnce);
                let received = member.expect_message("jobs/x", next.to_string().as_bytes());
                assert_eq!(received.publish().qos, Qos::AtLeastOnce, "as granted, round {round}");
                member.acknowledge(&received);
                member.expect_nothing();
                all.push(next);
            }
        }
        assert_eq!(receive_numbers(&mut outsider, all.len()), all);
        assert_eq!(receive_numbers(&mut other_group, all.len()), all);
        for member in &mut members {
            member.expect_nothing();
        }
    });
}

#[test]
fn a_member_without_a_window_left_does_not_hold_the_others_up() {
    let mut scene = Scene::v5();
    let properties =
        ConnectProperties { receive_maximum: 1.try_into().ok(), ..ConnectProperties::default() };
    let connect = Connect { properties, ..scene.connect_packet("stuck") };
    let mut stuck = scene.connect(connect);
    stuck.subscribe(FILTER, Qos::AtLeastOnce);
    stuck.expect_nothing();
    let [mut member] = members(&scene, ["member"], Qos::AtLeastOnce);
    let mut publisher = scene.client("publisher");
    publish_numbers(&mut publisher, 0..1, Qos::AtLeastOnce);
    assert_eq!(stuck.receive().publish().payload, b"0");
    publish_numbers(&mut publisher, 1..100, Qos::AtLeastOnce);
    assert_eq!(receive_numbers(&mut member, 99), (1..100).collect::<Vec<_>>());
    scene.broker.terminate();
}

#[test]
fn what_a_member_did_not_acknowledge_goes_to_another_when_it_leaves() {
    in_both_versions(|scene| {
        let [mut a, mut b] = members(scene, ["a", "b"], Qos::AtLeastOnce);
        let mut publisher = scene.client("publisher");
        publish_numbers(&mut publisher, 0..6, Qos::AtLeastOnce);
        let held: Vec<_> = (0..3).map(|_| number(a.receive().publish().payload)).collect();
        a.vanish();
        let mut received = receive_numbers(&mut b, 6);
        assert!(held.iter().all(|number| received.contains(number)));
        received.sort_unstable();
        assert_eq!(received, (0..6).collect::<Vec<_>>());
        // Its session does not have them any more.
        scene.session("a").expect_nothing();
    });
}

#[test]
fn what_waits_while_all_are_away_goes_to_the_first_to_return() {
    in_both_versions(|scene| {
        let [mut a, b] = members(scene, ["a", "b"], Qos::AtLeastOnce);
        let mut publisher = scene.client("publisher");
        b.vanish();
        publish_numbers(&mut publisher, 0..1, Qos::AtLeastOnce);
        assert_eq!(a.receive().publish().payload, b"0");
        a.vanish();
        publish_numbers(&mut publisher, 1..5, Qos::AtLeastOnce);
        publish_numbers(&mut publisher, 5..9, Qos::AtMostOnce);
        publisher.expect_nothing();
        let mut b = scene.session("b");
        let mut received = receive_numbers(&mut b, 5);
        received.sort_unstable();
        assert_eq!(received, [0, 1, 2, 3, 4], "QoS 0 is not kept for those who are away");
        b.expect_nothing();
        scene.session("a").expect_nothing();
    });
}

/// `[MQTT5-4.8.2-4]` `[MQTT5-4.8.2-5]`
#[test]
fn a_message_of_qos_2_stays_with_the_member_that_has_it() {
    in_both_versions(|scene| {
        let [mut a, mut b] = members(scene, ["a", "b"], Qos::ExactlyOnce);
        let mut publisher = scene.client("publisher");
        publish_numbers(&mut publisher, 0..2, Qos::ExactlyOnce);
        let first = a.receive();
        assert_eq!(receive_numbers(&mut b, 1), [1]);
        a.vanish();
        b.expect_nothing();
        let mut a = scene.session("a");
        let again = a.receive();
        assert!(again.publish().dup);
        assert_eq!(again.publish().packet_id, first.publish().packet_id);
        a.vanish();
        // The session ends, and with it the message.
        scene.client("a").disconnect();
        b.expect_nothing();
    });
}

/// `[MQTT5-4.8.2-6]`
#[test]
fn a_message_that_a_member_refuses_is_not_tried_elsewhere() {
    let mut scene = Scene::v5();
    let [mut a, mut b] = members(&scene, ["a", "b"], Qos::ExactlyOnce);
    let mut publisher = scene.client("publisher");
    for (qos, next) in [(Qos::AtLeastOnce, 0), (Qos::ExactlyOnce, 2)] {
        publish_numbers(&mut publisher, next..next + 1, qos);
        let received = a.receive();
        let id = received.publish().packet_id.expect("QoS 1 or 2");
        let mut refusal = ack(id);
        refusal.reason_code = ReasonCode::QuotaExceeded;
        a.send(&match qos {
            Qos::ExactlyOnce => Packet::PubRec(refusal),
            _ => Packet::PubAck(refusal),
        });
        a.expect_nothing();
        b.expect_nothing();
        publish_numbers(&mut publisher, next + 1..next + 2, qos);
        assert_eq!(receive_numbers(&mut b, 1), [next + 1]);
        b.expect_nothing();
    }
    scene.broker.terminate();
}

/// `[MQTT5-3.8.3-4]`
#[test]
fn no_local_on_a_shared_subscription_is_a_protocol_error() {
    let scene = Scene::v5();
    let mut client = scene.client("a");
    let options = SubscriptionOptions { no_local: true, ..at(Qos::AtMostOnce) };
    let id = hookmq_tests::client::packet_id(1);
    let filter = hookmq_codec::TopicFilter::new("$share/g/t").expect("a filter");
    let mut bytes = client.encode(&Packet::Subscribe(hookmq_codec::Subscribe {
        packet_id: id,
        filters: vec![(filter, at(Qos::AtMostOnce))],
        properties: Default::default(),
    }));
    // The codec refuses to write it; the options are the last byte.
    *bytes.last_mut().expect("options") = options.no_local as u8 * 4;
    client.send_raw(&bytes);
    client.expect_disconnected(ReasonCode::ProtocolError);
}

#[test]
fn a_shared_subscription_ends_when_its_last_member_unsubscribes() {
    in_both_versions(|scene| {
        let [mut a, mut b] = members(scene, ["a", "b"], Qos::AtLeastOnce);
        let mut publisher = scene.client("publisher");
        a.unsubscribe(&[FILTER]);
        publish_numbers(&mut publisher, 0..3, Qos::AtLeastOnce);
        assert_eq!(receive_numbers(&mut b, 3), [0, 1, 2]);
        b.unsubscribe(&[FILTER]);
        let nobody = publisher.publish(publish("jobs/x", b"3", Qos::AtLeastOnce));
        if scene.version.is_v5() {
            assert_eq!(nobody, ReasonCode::NoMatchingSubscribers);
        }
        a.expect_nothing();
        b.expect_nothing();
    });
}

#[test]
fn a_shared_subscription_gets_no_retained_messages() {
    in_both_versions(|scene| {
        let mut publisher = scene.client("publisher");
        let mut retained = publish("jobs/x", b"kept", Qos::AtLeastOnce);
        retained.retain = true;
        publisher.publish(retained);
        let [mut member] = members(scene, ["a"], Qos::AtLeastOnce);
        member.expect_nothing();
    });
}

#[test]
fn a_member_carries_its_own_subscription_identifier() {
    let scene = Scene::v5();
    let mut member = scene.connect(connect_to_session(scene.version, "a", 60));
    member.subscribe_with(&[(FILTER, at(Qos::AtLeastOnce))], Some(7));
    member.expect_nothing();
    scene.client("publisher").publish(publish("jobs/x", b"1", Qos::AtLeastOnce));
    let received = member.receive();
    let identifiers = received.publish().properties.subscription_identifiers;
    assert_eq!(identifiers.iter().map(|it| it.get()).collect::<Vec<_>>(), [7]);
}

/// `[MQTT5-3.3.4-5]`
#[test]
fn a_shared_copy_and_a_copy_of_its_own_carry_one_identifier_each() {
    let scene = Scene::v5();
    let mut member = scene.client("a");
    member.subscribe_with(&[(FILTER, at(Qos::AtMostOnce))], Some(7));
    member.subscribe_with(&[("jobs/#", at(Qos::AtMostOnce))], Some(9));
    scene.client("publisher").publish(publish("jobs/x", b"1", Qos::AtMostOnce));
    let mut identifiers: Vec<_> = (0..2)
        .flat_map(|_| member.receive().publish().properties.subscription_identifiers)
        .map(|identifier| identifier.get())
        .collect();
    identifiers.sort_unstable();
    assert_eq!(identifiers, [7, 9]);
    member.expect_nothing();
}
