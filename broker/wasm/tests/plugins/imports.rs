//! What guests ask of the broker, and the bounds on it.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use hookmq_hooks::{
    Circumstances, ConnectVerdict, FailureKind, Program, PublishVerdict, Secret, Services,
    StepFailure, rehearse,
};
use hookmq_wasm::{
    Grants, HostOptions, HttpClient, HttpError, HttpLimits, HttpRequest, HttpResponse, Limits,
    LoadError, Manifest, Origin, PluginHost, PluginSettings, WasmPlugin,
};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::{artefact, artefacts, attempt, client, message, patient};

const HOST: &str = "https://auth.example";
pub const URL: &str = "https://auth.example/check?x=1";

/// Asks for everything.
fn manifest() -> Value {
    json!({
        "name": "asker", "version": "1.0.0", "hooks": ["connect", "authorize", "publish"],
        "fields": ["payload"], "capabilities": ["log", "clock", "metric", "kv"],
        "http": [HOST, "http://127.0.0.1:1"], "secrets": ["token"],
        "config_schema": {"type": "string"},
    })
}

fn asker() -> Vec<u8> {
    artefacts::with_manifest(&artefact("fixtures/asker"), &manifest().to_string())
}

fn grants() -> Grants {
    Grants {
        log: true,
        clock: true,
        metric: true,
        kv: true,
        http: [HOST, "http://127.0.0.1:1"].map(|origin| origin.parse().unwrap()).into(),
        secrets: [("token", "geheim"), ("other", "not asked for")]
            .map(|(name, secret)| (name.into(), Secret::new(secret.into())))
            .into(),
        ..Grants::default()
    }
}

pub fn options(limits: Limits) -> HostOptions {
    HostOptions { instances: 8, limits, ..HostOptions::default() }
}

pub fn host_of(options: HostOptions) -> PluginHost {
    PluginHost::new(options, Arc::default()).unwrap().with_http_client(Arc::new(Echo))
}

pub fn load_from(host: &PluginHost, config: Value) -> Result<WasmPlugin, LoadError> {
    let settings = PluginSettings {
        name: None,
        alias: None,
        home: None,
        config,
        limits: patient(),
        grants: grants(),
    };
    host.load(&asker(), settings)
}

fn load_with(limits: Limits) -> WasmPlugin {
    load_from(&host_of(options(limits)), json!(null)).unwrap()
}

/// What the plugin answers when it is asked in `publish`.
pub fn ask(plugin: &WasmPlugin, tenant: &str, request: &str) -> Result<String, StepFailure> {
    let answer = plugin.publish(&client(tenant), &message(request))?;
    let PublishVerdict::Replace(patch) = answer.verdict else { panic!("it answers") };
    Ok(String::from_utf8(patch.payload.unwrap()).unwrap())
}

/// The same in `connect`: the answer, or the reason of a denial.
fn ask_connecting(
    plugin: &WasmPlugin,
    request: &str,
) -> Result<Result<String, String>, StepFailure> {
    let attempt = attempt(request);
    Ok(match wait(plugin.connect(&attempt))? {
        ConnectVerdict::Accept(patch) => Ok(patch.username.unwrap().to_string()),
        ConnectVerdict::Deny { reason, .. } => Err(reason),
        other => panic!("it accepts or denies: {other:?}"),
    })
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

pub fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

/// Answers with what it was asked.
struct Echo;

impl HttpClient for Echo {
    fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let HttpRequest { method, origin, path, headers, body, .. } = request;
        let body = String::from_utf8(body).unwrap();
        let body = format!("{method:?} {origin} {path} {headers:?} {body}").into_bytes();
        Ok(HttpResponse { status: 200, headers: Vec::new(), body })
    }
}

#[test]
fn values_are_kept_for_a_tenant_and_a_plugin() {
    let host = host_of(options(patient()));
    let plugin = load_from(&host, json!(null)).unwrap();
    for (tenant, request, answer) in [
        ("a", "get k", "none"),
        ("a", "set k one", "set"),
        ("a", "get k", "one"),
        ("b", "get k", "none"),
        ("b", "set k two", "set"),
        ("a", "get k", "one"),
        ("a", "add n 5", "5"),
        ("a", "add n -7", "-2"),
        ("a", "add k 1", "not-a-number"),
        ("a", "set-large k 65536", "set"),
        ("a", "set-large k 65537", "value-too-long"),
        ("a", "delete k", "deleted"),
        ("a", "get k", "none"),
        ("b", "get k", "two"),
    ] {
        assert_eq!(ask(&plugin, tenant, request).unwrap(), answer, "{tenant}: {request}");
    }
    let next = load_from(&host, json!(null)).unwrap();
    assert_eq!(ask(&next, "b", "get k").unwrap(), "two", "another version finds it");
    let renamed = json!({"name": "other", "version": "1.0.0", "hooks": ["publish"],
        "fields": ["payload"], "capabilities": ["log", "clock", "metric", "kv"],
        "http": [HOST], "secrets": ["token"]});
    let renamed = artefacts::with_manifest(&artefact("fixtures/asker"), &renamed.to_string());
    let settings = PluginSettings { grants: grants(), limits: patient(), ..Default::default() };
    let other = host.load(&renamed, settings).unwrap();
    assert_eq!(ask(&other, "b", "get k").unwrap(), "none", "another plugin does not");
}

#[test]
fn what_is_kept_before_a_tenant_is_known_is_no_tenants() {
    let host = host_of(options(patient()));
    let plugin = load_from(&host, json!("set k configured")).unwrap();
    assert_eq!(ask_connecting(&plugin, "get k").unwrap(), Ok("configured".into()));
    assert_eq!(ask(&plugin, "acme", "get k").unwrap(), "none");
}

/// P07
#[test]
fn a_call_uses_the_store_as_often_as_it_may() {
    let plugin = load_with(Limits { kv_calls: 5, ..patient() });
    assert_eq!(ask(&plugin, "a", "count 9").unwrap(), "5");
    assert_eq!(ask(&plugin, "a", "count 9").unwrap(), "5", "the next call counts anew");
    assert_eq!(ask(&plugin, "a", "get n").unwrap(), "10");
}

#[test]
fn a_tenant_fills_its_own_part_only() {
    let plugin = load_with(patient());
    let kept: usize = ask(&plugin, "a", "fill").unwrap().parse().unwrap();
    assert!(kept > 10 && kept * 60_000 <= 4 << 20, "{kept}");
    assert_eq!(ask(&plugin, "a", "set-large k 60000").unwrap(), "full");
    assert_eq!(ask(&plugin, "b", "set-large k 60000").unwrap(), "set");
}

#[test]
fn figures_of_one_call_are_bounded() {
    let services = Arc::new(Services::default());
    let host = PluginHost::new(options(patient()), services.clone()).unwrap();
    let plugin = load_from(&host, json!(null)).unwrap();
    ask(&plugin, "a", "figures 100000").unwrap();
    let mut shown = Vec::new();
    services.metrics.for_each(|plugin, name, tenant, figure| {
        shown.push(format!("{plugin} {name} {tenant} {figure:?}"));
    });
    assert_eq!(shown, ["asker asked a Counter(1000)"]);
}

#[test]
fn a_loop_of_calls_to_the_broker_ends_at_the_deadline() {
    let plugin = load_with(Limits { time: Duration::from_millis(200), ..Limits::default() });
    for request in ["log-loop", "kv-loop", "metric-loop", "clock-loop"] {
        let failure = ask(&plugin, "a", request).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Timeout, "{request}: {failure}");
        assert!(ask(&plugin, "a", "good").is_ok(), "after {request}");
    }
}

#[test]
fn a_secret_is_known_where_it_is_asked_for_and_granted() {
    let plugin = load_with(patient());
    assert_eq!(ask(&plugin, "a", "secret token").unwrap(), "geheim");
    assert_eq!(ask(&plugin, "a", "secret other").unwrap(), "none", "granted, but not asked for");
    let settings = PluginSettings { grants: Grants::default(), ..PluginSettings::default() };
    let refused = host_of(options(patient())).load(&asker(), settings).err().unwrap().to_string();
    assert_eq!(
        refused,
        "the plugin asks for what it is not granted: log, clock, metric, kv, http \
         https://auth.example, http http://127.0.0.1:1, secret token"
    );
    assert!(!format!("{:?}", grants()).contains("geheim"));
}

#[test]
fn a_manifest_is_read_without_compiling() {
    let read = Manifest::of_artefact(&asker()).unwrap();
    let shown = serde_json::to_value(&read).unwrap();
    for (key, value) in manifest().as_object().unwrap() {
        assert_eq!(&shown[key], value, "{key}");
    }
    assert_eq!(load_with(patient()).manifest(), Some(shown));
    assert!(Manifest::of_artefact(&artefact("fixtures/asker")).is_err(), "it has none");
}

#[test]
fn requests_go_where_they_are_granted() {
    let plugin = load_with(patient());
    assert_eq!(
        ask_connecting(&plugin, &format!("fetch {URL}")).unwrap().unwrap(),
        "200 Get https://auth.example /check?x=1 [] "
    );
    let post = format!("post {URL} X-Key:a body");
    assert_eq!(
        ask_connecting(&plugin, &post).unwrap().unwrap(),
        "200 Post https://auth.example /check?x=1 [(\"X-Key\", \"a\")] body"
    );
    for elsewhere in [
        "http://auth.example/",
        "https://auth.example:444/",
        "https://other.example/",
        "https://auth.example@other.example/",
        "https://auth.example.other/",
        "nonsense",
    ] {
        let refused = ask_connecting(&plugin, &format!("fetch {elsewhere}")).unwrap().unwrap_err();
        assert!(refused.contains("NotGranted"), "{elsewhere}: {refused}");
    }
    for own in ["Host:x", "transfer-encoding:chunked", "Content-Length:9"] {
        let refused = ask_connecting(&plugin, &format!("post {URL} {own} body")).unwrap();
        assert!(refused.unwrap_err().contains("own affair"), "{own}");
    }
}

#[test]
fn requests_are_for_configure_and_connect() {
    let host = host_of(options(patient()));
    let plugin = load_from(&host, json!(format!("fetch {URL}"))).unwrap();
    let failure = ask(&plugin, "a", &format!("fetch {URL}")).unwrap_err();
    assert!(failure.message.contains("NotHere"), "{failure}");
}

#[test]
fn a_rehearsal_sends_nothing_and_a_shadow_only_asks() {
    let plugin = load_with(patient());
    let ask = |circumstances: Circumstances, request: &str| {
        let attempt = attempt(request);
        match wait(circumstances.during(|| plugin.connect(&attempt))).0.unwrap() {
            ConnectVerdict::Accept(_) => Ok(()),
            ConnectVerdict::Deny { reason, .. } => Err(reason),
            other => panic!("it accepts or denies: {other:?}"),
        }
    };
    let (get, post) = (format!("fetch {URL}"), format!("post {URL} X-Key:a body"));
    for (circumstances, request, is_sent) in [
        (Circumstances::EARNEST, &get, true),
        (Circumstances::EARNEST, &post, true),
        (Circumstances::NOTED, &post, true),
        (Circumstances::SHADOW, &get, true),
        (Circumstances::SHADOW, &post, false),
        (Circumstances::REHEARSED, &get, false),
        (Circumstances::REHEARSED, &post, false),
    ] {
        match ask(circumstances, request) {
            Ok(()) => assert!(is_sent, "{circumstances:?} {request}"),
            Err(reason) => {
                assert!(!is_sent && reason.contains("rehearsal"), "{circumstances:?} {reason}");
            }
        }
    }
}

#[test]
fn an_instance_that_a_rehearsal_needs_is_configured_in_earnest() {
    let host = host_of(options(patient()));
    let plugin = load_from(&host, json!(format!("post {URL} X-Key:a body"))).unwrap();
    let (answer, _) = rehearse(|| ask(&plugin, "new", "good"));
    assert_eq!(answer.unwrap(), "good");
    assert_eq!(ask(&plugin, "new", "good").unwrap(), "good");
}

#[test]
fn requests_of_a_call_and_of_a_tenant_are_bounded() {
    let http = HttpLimits { requests_per_tenant_per_second: 1000, ..HttpLimits::default() };
    let host = host_of(HostOptions { http, ..options(patient()) });
    let plugin = load_from(&host, json!(null)).unwrap();
    assert_eq!(ask_connecting(&plugin, &format!("fetches {URL}")).unwrap().unwrap(), "4");
    let http = HttpLimits { requests_per_tenant_per_second: 0, ..HttpLimits::default() };
    let host = host_of(HostOptions { http, ..options(patient()) });
    let plugin = load_from(&host, json!(null)).unwrap();
    let refused = ask_connecting(&plugin, &format!("fetch {URL}")).unwrap().unwrap_err();
    assert!(refused.contains("TooMany"), "{refused}");
}

#[test]
fn an_endless_loop_of_requests_ends_at_the_deadline() {
    let plugin = load_with(Limits { time: Duration::from_millis(200), ..Limits::default() });
    let failure = ask_connecting(&plugin, "fetch-loop").unwrap_err();
    assert_eq!(failure.kind, FailureKind::Timeout, "{failure}");
    assert!(ask_connecting(&plugin, "good").is_ok());
}

/// Says when it is asked, and answers when it is told to.
struct Held {
    asked: SyncSender<(Origin, Instant)>,
    answer: Mutex<Receiver<()>>,
}

impl HttpClient for Held {
    fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.asked.send((request.origin, request.deadline)).unwrap();
        self.answer.lock().recv().unwrap();
        Ok(HttpResponse { status: 204, headers: Vec::new(), body: Vec::new() })
    }
}

#[test]
fn connect_waits_on_threads_of_its_own() {
    let (asked, was_asked) = sync_channel(10);
    let (go_on, answer) = sync_channel(10);
    let http = HttpLimits { threads: 2, ..HttpLimits::default() };
    let options = HostOptions { http, ..options(patient()) };
    let client = Arc::new(Held { asked, answer: Mutex::new(answer) });
    let host = PluginHost::new(options, Arc::default()).unwrap().with_http_client(client);
    let plugin = load_from(&host, json!(null)).unwrap();
    let attempt = attempt(&format!("fetch {URL}"));
    let began = Instant::now();
    let mut waiting: Vec<_> = (0..2).map(|_| plugin.connect(&attempt)).collect();
    for _ in &waiting {
        let (origin, deadline) = was_asked.recv().unwrap();
        assert_eq!(origin.to_string(), HOST);
        assert!(deadline > began && deadline <= Instant::now() + Duration::from_secs(3));
    }
    waiting.extend((0..8).map(|_| plugin.connect(&attempt)));
    let beyond = wait(plugin.connect(&attempt)).unwrap_err();
    assert_eq!(beyond.kind, FailureKind::Limit, "{beyond}");
    assert_eq!(ask(&plugin, "a", "good").unwrap(), "good", "other hooks do not wait");
    for _ in 0..10 {
        go_on.send(()).unwrap();
    }
    for verdict in waiting {
        assert!(matches!(wait(verdict), Ok(ConnectVerdict::Accept(_))));
    }
}
