//! Each class of mistakes with the file, line and key that it is reported at.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use hookmq_hooks::{Control, FailurePolicy};
use tempfile::TempDir;

use super::*;

mod listeners;
mod plugins;
mod secrets;
mod steps;
mod store;

/// A sound configuration; tests change it a little.
const SOUND: &str = "\
listeners:
  - name: plain
    bind: tcp://127.0.0.1:0
pipeline:
  connect:
    - builtin: anonymous
  authorize:
    - builtin: open
";

/// A directory with one configuration file.
struct Scene(TempDir);

impl Scene {
    fn new(text: &str) -> Self {
        let scene = Self(TempDir::new().unwrap());
        scene.write("mq.yaml", text, 0o644);
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }

    fn load(&self) -> Result<Config, ConfigError> {
        Config::load(&self.path("mq.yaml"))
    }

    /// What is reported, line by line, without the directory.
    fn report(&self) -> Vec<String> {
        let error = self.load().unwrap_err().to_string();
        let directory = format!("{}/", self.0.path().display());
        error.lines().map(|line| line.replace(&directory, "")).collect()
    }
}

fn report(text: &str) -> Vec<String> {
    Scene::new(text).report()
}

/// Asserts that `text` has exactly one problem, `expected`.
fn assert_problem(text: &str, expected: &str) {
    let report = report(text);
    assert_eq!(report.len(), 1, "{report:#?}");
    assert!(report[0].starts_with(expected), "expected {expected}\nbut got  {}", report[0]);
}

fn sound_with(more: &str) -> String {
    format!("{SOUND}{more}")
}

#[test]
fn a_short_configuration_takes_the_defaults() {
    let scene = Scene::new(SOUND);
    let config = scene.load().unwrap();
    assert_eq!(config.data_dir, scene.path("data"));
    assert_eq!(&*config.listeners[0].name, "plain");
    assert!(config.database.is_none() && config.admin.is_none());
    let limits = Limits::default();
    assert_eq!(format!("{:?}", config.limits), format!("{limits:?}"));
    assert_eq!(config.plugins.host, HostOptions::default());
    assert_eq!(config.rules.limits, RuleLimits::default());
    assert_eq!(config.log, LogConfig { level: LogLevel::Info, format: LogFormat::Text });
    assert_eq!(config.pipeline.connect[0].control, Control::Required);
}

#[test]
fn what_a_file_says_becomes_final_types() {
    let scene = Scene::new(
        "\
listeners:
  - {name: a, bind: \"tcp://[::1]:1883\"}
  - {name: b, bind: \"tcp://0.0.0.0:1884\", allow_public_plaintext: true,
     allow_public_anonymous: true}
tls: {reload_interval_ms: 250}
database: {timeout_ms: 250}
admin: {}
limits: {maximum_packet_size: 1000, connect_timeout_ms: 70000, connections: 7}
plugins:
  time_ms: 20
  grants: {stamp: {emit: [a/#]}}
  limits: {stamp: {memory_bytes: 50331648, calls_per_instance: 7}}
rules: {dir: /etc/rules, time_ms: 5}
pipeline:
  connect: [{builtin: database, control: sufficient, tenants: [t]}, {builtin: anonymous}]
  authorize: [{builtin: database}]
  publish:
    - {plugin: stamp, topics: [a/+], on_failure: {dead_letter: dead/letters}, config: {n: [1]}}
    - {plugin: stamp, on_failure: pass, listeners: [a]}
log: {level: debug, format: json}
",
    );
    scene.write("plugins/stamp.wasm", "", 0o644);
    let config = scene.load().unwrap();
    assert_eq!(config.listeners[0].bind, "tcp://[::1]:1883".parse().unwrap());
    let database = config.database.unwrap();
    assert_eq!(database.timeout, Duration::from_millis(250));
    assert_eq!(database.url, hookmq_access::DatabaseUrl::sqlite(scene.path("data/hookmq.db")));
    let admin = config.admin.unwrap();
    assert_eq!(admin.token_file, scene.path("data/admin.token"));
    assert_eq!(config.limits.connect_timeout, Duration::from_secs(70));
    assert_eq!((config.limits.maximum_packet_size, config.limits.connections), (1000, 7));
    assert_eq!(config.plugins.grants["stamp"].emit[0].as_str(), "a/#");
    assert_eq!(config.plugins.limits.time, Duration::from_millis(20));
    let own = config.plugins.own_limits["stamp"];
    assert_eq!((own.memory_bytes, own.time), (48 << 20, Duration::from_millis(20)));
    assert_eq!((own.calls_per_instance, config.plugins.limits.calls_per_instance), (7, 100_000));
    assert_eq!(config.plugins.limits.memory_bytes, 16 << 20);
    assert_eq!(config.plugins.host.limits.memory_bytes, 48 << 20);
    assert_eq!(config.tls_reload_interval, Duration::from_millis(250));
    assert_eq!(config.rules.dir, PathBuf::from("/etc/rules"));
    assert_eq!(config.pipeline.connect[0].control, Control::Sufficient);
    assert_eq!(&*config.pipeline.connect[0].condition.tenants[0], "t");
    let [first, second] = &*config.pipeline.publish else { panic!("two steps") };
    assert_eq!(first.on_failure, FailurePolicy::DeadLetter { topic: "dead/letters".into() });
    assert_eq!(first.settings, serde_json::json!({"n": [1]}));
    assert_eq!(first.condition.topics[0].as_str(), "a/+");
    assert_eq!(second.on_failure, FailurePolicy::Pass);
    assert_eq!(config.log, LogConfig { level: LogLevel::Debug, format: LogFormat::Json });
}

#[test]
fn mistakes_in_the_text_are_found_at_their_line() {
    assert_problem("listeners: [\n", "mq.yaml:2:1: did not find expected node content");
    assert_problem("a: 1\na: 2\n", "mq.yaml:1:1: duplicate entry with key \"a\"");
    assert_problem(&sound_with("data: x\n"), "mq.yaml:9:1: data: unknown field `data`, expected");
    assert_problem(
        &sound_with("limits:\n  # how many\n  receive_maximum: 70000\n"),
        "mq.yaml:11:3: limits.receive_maximum: invalid value: integer `70000`, expected u16",
    );
    assert_problem(
        &sound_with("limits: {topic_levels: 1,\n  connections: 0}\n"),
        "mq.yaml:10:3: limits.connections: must be more than 0",
    );
    assert_problem(
        &sound_with("limits:\n  maximum_packet_size: 268435456\n"),
        "mq.yaml:10:3: limits.maximum_packet_size: 268435456 is not between 128 and 268435455",
    );
    assert_problem(
        &sound_with("log:\n  level: loud\n"),
        "mq.yaml:10:3: log.level: unknown variant `loud`, expected one of `error`",
    );
    assert_problem(
        &sound_with("admin: {bind: localhost}\n"),
        "mq.yaml:9:9: admin.bind: invalid socket address syntax",
    );
    assert_problem("- x\n", "mq.yaml: invalid type: sequence, expected a map");
    assert_problem(
        &SOUND.replace("- builtin: open", "- open"),
        "mq.yaml:8:7: pipeline.authorize[0]: invalid type: string \"open\", expected a map",
    );
    assert_problem(
        "listeners:\n  - bind: tcp://127.0.0.1:1\n",
        "mq.yaml:2:5: listeners[0]: missing field `name`",
    );
}

#[test]
fn a_file_that_is_empty_or_absent_says_what_is_needed() {
    assert_problem("", "mq.yaml: listeners: at least one listener is needed");
    let absent = Config::load(std::path::Path::new("/nowhere/mq.yaml")).unwrap_err().to_string();
    assert!(absent.starts_with("/nowhere/mq.yaml: cannot read it: No such file"), "{absent}");
}

#[test]
fn files_are_looked_at_often_enough() {
    assert_problem(
        &sound_with("tls: {reload_interval_ms: 60000}\n"),
        "mq.yaml:9:7: tls.reload_interval_ms: it must not be more than 30000",
    );
}

#[test]
fn the_admin_api_is_not_public_by_accident() {
    assert_problem(
        &sound_with("admin:\n  bind: 0.0.0.0:8080\n"),
        "mq.yaml:10:3: admin.bind: without TLS, 0.0.0.0:8080 shows",
    );
    let meant = sound_with("admin: {bind: 0.0.0.0:8080, allow_public_plaintext: true}\n");
    assert!(Scene::new(&meant).load().is_ok());
}

#[test]
fn the_admin_api_is_called_by_names_of_hosts() {
    let hosts = |hosts: &str| sound_with(&format!("admin: {{hosts: [{hosts}]}}\n"));
    let config = Scene::new(&hosts("mq.example, localhost")).load().unwrap();
    assert_eq!(config.admin.unwrap().hosts, ["mq.example".into(), "localhost".into()]);
    for wrong in ["\"\"", "\"mq.example:8080\"", "https://mq.example", "\"*.example\""] {
        assert_problem(&hosts(wrong), "mq.yaml:9:17: admin.hosts[0]: ");
    }
    assert_problem(
        &sound_with("admin: {header_timeout_ms: 0}\n"),
        "mq.yaml:9:9: admin.header_timeout_ms: must be more than 0",
    );
}

/// The parser would take minutes.
#[test]
fn what_nests_too_deeply_is_refused_before_it_is_parsed() {
    for (bracket, column) in [("[", 131), ("{a: ", 515), ("[{a: ", 323)] {
        let deep = format!("a:\n  {}", bracket.repeat(100_000));
        let expected = format!("mq.yaml:2:{column}: more than 128 brackets are open here");
        assert_eq!(report(&deep), [expected]);
    }
    assert_problem(&format!("a: {}\n", "- ".repeat(100_000)), "mq.yaml:1:");
    let many = format!("# [\nlog: {{level: '{}'}}\n", "[]".repeat(1000));
    assert_problem(&sound_with(&many), "mq.yaml:10:7: log.level: unknown variant");
}

#[test]
fn problems_of_programs_are_reported_at_their_step() {
    let config = Scene::new(SOUND).load().unwrap();
    let problem = config.step_problem(Hook::Authorize, 0, "it does not compile");
    let shown = problem.to_string();
    assert!(shown.ends_with("mq.yaml:8:7: pipeline.authorize[0]: it does not compile"), "{shown}");
    let embedded = Config::embedded("d".into(), &[]).step_problem(Hook::Connect, 0, "no");
    assert_eq!(embedded.to_string(), "(built in): pipeline.connect[0]: no");
}

#[test]
fn the_example_is_sound_but_for_the_files_it_names() {
    let scene = Scene::new(include_str!("../../hookmq.example.yaml"));
    for file in ["certificate_identity", "threshold_alarm", "redact_by_role"] {
        scene.write(&format!("rules/{file}.rhai"), "", 0o644);
    }
    scene.write("plugins/json-transform.wasm", "", 0o644);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
    scene.write("tls/server.crt", &certificate.pem(), 0o644);
    scene.write("tls/devices-ca.crt", &certificate.pem(), 0o644);
    scene.write("tls/server.key", &key.serialize_pem(), 0o600);
    let config = scene.load().unwrap();
    assert_eq!(config.listeners.len(), 4);
    assert_eq!(config.pipeline.all().count(), 7);
}

#[test]
fn the_commented_keys_of_the_example_are_the_defaults() {
    let example = include_str!("../../hookmq.example.yaml");
    let from = example.find("# limits:").unwrap();
    let to = example.find("# Parts of MQTT").unwrap();
    let limits = example[from..to].lines().map(|line| line.strip_prefix("# ").unwrap_or(line));
    let limits = limits.collect::<Vec<_>>().join("\n");
    let config = Scene::new(&sound_with(&limits)).load().unwrap();
    assert_eq!(format!("{:?}", config.limits), format!("{:?}", Limits::default()));
    assert_eq!(config.sys, Config::embedded("data".into(), &[]).sys);
    assert!(limits.matches("_").count() > 15, "{limits}");
}
