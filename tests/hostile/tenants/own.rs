//! Plugins that tenants push themselves to harm the broker and each other.

use std::io::Write;
use std::net::TcpStream;

use hookmq_codec::{ProtocolVersion, Qos, ReasonCode};
use hookmq_tests::admin::AdminClient;
use hookmq_tests::broker::Broker;
use hookmq_tests::client::{Client, connect, publish};
use hookmq_tests::tenants::{own, two_tenants};
use hookmq_tests::wait::wait_until;
use serde_json::{Value, json};
use wasm_encoder::{BlockType, InstructionSink};

use crate::plugins::crafted::{Place, configured, heavy, misplaced, replacing};
use crate::plugins::siege::{MIB, artefact, remanifested, with_manifest};

const PUBLISHES: &str = r#"{"name": "x", "version": "1.0.0", "hooks": ["publish"]}"#;

fn broker(sections: &str) -> Broker {
    let pipeline = "  authorize: [{builtin: tenant_rules}, {builtin: open, topics: [\"open/#\", \"granted/#\"]}]
  publish: [{builtin: tenant_rules}]
  deliver: [{builtin: tenant_rules}]";
    two_tenants(100, pipeline, sections, &[])
}

fn path(tenant: &str, plugin: &str) -> String {
    format!("/api/v1/tenants/{tenant}/plugins/{plugin}")
}

#[track_caller]
fn push(admin: &AdminClient, tenant: &str, plugin: &str, artefact: &[u8]) {
    let (status, shown) = admin.put(&path(tenant, plugin), artefact);
    assert!(status == 200 || status == 201, "{status} {shown}");
}

#[track_caller]
fn refused(admin: &AdminClient, artefact: &[u8], words: &str) {
    let (status, answer) = admin.put(&path("a", "p"), artefact);
    assert!(status == 422 && answer.to_string().contains(words), "{words}: {status} {answer}");
}

fn client(broker: &Broker, tenant: &str, client_id: &str) -> Client {
    Client::connect(broker.address(tenant), connect(ProtocolVersion::V5, client_id)).0
}

fn send(client: &mut Client, topic: &str, payload: &[u8]) -> ReasonCode {
    client.publish(publish(topic, payload, Qos::AtLeastOnce))
}

/// The fixture that misbehaves on demand, as a tenant may have it.
fn hostile(version: usize) -> Vec<u8> {
    let manifest = json!({
        "name": "hostile", "version": format!("1.0.{version}"), "fields": ["payload"],
        "hooks": ["authorize", "publish", "deliver"], "capabilities": ["log"],
        "emit": ["granted/#"],
    });
    remanifested(&artefact("hostile"), &manifest.to_string())
}

#[test]
fn what_a_tenants_plugin_asks_for_beyond_the_sandbox_is_refused_in_words() {
    let broker = broker("");
    let of_a = own(&broker, "a");
    let asker = artefact("asker");
    for (more, words) in [
        (json!({"http": ["https://a.example"]}), "may have: http https://a.example"),
        (json!({"http": ["*"]}), "may have: http *"),
        (
            json!({"http": ["http://127.0.0.1:1"], "secrets": ["token"]}),
            "127.0.0.1:1, secret token",
        ),
        (json!({"secrets": ["*"]}), "may have: secrets *"),
        (json!({"emit": ["$SYS/#"]}), "may have: emit $SYS/#"),
        (json!({"emit": ["$tenant/b/#"]}), "may have: emit $tenant/b/#"),
        (json!({"hooks": ["connect"]}), "no tenant says who comes in"),
        // It imports what it does not ask for.
        (json!({}), "imports `hookmq:plugin/"),
        (json!({"topics": vec!["t"; 1001]}), "names 1001 topics; 1000 are allowed"),
    ] {
        let mut manifest = json!({"name": "asker", "version": "1.0.0", "hooks": ["publish"],
            "capabilities": ["log", "clock", "metric", "kv"]});
        let more = more.as_object().expect("an object").clone();
        manifest.as_object_mut().expect("an object").extend(more);
        refused(&of_a, &with_manifest(&asker, &manifest.to_string()), words);
    }
    let (_, listed) = of_a.get("/api/v1/tenants/a/plugins");
    assert_eq!(listed["items"], json!([]));
}

#[test]
fn a_loop_and_a_memory_hog_end_by_their_limits_and_leave_others_alone() {
    type BadThing = fn(&mut InstructionSink<'_>);
    let table: [(BadThing, &str); 3] = [
        (
            |code| {
                code.loop_(BlockType::Empty).br(0).end();
            },
            "timeout",
        ),
        (
            |code| {
                code.i32_const(60_000).memory_grow(0).drop();
            },
            "limit",
        ),
        (
            |code| {
                code.unreachable();
            },
            "error",
        ),
    ];
    let broker = broker("");
    let (of_a, of_b) = (own(&broker, "a"), own(&broker, "b"));
    push(&of_b, "b", "p", &replacing(PUBLISHES, "b"));
    let (mut in_a, mut in_b) = (client(&broker, "a", "c"), client(&broker, "b", "c"));
    in_b.subscribe("open/t", Qos::AtMostOnce);
    let failed = ReasonCode::ImplementationSpecificError;
    for (bad_thing, kind) in table {
        push(&of_a, "a", "p", &misplaced(PUBLISHES, Place::Publish, bad_thing));
        assert_eq!(send(&mut in_a, "open/t", b"x"), failed, "{kind}");
        let shown = of_a.get(&path("a", "p")).1;
        assert_eq!((&shown["failures"], &shown["last_failure"]["kind"]), (&json!(1), &json!(kind)));
        // Again and again: then it is left alone, and the operator sees that something is.
        let open = || {
            let labels = ["hook=\"publish\"", "program=\"tenant_rules\""];
            broker.admin().metric_with("step_open_breakers", &labels)
        };
        for _ in 0..100 {
            if open() == Some(1) {
                break;
            }
            assert_eq!(send(&mut in_a, "open/t", b"x"), failed);
        }
        assert_eq!(open(), Some(1), "{kind}");
        assert_eq!(of_a.get(&path("a", "p")).1["left_alone"], json!(["publish"]));
        send(&mut in_b, "open/t", b"raw");
        in_b.expect_message("open/t", b"b");
    }
    assert_eq!(of_b.get(&path("b", "p")).1["failures"], 0);
    assert_eq!(of_a.delete(&path("a", "p")).0, 204);
    let labels = ["hook=\"publish\"", "program=\"tenant_rules\""];
    assert_eq!(broker.admin().metric_with("step_open_breakers", &labels), Some(0));
    assert_eq!(send(&mut in_a, "open/t", b"x"), ReasonCode::NoMatchingSubscribers);
}

#[test]
fn a_plugin_that_does_harm_when_it_is_configured_is_refused() {
    let broker = broker("");
    let of_a = own(&broker, "a");
    let endless = configured(PUBLISHES, |code| {
        code.loop_(BlockType::Empty).br(0).end();
    });
    refused(&of_a, &endless, "ran for longer than 100 ms");
    let hog = configured(PUBLISHES, |code| {
        code.i32_const(60_000).memory_grow(0).drop();
    });
    refused(&of_a, &hog, "bytes of memory");
    assert_eq!(broker.admin().metric("tenant_plugin_disk_bytes"), 0);
}

#[test]
fn what_a_plugin_of_a_tenant_allows_stays_shut() {
    let broker = broker("");
    let of_a = own(&broker, "a");
    // It answers `allow` to everything.
    let manifest = PUBLISHES.replace("publish", "authorize");
    push(&of_a, "a", "p", &configured(&manifest, |_| {}));
    let mut in_a = client(&broker, "a", "c");
    assert_eq!(send(&mut in_a, "shut/t", b"x"), ReasonCode::NotAuthorized);
    assert_eq!(send(&mut in_a, "open/t", b"x"), ReasonCode::NoMatchingSubscribers);
    assert!(of_a.get(&path("a", "p")).1["calls"].as_u64() >= Some(2));
    // And what fails, denies, for its own tenant.
    let always = format!("{}?config=%7B%22always%22%3A%22trap%22%7D", path("a", "p"));
    let (status, answer) = of_a.put(&always, &hostile(0));
    assert_eq!((status, &answer["config"]), (200, &json!({"always": "trap"})), "{answer}");
    assert_eq!(send(&mut in_a, "open/t", b"x"), ReasonCode::NotAuthorized);
    let mut in_b = client(&broker, "b", "c");
    assert_eq!(send(&mut in_b, "open/t", b"x"), ReasonCode::NoMatchingSubscribers);
}

#[test]
fn what_it_emits_and_logs_is_bounded_and_its_tenants_own() {
    let broker = broker("");
    let of_a = own(&broker, "a");
    let (mut in_a, mut in_b) = (client(&broker, "a", "c"), client(&broker, "b", "c"));
    in_b.subscribe("open/#", Qos::AtMostOnce);
    let failed = ReasonCode::ImplementationSpecificError;
    let misdeeds =
        ["emit-elsewhere", "huge", "many-properties", "bad-topic", "recurse", "panic", "grow"];
    for (version, misdeed) in misdeeds.into_iter().enumerate() {
        // Each with a version of its own: one that fails too often would be left alone.
        push(&of_a, "a", "p", &hostile(version));
        assert_eq!(send(&mut in_a, "open/t", misdeed.as_bytes()), failed, "{misdeed}");
    }
    in_a.subscribe("granted/#", Qos::AtMostOnce);
    send(&mut in_a, "open/t", b"flood");
    for _ in 0..16 {
        in_a.expect_message("granted/x", b"emitted");
    }
    in_a.expect_nothing();
    push(&of_a, "a", "p", &hostile(100));
    assert_eq!(send(&mut in_a, "open/t", b"chatter"), ReasonCode::NoMatchingSubscribers);
    let log = of_a.get(&path("a", "p")).1["log"].clone();
    assert_eq!(log.as_array().map(Vec::len), Some(16), "{log}");
    assert!(!broker.log().contains("line 15"), "the tenant's lines are not the broker's");
    in_b.expect_nothing();
}

#[test]
fn who_keeps_the_compiler_busy_keeps_nobody_from_it_for_long() {
    let sections = "tenant_rules: {pushes_per_minute: 1000}
tenant_plugins: {compile_time_ms: 1000}";
    let broker = broker(sections);
    let (of_a, of_b) = (own(&broker, "a"), own(&broker, "b"));
    let before = broker.resident_bytes();
    let bomb = heavy(PUBLISHES, 50, 64 << 10);
    let over = std::sync::atomic::AtomicBool::new(false);
    let attack = || {
        let mut answers = Vec::new();
        while !over.load(std::sync::atomic::Ordering::Acquire) {
            answers.push(of_a.put(&path("a", "p"), &bomb));
        }
        answers
    };
    let answers: Vec<(u16, Value)> = std::thread::scope(|scope| {
        let attackers = [(); 3].map(|()| scope.spawn(attack));
        wait_until("the compiler is busy", || {
            (of_a.put(&path("a", "q"), &bomb).0 == 429).then_some(())
        });
        for payload in ["1", "2", "3"] {
            push(&of_b, "b", "p", &replacing(PUBLISHES, payload));
        }
        over.store(true, std::sync::atomic::Ordering::Release);
        attackers.into_iter().flat_map(|it| it.join().expect("answers")).collect()
    });
    // One at a time, each until its time is over.
    let compiled = answers.iter().filter(|(status, _)| *status == 422);
    assert!(compiled.clone().count() > 0, "{answers:?}");
    for (_, answer) in compiled {
        assert!(answer.to_string().contains("takes more than 1 s"), "{answer}");
    }
    let others = answers.iter().filter(|(status, _)| *status != 422);
    for (status, answer) in others {
        assert!(*status == 429 && answer.to_string().contains("is being pushed"), "{answer}");
    }
    let grown = broker.resident_bytes().saturating_sub(before);
    assert!(grown < 128 * MIB, "{grown} bytes");
    let mut in_b = client(&broker, "b", "c");
    in_b.subscribe("open/t", Qos::AtMostOnce);
    send(&mut in_b, "open/t", b"raw");
    in_b.expect_message("open/t", b"3");
}

#[test]
fn time_of_the_compiler_counts_as_changes_of_its_tenant() {
    let sections = "tenant_rules: {pushes_per_minute: 5}
tenant_plugins: {compile_time_ms: 2000}";
    let broker = broker(sections);
    let (of_a, of_b) = (own(&broker, "a"), own(&broker, "b"));
    // Many functions, each of which takes little memory.
    let bomb = heavy(PUBLISHES, 50, 64 << 10);
    refused(&of_a, &bomb, "takes more than 2 s");
    refused(&of_a, &bomb, "takes more than 2 s");
    let (status, answer) = of_a.put(&path("a", "p"), &bomb);
    assert!(status == 429 && answer.to_string().contains("5 changes"), "{answer}");
    push(&of_b, "b", "p", &replacing(PUBLISHES, "b"));
}

#[test]
fn an_upload_that_does_not_end_holds_the_place_of_its_tenant_alone() {
    let broker = broker("tenant_rules: {pushes_per_minute: 10000}");
    let (of_a, of_b) = (own(&broker, "a"), own(&broker, "b"));
    let good = replacing(PUBLISHES, "x");
    let head = format!(
        "PUT {} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Length: 1000\r\n\r\n",
        path("a", "p"),
        of_a.token()
    );
    let is_held = || {
        let (status, answer) = of_a.put(&path("a", "p"), &good);
        status == 429 && answer.to_string().contains("is being pushed")
    };
    // One that comes while the push before it is under way is refused itself.
    let upload = wait_until("an upload has begun", || {
        let mut upload = TcpStream::connect(of_a.address).expect("a connection");
        upload.write_all(head.as_bytes()).expect("send");
        (is_held() && is_held()).then_some(upload)
    });
    push(&of_b, "b", "p", &good);
    drop(upload);
    wait_until("its place is free", || (of_a.put(&path("a", "p"), &good).0 < 300).then_some(()));
}

#[test]
fn a_message_that_a_tenants_deliver_plugin_fails_at_is_kept_from_its_own_subscribers() {
    let broker = broker("");
    let of_a = own(&broker, "a");
    let manifest = json!({
        "name": "hostile", "version": "1.0.0", "hooks": ["deliver"], "fields": ["payload"],
        "capabilities": ["log"], "emit": ["granted/#"],
    });
    push(&of_a, "a", "p", &remanifested(&artefact("hostile"), &manifest.to_string()));
    for tenant in ["a", "b"] {
        let mut client = client(&broker, tenant, "c");
        client.subscribe("open/d", Qos::AtMostOnce);
        send(&mut client, "open/d", b"trap");
        if tenant == "b" {
            client.expect_message("open/d", b"trap");
        }
        send(&mut client, "open/d", b"good");
        client.expect_message("open/d", b"good");
    }
    let shown = of_a.get(&path("a", "p")).1;
    assert_eq!(
        (&shown["failures"], &shown["last_failure"]["hook"]),
        (&json!(1), &json!("deliver"))
    );
}
