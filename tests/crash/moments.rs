//! One kill at one moment, which the random kills hit seldom or never.

use hookmq_codec::{
    Connect, ConnectProperties, Packet, PacketId, ProtocolVersion, Publish, PublishProperties, Qos,
    ReasonCode, UserPropertiesBuf, Will,
};
use hookmq_tests::broker::OPEN_LISTENER;
use hookmq_tests::client::{Client, Received, ack, at, connect, connect_to_session, publish, will};
use hookmq_tests::scene::Scene;

use Qos::{AtMostOnce, ExactlyOnce};

/// Plays `scenario` for 3.1.1 and for 5.0.
fn in_both_versions(scenario: impl Fn(&mut Scene)) {
    for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
        eprintln!("MQTT {}:", version.name());
        scenario(&mut Scene::with_sections(version, ""));
    }
}

fn v5() -> Scene {
    Scene::with_sections(ProtocolVersion::V5, "")
}

fn kill(scene: &mut Scene) {
    scene.broker.restart();
    scene.address = scene.broker.address(OPEN_LISTENER);
}

/// Comes back to a session that must be there.
fn resume(scene: &Scene, client_id: &str) -> Client {
    let connect = connect_to_session(scene.version, client_id, 3600);
    let (client, answer) = Client::connect(scene.address, connect);
    assert!(answer.session_present(), "the session of {client_id} is forgotten");
    client
}

/// A session with a subscription, whose client is away.
fn away(scene: &Scene, client_id: &str, filter: &str) {
    let mut client = scene.session(client_id);
    client.subscribe(filter, ExactlyOnce);
    client.disconnect();
}

fn packet_id_of(received: &Received) -> PacketId {
    received.publish().packet_id.expect("above QoS 0")
}

/// The next message, acknowledged to the end.
fn take(client: &mut Client, topic: &str, payload: &[u8]) {
    let received = client.expect_message(topic, payload);
    client.acknowledge(&received);
}

fn pubrel(client: &mut Client, id: PacketId) {
    let release = client.receive_where(|it| matches!(it, Packet::PubRel(_)));
    assert_eq!(release.acknowledges(id), ReasonCode::Success);
}

#[test]
fn a_message_comes_back_with_all_its_properties() {
    let mut scene = v5();
    let mut subscriber = scene.session("subscriber");
    subscriber.subscribe_with(&[("t", at(ExactlyOnce))], Some(7));
    subscriber.disconnect();
    let user_properties = UserPropertiesBuf::try_from_pairs([("b", "1"), ("a", "2")]).unwrap();
    let properties = PublishProperties {
        payload_format_indicator: Some(true),
        content_type: Some("text/plain"),
        response_topic: Some("answers"),
        correlation_data: Some(b"42"),
        message_expiry_interval: Some(3600),
        user_properties: user_properties.as_user_properties(),
        ..PublishProperties::default()
    };
    let message = Publish { properties: properties.clone(), ..publish("t", b"text", ExactlyOnce) };
    scene.client("publisher").publish(message);
    kill(&mut scene);
    let received = resume(&scene, "subscriber").expect_message("t", b"text");
    let mut delivered = received.publish().properties;
    let left = delivered.message_expiry_interval.unwrap();
    assert!((3500..=3600).contains(&left), "{left}");
    assert_eq!(delivered.subscription_identifiers, [7.try_into().unwrap()]);
    delivered.message_expiry_interval = properties.message_expiry_interval;
    delivered.subscription_identifiers = properties.subscription_identifiers.clone();
    assert_eq!(delivered, properties);
}

#[test]
fn pubrel_may_come_behind_a_kill() {
    in_both_versions(|scene| {
        away(scene, "subscriber", "t");
        let id = PacketId::MIN;
        let message = Publish { packet_id: Some(id), ..publish("t", b"once", ExactlyOnce) };
        let mut publisher = scene.session("publisher");
        publisher.send(&Packet::Publish(message));
        assert_eq!(publisher.receive().acknowledges(id), ReasonCode::Success);
        kill(scene);
        let mut publisher = resume(scene, "publisher");
        publisher.send(&Packet::PubRel(ack(id)));
        assert_eq!(publisher.receive().acknowledges(id), ReasonCode::Success);
    });
}

#[test]
fn more_messages_than_may_be_in_flight_survive() {
    let mut scene = v5();
    let narrow = |scene: &Scene| {
        let connect = connect_to_session(scene.version, "subscriber", 3600);
        let receive_maximum = 2.try_into().ok();
        let properties = ConnectProperties { receive_maximum, ..connect.properties };
        Client::connect(scene.address, Connect { properties, ..connect })
    };
    let (mut subscriber, _) = narrow(&scene);
    subscriber.subscribe("t", ExactlyOnce);
    let mut publisher = scene.client("publisher");
    let payloads: Vec<String> = (0..10).map(|number| number.to_string()).collect();
    for payload in &payloads {
        publisher.publish(publish("t", payload.as_bytes(), ExactlyOnce));
    }
    for payload in &payloads[..2] {
        subscriber.expect_message("t", payload.as_bytes());
    }
    kill(&mut scene);
    let (mut subscriber, answer) = narrow(&scene);
    assert!(answer.session_present());
    let mut in_flight: Vec<Received> = Vec::new();
    for payload in &payloads {
        if in_flight.len() == 2 {
            subscriber.acknowledge(&in_flight.remove(0));
        }
        in_flight.push(subscriber.receive_where(|it| matches!(it, Packet::Publish(_))));
        assert_eq!(in_flight.last().unwrap().publish().payload, payload.as_bytes());
    }
}

#[test]
fn the_will_of_a_client_that_was_connected_comes_once() {
    in_both_versions(|scene| {
        away(scene, "witness", "will/#");
        let with_will = |connect| Connect { will: Some(will("will/1", b"gone")), ..connect };
        let durable = connect_to_session(scene.version, "durable", 3600);
        let _durable = scene.connect(with_will(durable));
        let _transient = scene.connect(with_will(connect(scene.version, "transient")));
        let leaves = connect_to_session(scene.version, "leaves", 3600);
        scene.connect(with_will(leaves)).disconnect();
        scene.connect(with_will(connect(scene.version, "leaves for good"))).disconnect();
        kill(scene);
        // Whoever comes back is too late.
        resume(scene, "durable").disconnect();
        kill(scene);
        let mut witness = resume(scene, "witness");
        take(&mut witness, "will/1", b"gone");
        take(&mut witness, "will/1", b"gone");
        witness.expect_nothing();
    });
}

#[test]
fn a_delayed_will_is_cancelled_by_coming_back_and_comes_once_otherwise() {
    let mut scene = v5();
    away(&scene, "witness", "will/#");
    let connect_with = |client_id, payload, delay_interval| {
        let will = Will { delay_interval, qos: ExactlyOnce, ..will("will/1", payload) };
        Connect { will: Some(will), ..connect_to_session(scene.version, client_id, 3600) }
    };
    let _returns = scene.connect(connect_with("returns", b"has returned", 30));
    let _stays_away = scene.connect(connect_with("stays away", b"stayed away", 1));
    scene.connect(connect_with("lost", b"was lost", 1)).vanish();
    kill(&mut scene);
    resume(&scene, "returns").disconnect();
    let mut witness = resume(&scene, "witness");
    let mut seen = [(); 2].map(|()| {
        let received = witness.receive();
        witness.acknowledge(&received);
        received.publish().payload.to_vec()
    });
    seen.sort();
    assert_eq!(seen, [b"stayed away".to_vec(), b"was lost".to_vec()]);
    // PUBCOMP need not have been stored, but PUBREC was.
    kill(&mut scene);
    let mut witness = resume(&scene, "witness");
    scene.client("publisher").publish(publish("will/end", b"", AtMostOnce));
    let received = witness.receive_where(|it| matches!(it, Packet::Publish(_)));
    assert_eq!(received.publish().payload, b"");
}

#[test]
fn a_session_whose_time_is_over_is_not_there() {
    let mut scene = v5();
    let version = scene.version;
    let short = |client_id| connect_to_session(version, client_id, 1);
    let will = Will { delay_interval: 3600, ..will("will/1", b"session is over") };
    let _mortal = scene.connect(Connect { will: Some(will), ..short("mortal") });
    let _long = scene.session("long");
    away(&scene, "witness", "will/#");
    kill(&mut scene);
    // The will comes when the session ends, however long its delay.
    take(&mut resume(&scene, "witness"), "will/1", b"session is over");
    let (_mortal, answer) = Client::connect(scene.address, short("mortal"));
    assert!(!answer.session_present());
    resume(&scene, "long");
}

#[test]
fn a_shared_subscription_of_sessions_that_are_away_keeps_its_messages() {
    in_both_versions(|scene| {
        for member in ["a", "b"] {
            away(scene, member, "$share/group/t");
        }
        let mut publisher = scene.client("publisher");
        for payload in [b"1", b"2", b"3"] {
            publisher.publish(publish("t", payload, ExactlyOnce));
        }
        kill(scene);
        let mut member = resume(scene, "a");
        let held = member.expect_message("t", b"1");
        take(&mut member, "t", b"2");
        member.send(&Packet::PubRec(ack(packet_id_of(&held))));
        pubrel(&mut member, packet_id_of(&held));
        kill(scene);
        let mut member = resume(scene, "a");
        let mut came = Vec::new();
        while came.len() < 2 {
            let received = member.receive();
            match received.packet() {
                Packet::PubRel(release) => {
                    assert_eq!(release.packet_id, packet_id_of(&held));
                    member.send(&Packet::PubComp(ack(release.packet_id)));
                    came.push(b"released".to_vec());
                }
                Packet::Publish(publish) => {
                    came.push(publish.payload.to_vec());
                    member.acknowledge(&received);
                }
                other => panic!("neither PUBLISH nor PUBREL: {other:?}"),
            }
        }
        came.sort();
        assert_eq!(came, [b"3".to_vec(), b"released".to_vec()]);
        member.expect_nothing();
        resume(scene, "b").expect_nothing();
    });
}
