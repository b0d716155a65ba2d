//! Attacks on the programs through the admin API, by whoever has its token or has got hold of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use hookmq_codec::{ProtocolVersion, Qos};
use hookmq_tests::broker::add_rules;
use hookmq_tests::client::publish;
use serde_json::{Value, json};

use super::crafted::heavy;
use super::siege::{MIB, Siege, artefact, prepared};

const CONFIGURATION: &str = r#"
data_dir: data
listeners: [{name: main, bind: "tcp://127.0.0.1:0"}]
admin: {bind: "127.0.0.1:0"}
steps: {recorded_every: 1}
pipeline:
  connect: [{builtin: anonymous}]
  authorize: [{builtin: open}]
  publish: [{plugin: stamp, topics: [stamped/#]}, {rule: victim, topics: [victim/#]}]
"#;

const VICTIM: &str = "fn publish(client, message) { pass() }\n";

const WITHDRAW: &str = "DELETE /candidate";

fn siege() -> Siege {
    let directory = prepared(&[("stamp", &artefact("stamp-v1"))]);
    add_rules(directory.path(), &[("victim", VICTIM)]);
    Siege::at(ProtocolVersion::V5, CONFIGURATION, directory)
}

fn life(siege: &Siege, program: &str) -> Value {
    let (status, life) = siege.broker.admin().get(&format!("/api/v1/{program}"));
    assert_eq!(status, 200, "{life}");
    life
}

/// Which version answers.
fn stamp(siege: &Siege) -> u64 {
    let mut client = siege.client("asking");
    client.subscribe("stamped/x", Qos::AtMostOnce);
    client.publish(publish("stamped/x", b"{}", Qos::AtMostOnce));
    let received = client.receive();
    let stamped: Value = serde_json::from_slice(received.publish().payload).expect("an object");
    stamped["stamp"].as_u64().expect("a stamp")
}

/// A name is a part of a path in the data directory.
#[test]
fn a_name_that_is_none_leads_nowhere() {
    let siege = siege();
    let api = siege.broker.admin();
    let other = format!("{VICTIM}// another\n");
    assert_eq!(api.post("/api/v1/rules/victim/versions", other.as_bytes()).0, 200);
    assert_eq!(api.post("/api/v1/plugins/stamp/versions", &artefact("stamp-v2")).0, 200);
    let before = ["rules/victim", "plugins/stamp"].map(|program| life(&siege, program));
    let long = "a".repeat(65);
    let names = [
        "stamp%2f..%2frule-victim",
        "stamp%2F..%2F..%2F..%2F..%2Ftmp",
        "..%2frule-victim",
        "%2e%2e",
        "..",
        ".",
        "%00",
        "stamp%00",
        "stamp%0d%0aX:%20y",
        "%ff%fe",
        "%c0%ae%c0%ae%c0%af",
        "stamp%5c..%5crule-victim",
        "%e2%80%ae",
        "stamp%20",
        "%",
        &long,
    ];
    siege.beside_others(|| {
        for name in names {
            for kind in ["plugins", "rules"] {
                for (request, body) in [
                    ("GET ", ""),
                    ("POST ", VICTIM),
                    ("POST /versions", VICTIM),
                    ("POST /stage", r#"{"stage":"shadow"}"#),
                    ("POST /promote", ""),
                    ("POST /rollback", ""),
                    ("GET /recent", ""),
                    ("POST /replay", ""),
                    (WITHDRAW, ""),
                ] {
                    let (method, action) = request.split_once(' ').expect("both");
                    let line = format!("{method} /api/v1/{kind}/{name}{action}");
                    let length = format!("Content-Length: {}\r\n", body.len());
                    let answer = api.raw(&line, &length, body.as_bytes());
                    let status = answer.as_ref().map_or(400, |(status, _)| *status);
                    assert!((400..500).contains(&status), "{line}: {answer:?}");
                }
            }
        }
    });
    let after = ["rules/victim", "plugins/stamp"].map(|program| life(&siege, program));
    assert_eq!(after, before);
    let mut kept: Vec<_> = std::fs::read_dir(siege.broker.directory().join("data/programs"))
        .expect("what was pushed")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
        .collect();
    kept.sort();
    assert_eq!(kept, ["plugin-stamp", "rule-victim"]);
}

#[test]
fn what_is_too_long_or_cut_short_changes_nothing() {
    let siege = siege();
    let api = siege.broker.admin();
    let before = (life(&siege, "plugins/stamp"), siege.broker.resident_bytes());
    let whole = artefact("stamp-v2");
    let length = |bytes: usize| format!("Content-Length: {bytes}\r\n");
    let tenants: Vec<String> = (0..100_000).map(|number| format!("tenant {number}")).collect();
    let stage = json!({"stage": "canary", "tenants": tenants}).to_string();
    let deep = "[".repeat(200_000);
    siege.beside_others(|| {
        let long = format!("GET /api/v1/plugins/{}", "a".repeat(10_000_000));
        let status = api.raw(&long, "", b"").map_or(414, |(status, _)| status);
        assert!((400..500).contains(&status), "{status}");
        let long = format!("HookMQ-Actor: {}\r\n", "a".repeat(10_000_000));
        let status = api.raw("POST /api/v1/plugins/stamp/promote", &long, b"");
        assert!(status.is_none_or(|(status, _)| (400..500).contains(&status)));
        for path in ["", "/versions"] {
            let line = format!("POST /api/v1/plugins/stamp{path}");
            for kept in [0, 1, whole.len() / 2, whole.len() - 1] {
                let cut = api.cut_short(&line, &length(whole.len()), &whole[..kept]);
                assert!(cut.is_none_or(|(status, _)| (400..500).contains(&status)), "{kept}");
            }
            let chunk = format!("{:x}\r\n", whole.len());
            let chunked = [chunk.as_bytes(), &whole[..whole.len() / 2]].concat();
            let cut = api.cut_short(&line, "Transfer-Encoding: chunked\r\n", &chunked);
            assert!(cut.is_none_or(|(status, _)| (400..500).contains(&status)));
            let huge = api.cut_short(&line, &length(usize::MAX >> 1), b"");
            assert!(huge.is_none_or(|(status, _)| (400..500).contains(&status)));
        }
        for body in [&*stage, &deep, "", "null", r#"{"stage":"canary"}"#, r#"{"stage":"live"}"#] {
            let line = "POST /api/v1/plugins/stamp/stage";
            let answer = api.raw(line, &length(body.len()), body.as_bytes());
            assert_eq!(answer.map(|(status, _)| status), Some(400), "{body:.40}");
        }
    });
    assert_eq!(life(&siege, "plugins/stamp"), before.0);
    assert_eq!(stamp(&siege), 1);
    let grown = siege.broker.resident_bytes().saturating_sub(before.1);
    assert!(grown < 64 * MIB, "{grown} bytes");
}

/// What several operators do at the same moment is done one after the other.
#[test]
fn changes_at_the_same_moment_leave_one_of_their_outcomes() {
    const HANDS: usize = 4;
    const CHANGES: usize = 16;
    let mut siege = siege();
    let api = siege.broker.admin();
    let versions = ["stamp-v1", "stamp-v2"].map(artefact);
    let mut client = siege.client("asked about");
    for _ in 0..10 {
        client.publish(publish("stamped/y", b"{}", Qos::AtLeastOnce));
    }
    let over = AtomicBool::new(false);
    siege.beside_others(|| {
        thread::scope(|scope| {
            let hand = |hand: usize| {
                let (api, versions) = (&api, &versions);
                move || {
                    for change in 0..CHANGES {
                        let path = |rest: &str| format!("/api/v1/plugins/stamp{rest}");
                        let version = &versions[(hand + change) % 2];
                        let (status, answer) = match (hand * 5 + change * 3) % 8 {
                            0 | 1 => api.post(&path("/versions"), version),
                            2 => api.post(&path("/stage"), br#"{"stage":"shadow"}"#),
                            3 => api.post(&path("/stage"), br#"{"stage":"canary","share":5000}"#),
                            4 => api.post(&path("/promote"), b""),
                            5 => api.post(&path("/rollback"), b""),
                            6 => api.delete(&path("/candidate")),
                            _ => api.post(&path(""), version),
                        };
                        assert!(matches!(status, 200 | 409), "{status}: {answer}");
                    }
                }
            };
            // A version may be promoted, or gone, while questions are put to it.
            let replaying = scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let (status, answer) = api.post("/api/v1/plugins/stamp/replay", b"");
                    assert!(matches!(status, 200 | 409), "{status}: {answer}");
                    if status == 200 {
                        assert!(answer["asked"].as_u64() >= Some(10), "{answer}");
                    }
                }
            });
            let hands: Vec<_> = (0..HANDS).map(|number| scope.spawn(hand(number))).collect();
            let ended: Vec<_> = hands.into_iter().map(|hand| hand.join()).collect();
            over.store(true, Ordering::Relaxed);
            assert!(ended.iter().all(Result::is_ok));
            replaying.join().expect("it is answered");
        });
    });
    assert_eq!(siege.failures("publish", "stamp"), 0);
    let before = life(&siege, "plugins/stamp");
    let answering = stamp(&siege);
    let active = before["active"]["version"].as_str().expect("a version");
    assert!(
        active.starts_with(&answering.to_string()) || before["candidate"]["stage"] != Value::Null
    );
    siege.broker.restart();
    let after = life(&siege, "plugins/stamp");
    for part in ["active", "previous", "pinned", "history"] {
        assert_eq!(after[part], before[part], "{part}");
    }
    for part in ["sha256", "stage"] {
        assert_eq!(after["candidate"][part], before["candidate"][part], "{part}");
    }
}

/// Each that waits has a thread and its upload: only so many do.
#[test]
fn uploads_beyond_the_bound_are_refused_at_once() {
    const UPLOADS: usize = 40;
    let siege = siege();
    let api = siege.broker.admin();
    let manifest = r#"{"name": "stamp", "version": "6.6.6", "hooks": ["publish"]}"#;
    let slow = heavy(manifest, 20, 3_000);
    let statuses: Vec<u16> = siege.beside_others(|| {
        thread::scope(|scope| {
            let upload = || api.post("/api/v1/plugins/stamp/versions", &slow).0;
            let uploads: Vec<_> = (0..UPLOADS).map(|_| scope.spawn(upload)).collect();
            // Who only looks need not wait for them.
            assert_eq!(api.get("/api/v1/status").0, 200);
            uploads.into_iter().map(|upload| upload.join().expect("an answer")).collect()
        })
    });
    let count = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    assert!(count(503) > 0 && count(200) > 0, "{statuses:?}");
    // 409: another one has come before it.
    assert_eq!(count(200) + count(409) + count(503), UPLOADS, "{statuses:?}");
    assert_eq!(stamp(&siege), 1);
}
