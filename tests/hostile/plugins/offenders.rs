//! Who offends is named, and whoever has nothing to do with it is served.

use hookmq_codec::{ProtocolVersion, Qos};
use hookmq_tests::client::{Client, publish};
use serde_json::Value;

use super::siege::{Siege, artefact};

/// Offences at a time: more than open the breaker.
const OFFENCES: u64 = 8;
const OPEN_THE_BREAKER: u64 = 5;

const CONFIGURATION: &str = r#"
data_dir: data
listeners:
  - {name: main, bind: "tcp://127.0.0.1:0"}
  - {name: other, bind: "tcp://127.0.0.1:0"}
admin: {bind: "127.0.0.1:0"}
plugins: {time_ms: 100, grants: {hostile: {log: true, emit: [granted/#]}}}
steps: {breaker_failures: 5, breaker_failing_ms: 1000000, breaker_backoff_ms: 60000}
pipeline:
  connect:
    - {builtin: anonymous, listeners: [main], config: {tenant: main}}
    - {builtin: anonymous, listeners: [other], config: {tenant: other}}
  authorize: [{builtin: open}]
  publish:
    - {plugin: stamp, topics: [stamped/#]}
    - {plugin: hostile, topics: [publish/#]}
"#;

/// A client's message comes back, stamped by the step of another plugin.
fn is_stamped(client: &mut Client, number: u64) {
    let payload = format!("{{\"n\":{number}}}");
    client.publish(publish("stamped/x", payload.as_bytes(), Qos::AtMostOnce));
    let received = client.receive();
    let stamped: Value = serde_json::from_slice(received.publish().payload).expect("an object");
    assert_eq!((&stamped["n"], &stamped["stamp"]), (&number.into(), &1.into()));
}

/// P02, P03, P05, P07: an endless loop, all memory there is, a trap at each call, and an answer of 10 MB.
#[test]
fn an_offender_is_named_with_its_reason_while_others_pass_other_steps() {
    for (offence, reason, said) in [
        ("loop", "timeout", "ran for longer than 100 ms"),
        ("grow", "limit", "bytes of memory"),
        ("trap", "error", "unreachable"),
        ("huge", "limit", "output is larger than the limit of 2097152 bytes"),
    ] {
        let artefacts = ["stamp", "hostile"].map(|name| match name {
            "stamp" => (name, artefact("stamp-v1")),
            name => (name, artefact(name)),
        });
        let artefacts = artefacts.each_ref().map(|(name, bytes)| (*name, &bytes[..]));
        let siege = Siege::of(ProtocolVersion::V5, CONFIGURATION, &artefacts);
        let mut others = ["main", "other"].map(|it| siege.client_at(it, "somebody"));
        for other in &mut others {
            other.subscribe("stamped/x", Qos::AtMostOnce);
        }
        let mut offender = siege.client("offender");
        siege.beside_others(|| {
            for number in 0..OFFENCES {
                let message = publish("publish/x", offence.as_bytes(), Qos::AtLeastOnce);
                assert!(offender.publish(message).is_failure(), "{offence}");
                others.iter_mut().for_each(|other| is_stamped(other, number));
            }
        });
        let (_, metrics) = siege.broker.admin().get("/api/v1/metrics");
        let metrics = metrics.as_str().expect("text");
        let count = |reason: &str| {
            let start = "hookmq_step_errors_total{hook=\"publish\",position=\"2\",kind=\"plugin\",\
                program=\"hostile\",";
            let end = format!(",reason=\"{reason}\"}} ");
            let line = metrics.lines().find(|it| it.starts_with(start) && it.contains(&*end));
            line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
        };
        assert_eq!(count(reason), OPEN_THE_BREAKER, "{offence}: {metrics}");
        assert_eq!(count("breaker_open"), OFFENCES - OPEN_THE_BREAKER, "{offence}: {metrics}");
        assert!(!metrics.contains("position=\"1\",kind=\"plugin\",program=\"stamp\",reason"));
        let line = siege.broker.wait_for_log("step failed");
        for part in ["step=\"hostile\"", "hook=Publish", said] {
            assert!(line.contains(part), "{offence}: expected {part} in {line}");
        }
        let line = siege.broker.wait_for_log("its breaker is open");
        assert!(line.contains("step=\"hostile\"") && line.contains("tenant=\"main\""), "{line}");
        let mut elsewhere = siege.client_at("other", "elsewhere");
        let good = publish("publish/x", b"good", Qos::AtLeastOnce);
        assert!(!elsewhere.publish(good).is_failure(), "another tenant's breaker is closed");
    }
}

/// P02: calls that run into their limit cost every connection of their thread, so that few are enough.
#[test]
fn what_costs_time_is_left_alone_sooner() {
    let configuration = CONFIGURATION
        .replace("breaker_failures: 5", "breaker_failures: 1000000")
        .replace("breaker_failing_ms: 1000000", "breaker_failing_ms: 100");
    let artefacts = [("stamp", &artefact("stamp-v1")[..]), ("hostile", &artefact("hostile")[..])];
    let siege = Siege::of(ProtocolVersion::V5, &configuration, &artefacts);
    let mut offender = siege.client("offender");
    siege.beside_others(|| {
        for _ in 0..OFFENCES {
            let message = publish("publish/x", b"loop", Qos::AtLeastOnce);
            assert!(offender.publish(message).is_failure());
        }
    });
    // Three of 100 ms each.
    let failures = siege.failures("publish", "hostile");
    assert_eq!(failures, OFFENCES);
    let (_, metrics) = siege.broker.admin().get("/api/v1/metrics");
    let metrics = metrics.as_str().expect("text");
    assert!(
        metrics.contains("program=\"hostile\",") && metrics.contains(",reason=\"timeout\"} 3\n")
    );
    let line = siege.broker.wait_for_log("its breaker is open");
    assert!(line.contains("step=\"hostile\"") && line.contains("tenant=\"main\""), "{line}");
}

/// The text form of Prometheus has each label once: a scrape fails as a whole otherwise.
#[test]
fn no_figure_has_a_label_twice() {
    let siege = Siege::new(ProtocolVersion::V5);
    let mut offender = siege.client("offender");
    for offence in ["trap", "grow", "good"] {
        offender.publish(publish("publish/x", offence.as_bytes(), Qos::AtLeastOnce));
    }
    let (_, metrics) = siege.broker.admin().get("/api/v1/metrics");
    let lines = metrics.as_str().expect("text").lines();
    for line in lines.filter(|line| !line.starts_with('#')) {
        let Some((_, rest)) = line.split_once('{') else { continue };
        let (labels, _) = rest.rsplit_once('}').expect("the labels' end");
        let mut names: Vec<_> =
            labels.split("\",").filter_map(|label| label.split("=\"").next()).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "{line}");
    }
}
