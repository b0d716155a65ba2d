//! What is refused, and with which words.

use super::*;

#[track_caller]
fn refused(admin: &AdminClient, path: &str, artefact: &[u8], words: &str) -> u16 {
    let (status, answer) = admin.put(path, artefact);
    assert!(status >= 400 && answer.to_string().contains(words), "{status} {answer}");
    status
}

#[test]
fn what_is_no_plugin_or_asks_for_too_much_is_refused_and_the_one_before_stays() {
    let broker = broker();
    let of_a = own(&broker, "a");
    push(&of_a, "a", "stamps", "fixtures/stamp-v1");
    let stamps = path("a", "stamps");
    let empty_module = b"\0asm\x01\0\0\0";
    let table: [(&[u8], &str); 7] = [
        (b"", "not a WebAssembly"),
        (&[0xA5; 5000], "not a WebAssembly"),
        (empty_module, "no manifest"),
        (&artefact("fixtures/asker"), "no manifest"),
        (&artefact("fixtures/mirror"), "has no `connect`: no tenant says who comes in"),
        (&artefact("fixtures/hostile"), "has no `connect`"),
        (&artefact("jwt-identity"), "has no `connect`"),
    ];
    for (bytes, words) in table {
        assert_eq!(refused(&of_a, &stamps, bytes, words), 422, "{words}");
    }
    let whole = artefact("fixtures/stamp-v2");
    assert_eq!(refused(&of_a, &stamps, &whole[..whole.len() / 2], "not a WebAssembly"), 422);
    // Its configuration is for the plugin to judge.
    let transform = artefact("json-transform");
    assert_eq!(refused(&of_a, &stamps, &transform, "operations: at least one"), 422);
    let wrong = configured(&stamps, &json!({"operation": 1}));
    assert_eq!(refused(&of_a, &wrong, &transform, "unknown field `operation`"), 422);
    assert_eq!(refused(&of_a, &format!("{stamps}?config=%7B"), &transform, "not JSON"), 422);
    let long = format!("{stamps}?config=%22{}%22", "x".repeat(16 << 10));
    assert_eq!(refused(&of_a, &long, &transform, "16384 are allowed"), 413);
    let shown = of_a.get(&stamps).1;
    assert_eq!((&shown["version"], &shown["has_previous"]), (&json!("1.0.0"), &json!(false)));
    let mut in_a = newest(&broker, "a", "c");
    in_a.subscribe("t", Qos::AtMostOnce);
    send(&mut in_a, "t", b"{}");
    in_a.expect_message("t", br#"{"stamp":1}"#);
}

#[test]
fn bounds_are_kept_and_named() {
    let pipeline = format!("  authorize: [{{builtin: open}}]\n  publish: {EVERYWHERE}");
    let [one, two] = ["fixtures/stamp-v1", "fixtures/stamp-v2"].map(artefact);
    let largest = one.len().max(two.len());
    let sections = format!(
        "tenant_rules: {{pushes_per_minute: 100}}
tenant_plugins: {{plugins_per_tenant: 2, plugin_bytes: {largest}, plugins: 3}}"
    );
    let broker = broker_with(&pipeline, &sections, &[]);
    let (of_a, of_b) = (own(&broker, "a"), own(&broker, "b"));
    let long = [&one[..], &vec![0; largest]].concat();
    assert_eq!(refused(&of_a, &path("a", "one"), &long, &format!("{largest} bytes at most")), 413);
    push(&of_a, "a", "one", "fixtures/stamp-v1");
    push(&of_a, "a", "two", "fixtures/stamp-v1");
    assert_eq!(refused(&of_a, &path("a", "three"), &one, "has 2 plugins"), 409);
    // One that is there may be changed, and one that is deleted makes room.
    push(&of_a, "a", "two", "fixtures/stamp-v2");
    push(&of_b, "b", "one", "fixtures/stamp-v1");
    assert_eq!(refused(&of_b, &path("b", "two"), &two, "all tenants together have 3 plugins"), 409);
    assert_eq!(broker.admin().metric("tenant_plugins"), 3);
    assert_eq!(of_a.delete(&path("a", "one")).0, 204);
    push(&of_b, "b", "two", "fixtures/stamp-v2");
    assert_eq!(broker.admin().metric("tenant_plugins"), 3);
    // Rules are counted apart.
    rules::push(&of_a, "a", "r", "fn publish(client, message) { }");
    rules::push(&of_a, "a", "s", "fn publish(client, message) { }");
}

#[test]
fn the_disk_that_plugins_take_has_an_end_for_one_tenant_and_for_all() {
    let pipeline = format!("  authorize: [{{builtin: open}}]\n  publish: {EVERYWHERE}");
    let probe = broker_with(&pipeline, "", &[]);
    let of_a = own(&probe, "a");
    let sizes = ["fixtures/stamp-v1", "fixtures/stamp-v2"].map(|name| {
        let shown = push(&of_a, "a", "p", name);
        shown["bytes"].as_u64().expect("bytes") + shown["compiled_bytes"].as_u64().expect("bytes")
    });
    drop(probe);
    let (own_bound, bound) = (sizes[0] + sizes[1], 2 * sizes[0] + sizes[1]);
    let sections =
        format!("tenant_plugins: {{disk_bytes_per_tenant: {own_bound}, disk_bytes: {bound}}}");
    let broker = broker_with(&pipeline, &sections, &[]);
    let (of_a, of_b) = (own(&broker, "a"), own(&broker, "b"));
    push(&of_a, "a", "p", "fixtures/stamp-v1");
    // The version before counts; the same artefact once more does not.
    push(&of_a, "a", "p", "fixtures/stamp-v2");
    push(&of_a, "a", "q", "fixtures/stamp-v2");
    assert_eq!(broker.admin().metric("tenant_plugin_disk_bytes"), own_bound);
    let words = format!("{own_bound} are allowed");
    let counter = artefact("fixtures/counter");
    assert_eq!(refused(&of_a, &path("a", "q"), &counter, &words), 409);
    push(&of_b, "b", "p", "fixtures/stamp-v1");
    let words = format!("plugins of all tenants take {bound} bytes");
    assert_eq!(refused(&of_b, &path("b", "q"), &artefact("fixtures/stamp-v2"), &words), 409);
    assert_eq!(broker.admin().metric("tenant_plugin_disk_bytes"), bound);
    assert_eq!(of_a.delete(&path("a", "q")).0, 204);
    assert_eq!(of_a.delete(&path("a", "p")).0, 204);
    push(&of_b, "b", "q", "fixtures/stamp-v2");
    assert_eq!(broker.admin().metric("tenant_plugin_disk_bytes"), own_bound);
}

#[test]
fn rules_and_plugins_share_the_changes_that_a_tenant_may_try_in_a_minute() {
    let sections = "tenant_rules: {pushes_per_minute: 3}";
    let pipeline = format!("  authorize: [{{builtin: open}}]\n  publish: {EVERYWHERE}");
    let broker = broker_with(&pipeline, sections, &[]);
    let (of_a, of_b) = (own(&broker, "a"), own(&broker, "b"));
    push(&of_a, "a", "one", "fixtures/stamp-v1");
    rules::push(&of_a, "a", "r", "fn publish(client, message) { }");
    assert_eq!(refused(&of_a, &path("a", "two"), b"no plugin", "not a WebAssembly"), 422);
    let stamps = artefact("fixtures/stamp-v2");
    assert_eq!(refused(&of_a, &path("a", "one"), &stamps, "3 changes"), 429);
    assert_eq!(of_a.post(&format!("{}/rollback", path("a", "one")), b"").0, 429);
    assert_eq!(of_a.put("/api/v1/tenants/a/rules/r", b"x").0, 429);
    push(&of_b, "b", "one", "fixtures/stamp-v1");
    assert_eq!(of_a.delete(&path("a", "one")).0, 204);
}

#[test]
fn without_a_place_the_missing_line_is_named_and_plugins_may_be_turned_off() {
    let broker = broker_with("  authorize: [{builtin: open}]", "", &[]);
    let of_a = own(&broker, "a");
    let stamps = artefact("fixtures/stamp-v1");
    for (status, answer) in
        [of_a.put(&path("a", "p"), &stamps), of_a.get("/api/v1/tenants/a/plugins")]
    {
        assert!(
            status == 409 && answer.to_string().contains("- builtin: tenant_rules"),
            "{answer}"
        );
    }
    let pipeline = format!("  authorize: [{{builtin: open}}]\n  deliver: {EVERYWHERE}");
    let broker = broker_with(&pipeline, "tenant_plugins: {plugins_per_tenant: 0}", &[]);
    let of_a = own(&broker, "a");
    assert_eq!(refused(&of_a, &path("a", "p"), &stamps, "has 0 plugins, which is as many"), 409);
    let broker = broker_with(&pipeline, "", &[]);
    let of_a = own(&broker, "a");
    let words = r"publish:\n      - builtin: tenant_rules";
    assert_eq!(refused(&of_a, &path("a", "p"), &stamps, words), 409);
}
