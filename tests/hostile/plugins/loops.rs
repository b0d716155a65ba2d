//! Plugins that answer their own messages, or those of a rule that answers theirs.

use hookmq_codec::{Packet, ProtocolVersion, Publish, Qos};
use hookmq_tests::broker::add_rules;
use hookmq_tests::client::{Client, connect, publish, will};

use super::siege::{Siege, artefact, prepared};

/// What a message costs that sets a loop off, beside itself: one for each hop.
const HOPS: usize = 4;

/// To the plugin each message on `granted/#` is a reason to publish there. What it publishes on `publish/#`
/// is a reason for the rule to publish there again.
const CONFIGURATION: &str = r#"
data_dir: data
listeners: [{name: main, bind: "tcp://127.0.0.1:0"}]
admin: {bind: "127.0.0.1:0"}
plugins: {grants: {hostile: {log: true, emit: [granted/#]}}}
pipeline:
  connect: [{builtin: anonymous}]
  authorize: [{builtin: open}]
  publish: [STEPS]
"#;

const TO_ITSELF: &str = "{plugin: hostile, topics: [granted/#], config: {always: emit}}";
const TO_EACH_OTHER: &str = "{plugin: hostile, topics: [publish/#]}, {rule: again}";

const RULE: &str = r#"
const TOPICS = ["granted/#"];
fn publish(client, message) {
    emit("publish/again", "emit", #{ retain: true });
    pass()
}
"#;

fn siege(steps: &str) -> Siege {
    let directory = prepared(&[("hostile", &artefact("hostile"))]);
    add_rules(directory.path(), &[("again", RULE)]);
    Siege::at(ProtocolVersion::V5, &CONFIGURATION.replace("STEPS", steps), directory)
}

fn listener(siege: &Siege) -> Client {
    let mut listener = siege.client("listener");
    for filter in ["granted/#", "publish/#", "end"] {
        listener.subscribe(filter, Qos::AtMostOnce);
    }
    listener
}

/// Counts what arrives before a message that was published after all the others.
fn arrivals(siege: &Siege, listener: &mut Client) -> usize {
    siege.client("last").publish(publish("end", b"", Qos::AtLeastOnce));
    let mut count = 0;
    loop {
        let received = listener.receive_where(|it| matches!(it, Packet::Publish(_)));
        if received.publish().topic.is_some_and(|topic| topic.as_str() == "end") {
            return count;
        }
        count += 1;
    }
}

/// P01: plugin publish, A→A and A→B→A, retained and not.
#[test]
fn a_plugin_that_answers_itself_or_a_rule_stops_at_the_hop_limit() {
    for (steps, topic) in [(TO_ITSELF, "granted/x"), (TO_EACH_OTHER, "publish/x")] {
        let siege = siege(steps);
        let mut listener = listener(&siege);
        let mut attacker = siege.client("attacker");
        for retain in [false, true] {
            siege.beside_others(|| {
                let message = publish(topic, b"emit", Qos::AtLeastOnce);
                attacker.publish(Publish { retain, ..message });
            });
            assert_eq!(arrivals(&siege, &mut listener), 1 + HOPS, "{steps}");
        }
        assert_eq!(siege.broker.admin().metric("emissions_stopped_total"), 2, "{steps}");
        let line = siege.broker.wait_for_log("emitted message stopped");
        assert!(line.contains("step=\"hostile\""), "{line}");
    }
}

/// P01: by a will.
#[test]
fn a_will_that_sets_a_plugin_and_a_rule_off_stops_too() {
    let siege = siege(TO_EACH_OTHER);
    let mut listener = listener(&siege);
    let mut mortal = connect(siege.version, "mortal");
    mortal.will = Some(will("publish/x", b"emit"));
    let (mortal, _) = Client::connect(siege.address("main"), mortal);
    siege.beside_others(|| mortal.vanish());
    // They come when each of them is stored, and what ends the count may come sooner.
    for _ in 0..1 + HOPS {
        listener.receive_where(|it| matches!(it, Packet::Publish(_)));
    }
    assert_eq!(arrivals(&siege, &mut listener), 0);
}
