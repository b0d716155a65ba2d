//! A plugin that is replaced again and again while messages flow through it.

use std::sync::atomic::{AtomicBool, Ordering};

use hookmq_codec::{Packet, ProtocolVersion, Qos};
use hookmq_tests::client::{Client, connect_to_session, publish};

use super::crafted::replacing;
use super::siege::{MIB, Siege};

const SWAPS: usize = 1000;
/// After so many the broker has what memory it needs for one.
const WARM: usize = 100;
/// One idle client for so many swaps, each of which stays with the pipeline that it last looked at.
const SWAPS_PER_IDLER: usize = 25;
const PUBLISHERS: usize = 2;
/// What each version puts in the place of a payload.
const VERSIONS: [&str; 2] = ["the one", "the other"];

/// What the broker may have grown by from then on.
const GROWTH: u64 = 16 * MIB;

const CONFIGURATION: &str = r#"
data_dir: data
listeners: [{name: main, bind: "tcp://127.0.0.1:0"}]
admin: {bind: "127.0.0.1:0"}
pipeline:
  connect: [{builtin: anonymous}]
  authorize: [{builtin: open}]
  publish: [{plugin: stamp, topics: [swapped/#]}]
"#;

/// Publishes numbered messages until `over`, then one more, and gives how many these were.
fn pour(siege: &Siege, publisher: usize, over: &AtomicBool) -> u64 {
    let mut client = siege.client(&format!("publisher {publisher}"));
    let mut sent = 0;
    loop {
        let is_last = over.load(Ordering::Relaxed);
        let last = if is_last { "/last" } else { "" };
        let topic = format!("swapped/{publisher}/{sent}{last}");
        client.publish(publish(&topic, b"", Qos::AtLeastOnce));
        sent += 1;
        if is_last {
            client.expect_nothing();
            return sent;
        }
    }
}

/// Takes the messages of all publishers to their last; each comes once, in order, with one stamp. Gives how
/// many came from each version.
fn drain(subscriber: &mut Client) -> [u64; 2] {
    let (mut expected, mut seen, mut publishing) = ([0; PUBLISHERS], [0; 2], PUBLISHERS);
    while publishing > 0 {
        let received = subscriber.receive_where(|it| matches!(it, Packet::Publish(_)));
        subscriber.acknowledge(&received);
        let message = received.publish();
        let topic = message.topic.expect("a topic").as_str();
        let mut levels = topic.split('/').skip(1);
        let mut number = || levels.next().and_then(|level| level.parse().ok()).expect("a number");
        let (publisher, sent): (usize, usize) = (number(), number());
        assert_eq!(sent, expected[publisher], "the next of {publisher}");
        expected[publisher] += 1;
        let version = VERSIONS.iter().position(|version| version.as_bytes() == message.payload);
        seen[version.expect("of exactly one version")] += 1;
        publishing -= usize::from(topic.ends_with("/last"));
    }
    seen
}

/// P12: each message is answered by exactly one version, calls in flight end on the one that they began on,
/// and of the versions that are gone nothing is left.
#[test]
fn a_thousand_swaps_under_load_lose_nothing_and_leave_nothing() {
    let manifest = r#"{"name": "stamp", "version": "1.0.0", "hooks": ["publish"]}"#;
    let versions = VERSIONS.map(|version| replacing(manifest, version));
    let siege = Siege::of(ProtocolVersion::V5, CONFIGURATION, &[("stamp", &versions[0])]);
    let session = connect_to_session(ProtocolVersion::V5, "subscriber", 60);
    let mut subscriber = Client::connect(siege.address("main"), session).0;
    subscriber.subscribe("swapped/#", Qos::AtLeastOnce);
    let (over, mut warm) = (AtomicBool::new(false), 0);
    let mut idlers = Vec::new();
    std::thread::scope(|scope| {
        let (siege, over) = (&siege, &over);
        let publishers: Vec<_> =
            (0..PUBLISHERS).map(|it| scope.spawn(move || pour(siege, it, over))).collect();
        let draining = scope.spawn(|| drain(&mut subscriber));
        for number in 1..=SWAPS {
            assert_eq!(siege.upload("stamp", &versions[number % 2]), (200, String::new()));
            if number % SWAPS_PER_IDLER == 0 {
                idlers.push(siege.client(&format!("idler {number}")));
            }
            if number == WARM {
                warm = siege.broker.resident_bytes();
            }
        }
        over.store(true, Ordering::Relaxed);
        let sent: u64 = publishers.into_iter().map(|it| it.join().expect("it publishes")).sum();
        let seen = draining.join().expect("it receives");
        assert_eq!(seen[0] + seen[1], sent);
        assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
    });
    assert_eq!(siege.failures("publish", "stamp"), 0);
    for idler in &mut idlers {
        idler.expect_nothing();
    }
    let grown = siege.broker.resident_bytes().saturating_sub(warm);
    assert!(grown < GROWTH, "{grown} bytes");
    subscriber.expect_nothing();
    let clients = 3 + PUBLISHERS + idlers.len();
    let accepted = siege.broker.admin().metric("connections_accepted_total");
    assert_eq!(accepted, clients as u64, "nobody had to connect again");
}
