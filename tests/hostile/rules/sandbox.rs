//! Rules in the sandbox answer as they do outside of it, and are refused as they are outside of it.

use hookmq_codec::{PublishProperties, Qos, ReasonCode};
use hookmq_tests::client::publish;

use super::{HARMLESS, Scene};

/// Every hook with most of its verdicts, on the word of the client id and the topic.
const RULE: &str = r#"const TOPICS = ["hostile/#"];
const LIMIT = 80;

fn connect(client) {
    if client.claimed_client_id == "banned" { return deny("banned", "not this one"); }
    next(#{ attributes: #{ came_by: client.listener } })
}

fn authorize(client, access) {
    if access.topic == "hostile/forbidden" { return deny("no"); }
    abstain()
}

fn publish(client, message) {
    if message.topic == "hostile/drop" { return drop("quota_exceeded", "no"); }
    if message.topic == "hostile/fail" {
        let nothing = ();
        return nothing.field;
    }
    if is_object(message.json) && message.json.temperature > LIMIT {
        emit("alarms/" + message.level(1), #{
            temperature: message.json.temperature,
            device: client.client_id,
            listener: client.attributes.came_by,
            known: client.vouched("came_by"),
            answer_to: message.response_topic,
            recent: now() > 1700000000000,
        });
        metric_count("hot");
        log("warn", "a hot device");
        message.json.remove("secret");
    }
    pass()
}

fn deliver(client, message) {
    if message.topic == "hostile/hidden" { return drop(); }
    if is_object(message.json) { message.json.seen_by = client.client_id; }
    pass()
}

fn test_a_hot_device_raises_an_alarm() {
    let message = test_message("hostile/a", #{ temperature: LIMIT + 1 });
    assert_eq(run_publish(test_client(#{}), message).emitted.len(), 1);
}
"#;

#[test]
fn a_rule_answers_the_same_on_both_sides() {
    for mut scene in [Scene::new(RULE), Scene::sandboxed(RULE)] {
        assert_eq!(scene.knock("banned"), ReasonCode::Banned);
        let mut listener = scene.client("listener");
        listener.subscribe("alarms/#", Qos::AtMostOnce);
        listener.subscribe("hostile/#", Qos::AtMostOnce);
        let mut device = scene.client("device");
        let answer = |client: &mut hookmq_tests::client::Client, topic, payload: &str| {
            client.publish(publish(topic, payload.as_bytes(), Qos::AtLeastOnce))
        };
        assert_eq!(answer(&mut device, "hostile/forbidden", ""), ReasonCode::NotAuthorized);
        assert_eq!(answer(&mut device, "hostile/drop", ""), ReasonCode::QuotaExceeded);
        assert!(answer(&mut device, "hostile/fail", "").is_failure());
        let line = scene.broker.wait_for_log("step failed");
        assert!(line.contains("rule.rhai:18:24:"), "{line}");
        assert_eq!(answer(&mut device, "hostile/hidden", "{}"), ReasonCode::Success);
        let properties =
            PublishProperties { response_topic: Some("answers"), ..PublishProperties::default() };
        let payload = br#"{"temperature":81,"secret":"x"}"#;
        let hot = publish("hostile/a", payload, Qos::AtLeastOnce);
        device.publish(hookmq_codec::Publish { properties, ..hot });
        let mut payloads = [listener.receive(), listener.receive()]
            .map(|it| String::from_utf8(it.publish().payload.to_vec()).unwrap());
        payloads.sort();
        assert_eq!(
            payloads,
            [
                r#"{"answer_to":"answers","device":"device","known":true,"listener":"listener-1","recent":true,"temperature":81}"#,
                r#"{"seen_by":"listener","temperature":81}"#,
            ]
        );
        scene.broker.wait_for_log("a hot device");
        scene.others_are_served();
    }
}

#[test]
fn what_is_refused_outside_is_refused_inside() {
    let mut scene = Scene::sandboxed(HARMLESS);
    for (rest, said) in [
        ("fn test_fails() { assert_eq(1, 2); }", "1 is not 2"),
        ("fn f() { sleep(1) }", "there is no function `sleep`"),
        ("fn f( {", ""),
    ] {
        let item = scene.reload(&format!("fn publish(client, message) {{ pass() }}\n{rest}"));
        assert_eq!(item["outcome"], "refused", "{item}");
        assert!(item.to_string().contains(said), "{rest}: {item}");
        scene.others_are_served();
    }
    let computed = HARMLESS.replace("[\"hostile/#\"]", "[\"hostile/\" + \"#\".to_lower()]");
    let item = scene.reload(&computed);
    assert!(item.to_string().contains("must be an array of plain strings"), "{item}");
}
