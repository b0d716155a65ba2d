//! Clients that break the rules, and what they cannot do to the broker and to others.

mod abroad;
mod abuse;
mod admin;
mod aliases;
mod arrival;
mod authentication;
mod browsers;
mod certificates;
mod chains;
mod configuration;
mod control_words;
mod denials;
mod dumps;
mod hook_quotas;
mod identity;
mod integers;
mod intermediates;
mod known;
mod limits;
mod malformed;
mod mapped;
mod mapping;
mod material;
mod memory;
mod networks;
mod noise;
mod offline;
mod outages;
mod oversize;
mod passwords;
mod permissions;
mod properties;
mod proxied;
mod proxy;
mod quotas;
mod receive;
mod records;
mod revocation;
mod rights_and_rules;
mod rule_files;
mod secrets;
mod shared_filters;
mod shared_group;
mod silence;
mod stalled;
mod stampede;
mod strings;
mod subscriptions;
mod token_keys;
mod tokens;
mod topics;
mod unix_socket;
mod unreleased;
mod websocket;
mod wire;

use hookmq_codec::{Packet, Qos, ReasonCode};
use hookmq_tests::client::{Client, publish};
use hookmq_tests::scene::Scene;

const MIB: u64 = 1 << 20;

/// Two clients who want nothing but to exchange messages.
struct Bystanders {
    publisher: Client,
    subscriber: Client,
    exchanged: u32,
}

impl Bystanders {
    fn new(scene: &Scene) -> Self {
        Self::of(|client_id| scene.client(client_id))
    }

    /// Who come in as `connect` lets a client id.
    fn of(connect: impl Fn(&str) -> Client) -> Self {
        let mut subscriber = connect("bystander 1");
        subscriber.subscribe("bystanders", Qos::AtLeastOnce);
        Self { publisher: connect("bystander 2"), subscriber, exchanged: 0 }
    }

    /// A message arrives.
    #[track_caller]
    fn exchange(&mut self) {
        self.exchanged += 1;
        let payload = self.exchanged.to_be_bytes();
        self.publisher.publish(publish("bystanders", &payload, Qos::AtLeastOnce));
        let received = self.subscriber.expect_message("bystanders", &payload);
        self.subscriber.acknowledge(&received);
    }
}

/// A counter of the broker.
fn metric(scene: &Scene, name: &str) -> u64 {
    let (_, metrics) = scene.broker.admin().get("/api/v1/metrics");
    let metrics = metrics.as_str().expect("metrics are text").to_owned();
    let line = metrics.lines().find(|line| line.split(' ').next() == Some(name));
    let value = line.and_then(|line| line.split(' ').nth(1));
    value.and_then(|value| value.parse().ok()).expect("a counter")
}

/// That the client which has sent CONNECT is not admitted: closed, or told first why.
#[track_caller]
fn expect_refused(client: &mut Client) {
    match client.try_receive().as_ref().map(|answer| answer.packet()) {
        None => return,
        Some(Packet::ConnAck(connack)) if connack.reason_code != ReasonCode::Success => {}
        Some(other) => panic!("not refused: {other:?}"),
    }
    client.expect_closed();
}
