//! User names that would like to be records of their own.

use std::net::SocketAddr;

use ProtocolVersion::{V5, V311};
use hookmq_codec::{Connect, ProtocolVersion, Qos};
use hookmq_tests::broker::{Broker, add_rules, directory};
use hookmq_tests::client::{Client, connect, publish};
use hookmq_tests::wait::wait_until;
use serde_json::Value;

use crate::expect_refused;

/// A client's own word is its name; who has the client id `refused` is not let in.
const RULE: &str = r#"
fn connect(client) {
    if client.claimed_client_id.starts_with("refused") { return deny("as it is told"); }
    accept(#{ tenant: "acme", username: client.claimed_username })
}
fn authorize(client, access) { deny("it is closed") }
"#;

const FORGED: &str = "2026-01-01T00:00:00.000000Z  INFO audit: forged";
const FORGED_JSON: &str = r#"{"level":"INFO","fields":{"message":"forged"},"target":"audit"}"#;

fn names() -> Vec<String> {
    vec![
        format!("canary\n{FORGED}\n"),
        format!("canary\r\n{FORGED_JSON}\r\n"),
        "canary\"} forged=\"1\" \\\"".to_owned(),
        "canary\") kind=\"forged\" x=(\"".to_owned(),
        "canary', 'forged': '".to_owned(),
        "\u{1b}[2K\u{1b}[1Acanary\u{1b}[31m\u{7}\u{8}\u{9b}0m".to_owned(),
        "canary\u{85}\u{2028}\u{2029}\u{b}\u{c}forged".to_owned(),
        "\u{202e}yranac\u{202d}\u{2066}\u{feff}\u{200b}".to_owned(),
        format!("canary{}", "\n".repeat(60_000)),
    ]
}

fn broker(format: &str) -> Broker {
    let directory = directory();
    add_rules(directory.path(), &[("rule", RULE)]);
    let yaml = format!(
        "data_dir: data
log: {{format: {format}}}
abuse: {{failures_per_address: 0, failures_per_username: 0}}
listeners: [{{name: plain, bind: \"tcp://127.0.0.1:0\"}}]
pipeline:
  connect: [{{rule: rule}}]
  authorize: [{{rule: rule}}]
"
    );
    Broker::with_config(&yaml, directory)
}

/// The broker's whole lines, none of which holds what a terminal or a reader of lines would act upon.
fn lines(broker: &Broker) -> Vec<String> {
    let log = broker.log();
    let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let is_odd = |it: char| it.is_control() || "\u{2028}\u{2029}\u{202e}\u{2066}".contains(it);
    let lines = whole.split('\n').map(|line| {
        assert!(!line.contains(is_odd) && line.len() <= 1024, "{line:?}");
        line.to_owned()
    });
    lines.collect()
}

fn address(broker: &Broker) -> SocketAddr {
    wait_until("the broker listens", || {
        let lines = lines(broker);
        let line = lines.iter().find(|line| line.contains("listening"))?;
        let (_, rest) = line.split_once("127.0.0.1:")?;
        let port = rest.split(|it: char| !it.is_ascii_digit()).next()?.parse().ok()?;
        Some(SocketAddr::from(([127, 0, 0, 1], port)))
    })
}

/// One client that is refused and one that is let in and denied something, for each name; gives how many.
fn come_and_go(broker: &Broker) -> usize {
    let (address, names) = (address(broker), names());
    for version in [V311, V5] {
        for (number, name) in names.iter().enumerate() {
            let with = |id| Connect { username: Some(name), ..connect(version, id) };
            let mut client = Client::open(address, version);
            let packet = hookmq_codec::Packet::Connect(Box::new(with("refused")));
            client.send(&packet);
            expect_refused(&mut client);
            let id = format!("denied {number}");
            let (mut client, _) = Client::connect(address, with(&id));
            client.publish(publish("closed", b"x", Qos::AtMostOnce));
            client.expect_nothing();
        }
    }
    let count = 2 * names.len();
    // A refusal is told when the client has heard of it.
    wait_until("all are told", || {
        let told = broker.log().matches("client refused").count();
        (told == count).then_some(())
    });
    count
}

#[test]
fn a_user_name_is_one_piece_of_one_line_of_text() {
    let broker = broker("text");
    let before = lines(&broker).len();
    let count = come_and_go(&broker);
    for message in ["client refused", "access denied"] {
        let told = lines(&broker).into_iter().filter(|line| line.contains(message));
        let told: Vec<_> = told.collect();
        assert_eq!(told.len(), count, "{message}");
        for line in told {
            assert_eq!(line.matches(" username=").count(), 1, "{line}");
            assert_eq!(line.matches(" kind=\"").count(), 1, "{line}");
            assert!(line.starts_with("20") && line.contains("INFO audit: "), "{line}");
        }
    }
    let lines = lines(&broker);
    assert!(
        !lines[before..].iter().any(|line| line.starts_with("2026-01-01") || line.starts_with('{'))
    );
}

#[test]
fn a_user_name_is_one_field_of_one_record_of_json() {
    let broker = broker("json");
    let count = come_and_go(&broker);
    let mut told = [0, 0];
    for line in lines(&broker) {
        let record: Value = serde_json::from_str(&line).expect("each line is a record");
        let fields = record["fields"].as_object().expect("fields");
        let message = fields["message"].as_str().expect("a message");
        assert!(!message.contains("forged") && !fields.contains_key("forged"), "{line}");
        let place = ["client refused", "access denied"].iter().position(|it| *it == message);
        let Some(place) = place else { continue };
        told[place] += 1;
        assert_eq!(record["target"], "audit");
        let username = fields["username"].as_str().expect("a name");
        assert!(username.contains("canary") || username.contains("yranac"), "{line}");
    }
    assert_eq!(told, [count, count]);
}
