//! A tenant that uses more than it may: it is held back, and no other tenant.

use std::net::SocketAddr;

use hookmq_codec::{ProtocolVersion, Qos};
use hookmq_tests::broker::{Broker, directory};
use hookmq_tests::client::{Client, connect, publish};

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
    let rules = directory.path().join("rules");
    std::fs::create_dir(&rules).expect("make a folder");
    std::fs::write(rules.join("busy.rhai"), BUSY).expect("write a rule");
    let yaml = "data_dir: data
listeners:
  - {name: greedy, bind: \"tcp://127.0.0.1:0\"}
  - {name: modest, bind: \"tcp://127.0.0.1:0\"}
admin: {bind: \"127.0.0.1:0\"}
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
