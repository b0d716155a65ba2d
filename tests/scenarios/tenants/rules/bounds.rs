//! What is refused, and with which words.

use super::*;

const PASSES: &str = "fn publish(client, message) { }";

#[track_caller]
fn refused(admin: &AdminClient, rule: &str, text: &str) -> (u16, Value) {
    let (status, answer) = admin.put(&path("a", rule), text.as_bytes());
    assert!(status >= 400, "{answer}");
    (status, answer["error"].clone())
}

#[test]
fn a_text_that_is_no_rule_is_refused_with_its_line_and_the_one_before_stays() {
    let broker = broker();
    let of_a = own(&broker, "a");
    push(&of_a, "a", "marks", "fn publish(client, message) { message.payload = \"1\"; }");
    let (status, error) = refused(&of_a, "marks", "fn publish(client, message) {\n    message. }");
    assert_eq!(status, 422, "{error}");
    let problem = &error["problems"][0];
    assert_eq!((&problem["file"], &problem["line"]), (&json!("marks.rhai"), &json!(2)), "{error}");
    let fails = "fn publish(client, message) { }
fn test_it() { assert_eq(1, 2); }";
    let (status, error) = refused(&of_a, "marks", fails);
    assert!(status == 422 && error.to_string().contains("test_it"), "{error}");
    let endless = "const X = 1;\nfn publish(client, message) { }\nfn test_it() { loop { } }";
    assert_eq!(refused(&of_a, "marks", endless).0, 422);
    let (status, error) = refused(&of_a, "marks", "fn connect(client) { next() }");
    assert!(status == 422 && error["message"].as_str().unwrap_or_default().contains("connect"));
    let (status, _) = of_a.put(&path("a", "marks"), &[0xff, 0xfe]);
    assert_eq!(status, 422);
    assert_eq!(refused(&of_a, "marks", "// nothing\n").0, 422);
    let mut in_a = newest(&broker, "a", "c");
    in_a.subscribe("t", Qos::AtMostOnce);
    send(&mut in_a, "t", b"raw");
    in_a.expect_message("t", b"1");
}

#[test]
fn bounds_are_kept_and_named() {
    let pipeline = format!("  authorize: [{{builtin: open}}]\n  publish: {EVERYWHERE}");
    let sections = "tenant_rules: {rules_per_tenant: 2, rule_bytes: 200, rules: 3}";
    let broker = broker_with(&pipeline, sections, &[]);
    let (of_a, of_b) = (own(&broker, "a"), own(&broker, "b"));
    let long = format!("{PASSES}{}", " ".repeat(200));
    assert_eq!(refused(&of_a, "one", &long).0, 413);
    assert_eq!(refused(&of_a, "one", &" ".repeat(1 << 20)).0, 413);
    push(&of_a, "a", "one", PASSES);
    push(&of_a, "a", "two", PASSES);
    let (status, error) = refused(&of_a, "three", PASSES);
    assert!(status == 409 && error["message"].as_str().unwrap_or_default().contains("has 2 rules"));
    // One that is there may be changed, and one that is deleted makes room.
    push(&of_a, "a", "two", &format!("{PASSES} // changed"));
    push(&of_b, "b", "one", PASSES);
    let (status, error) = of_b.put(&path("b", "two"), PASSES.as_bytes());
    let message = error["error"]["message"].as_str().unwrap_or_default();
    assert!(status == 409 && message.contains("all tenants together"), "{error}");
    assert_eq!(broker.admin().metric("tenant_rules"), 3);
    assert_eq!(of_a.delete(&path("a", "one")).0, 204);
    push(&of_b, "b", "two", PASSES);
    assert_eq!(broker.admin().metric("tenant_rules"), 3);
    // A hook without a place is named with the line that is missing.
    let (status, error) = refused(&of_a, "two", "fn deliver(client, message) { }");
    let hint = error["hint"].as_str().unwrap_or_default();
    assert!(status == 409 && hint.contains("deliver:\n      - builtin: tenant_rules"), "{error}");
}

#[test]
fn a_tenant_changes_its_rules_so_often_in_a_minute() {
    let sections = "tenant_rules: {pushes_per_minute: 3}";
    let pipeline = format!("  authorize: [{{builtin: open}}]\n  publish: {EVERYWHERE}");
    let broker = broker_with(&pipeline, sections, &[]);
    let (of_a, of_b) = (own(&broker, "a"), own(&broker, "b"));
    push(&of_a, "a", "one", PASSES);
    assert_eq!(refused(&of_a, "two", "no rule").0, 422);
    push(&of_a, "a", "one", &format!("{PASSES} // changed"));
    assert_eq!(refused(&of_a, "one", PASSES).0, 429);
    assert_eq!(of_a.post(&format!("{}/rollback", path("a", "one")), b"").0, 429);
    push(&of_b, "b", "one", PASSES);
    assert_eq!(of_a.delete(&path("a", "one")).0, 204);
}

#[test]
fn without_a_place_in_the_pipeline_the_missing_line_is_named() {
    let broker = broker_with("  authorize: [{builtin: open}]", "", &[]);
    let of_a = own(&broker, "a");
    for (status, answer) in
        [of_a.put(&path("a", "r"), PASSES.as_bytes()), of_a.get("/api/v1/tenants/a/rules")]
    {
        assert_eq!(status, 409, "{answer}");
        let hint = answer["error"]["hint"].as_str().unwrap_or_default();
        assert!(hint.contains("- builtin: tenant_rules"), "{answer}");
    }
}

#[test]
fn what_a_tenant_keeps_and_counts_has_an_end_and_takes_nothing_from_others() {
    let sections = "tenant_rules: {kept_bytes: 1000}";
    let pipeline = format!("  authorize: [{{builtin: open}}]\n  publish: {EVERYWHERE}");
    let broker = broker_with(&pipeline, sections, &[]);
    let (of_a, of_b) = (own(&broker, "a"), own(&broker, "b"));
    let rule = "fn publish(client, message) {
    kv_set(message.topic, message.text);
    for n in 0..40 { metric_count(`${message.topic}_${n}`); }
}";
    push(&of_a, "a", "keeps", rule);
    push(&of_b, "b", "keeps", rule);
    let (mut in_a, mut in_b) = (newest(&broker, "a", "c"), newest(&broker, "b", "c"));
    let failed = ReasonCode::ImplementationSpecificError;
    assert_eq!(send(&mut in_a, "t1", &[b'x'; 900]), ReasonCode::NoMatchingSubscribers);
    assert_eq!(send(&mut in_a, "t2", &[b'x'; 900]), failed);
    assert_eq!(send(&mut in_b, "t2", &[b'x'; 900]), ReasonCode::NoMatchingSubscribers);
    for topic in ["t3", "t4", "t5"] {
        assert_eq!(send(&mut in_a, topic, b"x"), ReasonCode::NoMatchingSubscribers);
    }
    let (status, figures) = broker.admin().get("/api/v1/metrics");
    let figures = figures.as_str().expect("text").to_owned();
    let of = |tenant: &str| {
        let label = format!("tenant=\"{tenant}\"");
        figures.lines().filter(|it| it.contains("_program_counter") && it.contains(&label)).count()
    };
    assert_eq!((status, of("a"), of("b")), (200, 100, 40));
}

#[test]
fn idle_instances_make_room_for_those_of_other_rules() {
    let sections = "tenant_rules: {instances: 1}";
    let pipeline = format!("  authorize: [{{builtin: open}}]\n  publish: {EVERYWHERE}");
    let broker = broker_with(&pipeline, sections, &[]);
    for tenant in ["a", "b"] {
        let own = own(&broker, tenant);
        for topic in ["t1", "t2", "t3"] {
            let topics = format!("const TOPICS = [\"{topic}\"];");
            push(&own, tenant, topic, &format!("{topics}\n{PASSES}"));
        }
    }
    let (mut in_a, mut in_b) = (newest(&broker, "a", "c"), newest(&broker, "b", "c"));
    for _ in 0..3 {
        for topic in ["t1", "t2", "t3"] {
            assert_eq!(send(&mut in_a, topic, b"x"), ReasonCode::NoMatchingSubscribers);
            assert_eq!(send(&mut in_b, topic, b"x"), ReasonCode::NoMatchingSubscribers);
        }
    }
    assert_eq!(broker.admin().metric("tenant_rule_instances"), 1);
}
