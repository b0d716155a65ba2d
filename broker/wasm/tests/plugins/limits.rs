//! Guests that break their limits cost themselves an instance, and nobody else anything.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use hookmq_codec::Qos;
use hookmq_hooks::{Access, Action, FailureKind, Program, PublishVerdict};
use hookmq_wasm::{HostOptions, Limits, PluginSettings, WasmPlugin};
use serde_json::{Value, json};

use crate::{artefact, attempt, client, host_with, load, message, patient, ready, settings};

const BREACHES: [(&str, FailureKind, &str); 6] = [
    ("grow", FailureKind::Limit, "bytes of memory"),
    ("trap", FailureKind::Error, "unreachable"),
    ("panic", FailureKind::Error, "as it was told"),
    ("recurse", FailureKind::Limit, "stack"),
    ("big", FailureKind::Limit, "output is larger"),
    ("many-properties", FailureKind::Limit, "user properties"),
];

/// Short, for guests that would never end.
fn impatient() -> Limits {
    Limits { time: Duration::from_millis(200), ..Limits::default() }
}

fn limited(name: &str, limits: Limits, config: Value) -> WasmPlugin {
    let options = HostOptions { limits, ..HostOptions::default() };
    let settings = PluginSettings { limits, ..settings(config) };
    host_with(options).load(&artefact(name), settings).unwrap()
}

/// P03, P05
#[test]
fn a_breach_ends_the_call_and_the_next_call_works() {
    let plugin = load("fixtures/hostile", json!(null)).unwrap();
    for (payload, kind, expected) in BREACHES {
        let failure = plugin.publish(&client("acme"), &message(payload)).unwrap_err();
        assert_eq!(failure.kind, kind, "{payload}: {failure}");
        assert!(failure.message.contains(expected), "{payload}: {failure}");
        let answer = plugin.publish(&client("acme"), &message("good")).unwrap();
        assert_eq!(answer.verdict, PublishVerdict::Pass, "after {payload}");
    }
}

/// P02
#[test]
fn an_endless_loop_ends_at_its_deadline_and_the_next_call_works() {
    let plugin = limited("fixtures/hostile", impatient(), json!(null));
    let failure = plugin.publish(&client("acme"), &message("loop")).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Timeout);
    assert_eq!(failure.message, "it ran for longer than 200 ms");
    assert!(plugin.publish(&client("acme"), &message("good")).is_ok());
}

/// P02
#[test]
fn every_hook_is_bounded() {
    let plugin = limited("fixtures/hostile", impatient(), json!({"always": "loop"}));
    let access = Access {
        action: Action::Publish,
        topic: "a",
        qos: Qos::AtMostOnce,
        retain: false,
        share_name: None,
    };
    let failures = [
        ready(plugin.connect(&attempt("c1"))).unwrap_err(),
        plugin.authorize(&client("acme"), &access).unwrap_err(),
        plugin.publish(&client("acme"), &message("")).unwrap_err(),
        plugin.deliver(&client("acme"), &message("")).unwrap_err(),
    ];
    assert!(failures.iter().all(|failure| failure.kind == FailureKind::Timeout));
}

#[test]
fn an_identity_has_a_bounded_number_of_roles() {
    let plugin = load("fixtures/hostile", json!(null)).unwrap();
    let failure = ready(plugin.connect(&attempt("many-roles"))).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Limit);
}

#[test]
fn a_chatty_guest_is_served_on() {
    let plugin = load("fixtures/hostile", json!(null)).unwrap();
    let answer = plugin.publish(&client("acme"), &message("chatter")).unwrap();
    assert_eq!(answer.verdict, PublishVerdict::Pass);
}

#[test]
fn an_input_beyond_the_guests_memory_is_a_failure() {
    let plugin = load("fixtures/hostile", json!(null)).unwrap();
    let failure = plugin.publish(&client("acme"), &message(vec![b'x'; 32 << 20])).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Limit, "{failure}");
}

#[test]
fn an_instance_gives_way_after_its_calls() {
    let limits = Limits { calls_per_instance: 2, ..patient() };
    let plugin = limited("fixtures/counter", limits, json!(null));
    let counts: Vec<_> = (0..5)
        .map(|_| {
            let answer = plugin.publish(&client("acme"), &message("")).unwrap();
            let PublishVerdict::Replace(patch) = answer.verdict else { panic!("it counts") };
            patch.payload.unwrap()
        })
        .collect();
    assert_eq!(counts, [b"1", b"2", b"1", b"2", b"1"]);
}

/// P03
#[test]
fn idle_instances_of_other_tenants_and_plugins_make_room() {
    let host = host_with(HostOptions { instances: 2, limits: patient(), ..HostOptions::default() });
    let counter = host.load(&artefact("fixtures/counter"), settings(json!(null))).unwrap();
    let stamp = host.load(&artefact("fixtures/stamp-v1"), settings(json!(null))).unwrap();
    for tenant in ["a", "b", "c", "a"] {
        counter.publish(&client(tenant), &message("")).unwrap();
        stamp.publish(&client(tenant), &message("{}")).unwrap();
    }
}

/// P03
#[test]
fn a_tenants_calls_at_once_are_bounded() {
    let limits = Limits { instances_per_tenant: 1, ..impatient() };
    let plugin = Arc::new(limited("fixtures/hostile", limits, json!(null)));
    let start = Arc::new(Barrier::new(3));
    let calls: Vec<_> = (0..3)
        .map(|_| {
            let (plugin, start) = (plugin.clone(), start.clone());
            thread::spawn(move || {
                start.wait();
                plugin.publish(&client("acme"), &message("loop")).unwrap_err().kind
            })
        })
        .collect();
    let kinds: Vec<_> = calls.into_iter().map(|call| call.join().unwrap()).collect();
    let others = plugin.publish(&client("acme"), &message("good"));
    assert!(kinds.contains(&FailureKind::Timeout), "{kinds:?}");
    assert!(kinds.iter().all(|kind| matches!(kind, FailureKind::Timeout | FailureKind::Limit)));
    assert!(others.is_ok(), "the instances are given back");
}
