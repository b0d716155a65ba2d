//! Mistakes in the pipeline.

use std::fs;

use super::{SOUND, Scene, assert_problem, report, sound_with};

#[test]
fn steps_are_checked_where_they_stand() {
    let step = |hook: &str, step: &str| {
        let hook_line = format!("  {hook}:\n");
        if SOUND.contains(&hook_line) {
            SOUND.replace(&hook_line, &format!("{hook_line}    - {step}\n"))
        } else {
            sound_with(&format!("{hook_line}    - {step}\n"))
        }
    };
    let table = [
        ("connect", "{}", "6:7: pipeline.connect[0]: a step is either a builtin, a plugin or"),
        ("connect", "{builtin: open, rule: x}", "6:7: pipeline.connect[0]: a step is either"),
        ("connect", "{builtin: root}", "6:8: pipeline.connect[0].builtin: \"root\" is none; there"),
        ("connect", "{builtin: open}", "6:8: pipeline.connect[0].builtin: \"open\" is a step of a"),
        ("connect", "{builtin: database}", "6:8: pipeline.connect[0].builtin: it needs the sect"),
        (
            "connect",
            "{builtin: tenant_rules}",
            "6:8: pipeline.connect[0].builtin: \"tenant_rules\" is a step of authorize and publish",
        ),
        (
            "publish",
            "{builtin: tenant_rules}",
            "10:8: pipeline.publish[0].builtin: there is no file plugins/rule-engine.wasm",
        ),
        ("connect", "{builtin: scram}", "6:8: pipeline.connect[0].builtin: it needs the sect"),
        ("connect", "{rule: x}", "6:8: pipeline.connect[0].rule: there is no file rules/x.rhai"),
        ("publish", "{plugin: x}", "10:8: pipeline.publish[0].plugin: there is no file plugins/x"),
        (
            "connect",
            "{builtin: anonymous, listeners: [plain, plane]}",
            "6:47: pipeline.connect[0].listeners[1]: there is no listener named \"plane\"",
        ),
        (
            "connect",
            "{builtin: anonymous, topics: [a]}",
            "6:28: pipeline.connect[0].topics: a connect step is asked before there is a topic",
        ),
        (
            "connect",
            "{builtin: anonymous, on_failure: pass}",
            "6:28: pipeline.connect[0].on_failure: connect and authorize steps that fail always",
        ),
        (
            "connect",
            "{builtin: anonymous, config: {user: x}}",
            "6:37: pipeline.connect[0].config.user: unknown field `user`, expected one of",
        ),
        (
            "connect",
            "{builtin: anonymous, config: {tenant: \"\"}}",
            "6:37: pipeline.connect[0].config.tenant: it must be a name, neither empty nor",
        ),
        (
            "connect",
            "{builtin: anonymous, config: {username: \"a\\0\"}}",
            "6:37: pipeline.connect[0].config.username: it must be a name, neither empty nor",
        ),
        (
            "connect",
            "{builtin: anonymous, tenants: [a, \"\"]}",
            "6:41: pipeline.connect[0].tenants[1]: no tenant has an empty name",
        ),
        (
            "connect",
            "{builtin: anonymous, control: perhaps}",
            "6:28: pipeline.connect[0].control: unknown variant `perhaps`, expected one of",
        ),
        (
            "authorize",
            "{builtin: open, control: required}",
            "8:23: pipeline.authorize[0].control: only connect steps have one",
        ),
        (
            "authorize",
            "{builtin: open, config: {}}",
            "8:23: pipeline.authorize[0].config: this step takes none",
        ),
        (
            "authorize",
            "{builtin: open, topics: [a, b/#/c]}",
            "8:35: pipeline.authorize[0].topics[1]: \"b/#/c\" is not a topic filter",
        ),
        (
            "authorize",
            "{builtin: open, topics: [$share/g/a]}",
            "8:32: pipeline.authorize[0].topics[0]: \"$share/g/a\": a condition is never shared",
        ),
        (
            "authorize",
            "{builtin: open, on_failure: retry}",
            "8:23: pipeline.authorize[0].on_failure: unknown variant `retry`, expected one of",
        ),
    ];
    for (hook, text, expected) in table {
        assert_problem(&step(hook, text), &format!("mq.yaml:{expected}"));
    }
}

#[test]
fn tenants_rules_have_one_place_in_each_hook_and_bounds_that_can_be_kept() {
    let scene = |pipeline: &str, more: &str| {
        let scene = Scene::new(&format!("{SOUND}{pipeline}{more}"));
        scene.write("plugins/rule-engine.wasm", "", 0o644);
        scene
    };
    let place = "{builtin: tenant_rules}";
    let one = format!("  publish: [{place}]\n  deliver: [{place}]\n");
    let config = scene(&one, "tenant_rules: {rules: 7, kept_bytes: 9}\n").load().unwrap();
    assert_eq!((config.tenant_rules.rules, config.tenant_rules.kept_bytes), (7, 9));
    assert_eq!(config.tenant_rules.rules_per_tenant, 16);
    let plugins = "tenant_plugins: {plugins_per_tenant: 0, compile_time_ms: 1500}\n";
    let config = scene(&one, plugins).load().unwrap().tenant_plugins;
    assert_eq!((config.plugins_per_tenant, config.compile_time.as_millis()), (0, 1500));
    assert_eq!((config.plugins, config.plugin_bytes), (1000, 4 << 20));
    for (pipeline, more, expected) in [
        (format!("  publish: [{place}, {place}]\n"), "", "publish[1].builtin: tenants' rules have"),
        (
            "  publish: [{builtin: tenant_rules, explain: log}]\n".into(),
            "",
            "publish[0].explain: what tenants' rules answer",
        ),
        (
            one.clone(),
            "tenant_rules: {rule_bytes: 70000}\n",
            "rule_bytes: it must not be more than",
        ),
        (one.clone(), "tenant_rules: {rules: 0}\n", "tenant_rules.rules: must be more than 0"),
        (one.clone(), "tenant_rules: {rule: 1}\n", "tenant_rules.rule: unknown field"),
        (
            one.clone(),
            "tenant_plugins: {plugins_per_tenant: 1001}\n",
            "plugins_per_tenant: it must not be more than 1000",
        ),
        (one, "tenant_plugins: {plugins: 0}\n", "tenant_plugins.plugins: must be more than 0"),
    ] {
        let report = scene(&pipeline, more).report();
        assert!(report.len() == 1 && report[0].contains(expected), "{expected}: {report:?}");
    }
}

#[test]
fn a_step_with_a_database_names_no_empty_tenant() {
    for builtin in ["password", "scram"] {
        let step = format!("    - {{builtin: {builtin}, config: {{tenant: \"\"}}}}\n");
        let steps = SOUND.replace("  connect:\n", &format!("  connect:\n{step}"));
        let report = report(&format!("{steps}database: {{}}\n"));
        assert_eq!(report.len(), 1, "{report:?}");
        assert!(report[0].contains("pipeline.connect[0].config.tenant: it must be a name"));
    }
}

#[test]
fn keys_of_tokens_are_read_from_beside_the_configuration() {
    let scene = |step: &str| {
        let connect = format!("  connect:\n    - {step}\n");
        let scene = Scene::new(&SOUND.replace("  connect:\n", &connect));
        scene.write("right", &"x".repeat(32), 0o600);
        scene.write("open", &"x".repeat(32), 0o644);
        scene
    };
    let jwt =
        |key: &str| format!("{{builtin: jwt, config: {{username: \"{{sub}}\", keys: [{key}]}}}}");
    let right = "{secret_file: right, algorithms: [HS256]}";
    assert!(scene(&jwt(right)).load().is_ok(), "{:?}", scene(&jwt(right)).report());
    let at = "mq.yaml:6:";
    for (step, expected) in [
        (jwt("{secret_file: wrong, algorithms: [HS256]}"), "keys[0].secret_file: cannot read"),
        (jwt("{secret_file: open, algorithms: [HS256]}"), "keys[0].secret_file: "),
        (jwt("{secret_file: right, algorithms: [none]}"), "unknown variant `none`"),
        (
            jwt("{jwks_url: \"http://id.example/\", algorithms: [ES256]}"),
            "it must begin with https",
        ),
        (jwt(&format!("{right}, {{algorithms: [ES256]}}")), "keys[1]: keys have one of"),
        (jwt(""), "config.keys: without a key"),
        ("{builtin: jwt}".into(), "config: `jwt` needs"),
        ("{builtin: password, config: {client_id: x}}".into(), "it is the same for everybody"),
    ] {
        let report = scene(&step).report();
        let found = report.iter().any(|it| it.starts_with(at) && it.contains(expected));
        assert!(found, "{step}: {report:?}");
    }
}

#[test]
fn dead_letters_need_a_topic_and_a_publish_step() {
    let with = |hook: &str, topic: &str| {
        let step = format!("{{rule: r, on_failure: {{dead_letter: {topic}}}}}");
        let scene = Scene::new(&sound_with(&format!("  {hook}: [{step}]\n")));
        scene.write("rules/r.rhai", "", 0o644);
        scene
    };
    assert!(with("publish", "failed/here").load().is_ok());
    let path = "mq.yaml:9:23: pipeline.publish[0].on_failure:";
    assert!(with("publish", "a/+").report()[0].starts_with(&format!("{path} \"a/+\" is not a")));
    let path = "mq.yaml:9:23: pipeline.deliver[0].on_failure:";
    assert_eq!(
        with("deliver", "a").report(),
        [format!("{path} only publish steps can dead-letter")]
    );
}

#[test]
fn program_names_cannot_leave_their_directory() {
    let scene = Scene::new(&sound_with("  publish: [{rule: ../secret}]\n"));
    scene.write("secret.rhai", "", 0o644);
    fs::create_dir(scene.path("rules")).unwrap();
    assert_eq!(scene.report().len(), 1);
    assert!(scene.report()[0].contains("\"../secret\" is no name"), "{:?}", scene.report());
}

#[test]
fn a_listener_without_steps_is_a_mistake() {
    let text = "\
listeners:
  - {name: plain, bind: \"tcp://127.0.0.1:0\"}
  - {name: other, bind: \"tcp://127.0.0.1:0\"}
pipeline:
  connect: [{builtin: anonymous, listeners: [plain]}]
";
    assert_eq!(
        report(text),
        [
            "mq.yaml:3:5: listeners[1]: no step of pipeline.connect concerns this listener: \
             nobody could connect",
            "mq.yaml:2:5: listeners[0]: no step of pipeline.authorize concerns this listener: \
             nothing would be allowed",
            "mq.yaml:3:5: listeners[1]: no step of pipeline.authorize concerns this listener: \
             nothing would be allowed",
        ]
    );
}

#[test]
fn grants_for_a_plugin_that_no_step_uses_are_a_mistake() {
    assert_problem(
        &sound_with("plugins:\n  grants:\n    stamb: {log: true}\n"),
        "mq.yaml:11:5: plugins.grants.stamb: no step uses a plugin named \"stamb\"",
    );
}

#[test]
fn limits_of_a_plugin_that_no_step_uses_are_a_mistake() {
    assert_problem(
        &sound_with("plugins:\n  limits:\n    stamb: {time_ms: 20}\n"),
        "mq.yaml:11:5: plugins.limits.stamb: no step uses a plugin named \"stamb\"",
    );
}

#[test]
fn queries_permit_something_and_scram_is_not_for_them() {
    let with = |step: &str, queries: &str| {
        let steps = SOUND.replace("  connect:\n", &format!("  connect:\n    - {step}\n"));
        format!("{steps}database: {{queries: {{{queries}}}}}\n")
    };
    let acl = "acl: SELECT 'a/#' AS topic";
    assert!(Scene::new(&with("{builtin: database}", acl)).load().is_ok());
    assert_problem(
        &with("{builtin: database}", "roles: SELECT 'a' AS role"),
        "mq.yaml:10:12: database.queries: without `permissions`, `acl` or `superuser`, nobody",
    );
    assert_problem(
        &with("{builtin: scram}", acl),
        "mq.yaml:6:8: pipeline.connect[0].builtin: it needs the broker's own tables",
    );
    assert_problem(
        &with("{builtin: database}", "permission: SELECT 1"),
        "mq.yaml:10:22: database.queries.permission: unknown field `permission`, expected one of",
    );
}
