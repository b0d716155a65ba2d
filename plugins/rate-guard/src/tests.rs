//! What passes, through the configuration that an operator writes.

use hookmq_plugin::test::{self, Bounds, Harness, Host};
use serde_json::{Value, json};

use super::*;

fn guard(config: Value) -> Harness<RateGuard> {
    Harness::new(config).unwrap()
}

fn limit(topics: &[&str]) -> Value {
    json!({"limits": [{"topics": topics, "rate": 1, "burst": 3}]})
}

/// How many of ten messages pass.
fn passed(guard: &mut Harness<RateGuard>, client: &Client, topic: &str) -> usize {
    let message = test::message(topic, "x");
    let mut ask = || guard.publish(client, &message).unwrap();
    (0..10).filter(|_| ask() == PublishVerdict::Pass).count()
}

#[test]
fn a_burst_passes_then_the_rate_and_the_rest_is_dropped_with_0x97() {
    let host = Host::new();
    let mut guard = guard(limit(&["plant/#"]));
    let client = test::client("m7");
    assert_eq!(passed(&mut guard, &client, "plant/1"), 3);
    assert_eq!(host.counted("excess_dropped"), 7);
    let verdict = guard.publish(&client, &test::message("plant/2", "x")).unwrap();
    assert_eq!(verdict, PublishVerdict::Drop(0x97), "the topics share the limit");
    host.advance(Duration::from_secs(2));
    assert_eq!(passed(&mut guard, &client, "plant/1"), 2);
    assert_eq!(passed(&mut guard, &client, "elsewhere"), 10);
}

#[test]
fn a_limit_is_each_usernames_clients_or_tenants_own() {
    let a = || test::client("a");
    let other_id = Client { client_id: "a2".into(), ..a() };
    let other_name = Client { username: "b".into(), client_id: "b".into(), ..a() };
    for (per, expected) in
        [("username", [3, 0, 3]), ("client_id", [3, 3, 3]), ("tenant", [3, 0, 0])]
    {
        let _host = Host::new();
        let mut config = limit(&["#"]);
        config["limits"][0]["per"] = json!(per);
        let mut guard = guard(config);
        let counts = [a(), other_id.clone(), other_name.clone()];
        let counts = counts.map(|client| passed(&mut guard, &client, "t"));
        assert_eq!(counts, expected, "{per}");
    }
}

#[test]
fn every_limit_that_concerns_the_topic_must_have_room() {
    let _host = Host::new();
    let mut guard = guard(json!({"limits": [
        {"topics": ["a/#", "b/#"], "rate": 1, "burst": 5},
        {"topics": ["a/+"], "rate": 1, "burst": 2},
    ]}));
    let client = test::client("m7");
    assert_eq!(passed(&mut guard, &client, "a/1"), 2);
    assert_eq!(passed(&mut guard, &client, "b/1"), 0, "what was dropped has used the wide limit");
}

#[test]
fn excess_is_counted_where_it_passes() {
    let host = Host::new();
    let mut config = limit(&["#"]);
    config["on_excess"] = json!("pass");
    let mut guard = guard(config);
    assert_eq!(passed(&mut guard, &test::client("m7"), "t"), 10);
    assert_eq!((host.counted("excess_passed"), host.counted("excess_dropped")), (7, 0));
}

#[test]
fn a_shared_limit_holds_across_instances_in_windows() {
    let host = Host::new();
    let mut config = limit(&["#"]);
    config["limits"][0]["scope"] = json!("shared");
    let (mut one, mut two) = (guard(config.clone()), guard(config));
    let client = test::client("m7");
    assert_eq!(passed(&mut one, &client, "t"), 3);
    assert_eq!(passed(&mut two, &client, "t"), 0);
    one.replace_instances();
    assert_eq!(passed(&mut one, &client, "t"), 0);
    host.advance(Duration::from_secs(3));
    assert_eq!(passed(&mut two, &client, "t"), 3, "a window is burst / rate");
}

#[test]
fn where_the_store_refuses_the_instance_counts_alone() {
    let host = Host::new();
    host.set_bounds(Bounds { kv_values: 0, ..Bounds::default() });
    let mut config = limit(&["#"]);
    config["limits"][0]["scope"] = json!("shared");
    let mut guard = guard(config);
    assert_eq!(passed(&mut guard, &test::client("m7"), "t"), 3);
    assert_eq!(host.counted("store_refused"), 10);
}

#[test]
fn names_of_any_length_and_kind_are_bounded() {
    let host = Host::new();
    let mut config = limit(&["#"]);
    config["limits"][0]["scope"] = json!("shared");
    let mut guard = guard(config);
    for name in ["", "\0", "a/+/#", "ü", &"x".repeat(65_535)] {
        assert_eq!(passed(&mut guard, &test::client(name), "t"), 3, "{name:?}");
    }
    assert!(host.kept("test").keys().all(|key| key.len() == 16));
    assert_eq!(passed(&mut guard, &test::client("m7"), "no\0topic"), 10);
}

#[test]
fn what_is_wrong_with_a_configuration_is_named() {
    let with = |key: &str, value: Value| {
        let mut config = limit(&["#"]);
        config["limits"][0][key] = value;
        config
    };
    let table = [
        (json!(null), "limits: 1 to 256"),
        (json!({"limit": []}), "unknown field"),
        (with("topics", json!([])), "limits[0].topics"),
        (with("topics", json!(["a/#/b"])), "is not a topic filter"),
        (with("topics", json!(["$share/g/a"])), "shared subscription"),
        (with("rate", json!(0)), "limits[0].rate: 0"),
        (with("rate", json!(-1)), "limits[0].rate: -1"),
        (with("rate", json!(1e9)), "limits[0].rate: 1000000000"),
        (with("burst", json!(0.5)), "limits[0].burst: 0.5"),
        (with("per", json!("ip")), "unknown variant"),
        (with("x", json!(1)), "unknown field"),
        (
            json!({"limits": [{"topics": ["#"], "rate": 1000, "burst": 1, "scope": "shared"}]}),
            "window of 0.001 seconds",
        ),
    ];
    for (config, expected) in table {
        let error = Harness::<RateGuard>::new(&config).err().unwrap();
        assert!(error.contains(expected), "{config}: {error}");
    }
}
