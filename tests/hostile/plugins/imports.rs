//! Plugins that ask the broker for too much, or for what is others'.

use hookmq_codec::{Packet, ProtocolVersion, Qos};
use hookmq_tests::client::{Client, publish};

use super::siege::{MIB, SECRET, Siege, in_both_versions};

/// A client that asks the plugin `asker`, and is told.
struct Asking(Client);

impl Asking {
    fn new(siege: &Siege, listener: &str) -> Self {
        let mut client = siege.client_at(listener, "asking");
        client.subscribe("ask/#", Qos::AtMostOnce);
        Self(client)
    }

    fn ask(&mut self, request: &str) -> String {
        self.send(request);
        self.answer()
    }

    fn send(&mut self, request: &str) {
        self.0.send(&Packet::Publish(publish("ask/x", request.as_bytes(), Qos::AtMostOnce)));
    }

    fn answer(&mut self) -> String {
        String::from_utf8(self.0.receive().publish().payload.to_vec()).expect("it tells text")
    }
}

/// P02
#[test]
fn an_endless_loop_of_calls_to_the_broker_ends() {
    in_both_versions(|siege| {
        let mut asking = Asking::new(siege, "main");
        for (offences, offence) in (1..).zip(["log-loop", "kv-loop", "metric-loop", "clock-loop"]) {
            siege.beside_others(|| {
                asking.send(offence);
                assert_eq!(asking.ask("good"), "good", "and nothing of {offence}");
            });
            assert_eq!(siege.failures("publish", "asker"), offences, "{offence}");
        }
    });
}

/// P07: a million lines, values and figures in one message are as many as a call may have of each.
#[test]
fn a_million_calls_in_one_message_end_at_their_budget() {
    let siege = Siege::within(ProtocolVersion::V5, "time_ms: 20000");
    let mut asking = Asking::new(&siege, "main");
    let before = (siege.broker.log().len(), siege.broker.resident_bytes());
    siege.beside_others(|| {
        assert_eq!(asking.ask("lines 1000000"), "1000000");
        assert_eq!(asking.ask("count 1000000"), "1000", "the others are told that it is enough");
        assert_eq!(asking.ask("gets 1000000"), "1000");
        assert_eq!(asking.ask("figures 1000000"), "counted");
    });
    let counted = "program_counter_total{program=\"asker\",name=\"asked\",tenant=\"main\"}";
    assert_eq!(siege.broker.admin().metric(counted), 1000);
    assert_eq!(asking.ask("get n"), "1000");
    let written = siege.broker.log().len() - before.0;
    assert!(written > 0 && written < 64 << 10, "{written} bytes");
    let grown = siege.broker.resident_bytes().saturating_sub(before.1);
    assert!(grown < 32 * MIB, "{grown} bytes");
}

/// P09: in all the memory of a guest, in its values and in its globals, where each instance lies where
/// another tenant's has just been.
#[test]
fn ten_thousand_calls_find_no_canary_of_another_tenant() {
    const ROUNDS: usize = 100;
    /// Of each tenant; then its instances give way.
    const CALLS: usize = 50;
    let keys = "time_ms: 20000, instances: 2, calls_per_instance: 25";
    let siege = Siege::within(ProtocolVersion::V5, &keys.replace(", ", "\n  "));
    let (mut first, mut second) = (Asking::new(&siege, "main"), Asking::new(&siege, "other"));
    let canary = "canary-4711-of-the-first-tenant";
    let backwards: String = canary.chars().rev().collect();
    assert_eq!(first.ask(&format!("remember {canary}")), canary);
    assert_ne!(first.ask(&format!("find-reversed {backwards}")), "0", "it is there to be found");
    siege.beside_others(|| {
        for _ in 0..ROUNDS {
            for number in 0..CALLS {
                first.send(&match number % 3 {
                    0 => format!("set canary {canary}"),
                    1 => format!("remember {canary}"),
                    _ => "get canary".to_owned(),
                });
            }
            for number in 0..CALLS {
                let answer = first.answer();
                assert_eq!(answer, if number % 3 == 0 { "set" } else { canary });
            }
            for number in 0..CALLS {
                second.send(&match number % 10 {
                    0 => format!("find-reversed {backwards}"),
                    1..5 => "get canary".to_owned(),
                    _ => "remember nothing".to_owned(),
                });
            }
            for number in 0..CALLS {
                let expected = match number % 10 {
                    0 => "0",
                    1..5 => "none",
                    _ => "nothing",
                };
                assert_eq!(second.answer(), expected);
            }
        }
    });
    assert_eq!(siege.failures("publish", "asker"), 0);
}

/// P07
#[test]
fn a_million_log_lines_do_not_fill_the_disk() {
    let siege = Siege::within(ProtocolVersion::V5, "time_ms: 1000");
    let mut asking = Asking::new(&siege, "main");
    let before = siege.broker.log().len();
    siege.beside_others(|| {
        for _ in 0..3 {
            asking.send("log-loop");
        }
        assert_eq!(asking.ask("good"), "good");
    });
    assert_eq!(siege.failures("publish", "asker"), 3);
    let grown = siege.broker.log().len() - before;
    assert!(grown > 0 && grown < 1 << 20, "{grown} bytes");
}

/// P07
#[test]
fn a_tenant_fills_its_own_store_and_no_other() {
    in_both_versions(|siege| {
        let mut asking = Asking::new(siege, "main");
        let mut other = Asking::new(siege, "other");
        let before = siege.broker.resident_bytes();
        siege.beside_others(|| {
            let kept: u64 = asking.ask("fill").parse().expect("a number");
            assert!(kept > 10 && kept * 60_000 <= 4 * MIB, "{kept}");
            for _ in 0..100 {
                assert_eq!(asking.ask("set-large k 60000"), "full");
            }
            assert_eq!(other.ask("set k here"), "set");
            assert_eq!(other.ask("get k"), "here");
            assert_eq!(asking.ask("get k"), "none");
        });
        let grown = siege.broker.resident_bytes().saturating_sub(before);
        assert!(grown < 32 * MIB, "{grown} bytes");
        assert_eq!(asking.ask("count 100000"), "1000", "a call has so many");
    });
}

/// P09
#[test]
fn ten_thousand_calls_show_nothing_of_another_tenant() {
    let siege = Siege::new(ProtocolVersion::V5);
    let tenants = ["main", "other"];
    siege.beside_others(|| {
        let mut asking = tenants.map(|tenant| Asking::new(&siege, tenant));
        for _ in 0..100 {
            for (asking, tenant) in asking.iter_mut().zip(tenants) {
                for _ in 0..50 {
                    asking.send(&format!("remember {tenant}"));
                }
            }
            for (asking, tenant) in asking.iter_mut().zip(tenants) {
                for _ in 0..50 {
                    assert_eq!(asking.answer(), tenant);
                }
            }
        }
    });
}

#[test]
fn a_secret_is_told_to_its_plugin_and_to_no_log() {
    in_both_versions(|siege| {
        let mut asking = Asking::new(siege, "main");
        assert_eq!(asking.ask("secret token"), SECRET);
        assert_eq!(asking.ask("secret other"), "none");
        assert!(!siege.broker.log().contains(SECRET));
    });
}

#[test]
fn requests_from_publish_are_refused() {
    in_both_versions(|siege| {
        let mut asking = Asking::new(siege, "main");
        siege.beside_others(|| {
            asking.send("fetch http://127.0.0.1:1/");
            asking.send("fetch-loop");
            assert_eq!(asking.ask("good"), "good");
        });
        assert_eq!(siege.failures("publish", "asker"), 2);
        siege.broker.wait_for_log("NotHere");
    });
}
