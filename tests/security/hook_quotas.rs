//! What a tenant's steps may use: at each bound its own steps are held back, and no other tenant's.

use std::cell::Cell;

use hookmq_codec::{ProtocolVersion, Qos};
use hookmq_tests::broker::{Broker, add_rules, directory};
use hookmq_tests::client::{Client, connect, publish};
use hookmq_tests::wait::wait_until;
use serde_json::json;

const VERSIONS: [ProtocolVersion; 2] = [ProtocolVersion::V311, ProtocolVersion::V5];

/// Works for a while, and makes a message.
const RULE: &str = r#"
const TOPICS = ["t"];

fn publish(client, message) {
    let sum = 0;
    for number in 0..20000 {
        sum += number;
    }
    emit("made", "x", #{});
}
"#;

const QUOTAS: [&str; 3] = ["hook_calls_per_s", "hook_busy_ms_per_s", "hook_emitted_per_s"];

/// Two tenants with a listener each, `greedy` and `modest`. A message whose step is not asked is dropped.
fn broker(sections: &str) -> Broker {
    let directory = directory();
    add_rules(directory.path(), &[("busy", RULE)]);
    let yaml = format!(
        "data_dir: data
listeners:
  - {{name: greedy, bind: \"tcp://127.0.0.1:0\"}}
  - {{name: modest, bind: \"tcp://127.0.0.1:0\"}}
admin: {{bind: \"127.0.0.1:0\"}}
rules: {{time_ms: 10000}}
{sections}
pipeline:
  connect:
    - {{builtin: anonymous, listeners: [greedy], config: {{tenant: greedy}}}}
    - {{builtin: anonymous, listeners: [modest], config: {{tenant: modest}}}}
  authorize: [{{builtin: open}}]
  publish: [{{rule: busy, on_failure: drop}}]
"
    );
    Broker::with_config(&yaml, directory)
}

fn client(broker: &Broker, tenant: &str, version: ProtocolVersion) -> Client {
    Client::connect(broker.address(tenant), connect(version, tenant)).0
}

fn held_back(broker: &Broker, tenant: &str) -> u64 {
    let (_, shown) = broker.admin().get(&format!("/api/v1/tenants/{tenant}"));
    shown["usage"]["steps_held_back"].as_u64().expect("a number")
}

/// How many of these messages the tenant's steps let through, each with the one that they made.
fn passed(client: &mut Client, messages: usize) -> usize {
    client.subscribe("t", Qos::AtMostOnce);
    client.subscribe("made", Qos::AtMostOnce);
    for _ in 0..messages {
        client.publish(publish("t", b"x", Qos::AtLeastOnce));
    }
    client.subscribe("end", Qos::AtMostOnce);
    client.publish(publish("end", b"x", Qos::AtLeastOnce));
    let (mut all, mut made) = (0, 0);
    loop {
        match client.receive().publish().topic.expect("a topic").as_str() {
            "t" => all += 1,
            "made" => made += 1,
            _ => break,
        }
    }
    assert_eq!(all, made, "a message that no step was asked about is dropped");
    all
}

#[test]
fn a_tenants_steps_use_no_more_than_they_may() {
    for (quota, version) in QUOTAS.into_iter().zip(VERSIONS.into_iter().cycle()) {
        let broker = broker(&format!("quotas: {{tenants: {{greedy: {{{quota}: 1}}}}}}"));
        let mut greedy = client(&broker, "greedy", version);
        let sent = Cell::new(0);
        let all = Cell::new(0);
        wait_until("a step is held back", || {
            all.set(all.get() + passed(&mut greedy, 20));
            sent.set(sent.get() + 20);
            (held_back(&broker, "greedy") > 0).then_some(())
        });
        assert!((1..sent.get()).contains(&all.get()), "{quota}: {all:?} of {sent:?}");
        let mut modest = client(&broker, "modest", version);
        assert_eq!(passed(&mut modest, 20), 20, "{quota}");
        assert_eq!(held_back(&broker, "modest"), 0);
    }
}

#[test]
fn a_changed_quota_of_steps_is_in_force_for_those_who_are_connected() {
    for version in VERSIONS {
        let broker = broker("database: {url: \"sqlite:data/hookmq.db\", poll_interval_ms: 20}");
        let admin = broker.admin();
        wait_until("the broker is ready", || (admin.get("/api/v1/ready").0 == 200).then_some(()));
        let name = json!({"name": "greedy"}).to_string();
        assert_eq!(admin.post("/api/v1/tenants", name.as_bytes()).0, 201);
        let mut greedy = client(&broker, "greedy", version);
        assert_eq!(passed(&mut greedy, 20), 20);
        let set = |quotas: serde_json::Value| {
            let body = json!({"quotas": quotas}).to_string();
            assert_eq!(admin.patch("/api/v1/tenants/greedy", body.as_bytes()).0, 200);
        };
        set(json!({"hook_calls_per_s": 1}));
        wait_until("it is in force", || (passed(&mut greedy, 20) < 20).then_some(()));
        set(json!(null));
        wait_until("it is gone", || (passed(&mut greedy, 20) == 20).then_some(()));
    }
}
