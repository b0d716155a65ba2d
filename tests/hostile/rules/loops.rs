//! Rules that answer each other's messages without end: the hop limit ends them, and the broker rests.

use hookmq_codec::{Packet, ProtocolVersion, Publish, Qos};
use hookmq_tests::broker::OPEN_LISTENER;
use hookmq_tests::client::{Client, connect, publish, will};
use hookmq_tests::wait::wait_until;

use super::Scene;

/// What a message costs that sets a loop off: itself, and one for each hop.
const HOPS: usize = 4;

fn rule(body: &str) -> String {
    format!(
        "const TOPICS = [\"hostile/#\"];\nfn publish(client, message) {{ {body} }}\n\
         fn connect(client) {{ next() }}\nfn authorize(client, access) {{ abstain() }}\n\
         fn deliver(client, message) {{ pass() }}\n"
    )
}

const TO_ITSELF: &str = "emit(message.topic, message.bytes);";
const TO_EACH_OTHER: &str = "emit(if message.topic == \"hostile/a\" { \"hostile/b\" } else { \"hostile/a\" }, message.bytes);";
const RETAINED: &str = "emit(message.topic, message.bytes, #{ retain: true });";
const MORE_EACH_TIME: &str = "for i in 0..16 { emit(message.topic, message.bytes); }";

/// Counts what arrives until nothing is under way any more.
fn arrivals(scene: &Scene, listener: &mut Client) -> usize {
    is_idle(scene);
    // Published after all the others, so it arrives after them.
    let mut last = scene.client("last");
    last.publish(publish("end", b"", Qos::AtLeastOnce));
    let mut count = 0;
    while let Packet::Publish(message) = listener.receive().packet() {
        if message.topic.is_some_and(|topic| topic.as_str() == "end") {
            break;
        }
        count += 1;
    }
    count
}

/// Waits for a fifth of a second in which the broker does next to nothing.
fn is_idle(scene: &Scene) {
    wait_until("the broker rests", || {
        let before = scene.broker.processor_ticks();
        std::thread::sleep(std::time::Duration::from_millis(200));
        (scene.broker.processor_ticks() - before <= 2).then_some(())
    });
}

fn listener(scene: &Scene) -> Client {
    let mut listener = scene.client("listener");
    listener.subscribe("hostile/#", Qos::AtMostOnce);
    listener.subscribe("end", Qos::AtMostOnce);
    listener
}

/// P01
#[test]
fn a_message_that_makes_itself_again_stops_at_the_hop_limit() {
    for body in [TO_ITSELF, TO_EACH_OTHER, RETAINED] {
        let mut scene = Scene::new(&rule(body));
        let mut listener = listener(&scene);
        let mut attacker = scene.client("attacker");
        attacker.publish(publish("hostile/a", b"x", Qos::AtLeastOnce));
        assert_eq!(arrivals(&scene, &mut listener), 1 + HOPS, "{body}");
        assert!(scene.broker.admin().metric("emissions_stopped_total") > 0, "{body}");
        let retained = Publish { retain: true, ..publish("hostile/b", b"x", Qos::AtLeastOnce) };
        attacker.publish(retained);
        assert_eq!(arrivals(&scene, &mut listener), 1 + HOPS, "{body}");
        scene.others_are_served();
    }
}

/// P01
#[test]
fn a_will_that_makes_itself_again_stops_too() {
    let mut scene = Scene::new(&rule(TO_EACH_OTHER));
    let mut listener = listener(&scene);
    let mut connect = connect(ProtocolVersion::V5, "mortal");
    connect.will = Some(will("hostile/a", b"gone"));
    let (mortal, _) = Client::connect(scene.broker.address(OPEN_LISTENER), connect);
    mortal.vanish();
    let first = listener.receive();
    assert_eq!(first.publish().payload, b"gone");
    assert_eq!(arrivals(&scene, &mut listener), HOPS);
    scene.others_are_served();
}

/// P01
#[test]
fn a_loop_that_grows_stops_at_the_number_of_messages() {
    let mut scene = Scene::new(&rule(MORE_EACH_TIME));
    let mut listener = listener(&scene);
    let mut attacker = scene.client("attacker");
    let before = scene.broker.peak_bytes();
    for _ in 0..20 {
        attacker.publish(publish("hostile/a", &[0; 8192], Qos::AtLeastOnce));
    }
    let count = arrivals(&scene, &mut listener);
    assert!(count <= 20 * 257, "{count} messages of 20");
    scene.stays_small(before, "a loop that grows");
    scene.others_are_served();
}
