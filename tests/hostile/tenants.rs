//! A tenant that uses more than it may: it is held back, and no other tenant.

mod own;

use std::net::SocketAddr;

use hookmq_codec::{ProtocolVersion, Qos};
use hookmq_tests::broker::{Broker, add_rules, directory};
use hookmq_tests::client::{Client, connect, publish};

use crate::plugins::siege::{artefact, prepared};

/// Works for a while at every message.
const BUSY: &str = r#"
fn publish(client, message) {
    let sum = 0;
    for number in 0..20000 {
        sum += number;
    }
    pass()
}
"#;

fn broker() -> Broker {
    let directory = directory();
    add_rules(directory.path(), &[("busy", BUSY)]);
    let yaml = "data_dir: data
listeners:
  - {name: greedy, bind: \"tcp://127.0.0.1:0\"}
  - {name: modest, bind: \"tcp://127.0.0.1:0\"}
admin: {bind: \"127.0.0.1:0\"}
rules: {time_ms: 1000}
budgets: {tenants: {greedy: {busy_ms_per_s: 5}}}
pipeline:
  connect:
    - {builtin: anonymous, listeners: [greedy], config: {tenant: greedy}}
    - {builtin: anonymous, listeners: [modest], config: {tenant: modest}}
  authorize: [{builtin: open}]
  publish: [{rule: busy, on_failure: drop}]
";
    Broker::with_config(yaml, directory)
}

fn client(address: SocketAddr, client_id: &str) -> Client {
    Client::connect(address, connect(ProtocolVersion::V5, client_id)).0
}

/// P03: as many instances as there may be, whoever asks for more.
#[test]
fn a_thousand_tenants_share_the_instances_that_there_are() {
    const INSTANCES: u64 = 4;
    const TENANTS: usize = 1000;
    let directory = prepared(&[("hostile", &artefact("hostile"))]);
    let own = "fn connect(client) {
        accept(#{ tenant: client.claimed_client_id, username: \"u\" })
    }";
    add_rules(directory.path(), &[("own", own)]);
    let yaml = format!(
        "data_dir: data
listeners: [{{name: main, bind: \"tcp://127.0.0.1:0\"}}]
admin: {{bind: \"127.0.0.1:0\"}}
plugins: {{instances: {INSTANCES}, grants: {{hostile: {{log: true, emit: [granted/#]}}}}}}
pipeline:
  connect: [{{rule: own}}]
  authorize: [{{builtin: open}}]
  publish: [{{plugin: hostile}}]
"
    );
    let broker = Broker::with_config(&yaml, directory);
    let (address, api) = (broker.address("main"), broker.admin());
    let mut warm = 0;
    for number in 0..TENANTS {
        let mut tenant = client(address, &format!("tenant-{number}"));
        let good = publish("t", b"good", Qos::AtLeastOnce);
        assert!(!tenant.publish(good).is_failure(), "{number}");
        tenant.disconnect();
        if number == TENANTS / 10 {
            warm = broker.resident_bytes();
        }
    }
    let instances = api.metric_with("step_instances", &["hook=\"publish\""]).expect("a gauge");
    assert!((1..=INSTANCES).contains(&instances), "{instances}");
    let grown = broker.resident_bytes().saturating_sub(warm);
    assert!(grown < 64 << 20, "{grown} bytes");
}

/// D11, as far as plugins and rules go.
#[test]
fn a_tenant_beyond_its_budget_costs_no_other_tenant_a_message() {
    let broker = broker();
    let (greedy, modest) = (broker.address("greedy"), broker.address("modest"));
    let mut offender = client(greedy, "offender");
    let (mut sender, mut receiver) = (client(modest, "sender"), client(modest, "receiver"));
    receiver.subscribe("t", Qos::AtLeastOnce);
    std::thread::scope(|scope| {
        let flooding = scope.spawn(|| {
            for _ in 0..500 {
                offender.publish(publish("t", b"x", Qos::AtLeastOnce));
            }
            offender.expect_nothing();
        });
        for number in 0..50u8 {
            sender.publish(publish("t", &[number], Qos::AtLeastOnce));
            let received = receiver.expect_message("t", &[number]);
            receiver.acknowledge(&received);
        }
        flooding.join().expect("nobody was disconnected");
    });
    let throttled = broker.admin().metric("tenant_throttled_total{tenant=\"greedy\"}");
    assert!(throttled > 0, "it used more than it may");
    let (_, metrics) = broker.admin().get("/api/v1/metrics");
    assert!(!metrics.as_str().expect("text").contains("throttled_total{tenant=\"modest\"}"));
}
