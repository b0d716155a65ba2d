//! The life of a version, as an operator leads it through the admin API.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use hookmq_codec::{Packet, ProtocolVersion, Qos};
use hookmq_tests::admin::AdminClient;
use hookmq_tests::broker::{Broker, OPEN_LISTENER, directory, plugins};
use hookmq_tests::client::{Client, connect, connect_to_session, publish};
use serde_json::{Value, json};

/// A broker with the rule `stamp` and the plugin `stamp`, each at version 1. The rule sees `rule/#`.
struct Site {
    broker: Broker,
}

fn rule(version: u32) -> String {
    format!(
        r#"
const TOPICS = ["rule/#"];

fn publish(client, message) {{
    if message.text == "fail" {{ throw "as it was told"; }}
    message.text = message.text + " {version}";
    pass()
}}

fn test_it_stamps() {{
    let published = run_publish(test_client(#{{}}), test_message("rule/t", "x"));
    assert_eq(published.message.text, "x {version}");
}}
"#
    )
}

fn artefact(version: u32) -> Vec<u8> {
    let file = plugins().join(format!("fixtures/stamp-v{version}.wasm"));
    std::fs::read(file).expect("read an artefact")
}

impl Site {
    fn new() -> Self {
        let directory = directory();
        for name in ["rules", "plugins"] {
            std::fs::create_dir(directory.path().join(name)).expect("make a folder");
        }
        std::fs::write(directory.path().join("rules/stamp.rhai"), rule(1)).expect("write a rule");
        std::fs::write(directory.path().join("plugins/stamp.wasm"), artefact(1)).expect("write it");
        let yaml = format!(
            "data_dir: data
listeners: [{{name: {OPEN_LISTENER}, bind: \"tcp://127.0.0.1:0\"}}]
admin: {{bind: \"127.0.0.1:0\"}}
steps: {{recorded_every: 1, breaker_failures: 5}}
pipeline:
  connect: [{{builtin: anonymous}}]
  authorize: [{{builtin: open}}]
  publish: [{{rule: stamp}}, {{plugin: stamp}}]
"
        );
        Self { broker: Broker::with_config(&yaml, directory) }
    }

    fn admin(&self) -> AdminClient {
        self.broker.admin()
    }

    fn client(&self, client_id: &str) -> Client {
        let connect = connect(ProtocolVersion::V5, client_id);
        Client::connect(self.broker.address(OPEN_LISTENER), connect).0
    }

    /// What becomes of `x` on `rule/t`.
    fn stamped(&self, client_id: &str) -> String {
        let mut client = self.client(client_id);
        client.subscribe("rule/t", Qos::AtMostOnce);
        client.publish(publish("rule/t", b"x", Qos::AtMostOnce));
        let received = client.receive();
        String::from_utf8(received.publish().payload.to_vec()).expect("text")
    }
}

/// A request that is granted.
#[track_caller]
fn done((status, answer): (u16, Value)) -> Value {
    assert_eq!(status, 200, "{answer}");
    answer
}

#[test]
fn a_rule_is_pushed_shadowed_tried_promoted_and_rolled_back() {
    let site = Site::new();
    let api = site.admin();
    assert_eq!(site.stamped("a"), "x 1");
    let (status, refused) =
        api.post("/api/v1/rules/stamp/versions", b"fn publish(c, m) { oops() }");
    assert_eq!((status, &refused["error"]["problems"][0]["line"]), (422, &json!(1)));
    let pushed = done(api.post("/api/v1/rules/stamp/versions", rule(2).as_bytes()));
    assert_eq!(pushed["candidate"]["stage"], Value::Null);
    assert_eq!(site.stamped("a"), "x 1", "it is not asked yet");

    done(api.post("/api/v1/rules/stamp/stage", br#"{"stage": "shadow"}"#));
    for _ in 0..3 {
        assert_eq!(site.stamped("a"), "x 1");
    }
    let life = done(api.get("/api/v1/rules/stamp"));
    assert_eq!(life["candidate"]["compared"], 3);
    assert_eq!(life["candidate"]["differing"], 3);
    let difference = &life["candidate"]["differences"][0];
    assert_eq!(difference["candidate"]["patch"]["payload"], "x 2");

    done(api.post("/api/v1/rules/stamp/stage", br#"{"stage": "canary", "share": 5000}"#));
    let answers: Vec<_> = (0..40).map(|number| site.stamped(&format!("c{number}"))).collect();
    let chosen = answers.iter().filter(|answer| *answer == "x 2").count();
    assert!((5..35).contains(&chosen), "{chosen} of 40");
    for (number, answer) in answers.iter().enumerate().take(5) {
        assert_eq!(site.stamped(&format!("c{number}")), *answer, "a client stays chosen");
    }
    let stage = br#"{"stage": "canary", "tenants": ["default"]}"#;
    done(api.post("/api/v1/rules/stamp/stage", stage));
    assert_eq!(site.stamped("a"), "x 2");
    done(api.delete("/api/v1/rules/stamp/candidate"));
    assert_eq!(site.stamped("a"), "x 1");
    let (status, _) = api.post("/api/v1/rules/stamp/promote", b"");
    assert_eq!(status, 409, "there is no candidate");

    done(api.post("/api/v1/rules/stamp/versions", rule(3).as_bytes()));
    let promoted = done(api.post("/api/v1/rules/stamp/promote", b""));
    assert_eq!((&promoted["pinned"], &promoted["candidate"]), (&json!(true), &Value::Null));
    assert_eq!(site.stamped("a"), "x 3");
    let reloaded = done(api.post("/api/v1/rules/reload", b""));
    assert_eq!(reloaded["items"][0]["outcome"], "pinned");
    done(api.post("/api/v1/rules/stamp/rollback", b""));
    assert_eq!(site.stamped("a"), "x 1");
    let life = done(api.get("/api/v1/rules/stamp"));
    let changes: Vec<_> = life["history"].as_array().expect("a history").iter().collect();
    let changes: Vec<_> = changes.iter().map(|it| it["change"].as_str().expect("one")).collect();
    let expected =
        ["rolled_back", "promoted", "pushed", "withdrawn", "staged", "staged", "staged", "pushed"];
    assert_eq!(changes, expected);
    assert_eq!(life["history"][0]["generation"], life["generation"]);
}

#[test]
fn how_programs_stand_survives_a_crash() {
    let mut site = Site::new();
    let api = site.admin();
    done(api.post("/api/v1/rules/stamp/versions", rule(2).as_bytes()));
    done(api.post("/api/v1/rules/stamp/promote", b""));
    done(api.post("/api/v1/rules/stamp/versions", rule(3).as_bytes()));
    let stage = br#"{"stage": "canary", "tenants": ["default"]}"#;
    done(api.post("/api/v1/rules/stamp/stage", stage));
    done(api.post("/api/v1/plugins/stamp", &artefact(2)));
    let before = ["rules/stamp", "plugins/stamp"].map(|it| done(api.get(&format!("/api/v1/{it}"))));
    site.broker.restart();
    let api = site.admin();
    for (path, before) in ["rules/stamp", "plugins/stamp"].iter().zip(before) {
        let after = done(api.get(&format!("/api/v1/{path}")));
        for part in ["active", "previous", "pinned", "history"] {
            assert_eq!(after[part], before[part], "{path}: {part}");
        }
        assert_eq!(after["candidate"]["stage"], before["candidate"]["stage"], "{path}");
    }
    assert_eq!(site.stamped("a"), "x 3");
    done(api.post("/api/v1/rules/stamp/rollback", b""));
    assert_eq!(site.stamped("a"), "x 1");
}

#[test]
fn explain_shows_every_step_and_changes_nothing() {
    let site = Site::new();
    let api = site.admin();
    let _connected = site.client("pump");
    let asked = json!({"client_id": "pump", "topic": "rule/t", "payload": "{\"a\":1}"});
    let answer = done(api.post("/api/v1/explain", asked.to_string().as_bytes()));
    assert_eq!(answer["client"]["username"], "anonymous");
    let [authorize, publish] = &answer["explanations"].as_array().expect("two")[..] else {
        panic!("authorize and publish: {answer}")
    };
    assert_eq!(authorize["outcome"]["allowed_up_to_qos"], 2);
    let steps = publish["steps"].as_array().expect("steps");
    assert_eq!(steps.len(), 2);
    assert_eq!(steps[0]["answer"]["patch"]["payload"], "{\"a\":1} 1");
    assert_eq!(steps[1]["program"]["kind"], "plugin");
    let pipeline = done(api.get("/api/v1/pipeline"));
    assert_eq!(pipeline["publish"][0]["calls"], 0, "a rehearsal is not counted");
    let described = json!({"username": "u", "topic": "elsewhere", "action": "publish"});
    let answer = done(api.post("/api/v1/explain", described.to_string().as_bytes()));
    let step = &answer["explanations"][1]["steps"][0];
    assert_eq!(step["not_asked"], "its conditions do not fit");
    let connect =
        json!({"action": "connect", "client_id": "new", "username": "u", "password": "p"});
    let answer = done(api.post("/api/v1/explain", connect.to_string().as_bytes()));
    assert_eq!(answer["explanations"][0]["outcome"]["tenant"], "default");
    for (asked, expected) in [
        (json!({"client_id": "absent", "topic": "t"}), 404),
        (json!({"username": "u", "topic": "a/#"}), 400),
        (json!({"username": "u", "topic": "t", "qos": 3}), 400),
        (json!({"nonsense": 1}), 400),
    ] {
        let (status, answer) = api.post("/api/v1/explain", asked.to_string().as_bytes());
        assert_eq!(status, expected, "{asked}: {answer}");
    }
}

#[test]
fn what_was_asked_is_recorded_and_put_to_a_candidate() {
    let site = Site::new();
    let api = site.admin();
    for _ in 0..5 {
        site.stamped("a");
    }
    let recent = done(api.get("/api/v1/rules/stamp/recent"));
    let items = recent["items"].as_array().expect("items");
    assert_eq!((items.len(), &items[0]["topic"]), (5, &json!("rule/t")));
    assert_eq!(
        items[0]["answer"]["patch"]["payload"],
        json!({"bytes": 3}),
        "payloads are not shown"
    );
    let (status, _) = api.post("/api/v1/rules/stamp/replay", b"");
    assert_eq!(status, 409, "there is no candidate");
    done(api.post("/api/v1/rules/stamp/versions", rule(2).as_bytes()));
    let replayed = done(api.post("/api/v1/rules/stamp/replay", b""));
    assert_eq!((&replayed["asked"], &replayed["differing"]), (&json!(5), &json!(5)));
    assert_eq!(replayed["items"][0]["candidate"]["patch"]["payload"], "x 2");
    let number = &items[0]["number"];
    let again = json!({"recorded": number});
    let answer = done(api.post("/api/v1/explain", again.to_string().as_bytes()));
    assert_eq!(answer["explanations"][0]["steps"][0]["answer"]["patch"]["payload"], "x 1");
}

#[test]
fn a_step_that_fails_is_seen_in_the_figures_and_its_breaker_opens() {
    let site = Site::new();
    let mut client = site.client("a");
    for _ in 0..10 {
        client.publish(publish("rule/t", b"fail", Qos::AtLeastOnce));
    }
    site.broker.wait_for_log("its breaker is open");
    let (_, metrics) = site.admin().get("/api/v1/metrics");
    let metrics = metrics.as_str().expect("text").to_owned();
    let line = |start: &str, rest: &str| {
        metrics.lines().find(|it| it.starts_with(start) && it.contains(rest)).map(str::to_owned)
    };
    let errors =
        line("hookmq_step_errors_total{hook=\"publish\",position=\"1\"", "reason=\"error\"");
    assert!(errors.is_some_and(|line| line.ends_with(" 5")), "{metrics}");
    let held = line("hookmq_step_errors_total{", "reason=\"breaker_open\"");
    assert!(held.is_some_and(|line| line.ends_with(" 5")), "{metrics}");
    let open = line("hookmq_step_open_breakers{hook=\"publish\",position=\"1\"", "rule");
    assert!(open.is_some_and(|line| line.ends_with(" 1")), "{metrics}");
    client.publish(publish("other/t", b"fine", Qos::AtLeastOnce));
    client.expect_nothing();
}

/// Publishes numbered messages in QoS 1 until `over`; the last one is `-1`.
fn pour(address: SocketAddr, topic: &str, over: &AtomicBool) {
    let mut client = Client::connect(address, connect(ProtocolVersion::V5, "publisher")).0;
    let mut send = |number: i64| {
        let payload = format!("{{\"n\":{number}}}");
        client.publish(publish(topic, payload.as_bytes(), Qos::AtLeastOnce));
    };
    for number in 0.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        send(number);
    }
    send(-1);
    client.expect_nothing();
}

/// P12
#[test]
fn a_hundred_swaps_under_load_lose_double_and_reorder_nothing() {
    let site = Site::new();
    let (api, address) = (site.admin(), site.broker.address(OPEN_LISTENER));
    let session = connect_to_session(ProtocolVersion::V5, "subscriber", 60);
    let mut subscriber = Client::connect(address, session).0;
    subscriber.subscribe("plugin/t", Qos::AtLeastOnce);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| pour(address, "plugin/t", &over));
        scope.spawn(|| {
            let versions = [artefact(1), artefact(2)];
            for number in 0..100 {
                done(api.post("/api/v1/plugins/stamp", &versions[(number + 1) % 2]));
            }
            over.store(true, Ordering::Relaxed);
        });
        let (mut expected, mut seen) = (0, [0, 0]);
        loop {
            let received = subscriber.receive_where(|it| matches!(it, Packet::Publish(_)));
            subscriber.acknowledge(&received);
            let object: Value =
                serde_json::from_slice(received.publish().payload).expect("an object");
            let stamp = object["stamp"].as_u64().expect("exactly one stamp");
            seen[usize::from(stamp == 2)] += 1;
            if object["n"] == -1 {
                break;
            }
            assert_eq!(object["n"], expected, "the next one");
            expected += 1;
        }
        assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
    });
    subscriber.expect_nothing();
    let accepted = api.metric("connections_accepted_total");
    assert_eq!(accepted, 2, "nobody had to connect again");
    assert_eq!(done(api.get("/api/v1/plugins/stamp"))["active"]["version"], "1.0.0");
}
